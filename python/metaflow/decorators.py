"""`@step` and every other decorator.

A decorator only records its name and arguments on the step or on the flow; what it does lies in the core, which also
checks the arguments. So a decorator of a plugin needs nothing here: :func:`find` makes its recorder from its name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from metaflow_core.graph.model import DecoratorSpec

F = TypeVar("F", bound=Callable[..., Any])

MARK = "_metaflow_step"
FLOW_DECORATORS = "_metaflow_flow_decorators"
FLOW_MUTATORS = "_metaflow_flow_mutators"

_NEVER_RUNS = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR


class StepMark:
    """What `@step` and the decorators above it leave on a function."""

    __slots__ = ("decorators", "end", "start")

    def __init__(self, start: bool, end: bool) -> None:
        self.start = start
        self.end = end
        self.decorators: list[DecoratorSpec] = []


def mark_of(function: object) -> StepMark | None:
    """The mark of a step's function or bound method; None when it is no step."""
    mark = getattr(function, MARK, None) if callable(function) else None
    return mark if isinstance(mark, StepMark) else None


@overload
def step(function: F, /) -> F: ...
@overload
def step(*, start: bool = ..., end: bool = ...) -> Callable[[F], F]: ...
def step(function: Any = None, /, *, start: bool = False, end: bool = False) -> Any:
    """Make a method of a flow a step.

    A flow starts with the step named ``start`` and ends with the one named ``end``, unless another step is marked by
    ``@step(start=True)`` or ``@step(end=True)``.

        class HelloFlow(FlowSpec):
            @step
            def start(self):
                self.next(self.end)

            @step
            def end(self):
                print("done")
    """
    if function is None:
        return lambda f: _mark(f, start, end)
    return _mark(function, start, end)


def _mark(function: Any, start: bool, end: bool) -> Any:
    from metaflow_core.errors import BadStepDecoratorException

    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        raise BadStepDecoratorException(
            f"@step makes a method of a flow a step, but it stands above {_describe(function)}. "
            f"Write it directly above `def name(self):`."
        )
    if _innermost(function).__code__.co_flags & _NEVER_RUNS:
        raise BadStepDecoratorException(
            f"The step {function.__name__!r} must be a plain method: calling an `async` method, or one with `yield`, "
            f"would not run its body."
        )
    if mark_of(function) is not None:
        raise BadStepDecoratorException(f"@step stands twice above {function.__name__!r}. Remove one of them.")
    setattr(function, MARK, StepMark(start, end))
    return function


def _innermost(function: Any) -> Any:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def _describe(thing: object) -> str:
    if isinstance(thing, type):
        return f"the class {thing.__name__!r}"
    name = getattr(thing, "__name__", None) or getattr(getattr(thing, "__func__", None), "__name__", None)
    return f"the {type(thing).__name__} {name!r}" if name else f"a value of type {type(thing).__name__}"


class Decorator:
    """Records itself on a step (or a flow): ``@name``, ``@name()`` and ``@name(argument=value)`` all work.

    ``repeatable`` decorators may stand more than once above the same step.
    """

    def __init__(self, name: str, doc: str | None = None, repeatable: bool = False) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__ = doc or f"The decorator `@{name}`."
        self.repeatable = repeatable

    def __repr__(self) -> str:
        return f"<decorator @{self.__name__}>"

    def __call__(self, *args: Any, **attributes: Any) -> Any:
        from metaflow_core.errors import InvalidDecoratorAttribute

        spec = self._spec(attributes)
        if not args:
            return lambda target: self._record(target, spec)
        if len(args) > 1 or attributes or not (callable(args[0]) or hasattr(args[0], "__get__")):
            raise InvalidDecoratorAttribute(
                f"@{self.__name__} takes its arguments by name, as in @{self.__name__}(name=value), not {args[0]!r}."
            )
        return self._record(args[0], spec)

    def _spec(self, attributes: Mapping[str, Any]) -> DecoratorSpec:
        from metaflow_core.graph.model import DecoratorSpec

        return DecoratorSpec(self.__name__, attributes)

    def _record(self, target: Any, spec: DecoratorSpec) -> Any:
        raise NotImplementedError


class StepDecorator(Decorator):
    """A decorator that stands above `@step`."""

    def _record(self, target: Any, spec: DecoratorSpec) -> Any:
        from metaflow_core.errors import BadStepDecoratorException, DuplicateStepDecoratorException

        mark = None if isinstance(target, type) else mark_of(target)
        if mark is None:
            raise BadStepDecoratorException(
                f"@{spec.name} decorates a step, but it stands above {_describe(target)}, which is no step (yet). "
                f"Write @{spec.name} above @step, and both above `def name(self):`."
            )
        if not self.repeatable and any(other.name == spec.name for other in mark.decorators):
            raise DuplicateStepDecoratorException(
                f"The step {target.__name__!r} has the decorator @{spec.name} twice. Keep one of them."
            )
        mark.decorators.insert(0, spec)  # decorators apply from the bottom up; keep the order of the source
        return target


