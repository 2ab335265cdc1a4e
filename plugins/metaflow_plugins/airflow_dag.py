"""A flow of Metaflow as a DAG of Airflow, for Airflow 3 and 2.11. Written by `airflow create`, which writes it again.

The tasks run `python -m metaflow_core.cli.deployed` on the workers. The steps inside a foreach are mapped tasks, one
for each path: "3/0" is element 0 of the inner foreach in element 3 of the outer one. A task `STEP-paths` finds the
paths where they are not just the elements of one foreach. `metaflow-finish` looks after a run that has failed.
"""

# This module is copied into each DAG file; the plugin that does it puts the flow into the next statement.
from __future__ import annotations

import hashlib
import json
import os
import tempfile
from datetime import datetime, timedelta
from typing import Any

try:  # Airflow 3
    from airflow.providers.standard.hooks.subprocess import SubprocessHook
    from airflow.sdk import (
        DAG,
        Asset,
        AssetAll,
        AssetAny,
        AssetOrTimeSchedule,
        BaseOperator,
        BranchMixIn,
        CronTriggerTimetable,
        Param,
    )
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    ASSETS = "assets"  # what the schedules call them
except ImportError:  # Airflow 2
    from airflow.datasets import Dataset as Asset
    from airflow.datasets import DatasetAll as AssetAll
    from airflow.datasets import DatasetAny as AssetAny
    from airflow.exceptions import AirflowException, AirflowFailException
    from airflow.hooks.subprocess import SubprocessHook
    from airflow.models import DAG, BaseOperator
    from airflow.models.param import Param
    from airflow.operators.branch import BranchMixIn
    from airflow.timetables.datasets import DatasetOrTimeSchedule as AssetOrTimeSchedule
    from airflow.timetables.trigger import CronTriggerTimetable

    ASSETS = "datasets"

FLOW: dict[str, Any] = json.loads("{}")
VERSION = "metaflow"  # the key of an XCom of the first task


