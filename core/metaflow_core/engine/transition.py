"""Checks what a step's ``next`` asks for, at the moment it is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from metaflow_core.errors import InvalidNextException
from metaflow_core.graph.model import FlowDef, StepDef, Transition, case_text
from metaflow_core.names import advise, show


def checked(
    flow: FlowDef,
    step: StepDef,
    targets: tuple[str, ...],
    foreach: object = None,
    num_parallel: object = None,
    cases: Mapping[Any, str] | None = None,
    condition: object = None,
) -> Transition:
    """The transition, or ``InvalidNextException`` naming the step and what is wrong."""

    def refuse(problem: str) -> InvalidNextException:
        return InvalidNextException(f"Step {step.name}: {problem}")

    if step.is_end:
        raise refuse("it is the last step, so it can't call next.")
    for target in [*targets, *(cases or {}).values()]:
        if target not in flow:
            raise refuse(f"next leads to {show(target)}, which is no step. {advise(str(target), flow.steps, 'Steps')}")
    if cases is not None:
        if foreach is not None or num_parallel is not None:
            raise refuse("a condition can't be combined with foreach or num_parallel.")
        if condition is None:
            raise refuse("a choice of steps needs condition='artifact'.")
        if not isinstance(condition, str):
            raise refuse(f"condition must be the name of an artifact, not {show(condition)}.")
        if not cases:
            raise refuse("a choice of steps is empty.")
        named = tuple((case_text(key), target) for key, target in cases.items())
        return Transition("switch", tuple(dict.fromkeys(cases.values())), condition=condition, cases=named)
    if condition is not None:
        raise refuse("condition goes with a choice of steps: next({'value': step, ...}, condition='artifact').")
    if not targets:
        raise refuse("next needs a step to go to.")
    if foreach is not None and num_parallel is not None:
        raise refuse("foreach and num_parallel can't be combined.")
    if foreach is not None:
        if not isinstance(foreach, str):
            raise refuse(f"foreach must be the name of an artifact, as text, not {show(foreach)}.")
        if len(targets) != 1:
            raise refuse("foreach leads to one step.")
        return Transition("foreach", targets, foreach=foreach)
    if num_parallel is not None:
        if isinstance(num_parallel, bool) or not isinstance(num_parallel, int) or num_parallel < 1:
            raise refuse(f"num_parallel must be a whole number of at least 1, not {show(num_parallel)}.")
        if len(targets) != 1:
            raise refuse("num_parallel leads to one step.")
        return Transition("parallel", targets, num_parallel=num_parallel)
    return Transition("linear" if len(targets) == 1 else "split", targets)


def split_items(step: StepDef, name: str, value: Any, most: int) -> list[Any]:
    """The elements over which a foreach goes: those of a dict are its ``(key, value)`` pairs.

    ``InvalidNextException`` when the value can't be iterated, is empty, or has more than ``most`` elements.
    """
    elements: Iterable[Any]
    if isinstance(value, Mapping):
        elements = value.items()
    elif isinstance(value, Iterable):
        elements = value
    else:
        raise InvalidNextException(
            f"Step {step.name}: foreach={name!r} can't be iterated. It is {show(value)}, of type "
            f"{type(value).__name__}."
        )
    items = list(islice(_scalars(elements), most + 1))
    if not items:
        raise InvalidNextException(f"Step {step.name}: foreach={name!r} is empty, there is nothing to run.")
    if len(items) > most:
        count = len(value) if hasattr(value, "__len__") else f"more than {most}"
        raise InvalidNextException(
            f"Step {step.name}: foreach={name!r} has {count} elements, and --max-num-splits allows {most}. "
            f"Raise it: run --max-num-splits {count if isinstance(count, int) else most * 10}"
        )
    return items


def chosen(step: StepDef, transition: Transition, value: Any) -> str:
    """The target of a switch whose condition has ``value``: that of the case with the same text."""
    cases = dict(transition.cases)
    for text in _as_case(value):
        if text in cases:
            return cases[text]
    raise InvalidNextException(
        f"Step {step.name}: the condition {transition.condition!r} has the value {show(value)}, which is none of the "
        f"cases: {', '.join(cases)}."
    )


def _as_case(value: Any) -> Iterator[str]:
    """How a case for this value may be written: as text, as an equal value, and as another language writes it."""
    text = case_text(value)
    yield text
    for same in (("True", "TRUE", "1"), ("False", "FALSE", "0"), ("None", "NULL")):
        if text in same and not isinstance(value, str):
            yield from same
    if text in ("TRUE", "FALSE", "NULL"):  # of R, as text
        yield {"NULL": "None"}.get(text) or text.capitalize()
    if isinstance(value, float) and value.is_integer():
        yield str(int(value))


def _scalars(elements: Iterable[Any]) -> Iterator[Any]:
    for element in elements:
        # An Arrow array gives Arrow scalars; a task wants the value.
        yield element.as_py() if type(element).__module__.startswith("pyarrow") else element
