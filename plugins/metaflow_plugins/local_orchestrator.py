"""The local orchestrator: ``python flow.py local create``. Its runs wait in the metadata for ``metaflow agent``."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metaflow_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import click
    from metaflow_core.deployment.interface import Deployed, Deployment, Execution, Orchestrator
    from metaflow_core.deployment.plan import DeploymentPlan
    from metaflow_core.metadata.database import Database
    from metaflow_core.metadata.local_runs import LocalRun

NAME = "local"
LISTED = 1000  # of the latest runs
END_SECONDS = 45.0  # in which an agent ends a run
NO_AGENT = "No agent is running, so it waits. Start one here: metaflow agent"


@hookimpl
def open_orchestrator(name: str) -> Orchestrator | None:
    return LocalOrchestrator() if name == NAME else None


@hookimpl
def orchestrator_names() -> Sequence[str]:
    return [NAME]


@hookimpl
def publish_event(orchestrator: str, event: Mapping[str, Any]) -> bool | None:
    if orchestrator != NAME:
        return None
    from metaflow_core import settings
    from metaflow_core.metadata.events import publish

    publish(_database(), event["name"], event["id"], event["type"], event["payload"], settings.get("USER") or "")
    return True


class LocalOrchestrator:
    """Everything is in the metadata database. See ``metaflow_core.deployment.agent`` for what runs it."""

    name = NAME
    title = "the local orchestrator"
    shares_files = True
    has_gangs = True
    places: Collection[str] = ()

    def options(self, command: str) -> Sequence[click.Parameter]:
        return []

    def check(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        """There is nothing that ``run`` can do and a deployed run can't."""

    def render(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> str:
        document = {
            "name": plan.name,
            "flow": plan.flow,
            "steps": list(plan.nodes),
            "schedule": plan.schedule and {"cron": plan.schedule.cron, "timezone": plan.schedule.timezone},
            "triggers": [[event.name for event in trigger.events] for trigger in plan.triggers],
            "parameters": [parameter._asdict() for parameter in plan.parameters],
            "tags": list(plan.tags),
            "max_workers": plan.max_workers,
            "workflow_timeout": plan.workflow_timeout,
            "environment": plan.environment(),
        }
        return json.dumps(document, indent=2)

    def prepare(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        """The database is that of everything else, so it is known to be there."""

    def deploy(self, plan: DeploymentPlan, document: str, options: Mapping[str, Any]) -> Deployed:
        from metaflow_core.deployment.interface import Deployed
        from metaflow_core.metadata.events import last_event
        from metaflow_core.metadata.local_runs import agent_lives

        db = _database()
        # Agents read the record of the deployment, so it is in place when that is. Events count from now on.
        info = {"environment": plan.environment(), "last_event": last_event(db)}
        notes = []
        if plan.schedule is not None:
            notes.append(f"It starts at {plan.schedule.cron}, {plan.schedule.timezone or 'UTC'}.")
        for trigger in plan.triggers:
            notes.append(f"It starts when {' and '.join(event.name for event in trigger.events)} has come.")
        if not agent_lives(db):
            notes.append("No agent is running, so nothing starts yet. Start one here: metaflow agent")
        return Deployed("", info, notes)

    def trigger(self, deployment: Deployment, parameters: Mapping[str, str], options: Mapping[str, Any]) -> Execution:
        from metaflow_core.metadata.local_runs import queue

        db = _database()
        return _execution(db, queue(db, deployment.id, parameters))

    def list_runs(self, deployment: Deployment, statuses: Sequence[str], options: Mapping[str, Any]) -> list[Execution]:
        from metaflow_core.metadata.local_runs import as_it_is, latest

        db = _database()
        found = [as_it_is(db, run) for run in latest(db, deployment.name, LISTED)]
        return [_as_execution(run) for run in found if not statuses or run.status in statuses]

    def terminate(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        from metaflow_core.metadata.local_runs import agent_lives, as_it_is, find, want

        db = _database()
        run = find(db, deployment.name, run_id)
        want(db, run.pk, "terminated")
        end = time.monotonic() + END_SECONDS
        while True:
            run = as_it_is(db, find(db, deployment.name, run_id))
            lives = agent_lives(db)
            if run.status != "running" or not lives or time.monotonic() > end:
                break
            time.sleep(0.1)
        found = _as_execution(run)
        if run.status != "running":
            return found
        if lives:
            return found._replace(note="It was told to end.")
        return found._replace(note="No agent is running that could end it. The next one will: metaflow agent")

    def status(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        from metaflow_core.metadata.local_runs import as_it_is, find

        db = _database()
        return _execution(db, as_it_is(db, find(db, deployment.name, run_id)))

    def delete(self, deployment: Deployment, options: Mapping[str, Any]) -> None:
        from metaflow_core.metadata.local_runs import drop_queued

        drop_queued(_database(), deployment.name)


def _execution(db: Database, run: LocalRun) -> Execution:
    from metaflow_core.metadata.local_runs import agent_lives

    found = _as_execution(run)
    return found._replace(note=NO_AGENT) if run.status == "queued" and not agent_lives(db) else found


def _as_execution(run: LocalRun) -> Execution:
    from metaflow_core.deployment.interface import Execution

    started, finished = (None if at is None else at / 1e6 for at in (run.started_at, run.finished_at))
    return Execution(run.run_id, run.status, started, finished, note=run.reason)


def _database() -> Database:
    from metaflow_core.metadata.backend import open_backend

    return open_backend().db
