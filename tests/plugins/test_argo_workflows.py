"""What is deployed to Argo Workflows: checked strictly, whatever a flow's author has written, and put there over HTTP.

Whole flows are walked in tests/orchestrators/test_argo_runs.py.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import argo_strict
import pytest
from argo_walker import Walker, expanded, replaced
from fake_argo import ArgoCluster
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from metaflow_core.deployment.interface import Deployment
from metaflow_core.deployment.plan import DeploymentPlan, PlanEvent, PlanNode, PlanParameter, PlanTrigger
from metaflow_core.deployment.schedule import Schedule
from metaflow_core.errors import ComputeUnavailable, MetaflowException, MetaflowNotFound
from metaflow_core.testing.orchestrator import OrchestratorContract, plans
from metaflow_plugins.argo_names import Names, deployment_name
from metaflow_plugins.argo_orchestrator import ArgoWorkflows
from metaflow_plugins.argo_text import json_text
from metaflow_plugins.kubernetes_compute import Kubernetes

from tests.conftest import RunFlow

ARGO = ArgoWorkflows()


@pytest.fixture(autouse=True)
def image(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_KUBERNETES_CONTAINER_IMAGE", "team/image:1")
    monkeypatch.setenv("METAFLOW_ARGO_EVENTS_EVENT_SOURCE", "webhook")
    monkeypatch.setenv("METAFLOW_ARGO_EVENTS_EVENT", "metaflow-event")


def documents(plan: DeploymentPlan) -> dict[str, dict[str, Any]]:
    """What is rendered, by kind, once Argo would take it."""
    items = json.loads(ARGO.render(plan, {}))["items"]
    for item in items:
        argo_strict.check(item)
    return {item["kind"]: item for item in items}


def templates(plan: DeploymentPlan) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in documents(plan)["WorkflowTemplate"]["spec"]["templates"]}


def variables(template: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in template["container"]["env"]}


class TestArgoWorkflows(OrchestratorContract):
    @pytest.fixture
    def orchestrator(self) -> ArgoWorkflows:
        return ARGO

    def read(self, document: str) -> Any:
        items = json.loads(document)["items"]
        for item in items:
            argo_strict.check(item)
        return items


# --- the graph -------------------------------------------------------------------------------------------------------


def dag(plan: DeploymentPlan, name: str) -> dict[str, tuple[str, str]]:
    """Of each task, what it depends on and when it runs."""
    return {
        task["name"]: (task.get("depends", ""), task.get("when", "")) for task in templates(plan)[name]["dag"]["tasks"]
    }


def test_a_switch_whose_branches_meet() -> None:
    fan = (("start", "pick"),)
    base = plans()["linear"]
    inside = {"scope": fan, "fans": ("start",)}
    nodes = [
        PlanNode("start", "foreach", ("pick",), is_start=True, join="join"),
        PlanNode("pick", "switch", ("long_way", "meet"), **inside),
        PlanNode("long_way", "linear", ("meet",), **inside),
        PlanNode("meet", "linear", ("join",), **inside),
        PlanNode("join", "linear", ("end",), is_join=True),
        PlanNode("end", "end", ()),
    ]
    plan = replace(base, nodes={node.step: node for node in nodes})
    chosen = "'{{tasks.pick.outputs.parameters.next}}' == '%s'"
    assert dag(plan, "from-pick") == {
        "pick": ("", ""),
        "long-way": ("pick.Succeeded", chosen % "long_way"),
        "gate-meet-after-pick": ("pick.Succeeded", chosen % "meet"),
        "meet": ("gate-meet-after-pick.Succeeded || long-way.Succeeded", ""),
    }
    assert dag(plan, "from-start") == {
        "start": ("", ""),
        "each-start": ("start.Succeeded", ""),
        "join": ("each-start.Succeeded", ""),
        "end": ("join.Succeeded", ""),
    }
    (fan_out,) = [task for task in templates(plan)["from-start"]["dag"]["tasks"] if "withSequence" in task]
    assert fan_out["withSequence"] == {"count": "{{tasks.start.outputs.parameters.num_splits}}"}


def test_a_join_waits_for_a_way_through_each_branch() -> None:
    left, right = (("start", "left"),), (("start", "right"),)
    nodes = [
        PlanNode("start", "split", ("left", "right"), is_start=True, join="join"),
        PlanNode("left", "switch", ("one", "join"), left),
        PlanNode("one", "linear", ("join",), left),
        PlanNode("right", "switch", ("right", "join"), right, loops_to=("right",)),
        PlanNode("join", "linear", ("end",), is_join=True),
        PlanNode("end", "end", ()),
    ]
    plan = replace(plans()["linear"], nodes={node.step: node for node in nodes})
    assert dag(plan, "from-start")["join"] == (
        "(gate-join-after-left.Succeeded || one.Succeeded) && loop-right.Succeeded",
        "",
    )
    # The loop is a template of its own, which ends where the branch does.
    assert list(dag(plan, "from-right")) == ["right", "again-right"]


def test_what_follows_a_loop_is_in_its_last_round() -> None:
    plan = plans()["loop"]
    assert list(dag(plan, "from-start")) == ["start", "loop-turn"]
    assert list(dag(plan, "from-turn")) == ["turn", "again-turn", "end"]


@st.composite
def some_graph(draw: st.DrawFn) -> DeploymentPlan:
    """A plan of splits, foreaches, switches and loops in each other, whose steps have any names."""
    identifiers = st.from_regex(r"[a-zA-Z_é漢][a-zA-Z0-9_é漢]{0,70}", fullmatch=True)
    names = iter(draw(st.lists(identifiers, max_size=20, unique=True)))
    nodes: dict[str, PlanNode] = {}
    count = 0

    def fresh() -> str:
        nonlocal count
        count += 1
        return next((name for name in names if not name.startswith("step_")), f"step_{count}")

    def part(first: str, then: str, scope: Any, fans: Any, depth: int) -> None:
        """Steps from ``first`` on, which lead to ``then``."""
        more = {"scope": scope, "fans": fans}
        kinds = ["linear", "loop", "split", "foreach", "switch"]
        kind = draw(st.sampled_from(kinds if depth < 3 else kinds[:2]))
        if kind == "linear":
            nodes[first] = PlanNode(first, "linear", (then,), **more)
        elif kind == "loop":
            nodes[first] = PlanNode(first, "switch", (first, then), loops_to=(first,), **more)
        elif kind == "switch":
            one, other = fresh(), fresh()
            meets = draw(st.booleans())
            nodes[first] = PlanNode(first, "switch", (one, other), **more)
            part(one, other if meets else then, scope, fans, depth + 1)
            part(other, then, scope, fans, depth + 1)
        else:
            branches = (fresh(),) if kind == "foreach" else (fresh(), fresh())
            join = fresh()
            nodes[first] = PlanNode(first, kind, branches, join=join, **more)
            for branch in branches:
                inner = (*fans, first) if kind == "foreach" else fans
                part(branch, join, (*scope, (first, branch)), inner, depth + 1)
            nodes[join] = PlanNode(join, "linear", (then,), is_join=True, **more)

    last = fresh()
    first = fresh()
    part(first, last, (), (), 0)
    nodes[last] = PlanNode(last, "end", ())
    nodes[first] = replace(nodes[first], is_start=True)
    return replace(plans()["linear"], nodes=_in_order(nodes, first))


def _in_order(nodes: dict[str, PlanNode], first: str) -> dict[str, PlanNode]:
    missing = dict.fromkeys(nodes, 0)
    for node in nodes.values():
        for target in node.targets:
            missing[target] += target != node.step
    found, waiting = {}, [first]
    while waiting:
        step = waiting.pop()
        found[step] = nodes[step]
        for target in nodes[step].targets:
            if target != step:
                missing[target] -= 1
                if not missing[target]:
                    waiting.append(target)
    assert len(found) == len(nodes)
    return found


class Dry(Walker):
    """A walker whose pods are decisions: it notes what ran, and answers as ``answers`` says."""

    answers: Any

    def __init__(self, plan: DeploymentPlan, folder: Path) -> None:
        workflow = {"metadata": {"name": "dry"}, "spec": {}}
        super().__init__(documents(plan)["WorkflowTemplate"], workflow, folder, {})
        self.steps: list[tuple[str, str]] = []

    def _container(self, template: dict[str, Any], path: str) -> Any:
        from argo_walker import Outcome

        step = variables(template)["METAFLOW_NODE_STEP"]
        with self._lock:
            self.steps.append((step, path))
            return Outcome("Succeeded", self.answers(step, path))


def expected(plan: DeploymentPlan, choices: Any) -> list[tuple[str, str]]:
    """What `run` would run: by following the graph, and not by what was rendered."""
    found: list[tuple[str, str]] = []
    arrived: dict[tuple[str, str], int] = {}
    waiting = [(plan.start.step, "")]
    needed: dict[tuple[str, str], int] = {}
    while waiting:
        step, path = waiting.pop(0)
        node = plan[step]
        found.append((step, path))
        if node.kind == "foreach":
            needed[str(node.join), path] = 2
            waiting += [(node.targets[0], f"{path}/{index}" if path else str(index)) for index in range(2)]
            continue
        if node.kind == "split":
            needed[str(node.join), path] = len(node.targets)
        targets = node.targets if node.kind != "switch" else (choices(step, path),)
        for target in targets:
            closes = plan[target].is_join
            place = path
            if closes and plan[target].depth < node.depth:
                place = path.rpartition("/")[0]
            if closes:
                arrived[target, place] = arrived.get((target, place), 0) + 1
                if arrived[target, place] < needed[target, place]:
                    continue
                del arrived[target, place]
            waiting.append((target, place))
    return found


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(plan=some_graph(), data=st.data())
def test_any_graph_runs_as_it_does_locally(plan: DeploymentPlan, data: st.DataObject, tmp_path: Path) -> None:
    seed = data.draw(st.integers(0, 2**32))

    def decide(rounds: dict[tuple[str, str], int], step: str, path: str) -> str:
        """Loops turn up to twice; anything else is up to the seed."""
        node = plan[step]
        turn = rounds[step, path] = rounds.get((step, path), 0) + 1
        value = zlib.crc32(repr((seed, step, path, turn)).encode()) % len(node.targets)
        choice = node.targets[value]
        return next(one for one in node.targets if one != step) if choice == step and turn > 2 else choice

    walked: dict[tuple[str, str], int] = {}
    walker = Dry(plan, tmp_path)

    def answer(step: str, path: str) -> dict[str, str]:
        kind = plan[step].kind
        return (
            {"num_splits": "2"}
            if kind == "foreach"
            else {"next": decide(walked, step, path)}
            if kind == "switch"
            else {}
        )

    walker.answers = answer
    assert walker.run() == "Succeeded", walker.errors
    local: dict[tuple[str, str], int] = {}
    wanted = expected(plan, lambda step, path: decide(local, step, path))
    assert sorted(walker.steps) == sorted(wanted)


# --- containers ------------------------------------------------------------------------------------------------------


def test_everything_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_ARGO_WORKFLOWS_KUBERNETES_SECRETS", "database, other")
    monkeypatch.setenv("METAFLOW_KUBERNETES_SERVICE_ACCOUNT", "runner")
    attributes = Kubernetes(
        {
            "image": "big:2",
            "cpu": 2,
            "memory": 8000,
            "secrets": ["own"],
            "image_pull_secrets": ["registry"],
            "node_selector": "kind=big",
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "labels": {"team": "one"},
            "use_tmpfs": True,
        },
        "step start",
    ).attributes
    given = plans()["everything of one step"]
    start = replace(given.start, place="kubernetes", place_attributes=attributes)
    plan = replace(given, nodes={**given.nodes, "start": start})
    spec = documents(plan)["WorkflowTemplate"]["spec"]
    assert spec["parallelism"] == 5 and spec["activeDeadlineSeconds"] == 7200
    assert spec["imagePullSecrets"] == [{"name": "registry"}] and spec["serviceAccountName"] == "runner"
    template = templates(plan)["start"]
    assert template["retryStrategy"] == {
        "limit": "2",
        "retryPolicy": "Always",
        "backoff": {"duration": "60", "factor": "1"},
    }
    assert template["activeDeadlineSeconds"] > 3600
    assert template["nodeSelector"] == {"kind": "big"}
    assert template["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert template["metadata"]["labels"]["team"] == "one"
    container = template["container"]
    assert container["image"] == "big:2"
    assert container["command"] == ["python3", "-m", "metaflow_core.cli.deployed", "node", "start"]
    assert [one["secretRef"]["name"] for one in container["envFrom"]] == ["own", "database", "other"]
    assert container["resources"]["requests"]["memory"] == "8000M"
    assert container["volumeMounts"][0]["name"] == template["volumes"][0]["name"]
    found = variables(template)
    assert found["METAFLOW_RUN_ID"] == "argo-{{workflow.name}}" and found["METAFLOW_DEPLOYMENT_ID"] == "7"
    end = templates(plan)["end"]
    assert end["container"]["image"] == "team/image:1" and "retryStrategy" not in end


def test_a_schedule() -> None:
    cron = documents(plans()["everything of one step"])["CronWorkflow"]
    name = deployment_name("project.user.anne.OneFlow")
    assert cron["metadata"]["name"] == name
    assert cron["spec"]["schedules"] == ["0 10 * * *"] and cron["spec"]["timezone"] == "Europe/Berlin"
    assert cron["spec"]["workflowSpec"] == {"workflowTemplateRef": {"name": name}}
    last = replace(plans()["linear"], schedule=Schedule("0 0 L * *"))
    with pytest.raises(MetaflowException, match="Argo Workflows can't express the schedule '0 0 L"):
        ARGO.check(last, {})


def test_events_of_which_all_or_any_start_a_run() -> None:
    events = [PlanEvent(name) for name in ("a.b", "c", "a.b")]
    plan = replace(plans()["linear"], triggers=[PlanTrigger((events[0], events[1])), PlanTrigger((events[2],))])
    spec = documents(plan)["Sensor"]["spec"]
    assert [one["filters"]["data"][0]["value"] for one in spec["dependencies"]] == [["^a\\.b$"], ["^c$"]]
    assert [one["template"]["conditions"] for one in spec["triggers"]] == ["event-0 && event-1", "event-0"]


def test_events_need_an_event_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METAFLOW_ARGO_EVENTS_EVENT")
    with pytest.raises(MetaflowException, match="Set METAFLOW_ARGO_EVENTS_EVENT_SOURCE"):
        ARGO.check(plans()["event"], {})


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"annotations": {"note": "{{workflow.name}}"}}, "replaces what stands between two braces"),
        ({"namespace": "elsewhere"}, "all pods of a workflow run in one: default"),
    ],
)
def test_what_argo_can_not_do(attributes: dict[str, Any], message: str) -> None:
    given = plans()["linear"]
    start = replace(given.start, place="kubernetes", place_attributes=Kubernetes(attributes, "step start").attributes)
    with pytest.raises(MetaflowException, match=message):
        ARGO.check(replace(given, nodes={**given.nodes, "start": start}), {})


# --- what users write ------------------------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(["{{", "}}", "{", "workflow.name", "=1+1", "$(", "$$", "PATH", ")", '"', "'", "\\", "\n", "é"]),
        max_size=12,
    ).map("".join),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.sampled_from(["alpha", "top_k", "größe", "and"]), HOSTILE, max_size=4), text=HOSTILE)
@example(values={"alpha": "{{workflow.name}}"}, text="$$(PATH) {{x}}")
def test_text_of_users_arrives_as_it_is(values: dict[str, str], text: str, tmp_path: Path) -> None:
    """Through all that Argo and Kubernetes replace."""
    text = text.replace("\0", "")
    parameters = [PlanParameter(name, "str", text, False, text) for name in ("alpha", "top_k", "größe", "and")]
    plan = replace(plans()["event"], parameters=parameters, program=json.dumps({"a": text}), owner=text)
    plan = replace(plan, variables={"METAFLOW_STORE": text})
    names = {one.name: name for one, name in zip(parameters, _arguments(plan), strict=True)}
    event = json.dumps([{"name": text}]).replace("{{", "{\\u007b").replace("$", "\\u0024")
    given = [{"name": names[name], "value": json_text(value)} for name, value in values.items()]
    workflow = {
        "metadata": {"name": "run"},
        "spec": {"arguments": {"parameters": [*given, {"name": "metaflow-trigger", "value": event}]}},
    }
    walker = Walker(documents(plan)["WorkflowTemplate"], workflow, tmp_path, {})
    template = replaced(walker.templates["start"], {"inputs.parameters.path": "x"})
    assert "{{" not in json.dumps(template)
    made: dict[str, str] = {}
    for one in template["container"]["env"]:
        made[one["name"]] = expanded(one["value"], made)
    assert {k: v for k, v in json.loads(made["METAFLOW_NODE_PARAMETERS"]).items() if v is not None} == values
    assert json.loads(made["METAFLOW_DEPLOYMENT"]) == {"a": text}
    assert json.loads(made["METAFLOW_NODE_TRIGGER"]) == [{"name": text}]
    assert made["METAFLOW_STORE"] == text
    assert made["METAFLOW_RUN_ID"] == "argo-run"


def _arguments(plan: DeploymentPlan) -> list[str]:
    found = documents(plan)["WorkflowTemplate"]["spec"]["arguments"]["parameters"]
    return [one["name"] for one in found if one["name"] != "metaflow-trigger"]


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_two_names_stay_two(one: str, other: str) -> None:
    for name in (one, other):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", deployment_name(name))
    names = Names()
    assert (deployment_name(one) == deployment_name(other)) == (one == other)
    assert (names.of(one) == names.of(other)) == (one == other)
    for name in (one, other):
        for found in (names.of(name), names.of(name, "each")):
            assert re.fullmatch(r"[a-zA-Z]([-a-zA-Z0-9]{0,100}[a-zA-Z0-9])?", found)


# --- the cluster -----------------------------------------------------------------------------------------------------


def deployed(plan: DeploymentPlan, info: Any = None) -> Deployment:
    result = ARGO.deploy(plan, ARGO.render(plan, {}), {})
    return Deployment(plan.id, plan.name, plan.flow, ARGO.name, plan.owner, 0, result.handle, result.info, {})


def test_deploy_replace_and_delete(argo_api: ArgoCluster) -> None:
    plan = plans()["everything of one step"]
    ARGO.prepare(plan, {})
    deployment = deployed(plan)
    objects = argo_api.objects
    assert [len(objects[kind]) for kind in objects] == [0, 1, 1, 0]
    again = replace(plan, id=8, schedule=None, triggers=plans()["event"].triggers)
    ARGO.prepare(again, {})
    deployed(again)
    assert [len(objects[kind]) for kind in objects] == [0, 1, 0, 1]
    assert objects["workflowtemplates"][deployment.handle]["metadata"]["annotations"]["metaflow/version"] == "8"
    ARGO.delete(deployment, {})
    assert not any(objects.values())
    ARGO.delete(deployment, {})  # it is gone already


def test_a_deployment_that_fails_leaves_what_was_there(argo_api: ArgoCluster) -> None:
    plan = plans()["everything of one step"]
    deployed(plan)
    before = json.loads(json.dumps(argo_api.objects))
    argo_api.refuse["POST", "sensors"] = (403, "sensors is forbidden")
    with pytest.raises(ComputeUnavailable, match=r"did not create a Sensor in the namespace default: you may not do"):
        deployed(replace(plan, id=8, schedule=None, triggers=plans()["event"].triggers))

    def without_versions(objects: Any) -> Any:
        return {
            kind: {name: {**one, "metadata": {**one["metadata"], "resourceVersion": ""}} for name, one in named.items()}
            for kind, named in objects.items()
        }

    assert without_versions(argo_api.objects) == without_versions(before)


def test_what_belongs_to_others_is_left_alone(argo_api: ArgoCluster) -> None:
    plan = plans()["linear"]
    deployment = deployed(plan)
    argo_api.objects["workflowtemplates"][deployment.handle]["metadata"]["annotations"]["metaflow/name"] = "OtherFlow"
    with pytest.raises(MetaflowException, match="was not made for PlainFlow, and is left as it is"):
        ARGO.prepare(plan, {})
    ARGO.delete(deployment, {})
    assert deployment.handle in argo_api.objects["workflowtemplates"]


def test_a_cluster_without_argo_events(argo_api: ArgoCluster) -> None:
    argo_api.kinds.discard("sensors")
    deployment = deployed(plans()["linear"])
    ARGO.delete(deployment, {})
    with pytest.raises(MetaflowException, match="Argo Events is not installed"):
        deployed(plans()["event"])
    assert not any(argo_api.objects.values())


def test_runs(argo_api: ArgoCluster) -> None:
    deployment = deployed(plans()["everything of one step"])
    argo_api.lost = 1  # the first request takes effect, and its answer is lost
    first = ARGO.trigger(deployment, {"alpha": "{{x}} $(y)", "top-k": "3"}, {})
    assert first.status == "queued" and first.run_id == f"argo-{first.handle}"
    assert len(argo_api.objects["workflows"]) == 1
    second = ARGO.trigger(deployment, {}, {})
    workflows = argo_api.objects["workflows"]
    assert workflows[first.handle]["spec"]["arguments"]["parameters"] == [
        {"name": "alpha", "value": '"{\\u007bx}} \\u0024(y)"'},
        {"name": "top-k", "value": '"3"'},
    ]
    times = {"startedAt": "2026-11-23T10:00:00Z", "finishedAt": "2026-11-23T12:00:00Z"}
    workflows[first.handle]["status"] = {"phase": "Failed", **times}
    workflows[second.handle]["status"] = {"phase": "Running", "startedAt": "2026-11-23T10:00:00Z"}
    listed = {run.run_id: run for run in ARGO.list_runs(deployment, [], {})}
    assert listed[first.run_id].status == "timed-out"  # it took two hours, which is the limit
    assert listed[first.run_id].finished_at == 1795435200.0
    assert ARGO.list_runs(deployment, ["running"], {}) == [listed[second.run_id]]
    ended = ARGO.terminate(deployment, second.run_id, {})
    assert ended.status == "running" and workflows[second.handle]["spec"]["shutdown"] == "Stop"
    workflows[second.handle]["status"] = {"phase": "Failed", **times}
    assert ARGO.status(deployment, second.run_id, {}).status == "terminated"
    for unknown in ("argo-none", "sfn-1", f"{first.run_id}x"):
        with pytest.raises(MetaflowNotFound, match="has no run"):
            ARGO.status(deployment, unknown, {})


def test_many_runs_are_listed_in_pages(argo_api: ArgoCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaflow_plugins.argo_client.PAGE", 2)
    deployment = deployed(plans()["linear"])
    started = {ARGO.trigger(deployment, {}, {}).run_id for _ in range(5)}
    assert {run.run_id for run in ARGO.list_runs(deployment, [], {})} == started


def test_parameters_that_are_too_long(argo_api: ArgoCluster) -> None:
    deployment = deployed(plans()["everything of one step"])
    with pytest.raises(MetaflowException, match="a run on Argo Workflows takes 100000"):
        ARGO.trigger(deployment, {"alpha": "x" * 200_000}, {})


def test_a_cluster_that_can_not_be_used(argo_api: ArgoCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_KUBERNETES_NAMESPACE", "forbidden")
    with pytest.raises(ComputeUnavailable, match=r"you may not do that .* docs/argo-workflows.md lists"):
        ARGO.prepare(plans()["linear"], {})
    monkeypatch.delenv("METAFLOW_KUBERNETES_NAMESPACE")
    argo_api.kinds.clear()
    with pytest.raises(MetaflowException, match="Argo Workflows is not installed"):
        ARGO.prepare(plans()["linear"], {})
    monkeypatch.setenv("KUBECONFIG", "none")
    with pytest.raises(ComputeUnavailable, match="argo-workflows does not know the cluster"):
        ARGO.prepare(plans()["linear"], {})


FLOW = """
from metaflow import FlowSpec, Parameter, schedule, step

@schedule(daily=True)
class HelloFlow(FlowSpec):
    alpha = Parameter("alpha", default=0.5)

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

HelloFlow()
"""


def test_only_json(run_flow: RunFlow, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run_flow(FLOW, "argo-workflows", "create", "--only-json", check=False)
    assert refused.returncode == 1 and "METAFLOW_DEFAULT_DATASTORE" in refused.stderr
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", "s3://bucket/prefix")
    monkeypatch.setenv("METAFLOW_METADATA_URL", "postgresql://anne:secret@db.example/runs")
    monkeypatch.setenv("KUBECONFIG", "none")
    printed = run_flow(project / "flow.py", "argo-workflows", "create", "--only-json").stdout
    assert "secret@" not in printed
    items = json.loads(printed)["items"]
    assert [item["kind"] for item in items] == ["WorkflowTemplate", "CronWorkflow"]
    for item in items:
        argo_strict.check(item)
