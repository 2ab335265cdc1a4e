"""`FlowSpec`: the parent of every flow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from metaflow_core.errors import InvalidNextException, MetaflowException

from metaflow.decorators import mark_of

if TYPE_CHECKING:
    from metaflow_core.engine.state import TaskState

__all__ = ["FlowSpec", "InvalidNextException"]

_ABSENT = object()


class FlowSpec:
    """A flow. Subclass it, mark methods with `@step`, and make an instance to get its command line:

        from metaflow import FlowSpec, step

        class HelloFlow(FlowSpec):
            @step
            def start(self):
                self.greeting = "hello"
                self.next(self.end)

            @step
            def end(self):
                print(self.greeting)

        if __name__ == "__main__":
            HelloFlow()

    What a step assigns to ``self`` is an artifact: stored with the run, and there in the steps that follow.
    """

    _state: TaskState | None = None  # of the running task; None everywhere else

    def __init__(self, use_cli: bool = True) -> None:
        """With ``use_cli`` carry out the command in ``sys.argv`` and end the program with its exit code."""
        if use_cli:
            from metaflow_core.cli.flow import main

            from metaflow.source import read_flow

            try:
                flow = read_flow(type(self))
            except MetaflowException as error:
                print(f"{error.headline}:\n    {error}", file=sys.stderr)
                sys.exit(error.exit_code)
            main(flow, _program())

    # --- artifacts -------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        # Only called when nothing else has the name, so properties, methods and constants cost nothing.
        state = self._state
        if state is not None and not name.startswith("__"):
            try:
                return state.get(name)
            except KeyError:
                pass
        defined = _defined(type(self)).get(name, _ABSENT)
        if defined is not _ABSENT:
            # A property of the user's class raised AttributeError, which brought us here: let it say why.
            return defined.__get__(self, type(self))
        if name == "name":  # in a task it is an artifact
            return type(self).__name__
        raise AttributeError(_absent(self, name), name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        state = self._state
        defined = _defined(type(self)).get(name, _ABSENT)
        if defined is _ABSENT and state is not None:
            state.set(name, value)
        elif state is None or (hasattr(type(defined), "__set__") and name not in vars(FlowSpec)):
            # A property of the user's class sets something else.
            object.__setattr__(self, name, value)
        else:
            _check_assignable(self, name, defined)
            state.set(name, value)
            self.__dict__[name] = value  # hides the default that the class has

    def __delattr__(self, name: str) -> None:
        state = self._state
        defined = _defined(type(self)).get(name, _ABSENT)
        if state is None or hasattr(type(defined), "__delete__"):
            object.__delattr__(self, name)
            return
        if defined is not _ABSENT and name not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.{name} belongs to the flow and can't be deleted in a step.")
        self.__dict__.pop(name, None)
        try:
            state.delete(name)
        except KeyError:
            raise AttributeError(_absent(self, name), name=name, obj=self) from None

    def __iter__(self) -> Iterator[Any]:
        """The steps, as bound methods, those of base classes first."""
        return (getattr(self, name) for name, value in _defined(type(self)).items() if mark_of(value) is not None)

    def __getstate__(self) -> NoReturn:
        raise MetaflowException(
            f"The flow {type(self).__name__} can't be stored or copied (it was `self` in a step, or something that "
            f"holds it, such as a bound method or a lambda that uses `self`). Store the artifacts you need instead."
        )

    # --- what a step can ask ---------------------------------------------------------------------------------------

    @property
    def input(self) -> Any:
        """The element of the foreach that this task works on; None outside a foreach."""
        return self._task("self.input").input

    @property
    def index(self) -> int | None:
        """The place of :attr:`input` in the foreach, from 0; None outside a foreach."""
        return self._task("self.index").index

    def foreach_stack(self) -> list[tuple[int, int, Any]]:
        """The foreaches around this task, outermost first, as ``(index, number of splits, element)``."""
        return self._task("self.foreach_stack()").foreach_stack()

    def merge_artifacts(self, inputs: Any, exclude: list[str] | None = None, include: list[str] | None = None) -> None:
        """In a join, take over the artifacts on which all ``inputs`` agree.

        What is already set on ``self`` is kept. ``exclude`` leaves artifacts out; ``include`` takes only these.
        Artifacts that differ raise ``UnhandledInMergeArtifactsException``, and nothing is set.
        """
        self._task("self.merge_artifacts()").merge_artifacts(inputs, exclude, include)

    def next(
        self,
        *steps: Any,
        foreach: str | None = None,
        num_parallel: int | None = None,
        condition: str | None = None,
        **unknown: Any,
    ) -> None:
        """Say which step comes next; the last statement of every step but the last one.

            self.next(self.train)                                       # one step
            self.next(self.a, self.b)                                   # branches that run side by side
            self.next(self.train, foreach="parameters")                 # one task for each element
            self.next({"big": self.a, "small": self.b}, condition="size")  # one of them, by the value of an artifact

        ``InvalidNextException`` when that does not fit the flow.
        """
        task = self._task("self.next()")
        if unknown:
            raise InvalidNextException(
                f"Step {task.step.name}: self.next() does not take {', '.join(unknown)}. "
                f"It takes foreach, num_parallel and condition."
            )
        cases = None
        if any(isinstance(target, dict) for target in steps):
            if len(steps) > 1:
                raise InvalidNextException(f"Step {task.step.name}: self.next() takes one dict and nothing beside it.")
            cases = {key: self._step_name(target) for key, target in steps[0].items()}
            steps = ()
        task.next(
            tuple(self._step_name(target) for target in steps),
            foreach=foreach,
            num_parallel=num_parallel,
            cases=cases,
            condition=condition,
        )

    def _step_name(self, target: Any) -> str:
        function = getattr(target, "__func__", None)
        if getattr(target, "__self__", None) is self and mark_of(target) is not None:
            for name, value in _defined(type(self)).items():
                if value is function:
                    return name
        raise InvalidNextException(
            f"Step {self._task('self.next()').step.name}: self.next() takes steps of the flow, such as self.end, not "
            f"{getattr(target, '__name__', None) or target!r}, which is no step."
        )

    def _task(self, what: str) -> TaskState:
        state = self._state
        if state is None:
            raise MetaflowException(f"{what} can be used in a step only, while the flow {type(self).__name__} runs.")
        return state


def task_instance(cls: type[FlowSpec], state: TaskState) -> FlowSpec:
    """The flow as a step's ``self``: without ``__init__``, reading and setting artifacts through ``state``."""
    flow = cls.__new__(cls)
    flow.__dict__["_state"] = state
    # An artifact that a step before this one set over a default of the class (`_cache = None`) hides that default.
    for name in state.names():
        if name.startswith("_") and name in _defined(cls):
            flow.__dict__[name] = state.get(name)
    return flow


