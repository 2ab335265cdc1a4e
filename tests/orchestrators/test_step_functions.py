"""Flows on AWS Step Functions, AWS Batch and DynamoDB, as moto has them, with jobs that are processes."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from step_functions_aws import StepFunctionsService

from tests.conftest import ROOT, RunFlow, RunR
from tests.orchestrators.test_airflow import ARTIFACTS, FAILS, FLOW, MIXED_FLOW, R_FLOW, R_STEPS, SLEEPS

pytestmark = [pytest.mark.orchestrators, pytest.mark.slow]

OTHER = "bob"  # who has deployed nothing
VALIDATOR = ROOT / ".venv" / "orchestrators" / "asl" / "node_modules" / ".bin" / "asl-validator"
NODE = ROOT / ".venv" / "bin" / "node"


@pytest.fixture
def production(
    r_project: Path,
    r_library: Path,
    step_functions: StepFunctionsService,
    team_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> StepFunctionsService:
    """A project that is deployed to Step Functions."""
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    home = tmp_path / "machine"
    home.mkdir()
    image = {"R_LIBS": str(r_library), "HOME": str(home), "AWS_ENDPOINT_URL": step_functions.aws.store.endpoint}
    step_functions.aws.set_in_images(image)
    return step_functions


def namespace_of(created: subprocess.CompletedProcess[str]) -> str:
    return re.search(r"production:\S+", created.stdout)[0]  # type: ignore[index]


def started(triggered: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """The run, and the execution."""
    found = re.search(r"Started \w+/(sfn-\S+) on AWS Step Functions, as (\S+)\.\n", triggered.stdout)
    assert found, triggered.stdout
    return found[1], found[2]


def artifacts(run_flow: RunFlow, pathspec: str, namespace: str) -> dict[str, Any]:
    """What somebody else finds of a run."""
    done = run_flow(ARTIFACTS, pathspec, namespace, user=OTHER, name="artifacts.py")
    # The error that @catch has kept names the file, which is elsewhere on another machine.
    found: dict[str, Any] = json.loads(re.sub(r"(/[\w.-]+)+/flow\.py", "flow.py", done.stdout))
    return found


def lint(definition: str) -> None:
    """With the validator of npm, where it is installed."""
    if not VALIDATOR.exists():
        pytest.skip("asl-validator is not installed; `make test-orchestrators` installs it")
    Path("machine.json").write_text(definition)
    done = subprocess.run([NODE, VALIDATOR, "--json-path", "machine.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def same_as_locally(
    run: Any, script: str, name: str, flow: str, production: StepFunctionsService, run_flow: RunFlow, *options: str
) -> tuple[str, dict[str, Any]]:
    """Run a flow here and there, and compare everything that somebody else finds of both."""
    run(script, "run", "--alpha", "1.5", "--run-id-file", "id.txt", name=name)
    local = artifacts(run_flow, f"{flow}/{Path('id.txt').read_text().strip()}", "user:tester")
    assert local["successful"]
    created = run(Path(name), "step-functions", "create", *options)
    lint(production.machine(flow)["definition"])
    began = time.monotonic()
    run_id, execution = started(run(Path(name), "step-functions", "trigger", "--alpha", "1.5"))
    ended = production.wait(execution, seconds=1200)
    assert ended["status"] == "SUCCEEDED", production.logs()
    print(f"{flow}: {time.monotonic() - began:.0f} s")
    away = artifacts(run_flow, f"{flow}/{run_id}", namespace_of(created))
    for step, tasks in local["steps"].items():
        assert away["steps"][step] == tasks
    assert away["successful"]
    assert {"runtime:step-functions", namespace_of(created)} <= set(away["tags"])
    return run_id, away


def test_a_flow_in_python(production: StepFunctionsService, run_flow: RunFlow) -> None:
    run_id, away = same_as_locally(run_flow, FLOW, "flow.py", "ShapesFlow", production, run_flow)
    assert len(away["steps"]["even"]) == 4 and len(away["steps"]["odd"]) == 2
    assert "little" not in away["steps"] and away["steps"]["much"][0]["twice"] == "3.0"
    listed = run_flow(Path("flow.py"), "step-functions", "list-runs", "--succeeded", "--json").stdout.splitlines()
    assert [(run["run_id"], run["status"]) for run in map(json.loads, listed)] == [(run_id, "succeeded")]
    assert "sfn-" not in run_flow(Path("flow.py"), "step-functions", "list-runs", "--failed").stdout
    assert run_flow(Path("flow.py"), "step-functions", "status", run_id).stdout == "succeeded\n"
    deleted = run_flow(Path("flow.py"), "step-functions", "delete")
    assert "ShapesFlow is no longer on AWS Step Functions." in deleted.stdout


def test_a_flow_in_r(production: StepFunctionsService, run_r: RunR, run_flow: RunFlow) -> None:
    _, away = same_as_locally(run_r, R_FLOW, "flow.R", "ShapesRFlow", production, run_flow, "--workflow-timeout", "2h")
    assert len(away["steps"]["even"]) == 2 and len(away["steps"]["odd"]) == 4


def test_a_flow_in_both_languages(production: StepFunctionsService, run_flow: RunFlow) -> None:
    Path("steps.R").write_text(R_STEPS)
    _, away = same_as_locally(
        run_flow, MIXED_FLOW, "flow.py", "MixedShapesFlow", production, run_flow, "--use-distributed-map"
    )
    assert len(away["steps"]["in_r"]) == 2 and len(away["steps"]["in_python"]) == 3


def test_a_failed_run_is_resumed_locally(production: StepFunctionsService, run_flow: RunFlow) -> None:
    namespace = namespace_of(run_flow(FAILS, "step-functions", "create"))
    run_id, execution = started(run_flow(Path("flow.py"), "step-functions", "trigger"))
    assert production.wait(execution)["error"] == "RunFailed"
    assert not artifacts(run_flow, f"FailsFlow/{run_id}", namespace)["successful"]
    logs = production.logs()
    assert logs.count("ValueError: not fixed") == 2
    assert logs.count("WOKEN by") == 1
    assert run_id in run_flow(Path("flow.py"), "step-functions", "list-runs", "--failed").stdout
    resumed = run_flow(Path("flow.py"), "resume", "--origin-run-id", run_id, env={"FIXED": "1"})
    assert "x is 42" in resumed.stdout


SLEEPS = SLEEPS.replace("from metaflow", "import time\nfrom metaflow", 1)


STATUS = """
import sys
from metaflow import Run, namespace
namespace(None)
print(Run(sys.argv[1]).status)
"""


def until_failed(production: StepFunctionsService, run_flow: RunFlow, pathspec: str) -> None:
    """Wait for the job that records the end."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if run_flow(STATUS, pathspec, name="status.py").stdout == "failed\n":
            return
        time.sleep(1)
    raise AssertionError(f"{pathspec} has not ended: {production.logs()}")


