"""Decorators of steps that users define: `@user_step_decorator` and `UserStepDecorator`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

from metaflow_core.decorators.resolve import where
from metaflow_core.errors import BadStepDecoratorException, InvalidDecoratorAttribute, MetaflowException
from metaflow_core.graph.paths import shown_path
from metaflow_core.graph.raised import told
from metaflow_core.names import show

from metaflow.decorators import StepDecorator
from metaflow.flowspec import FlowSpec, task_instance

if TYPE_CHECKING:
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import DecoratorSpec, FlowDef, StepDef

_ARGUMENTS = "(step_name, flow, inputs=None, attributes=None)"
_GENERATOR = 0x20  # CO_GENERATOR

_instance: list[Any] = []  # the running task's state, and its flow


def flow_of(state: TaskState) -> FlowSpec:
    """The ``self`` of a task: that of the step when it is written in Python, and of every decorator around it."""
    if not _instance or _instance[0] is not state:
        _instance[:] = [state, task_instance(_class_of(state.flow, state.step), state)]
    found: FlowSpec = _instance[1]
    return found


def _class_of(flow: FlowDef, step: StepDef) -> type[FlowSpec]:
    bodies = [step.body, *(other.body for other in flow if flow.language == "python")]
    known = (body for body in bodies if isinstance(body, type) and issubclass(body, FlowSpec))
    return next(known, None) or type(flow.name, (FlowSpec,), {})


class _Code:
    """How both forms run around a step."""

    is_mutator = False

    def check(self, spec: DecoratorSpec, flow: FlowDef, step: StepDef) -> None:
        """Nothing is known to be wrong."""

    def _run(self, spec: DecoratorSpec, state: TaskState, asked: object, body: Callable[[], None]) -> None:
        """What the decorator has asked for: None runs the step, ``{}`` skips it, a function takes its place."""
        if asked is None:
            body()
        elif callable(asked):
            flow = flow_of(state)
            if state.inputs is not None and _takes(asked, 2):
                asked(flow, state.inputs)
            else:
                asked(flow)
        elif not (isinstance(asked, dict) and not asked):
            raise MetaflowException(
                f"@{spec.name} on step {state.step.name} asked for {show(asked)}. It can ask for nothing, which runs "
                f"the step, for {{}}, which skips it, or for a function of the flow, which takes its place."
            )


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


# --- generators -------------------------------------------------------------------------------------------------------


def user_step_decorator(function: Callable[..., Any]) -> UserDecorator:
    """Make a generator function a decorator of steps.

    What stands before its ``yield`` runs before the step, and what stands after it when the step has succeeded. An
    error of the step is raised at the ``yield``: ``try`` and ``finally`` work as they do around any code, and an error
    that is not raised again is handled, and the flow goes on.

        @user_step_decorator
        def timed(step_name, flow, inputs=None, attributes=None):
            start = time.time()
            yield
            flow.seconds = time.time() - start

    ``flow`` is the step's ``self``; ``inputs`` are those of a join, else None; ``attributes`` is a dict of the
    arguments in ``@timed(unit="ms")``. ``yield {}`` skips the step, and ``yield function`` calls ``function(flow)`` in
    its place; the task then leads on as the graph says. ``BadStepDecoratorException`` when it is no such function.
    """
    name = getattr(function, "__name__", None)
    if not isinstance(function, FunctionType) or not function.__code__.co_flags & _GENERATOR:
        raise BadStepDecoratorException(
            f"@user_step_decorator makes a function with one `yield` a decorator, and {name or show(function)!r} has "
            f"none. Write `def {name or 'my_decorator'}{_ARGUMENTS}:`, and `yield` where the step runs."
        )
    if not _takes(function, 4):
        raise BadStepDecoratorException(
            f"The decorator {name!r} must take {_ARGUMENTS}, not {inspect.signature(function)}."
        )
    return UserDecorator(function)


class UserDecorator(StepDecorator):
    """What `@user_step_decorator` makes of a function: ``@name`` and ``@name(argument=value)`` stand above `@step`."""

    def __init__(self, function: FunctionType) -> None:
        super().__init__(function.__name__, function.__doc__)
        self.__module__ = function.__module__
        self.__wrapped__ = function
        self._code = _Generator(function)

    def _spec(self, attributes: Mapping[str, Any]) -> DecoratorSpec:
        from metaflow_core.graph.model import DecoratorSpec

        return DecoratorSpec(self.__name__, attributes, self._code)


class _Generator(_Code):
    def __init__(self, function: FunctionType) -> None:
        self.module = function.__module__
        self._function = function

    def around(self, spec: DecoratorSpec, state: TaskState, body: Callable[[], None]) -> None:
        generator = self._function(state.step.name, flow_of(state), state.inputs, dict(spec.attributes))
        try:
            asked = next(generator)
        except StopIteration:
            raise MetaflowException(
                f"@{spec.name}{self._place()} on step {state.step.name} ended before its `yield`, so the step "
                f"did not run. To skip the step say `yield {{}}`."
            ) from None
        try:
            self._run(spec, state, asked, body)
        except BaseException as error:
            try:
                generator.throw(error)
            except StopIteration:
                return  # it has handled the error
        else:
            try:
                next(generator)
            except StopIteration:
                return
        place = self._place(generator.gi_frame.f_lineno if generator.gi_frame else None)
        generator.close()
        raise MetaflowException(
            f"@{spec.name} on step {state.step.name} came to a second `yield`{place}, and a step runs once. "
            f"Let each way through it meet one `yield`."
        )

    def _place(self, line: int | None = None) -> str:
        code = self._function.__code__
        return f" ({shown_path(code.co_filename)}, line {line or code.co_firstlineno})"


# --- classes ----------------------------------------------------------------------------------------------------------


class Applied(type):
    """A class that is a decorator: calling it decorates, and makes no instance."""

    _on_steps = True  # else on flows

    def __call__(cls, *args: Any, **attributes: Any) -> Any:
        if len(args) == 1 and not attributes and (callable(args[0]) or hasattr(args[0], "__get__")):
            return cls._record(args[0], cls._spec((), {}))
        return lambda target: cls._record(target, cls._spec(args, attributes))

    def _spec(cls, args: tuple[Any, ...], attributes: Mapping[str, Any]) -> DecoratorSpec:
        """The decorator with these arguments."""
        from metaflow_core.graph.model import DecoratorSpec

        return DecoratorSpec(cls.__name__, attributes, cls._code(args))  # type: ignore[attr-defined]

    def _record(cls, target: Any, spec: DecoratorSpec) -> Any:
        """Decorate ``target``."""
        return StepDecorator(cls.__name__)._record(target, spec)

    def _make(cls, spec: DecoratorSpec, where: str) -> Any:
        """The object that does the work, after its ``init``."""
        made = super().__call__()
        try:
            made.init(*spec.code.args, **spec.attributes)
        except InvalidDecoratorAttribute as error:
            raise InvalidDecoratorAttribute(f"@{spec.name} on {where}: {error}") from error
        except MetaflowException:
            raise
        except Exception as error:
            raise InvalidDecoratorAttribute(
                f"@{spec.name} on {where} can't be made with its arguments: it {told(error)}"
            ) from error
        return made


class WithArguments(metaclass=Applied):
    """The parent of decorators that are classes."""

    def init(self, *args: Any, **kwargs: Any) -> None:
        """Take the decorator's arguments. By default there are none."""
        if args or kwargs:
            given = ", ".join([*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())])
            raise InvalidDecoratorAttribute(
                f"it takes no arguments, and was given {given}. To take some, define `init(self, ...)` in the class."
            )


