"""Turns the decorators that the user wrote into the objects that do the work."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable
from functools import cache

from metaflow_core.decorators.interface import FlowDecorator, StepDecorator
from metaflow_core.decorators.user import UserDecorator, of_module
from metaflow_core.errors import (
    CommandException,
    DuplicateStepDecoratorException,
    UnknownFlowDecoratorException,
    UnknownStepDecoratorException,
)
from metaflow_core.graph import parameters
from metaflow_core.graph.model import DecoratorSpec, FlowDef, StepDef
from metaflow_core.plugins import hook


@cache
def step_decorator_classes() -> dict[str, type[StepDecorator]]:
    """Every step decorator there is, by name."""
    from metaflow_core.decorators import builtin
    from metaflow_core.decorators.secrets import Secrets

    classes: dict[str, type[StepDecorator]] = {cls.name: cls for cls in builtin.STEP_DECORATORS}
    classes[Secrets.name] = Secrets
    for more in hook().step_decorators():
        classes.update({cls.name: cls for cls in more})
    return classes


@cache
def flow_decorator_classes() -> dict[str, type[FlowDecorator]]:
    """Every flow decorator there is, by name."""
    from metaflow_core.decorators.exit_hook import ExitHook

    classes: dict[str, type[FlowDecorator]] = {ExitHook.name: ExitHook}
    for more in hook().flow_decorators():
        classes.update({cls.name: cls for cls in more})
    return classes


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
                f"@{spec.name} on {where(step)} is unknown. {_suggest(spec.name, known)}"
            )
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
    """The flow's decorators. Raises for an unknown name or argument."""
    known = flow_decorator_classes()
    for spec in flow.decorators:
        if spec.code is not None:
            raise UnknownFlowDecoratorException(
                f"@{spec.name} on {where(flow)} is a decorator of steps. Give it to the steps."
            )
        if spec.name not in known:
            raise UnknownFlowDecoratorException(
                f"@{spec.name} on {where(flow)} is unknown. {_suggest(spec.name, known)}"
            )
    return [known[spec.name](spec.attributes, where(flow)) for spec in flow.decorators]


def check_decorators(flow: FlowDef) -> None:
    """Check every decorator of a flow and its steps before anything runs."""
    mutate(flow)
    for flow_decorator in flow_decorators(flow):
        flow_decorator.check(flow)
    for step in flow:
        for step_decorator in step_decorators(step):
            step_decorator.check(flow, step)


def attach(flow: FlowDef, given: Iterable[str]) -> None:
    """Add the decorators of ``--with name:key=value,key2=value2`` to each step that lacks them.

    >>> from metaflow_core.graph.model import FlowDef, StepDef
    >>> flow = FlowDef("F", {"start": StepDef("start")})
    >>> attach(flow, ["retry:times=2"])
    >>> flow["start"].decorators
    [DecoratorSpec(name='retry', attributes={'times': 2})]
    """
    for text in given:
        spec = parse(text, os.path.dirname(os.path.abspath(flow.file)) if flow.file else None)
        for step in flow:
            if step.decorator(spec.name) is None:
                step.decorators.append(spec)


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


def parse(text: str, folder: str | None = None) -> DecoratorSpec:
    """``name:key=value,key2=value2``; a value is JSON, with commas in brackets if need be, or else text."""
    name, _, rest = text.partition(":")
    known = step_decorator_classes()
    of_user = None if name in known else of_module(name, f"--with {text}", folder)
    if name not in known and of_user is None:
        advice = _suggest(name, known)
        if name in flow_decorator_classes():
            advice = f"@{name} is a decorator of flows: write it above the flow."
        raise UnknownStepDecoratorException(f"--with {text}: there is no step decorator {name!r}. {advice}")
    attributes = {}
    for part in filter(None, _split(rest)):
        key, equals, value = part.partition("=")
        if not equals:
            raise CommandException(f"--with {text}: expected {name}:key=value, not {part!r}.")
        try:
            attributes[key.strip()] = json.loads(value)
        except ValueError:
            attributes[key.strip()] = value
    if of_user is not None:
        return of_user(attributes)
    if not known[name].has_secrets:
        known[name](attributes, f"the command line (--with {text})")
    elif known[name](attributes, "--with").secret_arguments():
        raise CommandException(
            f"--with {name}: a secret does not belong on a command line, where everybody on this machine can read it. "
            f"Name where it is instead: --with {name}:sources=env.DB_PASSWORD"
        )
    return DecoratorSpec(name, attributes)


def _split(text: str) -> list[str]:
    """The parts between commas that are in no brackets and no quotes.

    >>> _split('sources=["env.A","file.b,c"],role=x')
    ['sources=["env.A","file.b,c"]', 'role=x']
    """
    parts, depth, quoted, previous = [""], 0, False, ""
    for character in text:
        if character == '"' and previous != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (character in "[{") - (character in "]}")
        if character == "," and not quoted and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
        previous = character
    return parts


def _suggest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"Did you mean @{near[0]}?" if near else f"Known: {', '.join(names)}."
