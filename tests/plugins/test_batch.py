"""Steps on AWS Batch, whose jobs share nothing with the driver but a database and an object store."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from metaflow_core.testing.remote_compute import RemoteComputeContract
from moto_batch import BatchService

from tests.conftest import RunFlow

FLOW = """
import os, sys, time
from metaflow import FlowSpec, Parameter, batch, catch, current, resources, retry, step, timeout
from helper import double

class CloudFlow(FlowSpec):
    n = Parameter("n", default=2)

    @step
    def start(self):
        self.items = list(range(self.n))
        self.next(self.work, foreach="items")

    ABOVE
    @step
    def work(self):
        print("work", self.input, flush=True)
        print("to stderr", file=sys.stderr)
        BODY
        self.twice = double(self.input)
        self.places = [os.environ["HOME"], os.getcwd()]
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = sum(i.twice for i in inputs)
        self.places = [i.places for i in inputs]
        self.next(self.end)

    @step
    def end(self):
        print("total", self.total, self.places)

CloudFlow()
"""


def flow(project: Path, above: str = "@batch", body: str = "pass") -> str:
    (project / "helper.py").write_text("def double(x): return 2 * x")
    return FLOW.replace("ABOVE", above).replace("BODY", body)


@pytest.fixture
def team(project: Path, batch: BatchService, team_database: str, monkeypatch: pytest.MonkeyPatch) -> BatchService:
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    return batch


def jobs_of(service: BatchService, step: str) -> list[dict[str, object]]:
    found = []
    for status in ("RUNNING", "SUCCEEDED", "FAILED"):
        found += service.client.list_jobs(jobQueue="queue", jobStatus=status)["jobSummaryList"]
    return [job for job in found if f"-{step}-" in job["jobName"]]


def test_a_foreach(run_flow: RunFlow, project: Path, team: BatchService) -> None:
    result = run_flow(flow(project), "run", "--n", "3")
    assert re.search(r"\[1/work/\d+ \(pid \d+\)\] work 2", result.stdout)
    assert f"total 6 [['{team.jobs}/job-" in result.stdout
    assert "to stderr" in run_flow(project / "flow.py", "logs", "1/work", "--stderr").stdout
    assert "to stderr" not in run_flow(project / "flow.py", "logs", "1/work", "--stdout").stdout


def test_retry_catch_and_timeout(run_flow: RunFlow, project: Path, team: BatchService) -> None:
    body = """
        if self.input == 0 and current.retry_count == 0: raise ValueError("once")
        if self.input == 1: os.kill(os.getpid(), 9)
        if self.input == 2 and current.retry_count == 0: time.sleep(1000)"""
    above = "@retry(times=1)\n    @timeout(seconds=20)\n    @catch(var='failure')\n    @batch"
    source = (
        flow(project, above, body.strip())
        .replace("sum(i.twice for i in inputs)", "[i.failure and i.failure.type for i in inputs]")
        .replace("[i.places for i in inputs]", "None")
    )
    result = run_flow(source, "run", "--n", "3")
    assert "ValueError: once" in result.stdout
    assert "was killed by signal 9" in result.stdout
    assert "TimeoutException" in result.stdout
    assert "total [None, 'FailureHandledByCatch', None]" in result.stdout


def test_a_step_that_ignores_its_timeout(run_flow: RunFlow, project: Path, team: BatchService) -> None:
    """It is ended from here, by way of the service."""
    body = "import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(1000)"
    result = run_flow(flow(project, "@timeout(seconds=3)\n    @batch", body), "run", "--n", "1", check=False)
    assert result.returncode == 1
    assert "ran longer than its @timeout and did not stop when asked, so it was killed." in result.stdout
    job = next(job for job in jobs_of(team, "work") if job["jobName"] == "flow-1-work-2-0" and "statusReason" in job)
    assert job["statusReason"] == "Stopped by metaflow."


def test_a_failure_and_resume(run_flow: RunFlow, project: Path, team: BatchService) -> None:
    result = run_flow(flow(project, body="if self.input == 1: raise ValueError('no')"), "run", check=False)
    assert result.returncode == 1
    assert "ValueError: no" in result.stdout
    source = flow(project)
    result = run_flow(source, "resume")
    assert "total 2" in result.stdout
    assert "work 1" in result.stdout
    assert "work 0" not in result.stdout  # it was done


def test_what_jobs_are_made_of(run_flow: RunFlow, project: Path, team: BatchService) -> None:
    above = "@resources(cpu=3, memory=1000, gpu=1)\n    @batch(cpu=2, memory=8000, shared_memory=64, use_tmpfs=True"
    above += ", tmpfs_size=100, aws_batch_tags={'team': 'one'}, iam_role='arn:aws:iam::123456789012:role/work')"
    run_flow(flow(project, above), "run", "--n", "1")
    run_flow(project / "flow.py", "run", "--n", "1")
    client = team.client
    definitions = [
        one
        for one in client.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
        if one["containerProperties"].get("linuxParameters", {}).get("sharedMemorySize") == 64
    ]
    (definition,) = definitions  # used again by the second run
    container = definition["containerProperties"]
    assert container["jobRoleArn"] == "arn:aws:iam::123456789012:role/work"
    assert container["linuxParameters"]["tmpfs"] == [{"containerPath": "/metaflow_temp", "size": 100}]
    assert definition["retryStrategy"] == {"attempts": 1}
    wanted = {one["type"]: one["value"] for one in container["resourceRequirements"]}
    assert wanted == {"VCPU": "3", "MEMORY": "8000", "GPU": "1"}


class TestBatch(RemoteComputeContract):
    @pytest.fixture
    def decorator(self, team: BatchService) -> str:
        return "batch"
