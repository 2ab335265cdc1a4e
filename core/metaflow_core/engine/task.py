"""Executes one attempt of one task, in its own process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from metaflow_core import errors, identity
from metaflow_core.decorators.resolve import flow_decorators, step_decorators
from metaflow_core.engine.current import current
from metaflow_core.engine.interface import LanguageRuntime, TaskRequest
from metaflow_core.engine.state import TaskState
from metaflow_core.engine.streams import leave
from metaflow_core.graph.model import FlowDef
from metaflow_core.graph.parameters import where
from metaflow_core.graph.spelling import spelling
from metaflow_core.metadata import lineage, recording
from metaflow_core.plugins import broken_hint, hook

if TYPE_CHECKING:
    from metaflow_core.decorators.interface import StepDecorator
    from metaflow_core.engine.masking import MaskSender
    from metaflow_core.metadata.backend import Backend
    from metaflow_core.metadata.recording import Content, RunRow, TaskRow


Libraries = tuple[Sequence[str], Mapping[str, str]]  # folders of packages, and the versions of these


@dataclass(slots=True)
class TaskSettings:
    """What tasks need to know from the command line of the run."""

    max_num_splits: int = 100
    namespace: str | None = None  # of the client inside tasks; None: the identity's, "": global
    options: dict[str, Any] | None = None  # given to flow decorators
    masks: MaskSender | None = None  # to who reads the output
    libraries: Mapping[str, Libraries] | None = None  # by step; None: as the run has recorded it

    def as_arguments(self) -> list[str]:
        """The settings as arguments of the ``step`` command; ``options`` stand before the command."""
        namespace = [] if self.namespace is None else ["--namespace", self.namespace]
        return ["--max-num-splits", str(self.max_num_splits), *namespace]


def runtime_of(language: str) -> LanguageRuntime:
    """The plugin that runs code of this language."""
    runtime: LanguageRuntime | None = hook().language_runtime(language=language)
    if runtime is None:
        raise errors.PluginError(
            f"No installed plugin runs steps written in {language}. `metaflow status --plugins` lists the plugins."
            + broken_hint()
        )
    return runtime


def run_attempt(
    flow: FlowDef,
    backend: Backend,
    settings: TaskSettings,
    request: TaskRequest,
    known: tuple[RunRow, TaskRow] | None = None,
) -> int:
    """Run an attempt and commit its result. Returns the exit code: 0 when the flow can go on.

    ``known`` are the run and the task, when they were looked up already.
    """
    backend.patient = True
    state = open_state(flow, backend, settings, request, known=known)
    db, step, task = backend.db, state.step, state.task
    decorators = step_decorators(step)
    if request.fallback:
        error: BaseException | None = _last_error(db, task.pk, request.attempt)
    else:
        error = run_body(state, decorators, settings)
    contents: dict[str, Content] = {}
    items: list[Content] = []
    if error is None:
        try:
            contents, items = state.contents(), state.split_contents()
        except errors.UnserializableValue as raised:
            error = raised
    result = recording.Result("done")
    if error is not None:
        result = failure_of(state, error)
        catcher = next((d for d in decorators if d.handles_failure), None)
        if catcher is not None and (request.fallback or request.attempt + 1 >= request.max_attempts):
            catcher.handle(state, error)
            result.status = "caught"
        else:
            state.report(error)
        contents = state.storable_contents()
    if result.status != "failed":
        result.transition = state.result()
    try:
        recording.commit_attempt(
            db, backend.storage, task.pk, request.attempt, result, contents, items, reads=lineage.noted()
        )
    except errors.StorageError as unstored:
        state.report(unstored)
        result = failure_of(state, unstored)
        recording.commit_attempt(db, backend.storage, task.pk, request.attempt, result, {}, reads=lineage.noted())
    return 1 if result.status == "failed" else 0


def open_state(
    flow: FlowDef,
    backend: Backend,
    settings: TaskSettings,
    request: TaskRequest,
    make: Callable[..., TaskState] = TaskState,
    known: tuple[RunRow, TaskRow] | None = None,
) -> TaskState:
    """What the metadata knows of the task; ``current`` describes it from now on."""
    step = flow[request.step]
    if known is None:
        run = recording.find_run(backend.db, flow.name, request.run_id)
        known = run, recording.find_task(backend.db, run.pk, request.step, request.task_id)
    run, task = known
    state = make(flow, step, backend, runtime_of(step.language), run, task, settings.max_num_splits)
    if settings.masks is not None:
        state.tell_secrets = partial(settings.masks.send, request.key)
    _set_current(flow, state, settings, request)
    lineage.start_noting(backend.metadata_url, run.pk)
    return state


def run_body(state: TaskState, decorators: Sequence[StepDecorator], settings: TaskSettings) -> BaseException | None:
    """The error with which the body, or a decorator around it, ended."""
    step, process = state.step, os.getpid()
    error: BaseException | None = None
    entered: list[StepDecorator] = []
    try:
        _add_libraries(state, settings)
        for decorator in decorators:
            entered.append(decorator)
            decorator.before(state)
        body: Callable[[], None] = partial(_run_step, state, process)
        for decorator in reversed(decorators):
            body = partial(decorator.around, state, body)
        body()
        if state.transition is None and not step.is_end:
            state.runtime.follow_graph(step, state)
    except BaseException as raised:
        error = raised
    if os.getpid() != process:
        _end_fork(state, error)
    if isinstance(error, SystemExit):
        # With the traceback: a program that calls sys.exit() deep within is hard to find.
        ended = errors.TaskDied(f"The code of step {step.name} ended the process: exit({error.code!r}).")
        error = ended.with_traceback(error.__traceback__)
    for decorator in reversed(entered):
        try:
            decorator.after(state, error)
        except BaseException as raised:
            error = error or raised
    return error


def _add_libraries(state: TaskState, settings: TaskSettings) -> None:
    """Let the step find the packages that it has asked for."""
    known = settings.libraries
    if known is None:
        from metaflow_core.metadata.texts import texts_of

        recorded = texts_of(state.backend.db, state.run.pk)[1]
        facts = json.loads(recorded) if recorded else {}
        own = facts.get("environments", {}).get(facts.get("steps", {}).get(state.step.name))
        known = {state.step.name: (own["libraries"], own["packages"])} if own else {}
    folders, packages = known.get(state.step.name, ((), {}))
    if folders:
        state.runtime.add_libraries(folders, packages)


def _run_step(state: TaskState, process: int) -> None:
    step = state.step
    error: BaseException | None = None
    try:
        state.backend.rest()
        state.runtime.run_step(state.flow, step, state)
        if state.transition is None and not step.is_end:
            raise errors.InvalidNextException(
                f"Step {step.name}{where(step)} ended without saying where the flow goes. Its last statement must be "
                f"{spelling(step.language).leads_to('end')}, or lead to another step."
            )
    except BaseException as raised:
        error = raised
        raise
    finally:
        if os.getpid() != process:
            _end_fork(state, error)


def _end_fork(state: TaskState, error: BaseException | None) -> NoReturn:
    """A process that the step's code has forked came out of the body: it is not the task, so it has no result."""
    code = 1
    try:
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is None:
            code = 0
        else:
            state.report(error)
    finally:
        leave(code)


