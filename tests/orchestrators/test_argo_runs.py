"""Flows on Argo Workflows as the test's interpreter walks it: containers are processes, all else is as rendered."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from argo_walker import Walker
from fake_argo import ArgoCluster

from tests.conftest import RunFlow, RunR

pytestmark = [pytest.mark.orchestrators, pytest.mark.slow]

OTHER = "bob"  # who has deployed nothing
HOSTILE = "{{workflow.name}} $(PATH) $$ '\" \\ {{=1+1}}\né"
FLOW = """
import time
from metaflow import FlowSpec, Parameter, catch, current, resources, retry, step, timeout

class ShapesFlow(FlowSpec):
    alpha = Parameter("alpha", default=0.5)
    some_text = Parameter("some-text", default="{{x}}")

    @step
    def start(self):
        self.next(self.rows, self.turn)

    @step
    def rows(self):
        self.names = ["a", "b"]
        self.next(self.row, foreach="names")

    @step
    def row(self):
        self.name_of_row = self.input
        self.columns = [1, 20]
        self.next(self.cell, foreach="columns")

    @retry(times=1, minutes_between_retries=0)
    @resources(memory=500)
    @step
    def cell(self):
        if self.input == 20 and current.retry_count == 0:
            raise ValueError("only the first time")
        self.value = self.name_of_row * self.input
        self.stack = self.foreach_stack()
        self.size = "large" if self.input > 9 else "small"
        self.next({"large": self.shorten, "small": self.done}, condition="size")

    @step
    def shorten(self):
        self.value = self.value[:3]
        self.next(self.done)

    @step
    def done(self):
        self.next(self.row_done)

    @step
    def row_done(self, inputs):
        self.values = [each.value for each in inputs]
        self.next(self.rows_done)

    @catch(var="problem", print_exception=False)
    @timeout(seconds=1)
    @step
    def rows_done(self, inputs):
        self.all_values = [each.values for each in inputs]
        time.sleep(100)
        self.next(self.joined)

    @step
    def turn(self):
        self.turns = getattr(self, "turns", 0) + 1
        self.go_on = "yes" if self.turns < 3 else "no"
        self.next({"yes": self.turn, "no": self.turned}, condition="go_on")

    @step
    def turned(self):
        self.next(self.joined)

    @step
    def joined(self, inputs):
        self.caught = inputs[0].problem is not None
        self.turns = inputs[1].turns
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    ShapesFlow()
"""
R_FLOW = """
library(metaflow)
metaflow("ShapesRFlow") |>
  parameter("alpha", default = 0.5) |>
  parameter("some_text", default = "{{x}}") |>
  step(step = "start", next_step = "word", foreach = "words", r_function = function(self) {
    self$words <- c("a", "bb")
  }) |>
  step(step = "word", next_step = "letter", foreach = "letters", r_function = function(self) {
    self$letters <- as.list(seq_len(nchar(self$input)))
  }) |>
  step(step = "letter", condition = "kind", next_step = c(even = "even", odd = "done"), r_function = function(self) {
    self$found <- self$input
    self$kind <- if (self$input %% 2 == 0) "even" else "odd"
  }) |>
  step(step = "even", next_step = "done", r_function = function(self) self$found <- self$found + self$alpha) |>
  step(step = "done", next_step = "word_done", r_function = function(self) NULL) |>
  step(step = "word_done", join = TRUE, next_step = "joined", r_function = function(self, inputs) {
    self$per_word <- gather_inputs(inputs, "found")
  }) |>
  step(step = "joined", join = TRUE, next_step = "end", r_function = function(self, inputs) {
    self$all_found <- gather_inputs(inputs, "per_word")
  }) |>
  step(step = "end", r_function = function(self) self$table <- data.frame(x = 1:3, y = c("a", NA, "c"))) |>
  run()
"""
MIXED_FLOW = """
from metaflow import FlowSpec, Parameter, r_step, step

