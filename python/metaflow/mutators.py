"""`FlowMutator` and `StepMutator`: classes that change which decorators and parameters a flow has, before it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from metaflow_core.decorators.provided import flow_decorator_classes, step_decorator_classes
from metaflow_core.decorators.resolve import where
from metaflow_core.errors import (
    BadFlowDecoratorException,
    DuplicateFlowDecoratorException,
    DuplicateStepDecoratorException,
    MetaflowException,
    UnknownFlowDecoratorException,
    UnknownStepDecoratorException,
)
from metaflow_core.graph.paths import shown_path
from metaflow_core.graph.raised import place
from metaflow_core.names import advise, show

from metaflow.decorators import FLOW_MUTATORS, Decorator, FlowDecorator, StepDecorator, _describe, find
from metaflow.flowspec import FlowSpec
from metaflow.parameters import Parameter
from metaflow.user_code import Applied, WithArguments

if TYPE_CHECKING:
    from metaflow_core.graph.model import DecoratorSpec, FlowDef, ParameterDef, StepDef


class _Mutable:
    """What a mutable step and a mutable flow have in common: decorators.

    ``duplicates`` says what happens to a decorator that is there already: ``IGNORE`` keeps it, ``OVERRIDE`` replaces
    it, ``ERROR`` raises ``DuplicateStepDecoratorException`` or ``DuplicateFlowDecoratorException``.
    """

    IGNORE = "ignore"
    OVERRIDE = "override"
    ERROR = "error"

    _what: str
    _specs: list[DecoratorSpec]
    _kind: type[Decorator]
    _unknown: type[MetaflowException]
    _duplicate: type[MetaflowException]

    @property
    def decorator_specs(self) -> list[tuple[str, str, tuple[Any, ...], dict[str, Any]]]:
        """The decorators, the outermost first: name, module, and the arguments by position and by name."""
        return [
            (spec.name, getattr(spec.code, "module", "metaflow"), getattr(spec.code, "args", ()), dict(spec.attributes))
            for spec in self._specs
        ]

    def add_decorator(
        self,
        deco: Any,
        deco_args: Sequence[Any] | None = None,
        deco_kwargs: Mapping[str, Any] | None = None,
        duplicates: str = IGNORE,
    ) -> None:
        """Add a decorator: its name (``"retry"``, ``"module.name"``), or the decorator itself, with its arguments."""
        self._add(self._spec_of(deco, tuple(deco_args or ()), dict(deco_kwargs or {})), duplicates)

    def _add(self, spec: DecoratorSpec, duplicates: str) -> None:
        if duplicates not in (self.IGNORE, self.OVERRIDE, self.ERROR):
            raise MetaflowException(
                f"add_decorator() on {self._what}: duplicates is IGNORE, OVERRIDE or ERROR, not {show(duplicates)}."
            )
        there = [i for i, other in enumerate(self._specs) if other.name == spec.name]
        repeatable = spec.code is None and getattr(find(spec.name), "repeatable", False) and duplicates != self.OVERRIDE
        if not there or (repeatable and spec not in self._specs):
            self._specs.append(spec)
        elif duplicates == self.ERROR:
            raise self._duplicate(f"It adds @{spec.name} to {self._what}, which has it. Keep one of them.")
        elif duplicates == self.OVERRIDE:
            self._specs[there[0]] = spec

    def remove_decorator(self, deco_name: str, deco_args: Any = None, deco_kwargs: Any = None) -> bool:
        """Remove a decorator, with these arguments if any are given. Whether there was one."""
        keep = [
            spec
            for spec in self._specs
            if spec.name != deco_name
            or (deco_args is not None and tuple(deco_args) != getattr(spec.code, "args", ()))
            or (deco_kwargs is not None and dict(deco_kwargs) != dict(spec.attributes))
        ]
        removed = len(keep) < len(self._specs)
        self._specs[:] = keep
        return removed

    def _spec_of(self, deco: Any, args: tuple[Any, ...], attributes: dict[str, Any]) -> DecoratorSpec:
        on_steps = self._kind is StepDecorator
        kind = "steps" if on_steps else "flows"
        if isinstance(deco, Applied) and deco._on_steps and on_steps:
            return deco._spec(args, attributes)
        found = deco
        if isinstance(deco, str):
            if on_steps and "." in deco:
                from metaflow.user_module import load

                return load(deco, f"A mutator of {self._what}")(attributes)
            found = find(deco)
        if not isinstance(found, self._kind):
            name = f"@{deco}" if isinstance(deco, str) else show(deco)
            known = step_decorator_classes() if on_steps else flow_decorator_classes()
            advice = advise(str(deco), known, "Known")
            raise self._unknown(f"It adds {name} to {self._what}, and there is no such decorator of {kind}. {advice}")
        if args:
            raise MetaflowException(f"@{found.__name__} takes its arguments by name: deco_kwargs={{...}}.")
        return found._spec(attributes)


class MutableStep(_Mutable):
    """A step that a mutator can change."""

    _kind, _unknown, _duplicate = StepDecorator, UnknownStepDecoratorException, DuplicateStepDecoratorException

    def __init__(self, flow: FlowDef, step: StepDef) -> None:
        self._flow, self._step = flow, step
        self._what, self._specs = f"step {step.name}", step.decorators

    @property
    def name(self) -> str:
        """The step's name."""
        return self._step.name

    @property
    def flow(self) -> MutableFlow:
        """The flow of the step."""
        return MutableFlow(self._flow)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"A MutableStep has no {name!r}. It has: name, flow, decorator_specs, add_decorator, remove_decorator. "
            f"What a step does, and where it leads, a mutator can't change."
        )


