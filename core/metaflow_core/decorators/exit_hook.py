"""``@exit_hook``: functions that are called when a run has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from metaflow_core.decorators.interface import FlowDecorator
from metaflow_core.errors import InvalidDecoratorAttribute
from metaflow_core.names import show

if TYPE_CHECKING:
    from metaflow_core.graph.model import FlowDef


class ExitHook(FlowDecorator):
    """Call functions after the run: those in ``on_success`` when it has succeeded, else those in ``on_error``.

    A function that takes an argument is given the run.
    """

    name = "exit_hook"
    defaults: ClassVar[Mapping[str, Any]] = {"on_success": [], "on_error": []}

    def check(self, flow: FlowDef) -> None:
        if not (self.functions("on_success") or self.functions("on_error")):
            raise InvalidDecoratorAttribute(
                f"@exit_hook on {self.where} calls nothing. Give it functions, as on_success or as on_error."
            )

    def functions(self, when: str) -> list[Callable[..., Any]]:
        """The functions of ``on_success`` or ``on_error``. ``InvalidDecoratorAttribute`` for what is none."""
        given = self.attributes[when]
        if given is None:
            return []
        found = list(given) if isinstance(given, (list, tuple)) else [given]
        for one in found:
            if not callable(one):
                raise InvalidDecoratorAttribute(
                    f"@exit_hook on {self.where}: {when} must be a list of functions, and {show(one)} is none."
                )
            takes_run(one, f"@exit_hook on {self.where}: {when}")
        return found


def takes_run(function: Callable[..., Any], where: str = "@exit_hook") -> bool:
    """Whether the function takes an argument, which is the run. ``InvalidDecoratorAttribute`` if it needs more."""
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return True
    for given in ((object(),), ()):
        try:
            signature.bind(*given)
        except TypeError:
            continue
        return bool(given)
    raise InvalidDecoratorAttribute(
        f"{where}: {hook_name(function)}{signature} needs more than one argument. It gets the run, or nothing."
    )


def hook_name(function: Callable[..., Any]) -> str:
    """What to call a function in a message."""
    return str(getattr(function, "__name__", None) or type(function).__name__)
