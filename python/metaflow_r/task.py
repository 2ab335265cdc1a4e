"""What an R step sees of its task: artifacts, inputs, the foreach, and ``current``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaflow_core.errors import MetaflowException, TaskDied

from metaflow_r import conditions, session
from metaflow_r.follow import follow
from metaflow_r.functions import RFunction
from metaflow_r.read import to_r
from metaflow_r.text import is_sexp, strings, text

if TYPE_CHECKING:
    from metaflow_core.engine.inputs import JoinInput
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import FlowDef, StepDef

_state: TaskState | None = None


def run(flow: FlowDef, step: StepDef, state: TaskState) -> None:
    """Run the R function of a step, and lead on as the graph says."""
    global _state
    _state = state
    body: RFunction | None = step.body
    if body is not None:
        _call(body, step, state)
    follow(step, state)


def _call(body: RFunction, step: StepDef, state: TaskState) -> None:
    from rpy2.rinterface import IntSexpVector, NULL, StrSexpVector

    inputs = NULL if state.inputs is None else IntSexpVector(range(len(state.inputs)))
    branches = NULL
    if state.inputs is not None:
        names = [branch._step for branch in state.inputs]
        if len(set(names)) == len(names):
            branches = StrSexpVector(names)
    outcome = session.helper("run_body")(body.function(), StrSexpVector([step.name]), _seconds(), inputs, branches)
    result = dict(zip(strings(outcome.names), outcome))
    for name, value in zip(strings(result["changed"].names), result["changed"]) if len(result["changed"]) else ():
        state.set(name, value, "r")
    kind = text(result["kind"])
    if kind == "quit":
        raise TaskDied(f"The code of step {step.name} ended the process: quit(status = {result['status'][0]}).")
    if kind == "error":
        raise conditions.from_outcome(
            {
                "message": text(result["message"]),
                "classes": strings(result["classes"]),
                "call": text(result["call"]),
                "calls": strings(result["calls"]),
                "id": text(result["id"]),
            }
        )


def _seconds() -> Any:
    """What is left of the step's time. R sees a Python signal only when it returns, so it keeps the time itself."""
    import signal

    from rpy2.rinterface import FloatSexpVector

    return FloatSexpVector([signal.getitimer(signal.ITIMER_REAL)[0]])


# --- artifacts --------------------------------------------------------------------------------------------------------


def load(state: TaskState, name: str) -> Any:
    """An artifact as an R value; ``KeyError`` when the task has none."""
    value = state.get(name, "r")
    return value if is_sexp(value) else to_r(value)


def _task() -> TaskState:
    if _state is None:
        raise MetaflowException("This can be used in a step only, while the flow runs.")
    return _state


def _get(name: Any) -> Any:
    state, key = _task(), text(name)
    try:
        return load(state, key)
    except KeyError:
        raise AttributeError(_absent(state, key)) from None


def _absent(state: TaskState, name: str) -> str:
    advice = (
        f"In a join, take it from one of the inputs (inputs[[1]]${name}) or call merge_artifacts(self, inputs) first."
        if state.step.is_join
        else f"Set self${name} in this step before it is used, or in a step that leads here."
    )
    return f'AttributeError: step "{state.step.name}" has no artifact "{name}". {advice}'


def _set(name: Any, value: Any) -> None:
    _task().set(text(name), value, "r")


def _delete(name: Any) -> None:
    state, key = _task(), text(name)
    try:
        state.delete(key)
    except KeyError:
        raise AttributeError(_absent(state, key)) from None


def _names() -> Any:
    from rpy2.rinterface import StrSexpVector

    return StrSexpVector(_task().names())


def _index() -> Any:
    return to_r(_task().index)


def _input() -> Any:
    value = _task().input
    return value if is_sexp(value) else to_r(value)


def _foreach_stack() -> Any:
    return to_r([list(level) for level in _task().foreach_stack()])


# --- inputs -----------------------------------------------------------------------------------------------------------


def _branch(position: Any) -> JoinInput:
    inputs = _task().inputs
    if inputs is None:
        raise MetaflowException("Inputs exist in a join only.")
    return inputs[int(position[0])]


def _input_get(position: Any, name: Any) -> Any:
    branch, key = _branch(position), text(name)
    try:
        value = branch.get(key, "r")
    except KeyError:
        raise AttributeError(
            f'AttributeError: the branch "{branch._step}" (input {branch._position + 1}) has no artifact "{key}". '
            f"It has: {', '.join(branch.names())}."
        ) from None
    return value if is_sexp(value) else to_r(value)


def _input_names(position: Any) -> Any:
    from rpy2.rinterface import StrSexpVector

    return StrSexpVector(_branch(position).names())


def _input_index(position: Any) -> Any:
    return to_r(_branch(position).index)


def _input_input(position: Any) -> Any:
    value = _branch(position).input
    return value if is_sexp(value) else to_r(value)


def _input_step(position: Any) -> Any:
    return to_r(_branch(position)._step)


def _merge(positions: Any, exclude: Any, include: Any) -> None:
    state = _task()
    inputs = state.inputs if state.inputs is None else [state.inputs[int(i)] for i in positions]
    state.merge_artifacts(inputs, strings(exclude), strings(include))


# --- current ----------------------------------------------------------------------------------------------------------


def _current(name: Any) -> Any:
    from metaflow_core.engine.current import current

    key = text(name)
    try:
        return to_r(getattr(current, key))
    except AttributeError:
        import difflib

        known = _current_fields()
        near = difflib.get_close_matches(key, known, 1)
        advice = f'Did you mean "{near[0]}"?' if near else f"It has: {', '.join(known)}."
        raise AttributeError(f'AttributeError: current() has no "{key}". {advice}') from None


def _current_fields() -> list[str]:
    from metaflow_core.engine.current import current

    return [*current, "is_running_flow", "run", "task"]


def _current_names() -> Any:
    from rpy2.rinterface import StrSexpVector

    return StrSexpVector(_current_fields())


FOR_R = {
    "get": _get,
    "set": _set,
    "delete": _delete,
    "names": _names,
    "index": _index,
    "input": _input,
    "foreach_stack": _foreach_stack,
    "input_get": _input_get,
    "input_names": _input_names,
    "input_index": _input_index,
    "input_input": _input_input,
    "input_step": _input_step,
    "merge": _merge,
    "current": _current,
    "current_names": _current_names,
}
