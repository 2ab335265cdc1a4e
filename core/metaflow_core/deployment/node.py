"""Runs one node of a deployed flow: one attempt of one task, and tells what follows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from metaflow_core import identity
from metaflow_core.deployment.due import Due, Nodes, Path
from metaflow_core.engine.exit_hooks import call_hooks
from metaflow_core.engine.plan import Work, split_index
from metaflow_core.engine.run import Processes, RunOptions, create_run
from metaflow_core.engine.scheduler import Scheduler
from metaflow_core.engine.showing import open_report
from metaflow_core.engine.task import runtime_of
from metaflow_core.errors import AttemptGivenUp, CommandException, MetaflowException, MetaflowNotFound, PluginError
from metaflow_core.graph.model import FlowDef, StepDef
from metaflow_core.identity import PRODUCTION
from metaflow_core.metadata import recording
from metaflow_core.metadata.backend import Backend
from metaflow_core.metadata.deployments import DeploymentRow
from metaflow_core.metadata.nodes import NodeTask, has_system_tag, tasks_with_ids
from metaflow_core.metadata.recording import RunRow
from metaflow_core.plugins import hook, tell

_LOOKS = 5  # at a node, while other processes begin it


@dataclass(slots=True)
class _One:
    """The plan of a single attempt. What follows it is the orchestrator's to start."""

    work: Work | None
    ended: bool = False
    transition: dict[str, Any] | None = None
    is_repeated: bool = False  # by the orchestrator

    def next(self, now: float, free: int, fits: object) -> Work | None:
        work, self.work = self.work, None
        return work

    def finished(
        self, task_pk: int, task_id: str, frames: Sequence[Sequence[Any]], transition: dict[str, Any] | None
    ) -> None:
        self.transition = transition

    def retry(self, works: list[Work], at: float) -> None:
        if works[0].fallback:  # @catch handles the death of the last attempt
            self.work = works[0]
        else:
            self.is_repeated = True

    def next_time(self, after: float) -> float:
        return float("inf")

    @property
    def waiting(self) -> bool:
        return self.work is not None


def start_run(
    flow: FlowDef, backend: Backend, options: RunOptions, parameters: Mapping[str, Any], deployment: DeploymentRow
) -> RunRow:
    """The run, which is created unless it is there: its first node may be started more than once."""
    assert options.production is not None
    run_id = options.production.run_id
    with suppress(MetaflowNotFound):
        return find_run(flow, backend, run_id, deployment)
    try:
        run = create_deployed_run(flow, backend, options, parameters, deployment)
    except Exception:  # of the database, whichever it is: another process may have been quicker
        with suppress(MetaflowNotFound):
            return find_run(flow, backend, run_id, deployment)
        raise
    tell("run_started", "The run has started", flow_name=flow.name, run_id=run.id)
    return run


def find_run(flow: FlowDef, backend: Backend, run_id: str, deployment: DeploymentRow) -> RunRow:
    """The run, which a version of the deployment with the same token has begun.

    ``MetaflowNotFound`` when there is none. ``CommandException`` when it is of another token: an orchestrator that has
    forgotten what was deleted may use the names of its runs again.
    """
    run = recording.find_run(backend.db, flow.name, run_id)
    if not has_system_tag(backend.db, run.pk, f"{PRODUCTION}{deployment.token}"):
        raise CommandException(
            f"{flow.name}/{run_id} is there already, from a deployment with another production token, and is left as "
            f"it is. A run of {deployment.name} needs a name that was not in use before {deployment.name} got its "
            f"present token: start it under another one."
        )
    return run


def create_deployed_run(
    flow: FlowDef, backend: Backend, options: RunOptions, parameters: Mapping[str, Any], deployment: DeploymentRow
) -> RunRow:
    """Create a run whose code is that of the deployment."""
    from metaflow_core.engine.package import use_package
    from metaflow_core.metadata.code_packages import StoredPackage

    options.package_code = False  # the run has the package of its deployment
    run = create_run(flow, backend, options, parameters)
    package = deployment.given.get("package")
    if package:
        use_package(backend, run, StoredPackage(package["key"], package["script"], package["folder"], package["info"]))
    return run


def run_node(
    flow: FlowDef,
    backend: Backend,
    processes: Processes,
    options: RunOptions,
    run: RunRow,
    step: StepDef,
    path: Path,
    attempts: int,
) -> dict[str, Any] | None:
    """Run what is due at a node, unless that has ended well, and return where it leads; None when it failed.

    ``attempts`` is how often the orchestrator starts a node that fails, without the one that is for ``@catch`` alone.
    """
    nodes = Nodes(flow, backend.db, run)
    for _ in range(_LOOKS):
        found = nodes.look(step.name, path)
        if isinstance(found, NodeTask) and found.is_done:
            print(f"Task {run.id}/{step.name}/{found.id} has ended before; nothing is run.", flush=True)
            return found.transition or {}
        with suppress(AttemptGivenUp):  # another process of the node was quicker: what is due may be different now
            return _run(flow, backend, processes, options, run, _work(backend, step, found, attempts))
    raise MetaflowException(f"Step {step.name} was begun by other processes again and again. Start the node once.")


