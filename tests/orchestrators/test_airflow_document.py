"""DAG files, without Airflow: what a user has written stays data, and what can't be done is refused."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import metaflow_plugins
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from metaflow_core.decorators.schedule import Schedule
from metaflow_core.deployment.plan import DeploymentPlan, NodeKind, PlanEvent, PlanNode, PlanParameter, PlanTrigger
from metaflow_core.errors import CommandException
from metaflow_plugins.airflow_document import dag_file, dag_id, paths_source
from metaflow_plugins.airflow_orchestrator import Airflow

from tests.conftest import RunFlow

TEMPLATE = (Path(metaflow_plugins.__path__[0]) / "airflow_dag.py").read_text()
NASTY = [
    '"""',
    "'''",
    "\\",
    "\\N{DEGREE SIGN}",
    "\n",
    "\r\n",
    "\x00",
    "\u2028",
    "{{ 1/0 }}",
    "%(x)s",
    "'); import os #",
]


def node(step: str, kind: NodeKind, *targets: str, fans: str = "", join: str | None = None, **more: Any) -> PlanNode:
    return PlanNode(step, kind, targets, fans=tuple(fans.split()), join=join, is_start=step == "start", **more)


def plan_of(*nodes: PlanNode, **more: Any) -> DeploymentPlan:
    return DeploymentPlan("F", "F", "airflow", {one.step: one for one in nodes}, **more)


LINEAR = plan_of(node("start", "linear", "end"), node("end", "end"), end_event="metaflow.F.end")


def flow_of(text: str) -> tuple[Any, str]:
    """The data in a DAG file, read without running it, and everything else that it does."""
    tree = ast.parse(text)
    (place,) = [one for one in tree.body if isinstance(one, ast.AnnAssign) and ast.unparse(one.target) == "FLOW"]
    assert isinstance(place.value, ast.Call) and ast.unparse(place.value.func) == "json.loads"
    (literal,) = place.value.args
    data = json.loads(ast.literal_eval(literal))
    place.value.args = [ast.Constant("{}")]
    return data, ast.dump(tree)


text = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(NASTY), max_size=4).map("".join))


@settings(deadline=None)
@given(text, text, text, text, text)
@example(*NASTY[:5])
@example(*NASTY[5:10])
def test_what_a_user_writes_is_data_and_nothing_else(
    name: str, doc: str, default: str, event: str, setting: str
) -> None:
    # What has no form in UTF-8 does not come this far.
    name, doc, default, event, setting = (
        word.encode(errors="ignore").decode() for word in (name, doc, default, event, setting)
    )
    plan = replace(
        LINEAR,
        name=name,
        flow=name,
        doc=doc,
        owner=name,
        branch=name,
        project=name,
        tags=[doc],
        parameters=[PlanParameter(name, "str", default, False, doc)],
        triggers=[PlanTrigger((PlanEvent(event),))],
        end_event=event,
        schedule=Schedule("0 0 * * *", setting),
        program=json.dumps({"script": doc}),
        variables={"METAFLOW_X": setting},
    )
    written = dag_file(plan, setting)
    assert written.isascii()
    data, rest = flow_of(written)
    assert rest == flow_of(TEMPLATE)[1]
    assert data["flow"] == name and data["description"] == doc and data["python"] == setting
    assert data["parameters"][0]["default"] == default and data["triggers"] == [[event]]
    assert data["environment"]["METAFLOW_X"] == setting
    compile(written, "dag.py", "exec")


@settings(deadline=None)
@given(text)
def test_the_name_of_a_dag(name: str) -> None:
    found = dag_id(name)
    assert 0 < len(found) <= 250 or not name
    assert all(one.isascii() and (one.isalnum() or one in "_.-") for one in found)


def test_names_that_look_alike_are_different_dags() -> None:
    assert dag_id("shop.user.anne.F") == "shop.user.anne.F"
    assert len({dag_id(name) for name in ("a@b", "a_b", "a b", "ä", "a" * 300, "a" * 301)}) == 6