def failure_of(state: TaskState, error: BaseException) -> recording.Result:
    """What is recorded of an attempt that has failed."""
    wrapped = state.wrap(error)
    return recording.Result(
        "failed",
        None,
        {
            "type": wrapped.type,
            "message": wrapped.exception,
            "stacktrace": wrapped.stacktrace,
            "language": state.step.language,
        },
    )


def _last_error(db: Any, task_pk: int, attempt: int) -> errors.MetaflowException:
    """Why the process of the attempt before this one ended."""
    error = recording.attempt_result(db, task_pk, attempt - 1).error or {}
    message = str(error.get("message", "The task's process died."))
    cls = errors.TimeoutException if error.get("type") == "TimeoutException" else errors.FailureHandledByCatch
    return cls(message)


def _set_current(flow: FlowDef, state: TaskState, settings: TaskSettings, request: TaskRequest) -> None:
    run, task = state.run, state.task
    origin = state.backend.db.execute("SELECT origin_run_id FROM runs WHERE pk = ?", (run.pk,))[0][0]
    current._update(
        {
            "flow_name": flow.name,
            "run_id": run.id,
            "step_name": task.step,
            "task_id": task.id,
            "retry_count": request.attempt,
            "origin_run_id": origin,
            "pathspec": f"{flow.name}/{run.id}/{task.step}/{task.id}",
            "namespace": identity.identity(),
            "username": identity.user(),
            "parameter_names": [p.artifact for p in flow.parameters],
            "graph": partial(graph_of, flow),
            "tempdir": os.environ.get("TMPDIR") or "/tmp",
        }
    )
    identity.own_run = f"{flow.name}/{run.id}"
    for decorator in flow_decorators(flow):
        current._update(decorator.current(settings.options or {}))
    if settings.namespace is not None:
        from metaflow_core.results import namespace

        namespace(settings.namespace or None)


def graph_of(flow: FlowDef) -> dict[str, Any]:
    """``current.graph``."""
    from metaflow_core.graph.render import flow_to_dict

    return flow_to_dict(flow)