class UserStepDecorator(WithArguments):
    """The parent of a decorator of steps that is a class. One object is made for each task, and ``init`` called.

        class timed(UserStepDecorator):
            def init(self, unit="s"):
                self.unit = unit

            def pre_step(self, step_name, flow, inputs=None):
                self.start = time.time()

            def post_step(self, step_name, flow, inputs=None, exception=None):
                flow.time_used = (time.time() - self.start) * (1000 if self.unit == "ms" else 1)

    ``@timed`` and ``@timed(unit="ms")`` stand above `@step`.
    """

    skip_step: bool = False
    """Set it to True in :meth:`pre_step` to skip the step."""

    def pre_step(self, step_name: str, flow: FlowSpec, inputs: Any = None) -> Callable[..., Any] | None:
        """Runs before the step. A function that it returns is called with ``flow`` in the place of the step."""

    def post_step(
        self, step_name: str, flow: FlowSpec, inputs: Any = None, exception: BaseException | None = None
    ) -> bool | None:
        """Runs after the step, also when it has failed with ``exception``, which True says is handled.

        A method without the argument ``exception`` is called after success only.
        """

    @classmethod
    def _code(cls, args: tuple[Any, ...]) -> _Class:
        return _Class(cls, args)


class _Class(_Code):
    def __init__(self, cls: Applied, args: tuple[Any, ...]) -> None:
        self.module = cls.__module__
        self.args = args
        self._cls = cls

    def check(self, spec: DecoratorSpec, flow: FlowDef, step: StepDef) -> None:
        self._cls._make(spec, where(step))

    def around(self, spec: DecoratorSpec, state: TaskState, body: Callable[[], None]) -> None:
        made, name, flow = self._cls._make(spec, where(state.step)), state.step.name, flow_of(state)
        asked = made.pre_step(name, flow, state.inputs)
        after = made.post_step
        try:
            self._run(spec, state, {} if made.skip_step else asked, body)
        except BaseException as error:
            if not _takes(after, 4) or after(name, flow, state.inputs, error) is not True:
                raise
        else:
            after(name, flow, state.inputs)