def test_a_looking_task_is_made_only_where_paths_are_not_known() -> None:
    plan = plan_of(
        node("start", "foreach", "outer", join="joined"),
        node("outer", "foreach", "inner", fans="start", join="inner_joined"),
        node("inner", "switch", "left", "right", fans="start outer"),
        node("left", "linear", "met", fans="start outer"),
        node("right", "linear", "right2", fans="start outer"),
        node("right2", "linear", "met", fans="start outer"),
        node("met", "split", "a", "b", fans="start outer", join="ab"),
        node("a", "linear", "ab", fans="start outer"),
        node("b", "linear", "ab", fans="start outer"),
        node("ab", "linear", "inner_joined", fans="start outer", is_join=True),
        node("inner_joined", "linear", "joined", fans="start", is_join=True),
        node("joined", "linear", "end", is_join=True),
        node("end", "end"),
    )
    assert {one.step: paths_source(plan, one) for one in plan} == {
        "start": None,
        "outer": "start",
        "inner": "inner-paths",
        "left": "left-paths",
        "right": "right-paths",
        "right2": "right-paths",
        "met": "met-paths",
        "a": "met-paths",
        "b": "met-paths",
        "ab": "met-paths",
        "inner_joined": "start",
        "joined": None,
        "end": None,
    }
    data, _ = flow_of(dag_file(plan, "python"))
    assert data["fans"] == ["start"] and data["switches"] == []  # those inside a foreach lead on by paths


def test_times_tries_and_limits() -> None:
    tried = replace(LINEAR.nodes["start"], attempts=4, wait=120.0)
    plan = replace(
        LINEAR,
        nodes={"start": tried, "end": LINEAR.nodes["end"]},
        max_workers=7,
        workflow_timeout=60.0,
        schedule=Schedule("0 0 * * 5L", "Europe/Berlin"),
        parameters=[
            PlanParameter("count", "int", "3", False, ""),
            PlanParameter("ratio", "float", None, True, ""),
            PlanParameter("data", "file", None, False, ""),
        ],
    )
    data, _ = flow_of(dag_file(plan, "python"))
    assert (data["nodes"][0]["retries"], data["nodes"][0]["wait"]) == (3, 120.0)
    assert (data["max_workers"], data["timeout"], data["cron"], data["timezone"]) == (
        7,
        60.0,
        "0 0 * * L5",
        "Europe/Berlin",
    )
    assert data["parameters"] == [
        {"name": "count", "default": 3, "types": ["integer", "string", "null"], "help": ""},
        {"name": "ratio", "default": None, "types": ["number", "string", "null"], "help": ""},
    ]


def test_what_airflow_can_not_do_is_refused() -> None:
    looped = replace(LINEAR.nodes["start"], kind="switch", loops_to=("start",))
    with pytest.raises(CommandException, match="no loops"):
        Airflow().check(replace(LINEAR, nodes={"start": looped}), {})
    for name in ("straße", " ", "airflow://x", "a" * 1501):
        with pytest.raises(CommandException, match="can't be named"):
            Airflow().check(replace(LINEAR, triggers=[PlanTrigger((PlanEvent(name),))]), {})
    Airflow().check(LINEAR, {})


def test_an_end_that_no_asset_can_be_named_after_is_not_told() -> None:
    with_end = replace(LINEAR, end_event="metaflow.Quick.end")
    assert "metaflow.Quick.end" in dag_file(with_end, "python3")
    assert ".end" not in dag_file(replace(LINEAR, end_event="metaflow.Grüße.end"), "python3")


FLOW = """
from metaflow import FlowSpec, Parameter, step

class QuickFlow(FlowSpec):
    alpha = Parameter("alpha", default=0.5, help="the 'alpha'")

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    QuickFlow()
"""


def test_what_would_be_deployed(
    run_flow: RunFlow, project: Path, team_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_flow(FLOW, "airflow", "create", "--only-json", check=False)
    assert result.returncode == 1 and "Set METAFLOW_DEFAULT_DATASTORE" in result.stderr
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database.replace("owner@", "owner:geheim@"))
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", "s3://nobody-has-this/bucket")
    monkeypatch.setenv("METAFLOW_AIRFLOW_PYTHON", "/opt/python")
    monkeypatch.setenv("METAFLOW_AIRFLOW_PASSWORD", "geheim")
    data, _ = flow_of(run_flow(FLOW, "airflow", "create", "--only-json").stdout)
    assert [one["step"] for one in data["nodes"]] == ["start", "end"]
    assert data["python"] == "/opt/python" and data["environment"]["METAFLOW_METADATA_URL"] == team_database
    assert "geheim" not in json.dumps(data)
    result = run_flow(FLOW, "airflow", "create", check=False)
    assert result.returncode == 1 and "Say where the DAG file is to be written" in result.stderr
