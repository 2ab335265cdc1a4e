"""What a DAG file builds, with stand-ins for Airflow's classes: `test_airflow.py` has the real ones."""

from __future__ import annotations

import json
import os
import sys
import types
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest
from metaflow_core.decorators.schedule import Schedule
from metaflow_core.deployment.plan import DeploymentPlan, PlanEvent, PlanNode, PlanParameter, PlanTrigger
from metaflow_plugins.airflow_document import dag_file, run_id


class Thing:
    """Keeps what it is made with."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments, self.options = arguments, options


class DAG(Thing):
    def __enter__(self) -> DAG:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Operator(Thing):
    """A task, or mapped tasks, whose ``mapped`` is the task with their paths."""

    mapped: Any = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.task_id = options["task_id"]
        self.outlets = options.get("outlets", [])
        self.before: list[str] = []
        self.output = self

    def set_upstream(self, others: list[Operator]) -> None:
        self.before += [other.task_id for other in others]

    def as_teardown(self, on_failure_fail_dagrun: bool) -> Operator:
        assert on_failure_fail_dagrun
        return self

    def do_branch(self, context: Any, step: str) -> None:
        context["branched"] = step

    @classmethod
    def partial(cls, map_index_template: str, **options: Any) -> Any:
        def expand(path: Operator) -> Operator:
            made = cls(**options)
            made.mapped = path
            return made

        return types.SimpleNamespace(expand=expand)


class Hook:
    """Runs nothing: keeps the command, and writes what ``tells`` says into the folder for results."""

    tells: ClassVar[dict[str, str]] = {}
    code = 0
    ran: ClassVar[list[tuple[list[str], dict[str, str]]]] = []

    def run_command(self, command: list[str], env: dict[str, str]) -> Any:
        Hook.ran.append((command, env))
        for name, text in Hook.tells.items():
            with open(os.path.join(env["METAFLOW_NODE_RESULT"], name), "w") as file:
                file.write(text)
        return types.SimpleNamespace(exit_code=Hook.code)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a DAG file, and gives its names."""
    sdk = types.ModuleType("airflow.sdk")
    for name in ("Asset", "AssetAll", "AssetAny", "AssetOrTimeSchedule", "CronTriggerTimetable", "Param"):
        setattr(sdk, name, type(name, (Thing,), {}))
    vars(sdk).update(DAG=DAG, BaseOperator=Operator, BranchMixIn=type("BranchMixIn", (), {}))
    errors = types.ModuleType("airflow.sdk.exceptions")
    vars(errors).update(AirflowException=RuntimeError, AirflowFailException=InterruptedError)
    hooks = types.ModuleType("airflow.providers.standard.hooks.subprocess")
    vars(hooks).update(SubprocessHook=Hook)
    for module in (sdk, errors, hooks):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Hook, "ran", [])
    monkeypatch.setattr(Hook, "tells", {})
    monkeypatch.setattr(Hook, "code", 0)

    def run(plan: DeploymentPlan) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "dag"}
        exec(compile(dag_file(plan, "/opt/python"), "dag.py", "exec"), names)
        return names

    return run


def node(step: str, kind: Any, *targets: str, fans: str = "", **more: Any) -> PlanNode:
    return PlanNode(step, kind, targets, fans=tuple(fans.split()), is_start=step == "start", **more)


NODES = [
    node("start", "foreach", "choose", join="joined"),
    node("choose", "switch", "left", "right", fans="start"),
    node("left", "linear", "met", fans="start", attempts=3, wait=60.0),
    node("right", "linear", "met", fans="start"),
    node("met", "linear", "joined", fans="start"),
    node("joined", "switch", "yes", "end", is_join=True),
    node("yes", "linear", "end"),
    node("end", "end"),
]
PLAN = DeploymentPlan(
    "shop.prod.F",
    "F",
    "airflow",
    {one.step: one for one in NODES},
    id=7,
    end_event="metaflow.shop.prod.F.end",
    parameters=[PlanParameter("alpha", "float", "0.5", False, "")],
    program='{"package": "x"}',
)


