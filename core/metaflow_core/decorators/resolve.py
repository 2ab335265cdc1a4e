"""Turns the decorators that the user wrote into the objects that do the work."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable

from metaflow_core.decorators.interface import FlowDecorator, StepDecorator
from metaflow_core.decorators.provided import check_unambiguous, flow_decorator_classes, step_decorator_classes
from metaflow_core.decorators.user import UserDecorator, of_module
from metaflow_core.errors import (
    DuplicateFlowDecoratorException,
    DuplicateStepDecoratorException,
    UnknownFlowDecoratorException,
    UnknownStepDecoratorException,
)
from metaflow_core.graph import parameters
from metaflow_core.graph.model import DecoratorSpec, FlowDef, StepDef
from metaflow_core.plugins import broken_hint


def step_decorators(step: StepDef) -> list[StepDecorator]:
    """The step's decorators, outermost first. Raises for an unknown name, an unknown argument or a duplicate."""
    known = step_decorator_classes()
    found: list[StepDecorator] = []
    seen: set[str] = set()
    for spec in step.decorators:
        if spec.code is not None:
            found.append(UserDecorator(spec, where(step)))
            continue
        if spec.name not in known:
            raise UnknownStepDecoratorException(
                f"@{spec.name} on {where(step)} is unknown. {suggest(spec.name, known)}"
            )
        check_unambiguous(spec.name, where(step))
        cls = known[spec.name]
        if spec.name in seen and not cls.repeatable:
            raise DuplicateStepDecoratorException(
                f"@{spec.name} on {where(step)} stands there twice. Keep one of them."
            )
        seen.add(spec.name)
        found.append(cls(spec.attributes, where(step)))
    return found


def where(target: StepDef | FlowDef) -> str:
    """What a decorator stands on, for messages: ``step train (flow.py, line 12)``."""
    what = "step" if isinstance(target, StepDef) else "flow"
    return f"{what} {target.name}{parameters.where(target)}"


def has_secrets(step: StepDef) -> bool:
    """Whether tasks of the step may tell of values that must not be shown."""
    return any(decorator.has_secrets for decorator in step_decorators(step))


def flow_decorators(flow: FlowDef) -> list[FlowDecorator]:
    """The flow's decorators. Raises for an unknown name, an unknown argument or a duplicate."""
    known = flow_decorator_classes()
    found: list[FlowDecorator] = []
    for spec in flow.decorators:
        if spec.code is not None:
            raise UnknownFlowDecoratorException(
                f"@{spec.name} on {where(flow)} is a decorator of steps. Give it to the steps."
            )
        if spec.name not in known:
            raise UnknownFlowDecoratorException(
                f"@{spec.name} on {where(flow)} is unknown. {suggest(spec.name, known)}"
            )
        check_unambiguous(spec.name, where(flow))
        cls = known[spec.name]
        if not cls.repeatable and any(other.name == spec.name for other in found):
            raise DuplicateFlowDecoratorException(
                f"@{spec.name} on {where(flow)} stands there twice. Keep one of them."
            )
        found.append(cls(spec.attributes, where(flow)))
        found[-1].flow_name = flow.name
    return found


def check_decorators(flow: FlowDef) -> None:
    """Check every decorator of a flow and its steps before anything runs."""
    mutate(flow)
    for flow_decorator in flow_decorators(flow):
        flow_decorator.check(flow)
    for step in flow:
        for step_decorator in step_decorators(step):
            step_decorator.check(flow, step)


def mutate(flow: FlowDef) -> None:
    """Let the flow's mutators, and then those of its steps, change the flow. Nothing happens the second time."""
    folder = os.path.dirname(os.path.abspath(flow.file)) if flow.file else None
    for step in flow:
        for i, spec in enumerate(step.decorators):
            if spec.code is None and "." in spec.name:  # where code of another language can't be named otherwise
                named = of_module(spec.name, f"@{spec.name} on {where(step)}", folder)
                step.decorators[i] = spec if named is None else named(spec.attributes)
    while flow.mutators:
        spec = flow.mutators.pop(0)
        spec.code.mutate(spec, flow, None)
    for step in flow:
        while found := _mutators(step):
            step.decorators.remove(found[0])
            found[0].code.mutate(found[0], flow, step)


def has_mutators(flow: FlowDef) -> bool:
    """Whether :func:`mutate` has something to do."""
    return bool(flow.mutators) or any(_mutators(step) for step in flow)


def _mutators(step: StepDef) -> list[DecoratorSpec]:
    return [spec for spec in step.decorators if spec.code is not None and spec.code.is_mutator]


def suggest(name: str, known: Iterable[str]) -> str:
    """Which decorator was meant, or else which ones there are; and which plugins are broken: one may have it."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    advice = f"Did you mean @{near[0]}?" if near else f"Known: {', '.join(names)}."
    return advice + broken_hint()