class MutableFlow(_Mutable):
    """A flow that a mutator can change. The configs of the flow are attributes of it."""

    _kind, _unknown, _duplicate = FlowDecorator, UnknownFlowDecoratorException, DuplicateFlowDecoratorException

    def __init__(self, flow: FlowDef, early: bool = False) -> None:
        self._flow, self._early = flow, early
        self._what, self._specs = f"flow {flow.name}", flow.decorators

    @property
    def name(self) -> str:
        """The flow's name."""
        return self._flow.name

    @property
    def steps(self) -> Iterator[tuple[str, MutableStep]]:
        """The steps, by name, in the order of the source."""
        return iter([(step.name, MutableStep(self._flow, step)) for step in self._flow])

    @property
    def parameters(self) -> Iterator[tuple[str, ParameterDef]]:
        """The parameters, by the name that steps use."""
        return iter([(parameter.artifact, parameter) for parameter in self._flow.parameters])

    @property
    def configs(self) -> Iterator[tuple[str, Any]]:
        """The values of the configs, by the name that steps use. There are none yet in ``pre_mutate``."""
        return iter(self._flow.config_values.items())

    def add_parameter(self, name: str, value: Parameter, overwrite: bool = False) -> None:
        """In ``pre_mutate``, add a parameter that steps see as ``self.<name>``."""
        self._need_early("add_parameter")
        if not isinstance(value, Parameter):
            raise MetaflowException(f"add_parameter({name!r}, ...) takes a Parameter, not {show(value)}.")
        self._add_parameter(name, value.definition, overwrite)

    def _add_parameter(self, name: str, definition: ParameterDef, overwrite: bool) -> None:
        self._need_early("add_parameter")
        if any(parameter.artifact == name for parameter in self._flow.parameters):
            if not overwrite:
                raise MetaflowException(
                    f"It adds the parameter {name!r} to {self._what}, which has it already. "
                    f"To replace it: add_parameter({name!r}, ..., overwrite=True)"
                )
            self.remove_parameter(name)
        self._flow.parameters.append(dataclasses.replace(definition, attribute=name))

    def remove_parameter(self, name: str) -> bool:
        """In ``pre_mutate``, remove a parameter. Whether there was one."""
        self._need_early("remove_parameter")
        keep = [parameter for parameter in self._flow.parameters if parameter.artifact != name]
        removed = len(keep) < len(self._flow.parameters)
        self._flow.parameters[:] = keep
        return removed

    def _need_early(self, what: str) -> None:
        if not self._early:
            raise MetaflowException(
                f"{what}() on {self._what} comes too late: the options of the command line are known by then. "
                f"Call it in pre_mutate."
            )

    def __getattr__(self, name: str) -> Any:
        for known in (self._flow.config_values, self._flow.constants):
            if name in known:
                return known[name]
        if any(config.artifact == name for config in self._flow.configs):
            raise AttributeError(f"The config {name!r} is not known in pre_mutate yet. Use it in mutate.")
        raise AttributeError(
            f"A MutableFlow has no {name!r}. It has: name, steps, parameters, configs, decorator_specs, add_decorator, "
            f"remove_decorator, add_parameter, remove_parameter, and the configs of the flow. "
            f"The steps themselves a mutator can't change."
        )


