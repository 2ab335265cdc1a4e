"""Decorators from the command line: ``--with name:key=value,key2=value2``."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Collection, Iterable
from typing import Any

from metaflow_core.decorators.provided import flow_decorator_classes, step_decorator_classes
from metaflow_core.decorators.resolve import suggest
from metaflow_core.decorators.user import of_module
from metaflow_core.errors import CommandException, UnknownStepDecoratorException
from metaflow_core.graph.model import DecoratorSpec, FlowDef

_WORDS = {"True": True, "TRUE": True, "False": False, "FALSE": False, "None": None, "NULL": None}


def attach(flow: FlowDef, given: Iterable[str], instead_of: Collection[DecoratorSpec] = ()) -> list[DecoratorSpec]:
    """Add the decorators to each step that lacks them, and return them.

    A decorator that stands in ``instead_of``, and so comes from a weaker place, is replaced by one of the same name.

    >>> from metaflow_core.graph.model import FlowDef, StepDef
    >>> flow = FlowDef("F", {"start": StepDef("start")})
    >>> weak = attach(flow, ["retry:times=2"])
    >>> flow["start"].decorators
    [DecoratorSpec(name='retry', attributes={'times': 2})]
    >>> _ = attach(flow, ["retry:times=3"]), attach(flow, ["retry:times=4"], instead_of=weak)
    >>> flow["start"].decorators
    [DecoratorSpec(name='retry', attributes={'times': 4})]
    """
    folder = os.path.dirname(os.path.abspath(flow.file)) if flow.file else None
    found: list[DecoratorSpec] = []
    for text in given:
        spec = parse(text, folder)
        if any(other.name == spec.name for other in found):
            if spec in found:
                continue
            raise CommandException(f"--with {spec.name} is given twice, with different arguments. Give it once.")
        found.append(spec)
        for step in flow:
            standing = step.decorator(spec.name)
            if standing is None:
                step.decorators.append(spec)
            elif any(standing is weaker for weaker in instead_of):
                step.decorators[step.decorators.index(standing)] = spec
    return found


def parse(text: str, folder: str | None = None) -> DecoratorSpec:
    """One decorator. ``folder`` is that of the flow's file, where modules of decorators are looked for."""
    name, _, rest = text.partition(":")
    known = step_decorator_classes()
    of_user = None if name in known else of_module(name, f"--with {text}", folder)
    if name not in known and of_user is None:
        advice = suggest(name, known)
        if name in flow_decorator_classes():
            advice = f"@{name} is a decorator of flows: write it above the flow."
        raise UnknownStepDecoratorException(f"--with {text}: there is no step decorator {name!r}. {advice}")
    attributes = {}
    for part in filter(None, split(rest)):
        key, equals, value = part.partition("=")
        if not equals:
            raise CommandException(f"--with {text}: expected {name}:key=value, not {part!r}.")
        attributes[key.strip()] = _value(value.strip())
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


def _value(text: str) -> Any:
    """A value as JSON, Python or R write it, or else the text itself.

    >>> [_value(text) for text in ("2", "0.5", "true", "FALSE", "None", "a:b", "'2'", "['a', 1]", '{"A": "b"}')]
    [2, 0.5, True, False, None, 'a:b', '2', ['a', 1], {'A': 'b'}]
    """
    if text in _WORDS:
        return _WORDS[text]
    try:
        return json.loads(text)
    except ValueError:
        if text[:1] not in ("[", "{", "(", "'", '"'):
            return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def split(text: str) -> list[str]:
    """The parts between commas that are in no brackets and no quotes; within a word a quote is a letter.

    >>> split('sources=["env.A","file.b,c"],role=x')
    ['sources=["env.A","file.b,c"]', 'role=x']
    >>> split("vars={'A': 'x, y'},note=it's")
    ["vars={'A': 'x, y'}", "note=it's"]
    """
    parts, depth, quote, previous = [""], 0, "", ""
    for character in text:
        if quote:
            if character == quote and previous != "\\":
                quote = ""
        elif character in "\"'" and (not previous or previous in "=[{(,: "):
            quote = character
        else:
            depth += (character in "[{(") - (character in "]})")
        if character == "," and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
        previous = character
    return parts