class Node(BaseOperator, BranchMixIn):
    """One command of the deployed flow: `node` runs a step at a path, `paths` says where one is due."""

    def __init__(self, *, command: str, step: str = "", path: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.command = command
        self.step = step
        self.path = path
        self.hook: Any = None

    def execute(self, context: Any) -> Any:
        run_id = id_of_run(context["dag_run"].run_id)
        if self.command == "finish":
            if context["ti"].xcom_pull(task_ids=FLOW["end"]) == run_id:
                return None
            self.run(context, run_id, version_of(context))
            raise AirflowFailException("The run has not come to its end. Look at the other tasks for the reason.")
        if self.step == FLOW["start"]:
            context["ti"].xcom_push(key=VERSION, value=FLOW["environment"])
        told = self.run(context, run_id, version_of(context))
        if self.command == "paths":
            return json.loads(told["paths"])
        if self.step == FLOW["end"]:
            for asset in self.outlets:
                context["outlet_events"][asset].extra = {"pathspec": f"{FLOW['flow']}/{run_id}"}
            return run_id
        if self.step in FLOW["fans"]:
            return [str(index) for index in range(int(told["num_splits"]))]
        if self.step in FLOW["switches"]:
            self.do_branch(context, told["next"])
        return None

    def run(self, context: Any, run_id: str, version: dict[str, str]) -> dict[str, str]:
        """Run the command on this machine, and give what it tells, by name."""
        environment = {**os.environ, **version, "METAFLOW_RUN_ID": run_id, "METAFLOW_NODE_PATH": self.path}
        command = [FLOW["python"], *FLOW["program"], self.command, *([self.step] if self.step else [])]
        if self.command == "finish":
            command += ["--status", "failed"]
        if self.step == FLOW["start"]:
            environment["METAFLOW_NODE_PARAMETERS"] = json.dumps(given_parameters(context))
            environment["METAFLOW_NODE_TRIGGER"] = json.dumps(events(context))
        with tempfile.TemporaryDirectory() as folder:
            environment["METAFLOW_NODE_RESULT"] = folder
            self.hook = SubprocessHook()
            done = self.hook.run_command(command=command, env=environment)
            if done.exit_code != 0:
                raise AirflowException(f"{self.step or self.command} has failed: see its output above.")
            told = {}
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    told[name] = file.read()
            return told

    def on_kill(self) -> None:
        if self.hook is not None:
            self.hook.send_sigterm()


def version_of(context: Any) -> dict[str, str]:
    """What says which code runs: that with which the run has begun, also when this file is a later one."""
    found: dict[str, str] = context["ti"].xcom_pull(task_ids=FLOW["start"], key=VERSION) or FLOW["environment"]
    return found


def id_of_run(name: str) -> str:
    """The id that the run has in Metaflow."""
    key = f"{FLOW['name']}/{name}"
    return f"airflow-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def given_parameters(context: Any) -> Any:
    """What the DAG run was started with, without what was left empty."""
    conf = context["dag_run"].conf or {}
    if not isinstance(conf, dict):
        return conf  # the node says what is wrong with it
    return {name: value for name, value in conf.items() if value is not None}


def events(context: Any) -> list[dict[str, Any]]:
    """The events that started the DAG run, the oldest first. What else has come so far is not among them."""
    found = context.get("triggering_asset_events") or context.get("triggering_dataset_events") or {}
    told = []
    for asset, group in found.items():
        for event in group:
            name = asset if isinstance(asset, str) else getattr(asset, "name", None) or asset.uri
            payload = {key: value for key, value in (event.extra or {}).items() if key != "from_rest_api"}
            told.append(
                {
                    "name": name,
                    "id": payload.get("pathspec") or f"{event.source_run_id or 'event'}/{event.timestamp.isoformat()}",
                    "time": int(event.timestamp.timestamp() * 1_000_000),
                    "type": "run" if "pathspec" in payload and name.startswith("metaflow.") else "event",
                    "payload": payload,
                }
            )
    came = {event["name"] for event in told}
    started_by = {name for names in FLOW["triggers"] if came.issuperset(names) for name in names}
    return sorted((event for event in told if event["name"] in started_by), key=lambda event: event["time"])


def schedule() -> Any:
    """What starts the DAG: a time, assets, either, or nothing."""
    alternatives = [AssetAll(*(Asset(name) for name in names)) for names in FLOW["triggers"]]
    assets = AssetAny(*alternatives) if alternatives else None
    if FLOW["cron"] is None:
        return assets
    times = CronTriggerTimetable(FLOW["cron"], timezone=FLOW["timezone"])
    return AssetOrTimeSchedule(timetable=times, **{ASSETS: assets}) if assets else times


def task(node: dict[str, Any], made: dict[str, Any]) -> Any:
    """The task, or the mapped tasks, of a step."""
    options: dict[str, Any] = {
        "task_id": node["step"],
        "command": "node",
        "step": node["step"],
        "doc_md": node["doc"] or None,
        "retries": node["retries"],
        "retry_delay": timedelta(seconds=node["wait"]),
    }
    before = [made[name] for name in node["parents"]]
    if before:
        options["trigger_rule"] = "none_failed_min_one_success"
    if node["step"] == FLOW["end"] and FLOW["end_event"]:
        options["outlets"] = [Asset(FLOW["end_event"])]
    if node["paths"] is None:
        current = Node(**options)
    elif node["paths"] in made:
        current = Node.partial(map_index_template="{{ task.path }}", **options).expand(path=made[node["paths"]].output)
    else:
        finder = Node(
            task_id=node["paths"],
            command="paths",
            step=node["step"],
            trigger_rule=options["trigger_rule"],
            retries=3,  # no code of the user's fails here, but a network may
            retry_delay=timedelta(seconds=10),
        )
        finder.set_upstream(before)
        made[node["paths"]] = finder
        return task(node, made)
    if before:
        current.set_upstream(before)
    return current


def timed_out(context: Any) -> None:
    """A DAG run that takes too long is ended without its last task."""
    if context.get("reason") == "timed_out":
        finish.run(context, id_of_run(context["dag_run"].run_id), FLOW["environment"])


with DAG(
    dag_id=FLOW["dag"],
    description=FLOW["description"] or None,
    doc_md=FLOW["doc"],
    schedule=schedule(),
    start_date=datetime.fromisoformat(FLOW["start_date"]),
    catchup=False,
    max_active_tasks=FLOW["max_workers"],
    dagrun_timeout=timedelta(seconds=FLOW["timeout"]) if FLOW["timeout"] else None,
    params={
        one["name"]: Param(one["default"], type=one["types"], description=one["help"] or None)
        for one in FLOW["parameters"]
    },
    tags=FLOW["tags"],
    on_failure_callback=timed_out if FLOW["timeout"] else None,
    default_args={"owner": FLOW["owner"]},
) as dag:
    made: dict[str, Any] = {}
    for each in FLOW["nodes"]:
        made[each["step"]] = task(each, made)
    finish = Node(task_id="metaflow-finish", command="finish").as_teardown(on_failure_fail_dagrun=True)
    finish.set_upstream([made[each["step"]] for each in FLOW["nodes"]])
