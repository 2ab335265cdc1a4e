"""Parameters of a flow: which are allowed, what a given value becomes, and what a run starts with."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from metaflow_core import settings
from metaflow_core.errors import (
    LintWarn,
    MetaflowUsageError,
    ParameterFieldFailed,
    ParameterFieldTypeMismatch,
)
from metaflow_core.graph.model import ConfigDef, Delayed, FlowDef, ParameterDef, StepDef
from metaflow_core.graph.parameter_file import read_file
from metaflow_core.graph.paths import shown_path
from metaflow_core.graph.raised import told
from metaflow_core.names import is_identifier, show

RESERVED_NAMES = frozenset(
    (
        *("params", "with", "tag", "tags", "namespace", "obj", "decospecs", "run-id-file", "max-num-splits", "help"),
        *("max-workers", "max-log-size", "user-namespace", "run-id", "task-id", "runner-attribute-file"),
        *("package-code", "json-log"),
    )
)
RESERVED_ARTIFACTS = frozenset(("name", "next", "input", "index", "foreach_stack", "merge_artifacts"))

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_EXPECTS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "json": "JSON"}
_BOOLS = dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True)
_BOOLS |= dict.fromkeys(("false", "f", "no", "n", "off", "0"), False)


class ParameterContext(NamedTuple):
    """What a function that computes a default receives."""

    flow_name: str
    user_name: str
    parameter_name: str = ""
    logger: Callable[[str], None] = print
    ds_type: str = "local"
    configs: Any = None

    @classmethod
    def of(cls, flow: FlowDef, user: str) -> ParameterContext:
        """The context of a run of ``flow`` by ``user``; functions log to stderr, and see the kind of artifact store."""
        store = str(settings.get("DEFAULT_DATASTORE"))
        scheme = store.partition("://")[0] if "://" in store else "local"
        context = cls(flow.name, user, logger=_log, ds_type="local" if scheme == "file" else scheme)
        if not flow.configs:
            return context
        from metaflow_core.config_value import ConfigValue

        return context._replace(configs=ConfigValue(flow.config_values, "configs"))


class Given:
    """A value that was given to a run, converted. None can be one, and differs from no value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def key(parameter: ParameterDef) -> str:
    """Where :func:`evaluate` finds a value: an artifact may be called like one of the options of ``run``."""
    return f"parameter_{parameter.artifact}"


def check_parameters(flow: FlowDef) -> None:
    """Raise ``LintWarn`` for the first parameter, or config, whose name, type or default can't work."""
    seen: dict[str, ParameterDef | ConfigDef] = {}
    for parameter in flow.given:
        _check_name(parameter)
        for name in (parameter.name.lower().replace("_", "-"), f"self.{parameter.artifact}".lower()):
            if name in seen:
                _refuse(
                    parameter,
                    f"the name is taken by {_what(seen[name]).lower()} {seen[name].name!r}; case, dashes and "
                    f"underscores make no difference. Rename one of them.",
                )
            seen[name] = parameter
        if isinstance(parameter, ParameterDef):
            _check_type(parameter)


def kind(parameter: ParameterDef) -> str:
    """``str``, ``int``, ``float``, ``bool``, ``json``, ``file``, or ``click`` for a type of click's."""
    given = parameter.type
    if given is None:
        default = None if is_computed(parameter.default) else parameter.default
        for of_default in (bool, int, float):
            if isinstance(default, of_default):
                return of_default.__name__
        if isinstance(default, (dict, list)) and parameter.separator is None:
            return "json"
        return "str"
    if given in (str, int, float, bool):
        return str(given.__name__)
    if given in ("str", "int", "float", "bool", "json", "file"):
        return str(given)
    if hasattr(given, "convert") and not isinstance(given, type):
        return "click"
    _refuse(
        parameter,
        f"type={given.__name__ if isinstance(given, type) else show(given)} is no type of a parameter. "
        f"Use str, int, float, bool, JSONType or a click type.",
    )


