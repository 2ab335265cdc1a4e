"""Airflow as an orchestrator: a DAG file in its folder, and its REST API for everything else."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from metaflow_core import settings
from metaflow_core.deployment.interface import Deployed, Deployment, Execution
from metaflow_core.errors import CommandException, MetaflowException, MetaflowNotFound
from metaflow_core.names import masked

from metaflow_plugins import airflow_folder as folder
from metaflow_plugins.airflow_document import MAX_EVENT_NAME, can_name_asset, dag_file, dag_id, mark, run_id
from metaflow_plugins.airflow_rest import Refused, Rest, quoted

if TYPE_CHECKING:
    import click
    from metaflow_core.deployment.plan import DeploymentPlan

TERMINATED = "Terminated with Metaflow"  # begins the note of a DAG run
DAG_FILE_BEGINS = b'"""A flow of Metaflow as a DAG of Airflow'
_STATES = {"queued": "queued", "running": "running", "success": "succeeded", "failed": "failed"}


class Airflow:
    """See :class:`metaflow_core.deployment.interface.Orchestrator`."""

    name = "airflow"
    title = "Apache Airflow"
    shares_files = False
    places: Collection[str] = ()

    def options(self, command: str) -> Sequence[click.Parameter]:
        if command != "create":
            return []
        import click

        return [
            click.Argument(["file"], required=False, type=click.Path(dir_okay=False)),
            click.Option(
                ["--wait"],
                type=click.FloatRange(min=0),
                default=600.0,
                show_default=True,
                metavar="SECONDS",
                help="How long Airflow may take until it has read the new DAG file.",
            ),
        ]

    def check(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        for node in plan:
            if node.loops_to:
                raise CommandException(
                    f"Step {node.step} leads back to {node.loops_to[0]}, and the DAGs of Airflow have no loops. Deploy "
                    f"the flow to step-functions, argo-workflows or local."
                )
        for trigger in plan.triggers:
            for event in trigger.events:
                if not can_name_asset(event.name):
                    raise CommandException(
                        f"An event is an asset of Airflow, which can't be named {event.name!r}: use at most "
                        f"{MAX_EVENT_NAME} ASCII characters, and not airflow: first."
                    )

    def render(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> str:
        return dag_file(plan, settings.get("AIRFLOW_PYTHON"))

    def prepare(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        if options["file"] is not None:
            found = folder.read(options["file"])
            if found is not None and not found.startswith(DAG_FILE_BEGINS):
                raise CommandException(
                    f"{options['file']} is no DAG file of Metaflow's and would be lost. Name another file, as in "
                    f"`airflow create dags/{dag_id(plan.name)}.py`."
                )
            return
        if settings.get("AIRFLOW_DAGS_FOLDER") is None or settings.get("AIRFLOW_REST_API") is None:
            raise CommandException(
                "Say where the DAG file is to be written, as in `airflow create dags/flow.py`. To deploy to a running "
                "Airflow, set METAFLOW_AIRFLOW_DAGS_FOLDER to its folder of DAG files, and METAFLOW_AIRFLOW_REST_API "
                "to its address."
            )
        next(_rest().all("/dags", "dags"), None)  # who answers is Airflow, and knows who asks

    def deploy(self, plan: DeploymentPlan, document: str, options: Mapping[str, Any]) -> Deployed:
        dag = dag_id(plan.name)
        if options["file"] is not None:
            place = os.path.abspath(options["file"])
            folder.write(place, document.encode())
            return Deployed(
                dag, {"file": place}, [f"The DAG file is {options['file']}: bring it to Airflow's DAGs folder."]
            )
        place = folder.join(settings.get("AIRFLOW_DAGS_FOLDER"), f"{dag}.py")
        rest = _rest()
        before, known = folder.read(place), set(_import_errors(rest, dag))
        folder.write(place, document.encode())
        try:
            self._wait(rest, plan, known, options["wait"])
            rest.ask("PATCH", f"/dags/{quoted(dag)}", {"is_paused": False})
        except BaseException:
            folder.restore(place, before)
            raise
        return Deployed(dag, {"file": masked(place), "url": masked(rest.url)})  # no password is kept

    def trigger(self, deployment: Deployment, parameters: Mapping[str, str], options: Mapping[str, Any]) -> Execution:
        body = {"logical_date": None, "conf": dict(parameters)}
        try:
            return self._execution(deployment, _rest().ask("POST", f"{_runs(deployment)}", body))
        except Refused as error:
            if error.status != 404:
                raise
            raise MetaflowNotFound(
                f"Airflow has no DAG {deployment.handle}. Is {deployment.info.get('file')} in its DAGs folder?"
            ) from None

    def list_runs(self, deployment: Deployment, statuses: Sequence[str], options: Mapping[str, Any]) -> list[Execution]:
        found: list[Execution] = []
        for execution in self._executions(deployment):
            if not statuses or execution.status in statuses:
                found.append(execution)
            if len(found) == 100:
                break
        return found

    def status(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        for execution in self._executions(deployment):
            if execution.run_id == run_id:
                return execution
        raise MetaflowNotFound(f"Airflow has no run {run_id} of {deployment.name}.")

    def terminate(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        execution = self.status(deployment, run_id, options)
        if execution.status not in ("queued", "running"):
            return execution
        path = f"{_runs(deployment)}/{quoted(execution.handle)}"
        user = settings.get("USER")
        note = f"{TERMINATED}{f' by {user}' if user else ''}"
        _rest().ask("PATCH", path, {"state": "failed", "note": note})
        return execution._replace(status="terminated")

    def delete(self, deployment: Deployment, options: Mapping[str, Any]) -> None:
        path = f"/dags/{quoted(deployment.handle)}"
        rest = None if settings.get("AIRFLOW_REST_API") is None else _rest()
        if rest is not None and rest.find(path) is not None:
            rest.ask("PATCH", path, {"is_paused": True})
        folder.remove(_file(deployment))
        if rest is not None:
            try:
                rest.ask("DELETE", path)
            except Refused as error:
                if error.status not in (404, 409):  # it is gone; or runs still go on, and Airflow forgets it after them
                    raise

    def _wait(self, rest: Rest, plan: DeploymentPlan, known: Collection[tuple[Any, ...]], seconds: float) -> None:
        dag, end = dag_id(plan.name), time.monotonic() + seconds
        while True:
            found = rest.find(f"/dags/{quoted(dag)}/details")
            if found is not None and mark(plan) in (found.get("doc_md") or ""):
                return
            for error in _import_errors(rest, dag):
                if error not in known:
                    raise MetaflowException(f"Airflow can't read the DAG file:\n{error[-1]}")
            if time.monotonic() >= end:
                raise MetaflowException(
                    f"Airflow has not read the DAG file within {seconds:g} seconds. Does it read DAG files from "
                    f"METAFLOW_AIRFLOW_DAGS_FOLDER, and is its DAG processor running? --wait gives it more time."
                )
            time.sleep(1.0)

    def _executions(self, deployment: Deployment) -> Iterator[Execution]:
        for run in _rest().all(_runs(deployment), "dag_runs", order_by="-run_after"):
            yield self._execution(deployment, run)

    def _execution(self, deployment: Deployment, run: Mapping[str, Any]) -> Execution:
        started, finished = _seconds(run["start_date"]), _seconds(run["end_date"])
        status = _STATES.get(run["state"], "running")
        timeout = deployment.plan["workflow_timeout"]
        if (run.get("note") or "").startswith(TERMINATED):
            status = "terminated"
        elif status == "failed" and timeout and started and finished and finished - started >= timeout:
            status = "timed-out"
        return Execution(run_id(deployment.name, run["dag_run_id"]), status, started, finished, run["dag_run_id"])


def _rest() -> Rest:
    url = settings.get("AIRFLOW_REST_API")
    if url is None:
        raise CommandException(
            "Set METAFLOW_AIRFLOW_REST_API to the address at which you open Airflow, such as http://airflow:8080."
        )
    return Rest(url)


def _file(deployment: Deployment) -> str:
    """The DAG file, with the password of the folder as it is set now."""
    known, current = str(deployment.info["file"]), settings.get("AIRFLOW_DAGS_FOLDER")
    place = folder.join(current, f"{deployment.handle}.py") if current is not None else known
    return place if masked(place) == known else known


def _runs(deployment: Deployment) -> str:
    return f"/dags/{quoted(deployment.handle)}/dagRuns"


def _import_errors(rest: Rest, dag: str) -> Iterator[tuple[Any, ...]]:
    for error in rest.all("/importErrors", "import_errors"):
        if os.path.basename(error["filename"]) == f"{dag}.py":
            yield error["import_error_id"], error["timestamp"], error["stack_trace"]


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
