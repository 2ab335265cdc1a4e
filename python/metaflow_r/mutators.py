"""Mutators that were written in R, and what their functions see of the flow."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from metaflow_core.decorators.resolve import where
from metaflow_core.errors import BadFlowDecoratorException, BadStepDecoratorException, MetaflowException

from metaflow_r.text import strings, text

if TYPE_CHECKING:
    from metaflow.mutators import MutableFlow, MutableStep
    from metaflow_core.graph.model import DecoratorSpec, FlowDef, ParameterDef, StepDef

# What the functions that run now can change, by the number by which R knows it.
_live: dict[int, Any] = {}
_numbers = itertools.count(1)


class RMutation:
    """The functions of `flow_mutator()` or `step_mutator()`."""

    is_mutator = True

    def __init__(self, on_steps: bool, pre_mutate: Any, mutate: Any) -> None:
        self.on_steps = on_steps
        self._pre_mutate, self._mutate = pre_mutate, mutate

    def pre_mutate(self, spec: DecoratorSpec, flow: FlowDef) -> None:
        """Change the flow before the command line is read."""
        from metaflow.mutators import MutableFlow

        if self.on_steps:
            raise BadFlowDecoratorException(
                f'step_mutator("{spec.name}") changes a step, but it was given to metaflow(). Give it to step(), or '
                f"write it with flow_mutator()."
            )
        self._call(spec, where(flow), self._pre_mutate, MutableFlow(flow, early=True))

    def mutate(self, spec: DecoratorSpec, flow: FlowDef, step: StepDef | None) -> None:
        """Change the flow, or the step, when configs are known."""
        from metaflow.mutators import MutableFlow, MutableStep

        if step is None:
            self._call(spec, where(flow), self._mutate, MutableFlow(flow))
        elif self.on_steps:
            self._call(spec, where(step), self._mutate, MutableStep(flow, step))
        else:
            raise BadStepDecoratorException(
                f'flow_mutator("{spec.name}") changes a flow, but it was given to step {step.name}. Give it to '
                f"metaflow(), or write it with step_mutator()."
            )

    def _call(self, spec: DecoratorSpec, on: str, function: Any, target: MutableFlow | MutableStep) -> None:
        from rpy2.rinterface import NULL

        from metaflow_r import session

        if function is NULL:
            return
        before = set(_live)
        try:
            outcome = session.helper("call_mutator")(function, *_seen(target))
        finally:
            for number in set(_live) - before:
                del _live[number]
        if int(outcome[0].typeof) == 10:
            return
        from metaflow_r.conditions import known_error

        error = known_error(text(outcome[1]))
        problem = f"The mutator @{spec.name} of {on} failed.\n{text(outcome[0])}"
        if isinstance(error, MetaflowException):
            raise type(error)(problem) from error
        raise MetaflowException(problem)


def _seen(target: Any) -> tuple[Any, Any]:
    """How R knows it: its number, and its kind."""
    from metaflow.mutators import MutableFlow
    from rpy2.rinterface import IntSexpVector, StrSexpVector

    number = next(_numbers)
    _live[number] = target
    return IntSexpVector([number]), StrSexpVector(["flow" if isinstance(target, MutableFlow) else "step"])


def _target(number: Any) -> Any:
    found = _live.get(int(number[0]))
    if found is None:
        raise MetaflowException("What a mutator gets can be changed while the mutator runs, and not afterwards.")
    return found


def _about(number: Any, what: Any) -> Any:
    """What R asks for: the name, the steps, the parameters, the configs, or the decorators."""
    from rpy2.rinterface import ListSexpVector

    from metaflow_r.client_values import to_r
    from metaflow_r.read import to_r as value_to_r
    from metaflow_r.sexp import named_list

    target, asked = _target(number), text(what)
    if asked == "name":
        return to_r(target.name)
    if asked == "flow":
        return ListSexpVector(list(_seen(target.flow)))
    if asked == "steps":
        return named_list({name: ListSexpVector(list(_seen(step))) for name, step in target.steps})
    if asked == "parameters":
        return named_list({name: value_to_r(_described(one)) for name, one in target.parameters})
    if asked == "configs":
        return value_to_r({name: _unfixed(value) for name, value in target.configs})
    specs = [
        {"name": name, "module": module, "arguments": by_name} for name, module, _, by_name in target.decorator_specs
    ]
    return value_to_r([{**one, "arguments": {k: _shown(v) for k, v in one["arguments"].items()}} for one in specs])


def _unfixed(value: Any) -> Any:
    from metaflow_core.config_value import plain

    return plain(value)


def _described(parameter: ParameterDef) -> dict[str, Any]:
    kind = parameter.type if isinstance(parameter.type, str) else getattr(parameter.type, "__name__", None)
    facts = {"name": parameter.name, "default": _shown(parameter.default), "type": kind, "help": parameter.help}
    return {**facts, "required": parameter.required}


def _shown(value: Any) -> Any:
    """An argument; what is computed later is a text."""
    from metaflow_core.graph.model import Delayed

    if isinstance(value, Delayed):
        return value._source
    return "a function" if callable(value) else value


def _add_decorator(number: Any, item: Any, duplicates: Any) -> None:
    from metaflow_r.program import decorator_of

    target, spec = _target(number), decorator_of(item)
    if spec.code is None:
        spec = target._spec_of(spec.name, (), dict(spec.attributes))
    target._add(spec, text(duplicates))


def _remove_decorator(number: Any, name: Any, arguments: Any) -> Any:
    from rpy2.rinterface import NULL

    from metaflow_r.client_values import to_r
    from metaflow_r.program import plain

    given = None if arguments is NULL else dict(zip(strings(arguments.names), map(plain, arguments), strict=True))
    return to_r(_target(number).remove_decorator(text(name), deco_kwargs=given))


def _add_parameter(number: Any, item: Any, overwrite: Any) -> None:
    from metaflow_r.program import parameter_of

    definition = parameter_of(item)
    _target(number)._add_parameter(definition.artifact, definition, bool(overwrite[0]))


def _remove_parameter(number: Any, name: Any) -> Any:
    from metaflow_r.client_values import to_r

    return to_r(_target(number).remove_parameter(text(name)))


FOR_R: dict[str, Callable[..., Any]] = {
    "mutable_about": _about,
    "mutable_add_decorator": _add_decorator,
    "mutable_remove_decorator": _remove_decorator,
    "mutable_add_parameter": _add_parameter,
    "mutable_remove_parameter": _remove_parameter,
}