class MixedShapesFlow(FlowSpec):
    alpha = Parameter("alpha", default=0.5)
    some_text = Parameter("some-text", default="{{x}}")

    @step
    def start(self):
        self.sizes = [1, 2]
        self.next(self.outer, foreach="sizes")

    @r_step("steps.R", "outer")
    def outer(self):
        self.next(self.inner, foreach="parts")

    @step
    def inner(self):
        self.part = int(self.input)
        self.way = "first" if self.part == 1 else "rest"
        self.next({"first": self.in_r, "rest": self.in_python}, condition="way")

    @r_step("steps.R", "in_r")
    def in_r(self):
        self.next(self.inner_join)

    @step
    def in_python(self):
        self.fitted = self.part * 10.0
        self.next(self.inner_join)

    @r_step("steps.R", "gathered")
    def inner_join(self, inputs):
        self.next(self.outer_join)

    @step
    def outer_join(self, inputs):
        self.everything = [list(each.gathered) for each in inputs]
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    MixedShapesFlow()
"""
R_STEPS = """
outer <- function(self) self$parts <- as.list(seq_len(self$input))
in_r <- function(self) self$fitted <- self$part + self$alpha
gathered <- function(self, inputs) self$gathered <- unname(gather_inputs(inputs, "fitted"))
"""
FIND = """
import json, sys
from metaflow import Run, namespace
namespace(sys.argv[2])
run = Run(sys.argv[1])
found = {}
for step in run.steps():
    tasks = [{a.id: repr(a.data) for a in task if a.id not in ("name", "problem")} for task in step.tasks()]
    found[step.id] = sorted(tasks, key=lambda task: json.dumps(task, sort_keys=True))
print(json.dumps({"successful": run.successful, "status": run.status, "tags": sorted(run.tags), "steps": found}))
"""


def namespace_of(created: subprocess.CompletedProcess[str]) -> str:
    return re.search(r"production:\S+", created.stdout)[0]  # type: ignore[index]


def started(triggered: subprocess.CompletedProcess[str]) -> str:
    """The id of the run."""
    return re.search(r"Started \w+/(argo-\S+) on Argo Workflows", triggered.stdout)[1]  # type: ignore[index]


def find(run_flow: RunFlow, pathspec: str, namespace: str) -> dict[str, Any]:
    """What somebody else finds of a run."""
    found: dict[str, Any] = json.loads(run_flow(FIND, pathspec, namespace, user=OTHER, name="find.py").stdout)
    return found


def walk(argo: ArgoCluster, run_id: str) -> Walker:
    """The walker of a run, which has ended."""
    argo.wait()
    walker = argo.walkers[run_id.removeprefix("argo-")]
    assert not walker.errors, walker.errors
    return walker


def same_as_locally(
    run: Any, script: str, name: str, flow: str, argo: ArgoCluster, run_flow: RunFlow
) -> tuple[Walker, dict[str, Any]]:
    """Run a flow here and on Argo, and compare everything that somebody else finds of both."""
    given = ["--alpha", "1.5", "--some-text", HOSTILE]
    run(script, "run", *given, "--run-id-file", "id.txt", name=name)
    local = find(run_flow, f"{flow}/{Path('id.txt').read_text().strip()}", "user:tester")
    assert local["successful"]
    created = run(Path(name), "argo-workflows", "create")
    run_id = started(run(Path(name), "argo-workflows", "trigger", *given))
    walker = walk(argo, run_id)
    assert not walker.ran("tell-failed"), "\n".join(pod.log for pod in walker.pods if pod.code)
    away = find(run_flow, f"{flow}/{run_id}", namespace_of(created))
    assert away["steps"] == local["steps"]
    assert away["successful"]
    assert {"runtime:argo-workflows", namespace_of(created)} <= set(away["tags"])
    assert namespace_of(created).partition(":")[2] not in json.dumps(argo.objects)
    return walker, away


@pytest.fixture
def with_r(argo: ArgoCluster, r_project: Path, r_library: Path) -> ArgoCluster:
    argo.machine["R_LIBS"] = str(r_library)
    return argo


def test_a_flow_in_python(argo: ArgoCluster, run_flow: RunFlow) -> None:
    walker, away = same_as_locally(run_flow, FLOW, "flow.py", "ShapesFlow", argo, run_flow)
    assert away["steps"]["start"][0]["some_text"] == repr(HOSTILE)
    assert away["steps"]["joined"][0] == {**away["steps"]["joined"][0], "caught": "True", "turns": "3"}
    assert sorted((pod.path, pod.code) for pod in walker.ran("cell")) == [
        *(("0/0", 0), ("0/1", 0), ("0/1", 1), ("1/0", 0), ("1/1", 0), ("1/1", 1))
    ]
    assert len(walker.ran("turn")) == 3 and not walker.ran("tell-failed")
    listed = run_flow(Path("flow.py"), "argo-workflows", "list-runs", "--succeeded", "--json").stdout.splitlines()
    assert [json.loads(line)["run_id"] for line in listed] == [f"argo-{walker.name}"]


def test_a_flow_in_r(with_r: ArgoCluster, run_r: RunR, run_flow: RunFlow) -> None:
    _, away = same_as_locally(run_r, R_FLOW, "flow.R", "ShapesRFlow", with_r, run_flow)
    assert len(away["steps"]["done"]) == 3 and len(away["steps"]["even"]) == 1


def test_a_flow_in_both_languages(with_r: ArgoCluster, run_flow: RunFlow) -> None:
    Path("steps.R").write_text(R_STEPS)
    _, away = same_as_locally(run_flow, MIXED_FLOW, "flow.py", "MixedShapesFlow", with_r, run_flow)
    assert away["steps"]["end"][0]["everything"] == "[[2.5], [2.5, 20.0]]"


ARGO = ("argo-workflows",)
FAILS = """
import os, time
from metaflow import FlowSpec, exit_hook, retry, step

