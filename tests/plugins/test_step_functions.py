"""Flows on AWS Step Functions: what is deployed, and one that runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from step_functions_aws import StepFunctionsService

from tests.conftest import RunFlow

FLOW = """
from metaflow import FlowSpec, Parameter, current, retry, step

class SmallFlow(FlowSpec):
    alpha = Parameter("alpha", default=0.5)

    @step
    def start(self):
        self.items = ["a", "b"]
        self.next(self.work, foreach="items")

    @retry(times=1, minutes_between_retries=0)
    @step
    def work(self):
        if self.input == "b" and current.retry_count == 0:
            raise ValueError("once")
        self.found = self.input * 2
        self.next(self.join)

    @step
    def join(self, inputs):
        self.found = [i.found for i in inputs]
        self.next(self.choose)

    @step
    def choose(self):
        self.kind = "large" if self.alpha > 1 else "small"
        self.next({"small": self.small, "large": self.large}, condition="kind")

    @step
    def small(self):
        self.next(self.end)

    @step
    def large(self):
        self.next(self.end)

    @step
    def end(self):
        print("found", self.found, self.kind)

if __name__ == "__main__":
    SmallFlow()
"""


READ = """
import sys
from metaflow import Run, namespace
namespace(sys.argv[2])
run = Run(sys.argv[1])
print(run.successful, run["join"].task.data.found, run["end"].task.data.kind, "small" in [s.id for s in run.steps()])
"""


@pytest.fixture
def team(
    project: Path, step_functions: StepFunctionsService, team_database: str, monkeypatch: pytest.MonkeyPatch
) -> StepFunctionsService:
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    return step_functions


def test_a_flow_is_deployed_and_run(run_flow: RunFlow, project: Path, team: StepFunctionsService) -> None:
    made = run_flow(FLOW, "step-functions", "create")
    assert "SmallFlow is deployed on AWS Step Functions, as SmallFlow." in made.stdout
    triggered = run_flow(project / "flow.py", "step-functions", "trigger", "--alpha", "1.5")
    found = re.search(r"Started SmallFlow/(sfn-[0-9a-f-]{36}) on AWS Step Functions, as (\S+)\.", triggered.stdout)
    assert found
    assert team.wait(found[2])["status"] == "SUCCEEDED", team.logs()
    token = re.search(r"production:\S+", made.stdout)[0]  # type: ignore[index]
    shown = run_flow(READ, f"SmallFlow/{found[1]}", token, user="bob", name="read.py").stdout
    assert shown == "True ['aa', 'bb'] large False\n"
    listed = run_flow(project / "flow.py", "step-functions", "list-runs", "--succeeded", "--json").stdout
    assert [json.loads(line)["run_id"] for line in listed.splitlines()] == [found[1]]


def test_the_document_needs_no_credentials(
    run_flow: RunFlow, team: StepFunctionsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    shown = run_flow(FLOW, "step-functions", "create", "--only-json")
    assert "start (each)" in json.loads(shown.stdout)["States"]
    refused = run_flow(FLOW, "step-functions", "create", check=False)
    assert refused.returncode == 1
    assert "no region is set. Set AWS_DEFAULT_REGION" in refused.stderr


def test_parameters_that_are_too_long_are_refused_before_anything_starts(
    run_flow: RunFlow, project: Path, team: StepFunctionsService
) -> None:
    flow = """
        from metaflow import FlowSpec, Parameter, step

        class LongFlow(FlowSpec):
            text = Parameter("text")

            @step
            def start(self):
                self.length = len(self.text)
                self.next(self.end)

            @step
            def end(self):
                print("it has", self.length, "characters")

        if __name__ == "__main__":
            LongFlow()
    """
    run_flow(flow, "step-functions", "create")
    trigger = (project / "flow.py", "step-functions", "trigger", "--text")
    refused = run_flow(*trigger, "é" * 5000, check=False)
    found = re.search(r"The parameters take (\d+) characters, and (\d+) is what AWS Batch has room", refused.stderr)
    assert refused.returncode == 1 and found and "pass their address" in refused.stderr
    assert int(found[1]) > 30_000, "each is seven characters of the request"
    assert team.executions(team.machine("LongFlow")["stateMachineArn"]) == []

    # All that there is said to be room for is within what Batch takes.
    text = "x" * (int(found[2]) - len(json.dumps(json.dumps({"text": ""}))))
    assert run_flow(*trigger, f"{text}x", check=False).returncode == 1
    started = re.search(r"as (\S+)\.", run_flow(*trigger, text).stdout)
    assert started and team.wait(started[1])["status"] == "SUCCEEDED", team.logs()
    assert f"it has {len(text)} characters" in team.logs()
    jobs = team.aws.connect("batch")
    (job,) = (
        one["jobId"]
        for queue in jobs.describe_job_queues()["jobQueues"]
        for one in jobs.list_jobs(jobQueue=queue["jobQueueName"], jobStatus="SUCCEEDED")["jobSummaryList"]
        if "LongFlow-start" in one["jobName"]
    )
    container = jobs.describe_jobs(jobs=[job])["jobs"][0]["container"]
    told = {name: container[name] for name in ("command", "environment")}
    assert len(text) < len(json.dumps(told, separators=(",", ":"))) <= 8192
