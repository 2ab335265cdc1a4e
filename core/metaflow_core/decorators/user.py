"""Decorators that users define, in whichever language: what the core needs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from metaflow_core.decorators.interface import StepDecorator
from metaflow_core.plugins import hook

if TYPE_CHECKING:
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import DecoratorSpec, FlowDef, StepDef


class StepCode(Protocol):
    """The code of a decorator of steps. ``spec`` is the one that holds it, with the arguments."""

    is_mutator: ClassVar[bool]  # False

    def check(self, spec: DecoratorSpec, flow: FlowDef, step: StepDef) -> None:
        """Refuse a use that can't work, before the run starts."""

    def around(self, spec: DecoratorSpec, state: TaskState, body: Callable[[], None]) -> None:
        """Run in the task, and call ``body`` unless the step is to be skipped or replaced."""


class Mutation(Protocol):
    """The code of a mutator, which changes a flow before it is checked."""

    is_mutator: ClassVar[bool]  # True

    def mutate(self, spec: DecoratorSpec, flow: FlowDef, step: StepDef | None) -> None:
        """Change the flow; ``step`` is the one on which the mutator stands, None when it stands on the flow."""


class UserDecorator(StepDecorator):
    """A decorator on a step that the user has defined."""

    def __init__(self, spec: DecoratorSpec, where: str) -> None:
        self.where = where
        self.attributes = dict(spec.attributes)
        self._spec = spec

    def check(self, flow: FlowDef, step: StepDef) -> None:
        self._spec.code.check(self._spec, flow, step)

    def around(self, state: TaskState, body: Callable[[], None]) -> None:
        self._spec.code.around(self._spec, state, body)


def of_module(name: str, where: str, folder: str | None = None) -> Callable[[Mapping[str, Any]], DecoratorSpec] | None:
    """Makes the decorator that ``module.name`` names of its arguments; None when no language has modules of that kind.

    ``folder`` is that of the flow's file. An exception says, beginning with ``where``, why it can't be had.
    """
    found: Callable[[Mapping[str, Any]], DecoratorSpec] | None = hook().user_decorator(
        name=name, where=where, folder=folder
    )
    return found