def wake(run):
    print("WOKEN by", run.pathspec, flush=True)

@exit_hook(on_error=[wake])
class FailsFlow(FlowSpec):
    @step
    def start(self):
        self.x = 41
        self.next(self.work)

    @retry(times=1, minutes_between_retries=0)
    @step
    def work(self):
        self.x += 1
        print("at work", flush=True)
        if os.path.exists("/nowhere") or not os.environ.get("FIXED"):
            time.sleep(float(os.environ.get("SLEEP", "0")))
            raise ValueError("not yet")
        self.next(self.end)

    @step
    def end(self):
        print("x is", self.x)

if __name__ == "__main__":
    FailsFlow()
"""


def test_a_failed_run_is_resumed_locally(argo: ArgoCluster, run_flow: RunFlow) -> None:
    namespace = namespace_of(run_flow(FAILS, "argo-workflows", "create"))
    run_id = started(run_flow(Path("flow.py"), "argo-workflows", "trigger"))
    walker = walk(argo, run_id)
    assert [pod.code for pod in walker.ran("work")] == [1, 1]
    (told,) = walker.ran("tell-failed")
    assert told.code == 0 and f"WOKEN by FailsFlow/{run_id}" in told.log
    found = find(run_flow, f"FailsFlow/{run_id}", namespace)
    assert found["status"] == "failed" and not found["successful"]
    assert run_id in run_flow(Path("flow.py"), "argo-workflows", "list-runs", "--failed").stdout
    resumed = run_flow(Path("flow.py"), "resume", "--origin-run-id", run_id, env={"FIXED": "1"})
    assert "x is 42" in resumed.stdout


def test_a_run_is_terminated(argo: ArgoCluster, run_flow: RunFlow) -> None:
    argo.machine["SLEEP"] = "1000"
    namespace = namespace_of(run_flow(FAILS, "argo-workflows", "create"))
    run_id = started(run_flow(Path("flow.py"), "argo-workflows", "trigger"))
    walker = argo.walkers[run_id.removeprefix("argo-")]
    while not any("at work" in log.read_text() for log in argo.folder.glob("*/log")):
        time.sleep(0.1)
    assert run_flow(Path("flow.py"), "argo-workflows", "status", run_id).stdout == "running\n"
    run_flow(Path("flow.py"), "argo-workflows", "terminate", run_id)
    walk(argo, run_id)
    assert len(walker.ran("work")) == 1 and walker.ran("tell-failed")[0].code == 0
    assert run_flow(Path("flow.py"), "argo-workflows", "status", run_id).stdout == "terminated\n"
    assert find(run_flow, f"FailsFlow/{run_id}", namespace)["status"] == "failed"
    run_flow(Path("flow.py"), "argo-workflows", "delete")
    assert not argo.objects["workflowtemplates"]
    gone = run_flow(Path("flow.py"), "argo-workflows", "trigger", check=False)
    assert gone.returncode == 1 and "Nothing is deployed as FailsFlow" in gone.stderr


def test_a_workflow_that_is_deleted_and_one_that_never_began(argo: ArgoCluster, run_flow: RunFlow) -> None:
    argo.machine["SLEEP"] = "1000"
    flow = FAILS.replace(
        "    @step\n    def start", "    alpha = Parameter('alpha', default=1)\n\n    @step\n    def start"
    )
    namespace = namespace_of(run_flow(flow.replace("import FlowSpec,", "import FlowSpec, Parameter,"), *ARGO, "create"))
    run_id = started(run_flow(Path("flow.py"), *ARGO, "trigger"))
    name = run_id.removeprefix("argo-")
    while not any("at work" in log.read_text() for log in argo.folder.glob("*/log")):
        time.sleep(0.1)
    gone = argo.objects["workflows"].pop(name)  # by kubectl delete workflow
    assert find(run_flow, f"FailsFlow/{run_id}", namespace)["status"] == "running"
    run_flow(Path("flow.py"), *ARGO, "list-runs")
    assert find(run_flow, f"FailsFlow/{run_id}", namespace)["status"] == "failed"
    assert "Argo Workflows does not know the run any more" in run_flow(Path("flow.py"), *ARGO, "status", run_id).stdout

    argo.walkers[name].stop()
    argo.wait()

    # Somebody submits a workflow with an argument that the flow does not take.
    wrong = {**gone, "metadata": {**gone["metadata"], "name": f"{name}x"}, "status": {}}
    wrong["spec"] = {**gone["spec"], "arguments": {"parameters": [{"name": "alpha", "value": '"much"'}]}}
    place = f"{argo.url}/apis/argoproj.io/v1alpha1/namespaces/{gone['metadata']['namespace']}/workflows"
    urlopen(Request(place, json.dumps(wrong).encode(), {"Content-Type": "application/json"})).close()
    walker = walk(argo, f"{run_id}x")
    (end,) = walker.ran("tell-failed")
    assert end.code == 0 and f"Run {run_id}x has not begun" in end.log and "Error" not in end.log
    assert run_flow(Path("flow.py"), *ARGO, "status", f"{run_id}x").stdout.startswith("failed\n")
    # Of another cluster nobody can say that it has lost the run.
    argo.objects["workflowtemplates"].clear()
    asked = run_flow(Path("flow.py"), *ARGO, "status", run_id, check=False)
    assert asked.returncode == 1 and "Is this the cluster to which FailsFlow is deployed?" in asked.stderr


FIRST = """
from metaflow import FlowSpec, schedule, step