def is_computed(default: object) -> bool:
    """Whether a default is known only when the flow is run."""
    return callable(default) or isinstance(default, Delayed)


def convert(parameter: ParameterDef, value: Any) -> Any:
    """What a value that was given becomes: text from a command line, or a value from a program.

    ``ParameterFieldTypeMismatch`` when it does not fit. For a file ``value`` is a path, and the result its content.

    >>> convert(ParameterDef("alpha", type=float), "0.5")
    0.5
    >>> convert(ParameterDef("names", separator=","), "a,b")
    ['a', 'b']
    """
    of_kind = kind(parameter)
    if of_kind == "file":
        return read_file(parameter, value)
    if of_kind == "click":
        return _with_click(parameter, value)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()  # a numpy scalar
    try:
        if parameter.separator is not None:
            return _split(value, parameter.separator)
        return _CONVERTERS[of_kind](value)
    except (ValueError, OverflowError, RecursionError):
        expected = _EXPECTS[of_kind]
        if parameter.separator is not None:
            expected = f"text with {parameter.separator!r} between the elements"
        raise ParameterFieldTypeMismatch(
            f"Parameter {parameter.name!r} must be {expected}, not {show(value)}."
        ) from None


def accept(flow: FlowDef, values: Mapping[str, Any]) -> dict[str, Given]:
    """Values that a program gives, by parameter name, converted for :func:`evaluate`.

    Dashes and underscores are the same. ``MetaflowUsageError`` for an unknown name.
    """
    known = {p.name.replace("-", "_"): p for p in flow.parameters}
    accepted = {}
    for name, value in values.items():
        parameter = known.get(name.replace("-", "_"))
        if parameter is None:
            names = ", ".join(p.name for p in flow.parameters) or "none"
            raise MetaflowUsageError(f"The flow {flow.name!r} has no parameter {name!r}. Its parameters: {names}.")
        accepted[key(parameter)] = Given(convert(parameter, value))
    return accepted


def evaluate(
    flow: FlowDef, given: Mapping[str, Any], context: ParameterContext, required: bool = True
) -> dict[str, Any]:
    """The value of every parameter, by artifact name.

    ``given`` comes from :func:`accept`, or is what click passes to a command with the flow's options; other keys are
    passed over. Defaults that are functions are called, once, with ``context`` and the parameter's name:
    ``ParameterFieldFailed`` when one raises, ``ParameterFieldTypeMismatch`` when its result does not fit. Without a
    value and a default, a required parameter is a ``MetaflowUsageError``, and None when ``required`` is False.
    """
    values = {}
    for parameter in flow.parameters:
        value = given.get(key(parameter))
        values[parameter.artifact] = value.value if value is not None else _default(parameter, context, required)
    return values


def _default(parameter: ParameterDef, context: ParameterContext, required: bool) -> Any:
    default = parameter.default
    if callable(default):
        try:
            default = default(context._replace(parameter_name=parameter.name))
        except Exception as error:
            raise ParameterFieldFailed(
                f"The function that computes the default of parameter {parameter.name!r}{where(parameter)} "
                f"{told(error)}"
            ) from error
        if default is not None and not _fits(parameter, default):
            raise ParameterFieldTypeMismatch(
                f"The function that computes the default of parameter {parameter.name!r}{where(parameter)} returned "
                f"{show(default)}, and the parameter must be {_EXPECTS[kind(parameter)]}. "
                f"Let it return that, or give the parameter another type."
            )
    if default is None:
        if parameter.required and required:
            raise MetaflowUsageError(f"The parameter {parameter.name!r} is required: give it a value.")
        return None
    try:
        return convert(parameter, default)
    except ParameterFieldTypeMismatch as error:
        begin = f"Parameter {parameter.name!r}"
        raise type(error)(str(error).replace(begin, begin + where(parameter), 1), *_place(parameter)) from None