def _run(
    flow: FlowDef, backend: Backend, processes: Processes, options: RunOptions, run: RunRow, work: Work
) -> dict[str, Any] | None:
    recording.reopen_run(backend.db, run.pk)
    plan = _One(work)
    report = open_report(flow, run.id, options.showing)
    scheduler = Scheduler(
        flow,
        run,
        backend,
        processes.compute,
        report,
        plan,  # type: ignore[arg-type]
        options.limits,
        masks=processes.masks,
        spawned=[work.step] if work.step in options.environments else [],
        admission=processes.admission,
        beats=False,
    )
    scheduler.execute()
    if plan.transition is not None or plan.ended:
        return plan.transition or {}
    if scheduler.failed:
        recording.fail_run(backend.db, run.pk, work.task_pk)
    task = tasks_with_ids(backend.db, run.pk, work.step, [work.task_id])[work.task_id]
    if task.is_done and task.attempt > work.attempt:
        print(
            f"Task {run.id}/{work.step}/{task.id} has ended well in another process, whose result counts.", flush=True
        )
        return task.transition or {}
    return None


def _work(backend: Backend, step: StepDef, found: Due | NodeTask, attempts: int) -> Work:
    if isinstance(found, Due):
        return Work(step.name, found.frames, split_index(found.frames), found.parents, task_id=found.id)
    error = found.error
    if found.status == "running":  # its process is gone, or the orchestrator thinks so
        error = {"type": "TaskDied", "message": "The process of this attempt disappeared.", "stacktrace": ""}
        error["language"] = step.language
        recording.give_up_attempt(backend.db, found.pk, found.attempt, error)
    died = (error or {}).get("type") in ("TaskDied", "TimeoutException")
    attempt = found.attempt + 1
    index = split_index(found.frames)
    fallback = died and attempt == attempts and any(spec.name == "catch" for spec in step.decorators)
    return Work(step.name, found.frames, index, [], found.pk, found.id, attempt, fallback)


def end_run(flow: FlowDef, backend: Backend, run: RunRow, status: str, given: Mapping[str, Any]) -> None:
    """Record that the run has ended, call the exit hooks, and let everybody know, once."""
    if not recording.end_run_once(backend.db, run.pk, status):
        return
    tell("run_finished", f"The run has ended ({status})", flow_name=flow.name, run_id=run.id, status=status)
    if status == "completed":
        publish_end(flow.name, run.id, given)
    if any(decorator.name == "exit_hook" for decorator in flow.decorators):
        for language in sorted(flow.languages):
            runtime_of(language).prepare(flow)
        if call_hooks(flow, run.id, status, given.get("namespace")):
            print("An exit hook failed. The run is as it was.", flush=True)


def publish_end(flow: str, run_id: str, given: Mapping[str, Any]) -> None:
    """Publish the event that a run of the flow has succeeded. To publish it again does nothing."""
    if not given.get("end_event"):
        return
    pathspec = f"{flow}/{run_id}"
    event = {"name": given["end_event"], "id": pathspec, "type": "run", "payload": {"pathspec": pathspec}}
    try:
        hook().publish_event(orchestrator=given["orchestrator"], event=event)
    except MetaflowException as error:
        print(f"The end of the run could not be told: {error}", flush=True)


def tell_result(place: str | None, run_id: str, step: str, path: str, result: Mapping[str, Any]) -> None:
    """Tell the orchestrator what follows: see ``--result`` of the commands."""
    if place is None:
        return
    if place == "-":
        print(json.dumps(result, separators=(",", ":")), flush=True)
    elif "://" in place:
        if not hook().publish_result(place=place, run_id=run_id, step=step, path=path, result=result):
            raise PluginError(f"No installed plugin can tell a result to {place}.")
    else:
        os.makedirs(place, exist_ok=True)
        files = {key: value if isinstance(value, str) else json.dumps(value) for key, value in result.items()}
        for name, text in files.items():
            with open(os.path.join(place, name), "w", encoding="utf-8") as file:
                file.write(text)


def result_of(step: StepDef, transition: Mapping[str, Any]) -> dict[str, Any]:
    """What the orchestrator must know of where a task leads: a number, or a step."""
    if transition.get("kind") in ("foreach", "parallel"):
        return {"num_splits": transition["num_splits"]}
    if step.transition is not None and step.transition.kind == "switch":
        return {"next": transition["targets"][0]}
    return {}


def be_of(deployment: DeploymentRow) -> None:
    """This process works for the deployment: what it does belongs to the production token."""
    os.environ["METAFLOW_PRODUCTION_TOKEN"] = deployment.token
    os.environ["METAFLOW_USER"] = deployment.owner
    identity.identity()
