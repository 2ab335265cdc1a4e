"""Where a step leads when its code does not say so itself, because the graph does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaflow_core.engine import transition as transitions
from metaflow_core.errors import InvalidNextException
from metaflow_core.graph.model import Transition

if TYPE_CHECKING:
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import StepDef


def follow(step: StepDef, state: TaskState) -> None:
    """Call ``next`` as the graph says."""
    transition = step.transition
    if transition is None or state.transition is not None:
        return
    if transition.kind == "foreach":
        items = _elements(state, str(transition.foreach)) if step.language == "r" else None
        state.next(transition.targets, foreach=transition.foreach, items=items)
    elif transition.kind == "parallel":
        state.next(transition.targets, num_parallel=transition.num_parallel)
    elif transition.kind == "switch":
        name = str(transition.condition)
        if step.language == "r":
            target = transitions.chosen(step, transition, _switch_value(state, name))
            state.transition = Transition("switch", (target,), condition=name)
        else:
            state.next((), cases=dict(transition.cases), condition=name)
    else:
        state.next(transition.targets)


def _needed(state: TaskState, name: str, what: str) -> Any:
    from metaflow_r.task import load

    try:
        return load(state, name)
    except KeyError:
        raise InvalidNextException(
            f'Step {state.step.name}: {what} = "{name}" names an artifact that does not exist. {state.advise_on(name)}'
        ) from None


def _switch_value(state: TaskState, name: str) -> str:
    from rpy2.rinterface import ListSexpVector

    from metaflow_r import session
    from metaflow_r.text import text

    return text(session.helper("switch_value")(ListSexpVector([_needed(state, name, "condition")])))


def _elements(state: TaskState, name: str) -> list[Any]:
    """The elements of a foreach by R's rules: ``x[[i]]`` for each ``i`` in ``seq_along(x)``."""
    from rpy2.rinterface import ListSexpVector, StrSexpVector

    from metaflow_r import session
    from metaflow_r.text import text

    items = session.helper("foreach_elements")(ListSexpVector([_needed(state, name, "foreach")]))
    if isinstance(items, StrSexpVector):
        raise InvalidNextException(f'Step {state.step.name}: foreach = "{name}" {text(items)}')
    return list(items)
