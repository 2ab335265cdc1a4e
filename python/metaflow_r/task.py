"""What an R step sees of its task: artifacts, inputs, the foreach, and ``current``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaflow_core.engine.streams import wait_until_read
from metaflow_core.errors import MetaflowException, TaskDied

from metaflow_r import conditions, forked, session, user_code
from metaflow_r.evaluate import evaluate
from metaflow_r.follow import follow
from metaflow_r.functions import RFunction, function_of
from metaflow_r.read import to_r
from metaflow_r.text import is_sexp, strings, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from metaflow_core.engine.inputs import JoinInput
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import FlowDef, StepDef

_state: TaskState | None = None


def run(flow: FlowDef, step: StepDef, state: TaskState) -> None:
    """Run the R function of a step, and lead on as the graph says."""
    global _state
    _state = state
    body = function_of(step.body)
    around = user_code.taken()
    if body is not None or around:
        is_fork = forked.enter()
        try:
            _call(body, step, state, around)
        finally:
            if is_fork:
                forked.leave()
    follow(step, state)


def _call(body: RFunction | None, step: StepDef, state: TaskState, around: list[tuple[str, Any]]) -> None:
    from rpy2.rinterface import NULL, IntSexpVector, ListSexpVector, StrSexpVector

    inputs = NULL if state.inputs is None else IntSexpVector(range(len(state.inputs)))
    branches: Any = NULL
    if state.inputs is not None:
        names = state.inputs._step_names()
        if names is not None:
            branches = StrSexpVector(names)
    ready = session.helper("ready_step")
    function = session.helper("no_code") if body is None else body.function()
    decorators = ListSexpVector([code for _, code in around])
    decorators.names = StrSexpVector([name for name, _ in around])
    expression, scope = ready(function, StrSexpVector([step.name]), _deadline(), inputs, branches, decorators)
    problem = evaluate(expression, scope)
    outcome = session.helper("ended_step")(NULL if problem is None else StrSexpVector([problem]))
    result = dict(zip(strings(outcome.names), outcome, strict=False))
    changed = result["changed"]
    for name, value in zip(strings(changed.names) if len(changed) else [], changed, strict=True):
        state.set(name, value, "r")
    kind = text(result["kind"])
    if kind == "error":
        _let_alarm_ring()
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


def _let_alarm_ring() -> None:
    """R ends a step shortly before its time is over; the exception that says so comes with the alarm."""
    import signal
    import time

    left = signal.getitimer(signal.ITIMER_REAL)[0]
    if 0 < left < 0.1:
        time.sleep(left + 0.05)


def _deadline() -> Any:
    """When the step's time is over, in seconds since 1970; 0 when it has no limit."""
    import signal
    import time

    from rpy2.rinterface import FloatSexpVector

    left = signal.getitimer(signal.ITIMER_REAL)[0]
    forked.wake_from_sleep(50_000 if left else 0)
    return FloatSexpVector([time.time() + left if left else 0.0])


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
    advice = state.advise_on(name)
    if "mean" not in advice and not name.isidentifier() and name.replace(".", "_").isidentifier():
        advice = f"Names of artifacts have no dots: use self${name.replace('.', '_')}."
    return f'Step "{state.step.name}" has no artifact "{name}". {advice}'


def _set(name: Any, value: Any) -> None:
    key = text(name)
    try:
        _task().set(key, value, "r")
    except AttributeError as error:
        raise AttributeError(str(error).replace("self.", "self$")) from None
    except MetaflowException as error:
        if key.isidentifier() or not key.replace(".", "_").isidentifier():
            raise
        # Names in R may have dots; other languages could not read the artifact.
        raise type(error)(f"{error} Use self${key.replace('.', '_')} instead.") from None


def _delete(name: Any) -> None:
    state, key = _task(), text(name)
    try:
        state.delete(key)
    except KeyError:
        raise AttributeError(_absent(state, key)) from None
    except AttributeError as error:
        raise AttributeError(str(error).replace("self.", "self$")) from None


def _names() -> Any:
    from rpy2.rinterface import StrSexpVector

    return StrSexpVector(_task().names())


def _index() -> Any:
    return to_r(_task().index)


def _input() -> Any:
    return _in_r(_task().input)


def _foreach_stack() -> Any:
    from rpy2.rinterface import ListSexpVector

    levels = _task().foreach_stack()
    return ListSexpVector([ListSexpVector([_in_r(part) for part in level]) for level in levels])


def _in_r(value: Any) -> Any:
    return value if is_sexp(value) else to_r(value)


# --- inputs -----------------------------------------------------------------------------------------------------------


def _branch(position: Any) -> JoinInput:
    inputs = _task().inputs
    if inputs is None:
        raise MetaflowException("Inputs exist in a join only.")
    return inputs[int(position[0])]


def _input_get(position: Any, name: Any) -> Any:
    branch, key = _branch(position), text(name)
    try:
        value = branch._get(key, "r")
    except KeyError:
        raise AttributeError(
            f'The branch "{branch._step}" (input {branch._position + 1}) has no artifact "{key}". '
            f"It has: {', '.join(branch._names())}."
        ) from None
    return value if is_sexp(value) else to_r(value)


def _input_names(position: Any) -> Any:
    from rpy2.rinterface import StrSexpVector

    return StrSexpVector(_branch(position)._names())


def _input_index(position: Any) -> Any:
    return to_r(_branch(position).index)


def _input_input(position: Any) -> Any:
    return _in_r(_branch(position).input)


def _input_step(position: Any) -> Any:
    return to_r(_branch(position)._step)


def _merge(positions: Any, exclude: Any, include: Any) -> None:
    state = _task()
    inputs: Any = state.inputs
    if state.inputs is not None and list(positions) != list(range(len(state.inputs))):
        inputs = [state.inputs[int(i)] for i in positions]
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
        raise AttributeError(f'current() has no "{key}". {advice}') from None


def _current_fields() -> list[str]:
    from metaflow_core.engine.current import current

    return [*current, "is_running_flow", "run", "task"]


def _current_names() -> Any:
    from rpy2.rinterface import StrSexpVector

    return StrSexpVector(_current_fields())


def _wait_until_read(number: Any) -> None:
    wait_until_read(int(number[0]))


FOR_R: dict[str, Callable[..., Any]] = {
    "wait_until_read": _wait_until_read,
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