def test_a_run_is_terminated(production: StepFunctionsService, run_flow: RunFlow) -> None:
    run_flow(SLEEPS, "step-functions", "create")
    run_id, execution = started(run_flow(Path("flow.py"), "step-functions", "trigger"))
    end = time.monotonic() + 120
    while "ASLEEP" not in production.logs() and time.monotonic() < end:
        time.sleep(0.5)
    assert run_id in run_flow(Path("flow.py"), "step-functions", "list-runs", "--running").stdout
    terminated = run_flow(Path("flow.py"), "step-functions", "terminate", run_id)
    assert terminated.stdout == f"SleepsFlow/{run_id} is terminated.\n"
    until_failed(production, run_flow, f"SleepsFlow/{run_id}")
    assert production.wait(execution)["status"] == "ABORTED"
    assert "terminated" in run_flow(Path("flow.py"), "step-functions", "terminate", run_id).stdout


def test_a_run_that_takes_too_long(production: StepFunctionsService, run_flow: RunFlow) -> None:
    run_flow(SLEEPS.replace("SleepsFlow", "LateFlow"), "step-functions", "create", "--workflow-timeout", "25s")
    run_id, execution = started(run_flow(Path("flow.py"), "step-functions", "trigger"))
    ended = production.wait(execution)
    assert (ended["error"], ended["cause"]) == (
        "RunFailed",
        "The run took longer than its --workflow-timeout, 25 seconds.",
    )
    until_failed(production, run_flow, f"LateFlow/{run_id}")