def _fits(parameter: ParameterDef, default: Any) -> bool:
    """Whether a default has the type of its parameter. Text that would have to be converted does not."""
    expected: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}
    of_kind = kind(parameter)
    if parameter.separator is not None and isinstance(default, (list, tuple)):
        return all(isinstance(element, str) for element in default)
    if of_kind not in expected:
        return True
    if isinstance(default, bool) and of_kind != "bool":
        return False
    return isinstance(default, expected[of_kind])


def _check_name(parameter: ParameterDef | ConfigDef) -> None:
    if not isinstance(parameter.name, str) or not _NAME.fullmatch(parameter.name) or len(parameter.name) > 200:
        _refuse(parameter, "a name has letters, digits, dashes and underscores, and no digit or dash first.")
    if not is_identifier(parameter.artifact):
        _refuse(parameter, f"{show(parameter.artifact)} can't name an artifact.")
    if parameter.name.lower().replace("_", "-") in RESERVED_NAMES or parameter.artifact in RESERVED_ARTIFACTS:
        _refuse(parameter, "the name is reserved, because it means something else in a command or a step. Rename it.")


def _check_type(parameter: ParameterDef) -> None:
    of_kind = kind(parameter)
    if parameter.separator is not None:
        if of_kind != "str":
            _refuse(parameter, f"separator goes with text, not with type {of_kind}.")
        if not isinstance(parameter.separator, str) or not parameter.separator:
            _refuse(parameter, f"separator must be text, not {show(parameter.separator)}.")
    default = parameter.default
    if default is None or is_computed(default):
        return
    if not _fits(parameter, default):
        raise ParameterFieldTypeMismatch(
            f"Parameter {parameter.name!r}{where(parameter)}: the default {show(default)} is a "
            f"{type(default).__name__}, but the type is {of_kind}. Make them agree.",
            *_place(parameter),
        )
    if of_kind in ("json", "click"):
        convert(parameter, default)


def _refuse(parameter: ParameterDef | ConfigDef, problem: str) -> NoReturn:
    what = _what(parameter)
    raise LintWarn(f"{what} {show(parameter.name)}{where(parameter)}: {problem}", *_place(parameter))


def _what(parameter: ParameterDef | ConfigDef) -> str:
    return "Parameter" if isinstance(parameter, ParameterDef) else "Config"


def _place(parameter: ParameterDef | ConfigDef) -> tuple[int | None, str | None]:
    return (parameter.location.line, parameter.location.file) if parameter.location else (None, None)


def where(given: ParameterDef | ConfigDef | StepDef | FlowDef) -> str:
    """Where it is defined, in brackets, to follow its name in a message."""
    location = given.location
    return f" ({shown_path(location.file)}, line {location.line})" if location else ""


def _with_click(parameter: ParameterDef, value: Any) -> Any:
    import click

    try:
        return parameter.type.convert(value, None, None)
    except click.UsageError as error:
        raise ParameterFieldTypeMismatch(f"Parameter {parameter.name!r}: {error.message}") from None


def _log(text: str) -> None:
    print(text, file=sys.stderr)


def _split(value: Any, separator: str) -> list[str]:
    if isinstance(value, str):
        if value.startswith("["):  # a list that a program has given, which can't know of the separator
            with suppress(ValueError):
                return [_to_str(element) for element in json.loads(value)]
        return value.split(separator) if value else []
    if isinstance(value, (list, tuple)):
        return [_to_str(element) for element in value]
    raise ValueError


def _to_str(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # numbers of R are doubles: 5 means "5"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError
    return str(value)


def _to_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)


def _to_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError
    return float(value)


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if text not in _BOOLS:
        raise ValueError
    return _BOOLS[text]


def _to_json(value: Any) -> Any:
    import json

    if isinstance(value, str):
        return json.loads(value)
    try:
        json.dumps(value)
    except TypeError:
        raise ValueError from None
    return value


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "str": _to_str,
    "int": _to_int,
    "float": _to_float,
    "bool": _to_bool,
    "json": _to_json,
}
