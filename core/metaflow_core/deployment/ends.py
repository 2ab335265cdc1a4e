"""What a service knows of the ends of its runs: whoever asks it lets the metadata know too.

A run that is stopped with the service's own means can't record its end, and between two of its nodes there is nothing
of it that could give a sign of life.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metaflow_core.deployment.deploy import as_deployment
from metaflow_core.deployment.interface import Execution, Orchestrator
from metaflow_core.errors import MetaflowNotFound
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.deployments import DeploymentRow
from metaflow_core.metadata.driven_runs import DrivenRun, driven_run, end_driven_run, unfinished_runs

UNLISTED = 10  # unfinished runs for which the service is asked one by one
_ENDED = ("succeeded", "failed", "terminated", "timed-out")


def settle(db: Database, orchestrator: Orchestrator, row: DeploymentRow, found: Iterable[Execution]) -> list[DrivenRun]:
    """Mark those as failed that the service has ended, and that count as running. The running ones it has not told."""
    executions = {execution.run_id: execution for execution in found}
    untold = []
    for run in unfinished_runs(db, row.orchestrator, row.name, row.flow):
        execution = executions.get(run.id)
        if execution is None:
            untold.append(run)
        elif execution.status in _ENDED:
            at = None if execution.finished_at is None else round(execution.finished_at * 1e6)
            end_driven_run(db, run, _reason(orchestrator, execution), at)
    return untold


def settle_all(
    db: Database, orchestrator: Orchestrator, row: DeploymentRow, found: Iterable[Execution], options: Mapping[str, Any]
) -> None:
    """The same for all runs of the deployment: the service, which may list its latest ones only, is asked for others.

    ``options`` are those of ``status``.
    """
    for run in settle(db, orchestrator, row, found)[:UNLISTED]:
        look(db, orchestrator, row, run.id, options)


def look(
    db: Database, orchestrator: Orchestrator, row: DeploymentRow, run_id: str, options: Mapping[str, Any]
) -> Execution:
    """A run, as the service sees it; as the metadata has it, when it was deleted from the service."""
    try:
        execution = orchestrator.status(as_deployment(row), run_id, options)
    except MetaflowNotFound:
        run = driven_run(db, row.orchestrator, row.name, row.flow, run_id)
        if run is None:
            raise
        note = f"{orchestrator.title} does not know the run any more: it was deleted there."
        if end_driven_run(db, run, note, None):
            run = driven_run(db, row.orchestrator, row.name, row.flow, run_id) or run
        status = "succeeded" if run.status == "completed" else "failed"
        started, finished = (None if at is None else at / 1e6 for at in (run.created_at, run.finished_at))
        return Execution(run.id, status, started, finished, note=note)
    settle(db, orchestrator, row, [execution])
    return execution


def _reason(orchestrator: Orchestrator, execution: Execution) -> str:
    reason = f"The run has ended on {orchestrator.title}: {execution.status}."
    if execution.status == "succeeded":
        reason += " Its last step has not come to its end."
    return f"{reason} {execution.note}".strip()