FIRST = """
from metaflow import FlowSpec, project, schedule, step

@project(name="shop")
@schedule(hourly=True)
class FirstFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    FirstFlow()
"""
SECOND = """
library(metaflow)
metaflow("SecondFlow", decorator("project", name = "shop"), decorator("trigger_on_finish", flow = "FirstFlow")) |>
  step(step = "start", next_step = "end", r_function = function(self) {
    self$by <- current("trigger")$run$pathspec
  }) |>
  step(step = "end", r_function = function(self) cat("STARTED BY", self$by, "\\n")) |>
  run()
"""
THIRD = """
from metaflow import FlowSpec, Parameter, current, step, trigger

@trigger(event={"name": "data it's <new>", "parameters": {"rows": "count"}})
class ThirdFlow(FlowSpec):
    rows = Parameter("rows", default=0)

    @step
    def start(self):
        event = current.trigger.event
        print("EVENT", event.name, event.payload, event.timestamp.year, "ROWS", self.rows)
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    ThirdFlow()
"""


def latest(production: StepFunctionsService, machine: str, count: int) -> str:
    """The execution that has been started by a rule, once there are ``count`` of them."""
    arn = production.machine(machine)["stateMachineArn"]
    end = time.monotonic() + 60
    while len(production.executions(arn)) < count and time.monotonic() < end:
        time.sleep(0.2)
    found = production.executions(arn)
    assert len(found) == count
    return found[0]


def test_schedules_and_events(production: StepFunctionsService, run_flow: RunFlow, run_r: RunR) -> None:
    """A flow in Python that its schedule starts, one in R that is started by its end, and one that an event starts."""
    run_flow(FIRST, "step-functions", "create", name="first.py")
    run_r(SECOND, "step-functions", "create", name="second.R")
    machine = production.machine("shop-user-tester-FirstFlow-")["stateMachineArn"]
    (name,) = production.rules.list_rule_names_by_target(TargetArn=machine)["RuleNames"]
    assert production.rules.describe_rule(Name=name)["ScheduleExpression"] == "cron(0 * * * ? *)"
    (target,) = production.rules.list_targets_by_rule(Rule=name)["Targets"]
    # moto has no clock: what the rule would do.
    begun = production.machines.start_execution(stateMachineArn=machine, input=target["Input"], name="scheduled_1")
    assert production.wait(begun["executionArn"])["status"] == "SUCCEEDED", production.logs()
    ended = production.wait(latest(production, "shop-user-tester-SecondFlow-", 1))
    assert ended["status"] == "SUCCEEDED", production.logs()
    assert "STARTED BY FirstFlow/sfn-scheduled_1" in production.logs()
    run_flow(THIRD, "step-functions", "create", name="third.py")
    for name in ("other", "data it's <new>"):
        entry = {"Source": "team", "DetailType": name, "Detail": json.dumps({"count": 7, "x": "\"'<name>"})}
        assert production.rules.put_events(Entries=[entry])["FailedEntryCount"] == 0
    ended = production.wait(latest(production, "ThirdFlow", 1))
    assert ended["status"] == "SUCCEEDED", production.logs()
    assert re.search(r"EVENT data it's <new> \{'count': 7, .*\} 20\d\d ROWS 7", production.logs())


