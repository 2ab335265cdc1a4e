"""State machines of all shapes of flows, run by an interpreter, with nodes that tell what a flow's would."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from metaflow_core.deployment.plan import DeploymentPlan, PlanNode, Scope
from metaflow_plugins.step_functions_names import machine_name
from metaflow_plugins.step_functions_orchestrator import StepFunctions
from step_functions_aws import ROLE, StepFunctionsService

# Instead of python3 in the image. TOLD has, by "step/path", what a node tells, or how often it fails first.
# Shell and Python at once: a first line that names an interpreter can't hold a path with a space.
NODE = """#!/bin/sh
''''exec '{python}' "$0" "$@" # '''
import json, os, sys, time
from metaflow_plugins.step_functions_orchestrator import publish_result

step = os.environ.get("METAFLOW_NODE_STEP", "finish")
path = os.environ.get("METAFLOW_NODE_PATH", "")
seen = [key.removeprefix("METAFLOW_NODE_") + "=" + os.environ[key] for key in sorted(os.environ)
        if key in ("METAFLOW_NODE_PARAMETERS", "METAFLOW_NODE_TRIGGER")]
with open({visits!r}, "a") as file:
    file.write(" ".join(word for word in [*sys.argv[3:], step, path, *seen] if word) + "\\n")
with open({visits!r}) as file:
    times = sum(line.split()[:3] == ["node", step, *([path] if path else [])] for line in file)
told = json.loads({told!r}).get(step + "/" + path)
if told == "sleep":
    time.sleep(60)
if told == "fail" or isinstance(told, int) and times <= told:
    sys.exit("This node fails.")
if isinstance(told, list):
    told = told[times - 1]
if isinstance(told, dict):
    publish_result(os.environ["METAFLOW_NODE_RESULT"], os.environ["METAFLOW_RUN_ID"], step, path, told)