def _defined(cls: type) -> dict[str, Any]:
    """What the class of a flow defines, its bases included, by name."""
    found: dict[str, Any] | None = cls.__dict__.get("_metaflow_defined")
    if found is None:
        found = {}
        for base in reversed(cls.__mro__):
            if base is not object:
                found.update(vars(base))
        cls._metaflow_defined = found  # type: ignore[attr-defined]
    return found


def _check_assignable(flow: FlowSpec, name: str, defined: Any) -> None:
    cls = type(flow).__name__
    if name in _defined(FlowSpec):
        raise AttributeError(f"self.{name} can't be assigned: FlowSpec uses the name itself. Choose another name.")
    if callable(defined) or hasattr(type(defined), "__get__"):
        from metaflow.parameters import Parameter

        if isinstance(defined, Parameter):
            raise AttributeError(f"self.{name} can't be assigned: it is a parameter of {cls}. Choose another name.")
        if hasattr(defined, "_source"):
            raise AttributeError(f"self.{name} can't be assigned: it is a config of {cls}. Choose another name.")
        what = "a step" if mark_of(defined) is not None else "defined as code in the class"
        raise AttributeError(f"self.{name} can't be assigned: it is {what} of {cls}. Choose another name.")
    if not name.startswith("_"):
        raise AttributeError(f"self.{name} can't be assigned: it is a constant of {cls}. Choose another name.")


def _absent(flow: FlowSpec, name: str) -> str:
    cls = type(flow).__name__
    state = flow._state
    if state is None:
        return f"The flow {cls!r} has no attribute {name!r}. Artifacts exist while a step runs, and in its results."
    return f"Step {state.step.name!r} of flow {cls!r} has no artifact {name!r}. {state.advise_on(name)}"


def _program() -> list[str]:
    """The command that started this program, without its arguments."""
    count = len(sys.argv) - 1
    command = sys.orig_argv[: len(sys.orig_argv) - count]
    if sys.executable and len(command) > 1 and sys.orig_argv[len(command) :] == sys.argv[1:]:
        return [sys.executable, *command[1:]]
    return [sys.executable, sys.argv[0]]