class FlowDecorator(Decorator):
    """A decorator that stands above the class of a flow."""

    def _record(self, target: Any, spec: DecoratorSpec) -> Any:
        from metaflow_core.errors import BadFlowDecoratorException, DuplicateFlowDecoratorException

        from metaflow.flowspec import FlowSpec

        if not isinstance(target, type) or not issubclass(target, FlowSpec):
            raise BadFlowDecoratorException(
                f"@{spec.name} decorates a flow, but it stands above {_describe(target)}. "
                f"Write it directly above `class Name(FlowSpec):`."
            )
        if not self.repeatable and any(other.name == spec.name for other in flow_decorators(target)):
            raise DuplicateFlowDecoratorException(
                f"The flow {target.__name__!r} has the decorator @{spec.name} twice, or inherits it from another flow. "
                f"Keep one of them."
            )
        own = target.__dict__.get(FLOW_DECORATORS, [])
        setattr(target, FLOW_DECORATORS, [spec, *own])
        return target


# Built-in decorators are known by name, so that importing one does not load every plugin.
BUILT_IN: dict[str, Decorator] = {
    decorator.__name__: decorator
    for decorator in (
        StepDecorator("retry", "Run a failed task again: ``@retry(times=3, minutes_between_retries=2)``."),
        StepDecorator(
            "catch",
            "Go on after a failure: ``@catch(var=None, print_exception=True)``. "
            "The artifact ``var`` holds the exception.",
        ),
        StepDecorator("timeout", "End a task that runs too long: ``@timeout(seconds=0, minutes=0, hours=0)``."),
        StepDecorator("environment", "Set environment variables before the step starts: ``@environment(vars={})``."),
        StepDecorator(
            "resources",
            "What a task needs, in MB where it is memory or disk: "
            "``@resources(cpu=1, gpu=0, disk=None, memory=4096, shared_memory=None)``.",
        ),
        StepDecorator(
            "secrets",
            "Put secrets into the environment of the task: "
            "``@secrets(sources=['env.DB_PASSWORD'], role=None, allow_override=False)``.",
        ),
        FlowDecorator(
            "exit_hook", "Call functions when a run has ended: ``@exit_hook(on_success=[...], on_error=[...])``."
        ),
        FlowDecorator(
            "project",
            "Let the flow belong to a project: ``@project(name='fraud', branch=None, production=False)``, and on the "
            "command line ``--branch NAME`` and ``--production``. See ``current.project_name`` and ``branch_name``.",
        ),
        FlowDecorator(
            "schedule",
            "When the deployed flow starts: ``@schedule(hourly=True)``, ``daily`` (by default), ``weekly``, or "
            "``@schedule(cron='0 10 * * *', timezone='Europe/Berlin')``.",
        ),
        FlowDecorator(
            "trigger",
            "Start the deployed flow when all of the events have come: ``@trigger(event='data_updated')``, "
            "``@trigger(events=['a', {'name': 'b', 'parameters': {'alpha': 'field'}}])``. It may stand several times: "
            "any of them starts the flow. See ``current.trigger``.",
            repeatable=True,
        ),
        FlowDecorator(
            "trigger_on_finish",
            "Start the deployed flow when other flows have succeeded: ``@trigger_on_finish(flow='TrainFlow')``, "
            "``@trigger_on_finish(flows=['TrainFlow', 'my_project.prod.OtherFlow'])``. See ``current.trigger.run``.",
            repeatable=True,
        ),
        StepDecorator("pypi", "Packages of PyPI for the step: ``@pypi(packages={'pandas': '2.2.3'}, python='3.11')``."),
        FlowDecorator("pypi_base", "Packages of PyPI for each step: ``@pypi_base(packages={}, python=None)``."),
        StepDecorator("conda", "Packages of conda for the step: ``@conda(packages={'gdal': '3.9'}, python='3.11')``."),
        FlowDecorator("conda_base", "Packages of conda for each step: ``@conda_base(packages={}, python=None)``."),
        StepDecorator(
            "r_packages",
            "R packages for a step that is written in R: ``@r_packages(packages={'cli': '3.6'}, library=None)``.",
        ),
        StepDecorator(
            "parallel", "A gang: the step of ``self.next(self.train, num_parallel=4)``, see ``current.parallel``."
        ),
    )
}


@functools.cache
def find(name: str) -> Decorator | None:
    """The decorator called ``name``, built in or of a plugin; None when there is none."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    from metaflow_core.decorators.provided import flow_decorator_classes, step_decorator_classes

    if name in step_decorator_classes():
        of_step = step_decorator_classes()[name]
        return StepDecorator(name, of_step.__doc__, of_step.repeatable)
    if name in flow_decorator_classes():
        of_flow = flow_decorator_classes()[name]
        return FlowDecorator(name, of_flow.__doc__, of_flow.repeatable)
    return None


def flow_mutators(cls: type) -> list[DecoratorSpec]:
    """The flow mutators of a class and of its bases, in the order in which they apply."""
    return [spec for base in reversed(cls.__mro__) for spec in base.__dict__.get(FLOW_MUTATORS, [])]


def flow_decorators(cls: type) -> list[DecoratorSpec]:
    """The flow decorators of a class and of its bases, those of the bases first."""
    return [spec for base in reversed(cls.__mro__) for spec in base.__dict__.get(FLOW_DECORATORS, [])]