"""


def node(step: str, kind: str, *targets: str, scope: Scope = (), **more: Any) -> PlanNode:
    fans = tuple(more.pop("fans", ()))
    return PlanNode(step, kind, targets, scope, is_start=step == "start", fans=fans, **more)  # type: ignore[arg-type]


def plan_of(*nodes: PlanNode, **more: Any) -> DeploymentPlan:
    name = f"Flow{uuid.uuid4().hex[:8]}"
    return DeploymentPlan(name, name, "step-functions", {node.step: node for node in nodes}, program="{}", **more)


class Interpreter:
    def __init__(self, service: StepFunctionsService, folder: Path) -> None:
        self.service, self.folder = service, folder

    def run(
        self, plan: DeploymentPlan, told: dict[str, Any], given: str = "{}", **options: Any
    ) -> tuple[str, list[str]]:
        """How the execution has ended, and what was run, in order."""
        from metaflow_plugins.batch_driver import register

        bin = self.folder / "bin"
        bin.mkdir()
        visits = self.folder / "visits"
        script = NODE.format(python=sys.executable, visits=str(visits), told=json.dumps(told))
        (bin / "python3").write_text(script)
        (bin / "python3").chmod(0o755)
        path = f"{bin}{os.pathsep}{os.environ['PATH']}"
        self.service.aws.set_in_images({"PATH": path, "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]})
        target = StepFunctions()
        target.check(plan, options)
        for step, job in target._jobs(plan).items():
            register(self.service.aws.client, step, job)
        made = self.service.machines.create_state_machine(
            name=machine_name(plan.name), definition=target.render(plan, options), roleArn=f"{ROLE}/machines"
        )
        started = self.service.machines.start_execution(stateMachineArn=made["stateMachineArn"], input=given)
        found = self.service.wait(started["executionArn"])
        lines = visits.read_text().splitlines() if visits.exists() else []
        return found["status"] + (f" {found['error']}" if found.get("error") else ""), lines


@pytest.fixture
def interpreter(step_functions: StepFunctionsService, tmp_path: Path) -> Interpreter:
    (tmp_path / "interpreter").mkdir()
    return Interpreter(step_functions, tmp_path / "interpreter")


@pytest.mark.parametrize("distributed", [False, True])
def test_foreach_in_foreach_in_a_branch(interpreter: Interpreter, distributed: bool) -> None:
    """With a switch, in which a way goes past the split of the other, and a join that closes nothing but its own."""
    outer: Scope = (("start", "a"),)
    inner = (*outer, ("a", "b"))
    deep = (*inner, ("b", "c"))
    split = (*deep, ("d", "e"))
    plan = plan_of(
        node("start", "split", "a", "z", join="last"),
        node("z", "linear", "last", scope=(("start", "z"),)),
        node("a", "foreach", "b", scope=outer, join="join_a"),
        node("b", "foreach", "c", scope=inner, join="join_b", fans=["a"]),
        node("c", "switch", "d", "join_b", scope=deep, fans=["a", "b"]),
        node("d", "split", "e", "f", scope=deep, join="join_d", fans=["a", "b"]),
        node("e", "linear", "join_d", scope=split, fans=["a", "b"]),
        node("f", "linear", "join_d", scope=(*deep, ("d", "f")), fans=["a", "b"]),
        node("join_d", "linear", "join_b", scope=deep, is_join=True, fans=["a", "b"]),
        node("join_b", "linear", "join_a", scope=inner, is_join=True, fans=["a"]),
        node("join_a", "linear", "last", scope=outer, is_join=True),
        node("last", "linear", "end", is_join=True),
        node("end", "end"),
    )
    told = {
        "a/": {"num_splits": 2},
        "b/0": {"num_splits": 1},
        "b/1": {"num_splits": 2},
        "c/0/0": {"next": "join_b"},
        "c/1/0": {"next": "d"},
        "c/1/1": {"next": "join_b"},
    }
    status, visits = interpreter.run(plan, told, use_distributed_map=distributed)
    assert status == "SUCCEEDED"
    assert visits[0] == "node start PARAMETERS={} TRIGGER=[]"
    assert visits[-2:] == ["node last", "node end"]
    steps = ["z", "a", "b 0", "b 1", "c 0/0", "c 1/0", "c 1/1", "d 1/0", "e 1/0", "f 1/0", "join_d 1/0", "join_b 0"]
    assert Counter(visits[1:-2]) == Counter(f"node {step}" for step in [*steps, "join_b 1", "join_a"])
    assert visits.index("node join_d 1/0") < visits.index("node join_b 1") < visits.index("node join_a")


def test_a_loop_and_what_the_execution_is_given(interpreter: Interpreter) -> None:
    plan = plan_of(
        node("start", "linear", "again"),
        node("again", "switch", "again", "end", loops_to=("again",)),
        node("end", "end"),
    )
    events = [{"name": "it's {here}", "payload": {"a": "'\\ \" {}"}}]
    parameters = json.dumps({"alpha": "'; rm -rf / $(x) {} \\ \""})
    given = json.dumps({"Parameters": parameters, "Trigger": events, "Other": 1})
    status, visits = interpreter.run(plan, {"again/": [{"next": "again"}, {"next": "again"}, {"next": "end"}]}, given)
    assert status == "SUCCEEDED"
    first, trigger = visits[0].split(" TRIGGER=")
    assert first == f"node start PARAMETERS={parameters}"
    assert json.loads(trigger) == events
    assert visits[1:] == ["node again"] * 3 + ["node end"]


def test_a_node_is_repeated_and_a_failure_is_told(interpreter: Interpreter) -> None:
    scope: Scope = (("start", "work"),)
    plan = plan_of(
        node("start", "foreach", "work", join="join"),
        node("work", "linear", "join", scope=scope, fans=["start"], attempts=2),
        node("join", "linear", "end", is_join=True),
        node("end", "end"),
    )
    told = {"start/": {"num_splits": 1}, "work/0": 1, "join/": "fail"}
    status, visits = interpreter.run(plan, told)
    assert status == "FAILED RunFailed"
    assert visits[1:] == ["node work 0", "node work 0", "node join", "finish --status failed finish"]


@pytest.mark.parametrize(("seconds", "ended"), [(300.0, "SUCCEEDED"), (1.0, "FAILED RunFailed")])
def test_a_timeout_of_the_whole(interpreter: Interpreter, seconds: float, ended: str) -> None:
    plan = plan_of(node("start", "linear", "end"), node("end", "end"), workflow_timeout=seconds)
    status, visits = interpreter.run(plan, {"end/": "sleep"} if seconds < 10 else {})
    assert status == ended
    assert ("finish --status failed finish" in visits) == (ended != "SUCCEEDED")