class Xcom:
    """``value`` is what the end has returned."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.pushed: dict[str, Any] = {}

    def xcom_pull(self, task_ids: str, key: str = "") -> Any:
        if key:
            assert task_ids == "start"
            return self.pushed.get(key)
        return self.value

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def context(**more: Any) -> dict[str, Any]:
    return {"dag_run": types.SimpleNamespace(run_id="manual 1", conf=None), "ti": Xcom(), **more}


def test_tasks_and_their_order(load: Any) -> None:
    made = load(PLAN)["made"]
    assert {name: task.before for name, task in made.items()} == {
        "start": [],
        "choose": ["start"],
        "left-paths": ["choose"],
        "left": ["choose"],
        "right-paths": ["choose"],
        "right": ["choose"],
        "met-paths": ["left", "right"],
        "met": ["left", "right"],
        "joined": ["met"],
        "yes": ["joined"],
        "end": ["joined", "yes"],
    }
    mapped = {name: task.mapped.task_id for name, task in made.items() if task.mapped}
    assert mapped == {"choose": "start", "left": "left-paths", "right": "right-paths", "met": "met-paths"}
    rules = {name: task.options.get("trigger_rule") for name, task in made.items()}
    assert rules.pop("start") is None and set(rules.values()) == {"none_failed_min_one_success"}
    assert made["left"].options["retries"] == 2
    assert made["left"].options["retry_delay"] == timedelta(minutes=1)


def test_what_a_task_runs_and_tells(load: Any) -> None:
    names = load(PLAN)
    made, run = names["made"], run_id("shop.prod.F", "manual 1")
    Hook.tells = {"num_splits": "3"}
    dag_run = types.SimpleNamespace(run_id="manual 1", conf={"alpha": "0.7", "empty": None})
    assert made["start"].execute(context(dag_run=dag_run)) == ["0", "1", "2"]
    command, variables = Hook.ran[-1]
    assert command == ["/opt/python", "-m", "metaflow_core.cli.deployed", "node", "start"]
    assert variables["METAFLOW_RUN_ID"] == run and variables["METAFLOW_DEPLOYMENT_ID"] == "7"
    assert json.loads(variables["METAFLOW_NODE_PARAMETERS"]) == {"alpha": "0.7"}
    assert json.loads(variables["METAFLOW_NODE_TRIGGER"]) == []
    assert not os.path.exists(variables["METAFLOW_NODE_RESULT"])
    made["start"].execute(context(dag_run=types.SimpleNamespace(run_id="manual 1", conf=[1])))
    assert Hook.ran[-1][1]["METAFLOW_NODE_PARAMETERS"] == "[1]", "the node says what is wrong with it"
    Hook.tells = {"paths": '["0/1", "2/0"]'}
    assert made["left-paths"].execute(context()) == ["0/1", "2/0"]
    assert Hook.ran[-1][0][-2:] == ["paths", "left"]
    Hook.tells = {"next": "yes"}
    made["choose"].path = "1"
    within, outside = context(), context()
    assert made["choose"].execute(within) is None and "branched" not in within
    assert Hook.ran[-1][1]["METAFLOW_NODE_PATH"] == "1"
    made["joined"].execute(outside)
    assert outside["branched"] == "yes"
    Hook.code = 1
    with pytest.raises(RuntimeError, match="joined has failed"):
        made["joined"].execute(context())


def test_a_run_goes_on_with_the_code_that_it_has_begun_with(load: Any) -> None:
    ti = Xcom()
    Hook.tells = {"num_splits": "1", "next": "end"}
    load(PLAN)["made"]["start"].execute(context(ti=ti))
    later = load(replace(PLAN, id=8))["made"]["joined"]
    later.execute(context(ti=ti))
    assert Hook.ran[-1][1]["METAFLOW_DEPLOYMENT_ID"] == "7"
    later.execute(context())
    assert Hook.ran[-1][1]["METAFLOW_DEPLOYMENT_ID"] == "8"


def test_the_end_tells_others_and_the_last_task_looks_after_a_failure(load: Any) -> None:
    names = load(PLAN)
    run = run_id("shop.prod.F", "manual 1")
    end = names["made"]["end"]
    told = {end.outlets[0]: types.SimpleNamespace(extra=None)}
    assert end.outlets[0].arguments == ("metaflow.shop.prod.F.end",)
    assert end.execute(context(outlet_events=told)) == run
    assert told[end.outlets[0]].extra == {"pathspec": f"F/{run}"}
    finish, ran = names["finish"], len(Hook.ran)
    assert set(finish.before) == {one.step for one in NODES}
    assert finish.execute(context(ti=Xcom(run))) is None and len(Hook.ran) == ran
    with pytest.raises(InterruptedError):
        finish.execute(context())
    assert Hook.ran[-1][0][-3:] == ["finish", "--status", "failed"]
    names["timed_out"]({**context(), "reason": "task_failure"})
    assert len(Hook.ran) == ran + 1
    names["timed_out"]({**context(), "reason": "timed_out"})
    assert len(Hook.ran) == ran + 2


def test_what_starts_a_run(load: Any) -> None:
    assert load(PLAN)["dag"].options["schedule"] is None
    events = [PlanTrigger((PlanEvent("a"), PlanEvent("b"))), PlanTrigger((PlanEvent("c"),))]

    def plan(schedule: Schedule | None, triggers: list[PlanTrigger]) -> DeploymentPlan:
        return DeploymentPlan("F", "F", "airflow", PLAN.nodes, schedule=schedule, triggers=triggers, end_event="e")

    dag = load(plan(Schedule("0 9 * * 1", "Europe/Berlin"), []))["dag"].options
    assert dag["schedule"].arguments == ("0 9 * * 1",) and dag["schedule"].options == {"timezone": "Europe/Berlin"}
    assert abs(dag["start_date"] - datetime.now(timezone.utc)) < timedelta(hours=1) and dag["catchup"] is False
    any_of = load(plan(None, events))["dag"].options["schedule"]
    assert [[asset.arguments[0] for asset in all_of.arguments] for all_of in any_of.arguments] == [["a", "b"], ["c"]]
    both = load(plan(Schedule("0 9 * * 1"), events))["dag"].options["schedule"]
    assert both.options["timetable"].options == {"timezone": "UTC"} and len(both.options["assets"].arguments) == 2


def test_events_are_told_to_the_run(load: Any) -> None:
    triggers = [PlanTrigger((PlanEvent("prices"), PlanEvent("metaflow.G.end"))), PlanTrigger((PlanEvent("urgent"),))]
    names = load(replace(PLAN, triggers=triggers))

    def event(second: int, run: str | None, extra: Any) -> Any:
        time = datetime(2026, 1, 1, 0, 0, second, tzinfo=timezone.utc)
        return types.SimpleNamespace(extra=extra, source_run_id=run, timestamp=time)

    asset = types.SimpleNamespace(name="metaflow.G.end", uri="metaflow.G.end")
    dataset = types.SimpleNamespace(uri="prices")
    groups = [
        (asset, [event(5, "r", {"pathspec": "G/airflow-1"})]),
        (dataset, [event(2, None, {"a": 1, "from_rest_api": True})]),
    ]
    found = names["events"]({"triggering_asset_events": types.SimpleNamespace(items=lambda: groups)})
    assert [(one["name"], one["type"], one["payload"]) for one in found] == [
        ("prices", "event", {"a": 1}),
        ("metaflow.G.end", "run", {"pathspec": "G/airflow-1"}),
    ]
    groups = [(dataset, groups[1][1]), (types.SimpleNamespace(uri="urgent"), [event(7, "r", None)])]
    found_alone = names["events"]({"triggering_dataset_events": types.SimpleNamespace(items=lambda: groups)})
    assert [one["name"] for one in found_alone] == ["urgent"]  # the other one has started nothing
    assert found[1]["id"] == "G/airflow-1" and found[1]["time"] - found[0]["time"] == 3_000_000