class _Mutation:
    """The code of a mutator."""

    is_mutator = True

    def __init__(self, cls: type[FlowMutator] | type[StepMutator], args: tuple[Any, ...]) -> None:
        self.module = cls.__module__
        self.args = args
        self._cls = cls

    def pre_mutate(self, spec: DecoratorSpec, flow: FlowDef) -> None:
        if self._cls.pre_mutate is not FlowMutator.pre_mutate:  # else its arguments may have to wait for configs
            self._call(spec, where(flow), ["pre_mutate"], MutableFlow(flow, early=True))

    def mutate(self, spec: DecoratorSpec, flow: FlowDef, step: StepDef | None) -> None:
        if step is None:
            self._call(spec, where(flow), ["mutate"], MutableFlow(flow))
        else:
            self._call(spec, where(step), ["pre_mutate", "mutate"], MutableStep(flow, step))

    def _call(self, spec: DecoratorSpec, on: str, methods: list[str], target: _Mutable) -> None:
        made = self._cls._make(spec, on)
        try:
            for method in methods:
                getattr(made, method)(target)
        except MetaflowException as error:
            at = place(error)
            line = "" if at is None else f" in {shown_path(at.file)}, line {at.line}"
            raise type(error)(f"The mutator @{spec.name} of {on} failed{line}. {error}") from error
        except Exception as error:
            from metaflow.runtime import PythonRuntime

            trace = PythonRuntime().describe_error(error)[1].rstrip()
            raise MetaflowException(f"The mutator @{spec.name} of {on} failed.\n{trace}") from error


class FlowMutator(WithArguments):
    """The parent of a mutator of flows, which stands above the class of the flow:

        class robust(FlowMutator):
            def init(self, times=3):
                self.times = times

            def mutate(self, mutable_flow):
                for name, step in mutable_flow.steps:
                    step.add_decorator("retry", deco_kwargs={"times": self.times}, duplicates=step.IGNORE)

        @robust(times=2)
        class TrainFlow(FlowSpec):
            ...

    Mutators apply before the flow is checked: those of base classes first, then from the bottom up.
    """

    _on_steps = False

    def pre_mutate(self, mutable_flow: MutableFlow) -> None:
        """Change the flow before the command line is read: the only place for parameters."""

    def mutate(self, mutable_flow: MutableFlow) -> None:
        """Change the flow when its configs and the decorators of ``--with`` are known."""

    @classmethod
    def _code(cls, args: tuple[Any, ...]) -> _Mutation:
        return _Mutation(cls, args)

    @classmethod
    def _record(cls, target: Any, spec: DecoratorSpec) -> Any:
        if not isinstance(target, type) or not issubclass(target, FlowSpec):
            raise BadFlowDecoratorException(
                f"@{spec.name} changes a flow, but it stands above {_describe(target)}. "
                f"Write it directly above `class Name(FlowSpec):`."
            )
        setattr(target, FLOW_MUTATORS, [*target.__dict__.get(FLOW_MUTATORS, []), spec])
        return target


class StepMutator(WithArguments):
    """The parent of a mutator of one step, which stands above `@step` as a decorator does.

    class dataset(StepMutator):
        def init(self, url):
            self.url = url

        def mutate(self, mutable_step):
            mutable_step.add_decorator("retry")
            mutable_step.add_decorator(load_data, deco_kwargs={"url": self.url}, duplicates=mutable_step.ERROR)
    """

    def pre_mutate(self, mutable_step: MutableStep) -> None:
        """Change the step, before :meth:`mutate`."""

    def mutate(self, mutable_step: MutableStep) -> None:
        """Change the step, when the flow's own mutators have."""

    @classmethod
    def _code(cls, args: tuple[Any, ...]) -> _Mutation:
        return _Mutation(cls, args)
