"""Decorators that were written in R: they run with the step's function, in one call of R."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaflow_core.errors import BadStepDecoratorException

if TYPE_CHECKING:
    from collections.abc import Callable

    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import DecoratorSpec, FlowDef, StepDef

_around: list[tuple[str, Any]] = []


class RCode:
    """The function `around` of `user_decorator()`."""

    is_mutator = False

    def __init__(self, function: Any) -> None:
        self._function = function

    def check(self, spec: DecoratorSpec, flow: FlowDef, step: StepDef) -> None:
        """Refuse a step that is not in R."""
        if step.language != "r":
            raise BadStepDecoratorException(
                f'user_decorator("{spec.name}") on step {step.name} is written in R, and the step in Python. Write the '
                f'decorator in Python too, and give it to the step as decorator("module.{spec.name}").'
            )

    def around(self, spec: DecoratorSpec, state: TaskState, body: Callable[[], None]) -> None:
        """Note the function for the step, whose turn comes next."""
        _around.append((spec.name, self._function))
        body()


def taken() -> list[tuple[str, Any]]:
    """The names and functions around the step that runs now, the outermost first."""
    found = _around[:]
    _around.clear()
    return found
