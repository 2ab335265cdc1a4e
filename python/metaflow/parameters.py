"""`Parameter`, `IncludeFile` and `JSONType`: the values a run is started with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaflow_core.graph.model import ConfigDef, ParameterDef

JSONType = "json"


class Parameter:
    """A value that a run is started with: ``run --name VALUE``. In steps it is ``self.<attribute>``, and fixed.

        alpha = Parameter("alpha", default=0.5, help="learning rate")

    ``type`` is ``str``, ``int``, ``float``, ``bool``, ``JSONType`` or a click type; by default it is that of
    ``default``, else ``str``. ``default`` may be a function of a context (``flow_name``, ``user_name``,
    ``parameter_name``, ...), called once for each run. With ``separator`` text becomes a list. Without a default the
    value is None, unless ``required``. Of a parameter that is true or false ``--name`` alone means True; with
    ``is_flag`` it is one, and False by default.
    """

    def __init__(
        self,
        name: str,
        default: Any = None,
        type: Any = None,
        help: str | None = None,
        required: bool | None = None,
        show_default: bool | None = None,
        separator: str | None = None,
        is_flag: bool = False,
    ) -> None:
        from metaflow_core.graph.model import Location, ParameterDef

        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_globals is globals():
            frame = frame.f_back
        self.definition = ParameterDef(
            name,
            type=bool if is_flag and type is None else type,
            default=False if is_flag and default is None else default,
            required=bool(required),
            help=help,
            separator=separator,
            show_default=show_default is not False,
            location=Location(frame.f_code.co_filename, frame.f_lineno),
        )

    @property
    def name(self) -> str:
        return self.definition.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __get__(self, flow: Any, cls: type | None = None) -> Any:
        if flow is None:
            return self
        return value_in_run(flow, "parameter", self.definition)

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.definition.attribute = attribute


def value_in_run(flow: Any, kind: str, definition: ParameterDef | ConfigDef) -> Any:
    """What a parameter or a config is in the run in which a step asks for it; ``AttributeError`` when it is nothing."""
    if flow._state is None:
        raise AttributeError(f"The {kind} {definition.name!r} has a value only while the flow runs.")
    try:
        return flow._state.get(definition.artifact)
    except KeyError:
        raise AttributeError(f"The {kind} {definition.name!r} has no value in this run.") from None


class IncludeFile(Parameter):
    """A file whose content is the value: ``run --name PATH``.

    ``is_text`` gives ``str`` in ``encoding``, else ``bytes``. ``parser`` is a function of the content, or its dotted
    name, whose result becomes the value. ``default`` is a path.
    """

    def __init__(
        self,
        name: str,
        required: bool | None = None,
        is_text: bool = True,
        encoding: str = "utf-8",
        help: str | None = None,
        parser: Any = None,
        default: Any = None,
        show_default: bool | None = None,
    ) -> None:
        super().__init__(name, default, "file", help, required, show_default)
        self.definition.options.update(is_text=is_text, encoding=encoding, parser=parser)