PRODUCTION_FLOW = """
library(metaflow)
metaflow("ProductionFlow") |>
  step(step = "start", next_step = "end", r_function = function(self) self$x <- 1) |>
  step(step = "end", r_function = function(self) cat("x is", self$x, "\\n")) |>
  run()
"""


def test_tokens_as_documented(production: StepFunctionsService, run_r: RunR) -> None:
    """`Rscript production_flow.R step-functions create` by two people who share a token."""
    file = Path("production_flow.R")
    first = run_r(PRODUCTION_FLOW, "step-functions", "create", name=file.name, user="alice")
    token = namespace_of(first).removeprefix("production:")
    refused = run_r(file, "step-functions", "create", user="bob", check=False, env=home_of("bob"))
    assert refused.returncode == 1
    assert "alice" in refused.stderr and "--authorize" in refused.stderr
    assert token not in refused.stderr
    shared = run_r(file, "step-functions", "create", "--authorize", token, user="bob", env=home_of("bob"))
    assert namespace_of(shared) == f"production:{token}"
    assert namespace_of(run_r(file, "step-functions", "create", user="bob", env=home_of("bob"))) == namespace_of(first)
    fresh = run_r(file, "step-functions", "create", "--generate-new-token", user="bob", env=home_of("bob"))
    assert namespace_of(fresh) != namespace_of(first)
    assert token not in production.machine("ProductionFlow")["definition"]


def home_of(user: str) -> dict[str, str]:
    return {"METAFLOW_HOME": str(Path.cwd().parent / f"home-of-{user}")}


PROJECT_FLOW = """
from metaflow import FlowSpec, step, project, current

@project(name='example_project')
class ProjectFlow(FlowSpec):

    @step
    def start(self):
        print('project name:', current.project_name)
        print('project branch:', current.branch_name)
        print('is this a production run?', current.is_production)
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == '__main__':
    ProjectFlow()
"""


def test_a_project_as_documented(production: StepFunctionsService, run_flow: RunFlow) -> None:
    """Alice, Bob and Carol have deployments of their own, beside a branch and production."""
    file = Path("project_flow.py")
    file.write_text(PROJECT_FLOW)
    asked = {(user,): ((), f"user.{user}") for user in ("alice", "bob", "carol")}
    asked[("alice", "branch")] = (("--branch", "better_version"), "test.better_version")
    asked[("alice", "production")] = (("--production",), "prod")
    asked[("alice", "both")] = (("--branch", "better_version", "--production"), "prod.better_version")
    namespaces = set()
    for (user, *_), (options, branch) in asked.items():
        created = run_flow(file, *options, "step-functions", "create", user=user, env=home_of(user))
        assert f"example_project.{branch}.ProjectFlow is deployed on AWS Step Functions" in created.stdout
        namespaces.add(namespace_of(created))
        machine = production.machine(f"example_project-{branch.replace('.', '-')}-ProjectFlow-")
        tags = production.machines.list_tags_for_resource(resourceArn=machine["stateMachineArn"])["tags"]
        assert {"key": "metaflow:deployment", "value": f"example_project.{branch}.ProjectFlow"} in tags
    assert len(namespaces) == 6
    for options, branch, is_production in (((), "user.bob", False), (("--production",), "prod", True)):
        user = "alice" if is_production else "bob"
        triggered = run_flow(file, *options, "step-functions", "trigger", user=user, env=home_of(user))
        assert production.wait(started(triggered)[1])["status"] == "SUCCEEDED", production.logs()
        assert f"project branch: {branch}" in production.logs()
        assert f"is this a production run? {is_production}" in production.logs()
    refused = run_flow(file, "--production", "step-functions", "create", user="bob", env=home_of("bob"), check=False)
    assert refused.returncode == 1
    assert "production token" in refused.stderr