@schedule(cron="0 10 * * *", timezone="Europe/Berlin")
class FirstFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

FirstFlow()
"""
SECOND = """
from metaflow import FlowSpec, Parameter, current, step, trigger, trigger_on_finish

@DECORATORS
class SecondFlow(FlowSpec):
    alpha = Parameter("alpha", default="none")

    @step
    def start(self):
        self.events = sorted(event.name for event in current.trigger.events)
        self.runs = [run.pathspec for run in current.trigger.runs or []]
        self.next(self.end)

    @step
    def end(self):
        pass

SecondFlow()
"""


def post(argo: ArgoCluster, name: str, **payload: Any) -> None:
    urlopen(f"{argo.url}/events", json.dumps({"name": name, "payload": payload}).encode()).close()


def of_second(argo: ArgoCluster, run_flow: RunFlow, namespace: str) -> list[dict[str, Any]]:
    """The end of each run of the second flow, by name."""
    argo.wait()
    names = sorted(name for name in argo.walkers if name.startswith("secondflow"))
    assert not any(argo.walkers[name].errors for name in names)
    found = [find(run_flow, f"SecondFlow/argo-{name}", namespace) for name in names]
    return [one["steps"]["end"][0] for one in found]


def test_a_schedule_and_the_end_of_another_flow(argo: ArgoCluster, run_flow: RunFlow) -> None:
    run_flow(FIRST, "argo-workflows", "create", name="first.py")
    second = SECOND.replace("DECORATORS", 'trigger_on_finish(flow="FirstFlow")')
    namespace = namespace_of(run_flow(second, "argo-workflows", "create", name="second.py"))
    (name,) = argo.objects["cronworkflows"]
    argo.fire(name)
    (end,) = of_second(argo, run_flow, namespace)
    (first,) = [one for one in argo.walkers if one.startswith("firstflow")]
    assert end["runs"] == repr([f"FirstFlow/argo-{first}"])
    assert end["events"] == "['metaflow.FirstFlow.end']"


def test_events_with_parameters(argo: ArgoCluster, run_flow: RunFlow) -> None:
    any_of = (
        'trigger(events=[{"name": "sales.new", "parameters": {"alpha": "word"}}, "stock"])\n@trigger(event="other")'
    )
    second = SECOND.replace("DECORATORS", any_of)
    namespace = namespace_of(run_flow(second, "argo-workflows", "create", name="second.py"))
    post(argo, "salesXnew")  # the dot is no pattern
    post(argo, "sales.new", word="too early")
    assert not argo.walkers
    post(argo, "sales.new", word=HOSTILE, nested={"a": {"b": "{{"}})
    post(argo, "stock")
    post(argo, "other")
    ends = of_second(argo, run_flow, namespace)
    assert sorted((end["alpha"], end["events"]) for end in ends) == sorted(
        [(repr(HOSTILE), "['sales.new', 'stock']"), ("'none'", "['other']")]
    )
