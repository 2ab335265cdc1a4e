"""Steps on AWS Batch, whose jobs share nothing with the driver but a database and an object store."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from metaflow_core.decorators.interface import Needs
from metaflow_core.engine.interface import Job, JobNeeds, TaskExited, TaskRequest
from metaflow_core.errors import ComputeUnavailable, InvalidDecoratorAttribute
from metaflow_core.testing.compute import Running, wait
from metaflow_core.testing.remote_compute import RemoteComputeContract
from metaflow_plugins.batch_compute import Batch
from metaflow_plugins.batch_driver import BatchCompute
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_step_that_ignores_its_timeout(run_flow: RunFlow, project: Path, team: BatchService) -> None:
    """It is ended from here, by way of the service."""
    body = "import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(1000)"
    result = run_flow(flow(project, "@timeout(seconds=3)\n    @batch", body), "run", "--n", "1", check=False)
    assert result.returncode == 1
    assert "ran longer than its @timeout and did not stop when asked, so it was killed." in result.stdout
    job = next(job for job in jobs_of(team, "work") if job["jobName"] == "flow-1-work-2-0" and "statusReason" in job)
    assert job["statusReason"] == "Stopped by metaflow."


@pytest.mark.slow
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


@pytest.mark.slow
class TestBatch(RemoteComputeContract):
    @pytest.fixture
    def decorator(self, team: BatchService) -> str:
        return "batch"


def test_a_password_comes_from_a_secret(
    run_flow: RunFlow, project: Path, team: BatchService, team_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver has it in its environment; of the job neither the definition nor what was submitted tells it."""
    name, password = f"user{uuid.uuid4().hex}", uuid.uuid4().hex
    with psycopg.connect(team_database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{password}'")
    secret = team.connect("secretsmanager").create_secret(Name=name, SecretString=password)["ARN"]
    monkeypatch.setenv("METAFLOW_METADATA_URL", re.sub("//[^@]*@", f"//{name}@", team_database))
    monkeypatch.setenv("PGPASSWORD", password)
    monkeypatch.setenv("METAFLOW_BATCH_SECRETS", f"PGPASSWORD={secret}")
    result = run_flow(flow(project, body="print('user', os.environ['PGPASSWORD'][:0])"), "run", "--n", "1")
    assert "total 0" in result.stdout
    definitions = json.dumps(team.client.describe_job_definitions()["jobDefinitions"])
    jobs = [str(job["jobId"]) for job in jobs_of(team, "work")]
    submitted = json.dumps(team.client.describe_jobs(jobs=jobs)["jobs"], default=str)
    assert secret in definitions
    assert name in submitted
    assert password not in definitions + submitted


# --- the driver alone, with images that do something else ------------------------------------------------------------


def needs(asked: Needs | None = None, **given: object) -> JobNeeds:
    return JobNeeds(["python"], asked, Batch(given, "step work").attributes)


Start = Callable[..., Running]


@pytest.fixture
def start(batch: BatchService) -> Iterator[Start]:
    """Starts an attempt in an image; ``compute`` of what it gives is the driver."""
    opened = []

    def begin(image: str, variables: dict[str, str] | None = None) -> Running:
        compute = BatchCompute()
        job = Job(TaskRequest("1", "work", "2", 0), "none", "my_flow.py", ".", "python", [], [], variables or {})
        compute.open(lambda request: job, {"work": needs(image=image)})
        opened.append(compute)
        return Running(compute, job.request)  # type: ignore[arg-type]

    yield begin
    for compute in opened:
        compute.close()


def exited(running: Running) -> TaskExited:
    wait(running.compute, running)
    event = running.events[-1]
    assert isinstance(event, TaskExited)
    return event


@pytest.mark.parametrize(
    ("image", "code", "message"),
    [
        (
            "missing",
            -9,
            "The image missing can't be pulled (CannotPullContainerError: pull access denied for missing).",
        ),
        ("bare", 127, "The image bare has no python3 that can be started (exit code 127;"),
        ("empty", 1, "ended with exit code 1 without running the task"),
        ("spot", -9, "was taken away (Host EC2 (instance i-0123456789abcdef0) terminated.)"),
        ("greedy", -9, "Step work needed more memory than the 4096 MB of its container, and was killed."),
    ],
)
def test_a_job_that_fails(start: Start, image: str, code: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaflow_plugins.batch_driver.LOG_PATIENCE", 0.5)  # none of them logs how it has ended
    event = exited(start(image))
    assert event.code == code
    assert message in event.message


@pytest.mark.parametrize(("force", "code"), [(False, -15), (True, -9)])
def test_kill_terminates_the_job(start: Start, batch: BatchService, force: bool, code: int) -> None:
    running = start("sleeps")
    assert running.wait_for_output() == b"begun\n"
    running.compute.kill(running.request, force)
    assert exited(running) == TaskExited(running.request, code)


def test_a_task_whose_description_is_too_long(start: Start) -> None:
    message = exited(start("any", {"METAFLOW_LONG": "x" * 9000})).message
    assert re.search(r"The description of the task takes 9\d\d\d characters, and AWS Batch takes 8192", message)


def open_with(asked: Needs | None = None, **given: object) -> None:
    BatchCompute().open(lambda request: None, {"work": needs(asked, **given)})  # type: ignore[arg-type,return-value]


def test_what_is_missing_is_told(batch: BatchService, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ComputeUnavailable, match="AWS Batch has no job queue other, which step work is to use, in the reg"
    ):
        open_with(queue="other")
    monkeypatch.setenv("METAFLOW_BATCH_SECRETS", "PGPASSWORD")
    with pytest.raises(ComputeUnavailable, match="METAFLOW_BATCH_SECRETS must list variables and ARNs"):
        open_with()
    monkeypatch.delenv("METAFLOW_BATCH_CONTAINER_IMAGE")
    with pytest.raises(ComputeUnavailable, match="@batch on step work needs an image that has metaflow-tandem"):
        open_with()
    monkeypatch.delenv("METAFLOW_BATCH_JOB_QUEUE")
    with pytest.raises(
        ComputeUnavailable, match=r"@batch on step work needs a job queue. Set METAFLOW_BATCH_JOB_QUEUE"
    ):
        open_with(image="any")
    monkeypatch.setenv("METAFLOW_BATCH_JOB_QUEUE", "queue")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ComputeUnavailable, match="there are no AWS credentials"):
        open_with(image="any")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ComputeUnavailable, match=r"no region is set. Set AWS_DEFAULT_REGION"):
        open_with(image="any")


def test_fargate(batch: BatchService) -> None:
    batch.make_queue(queue := f"fargate-{uuid.uuid4().hex[:8]}", "FARGATE")
    with pytest.raises(ComputeUnavailable, match="machines of Fargate, which need an execution role"):
        open_with(queue=queue)
    role = "arn:aws:iam::123456789012:role/execution"
    with pytest.raises(ComputeUnavailable, match="asks for gpu=1, and its queue has machines of Fargate"):
        open_with(Needs(gpu=1), queue=queue, execution_role=role)
    open_with(queue=queue, execution_role=role, cpu=0.5, ephemeral_storage=50)
    (made,) = [
        one["containerProperties"]
        for one in batch.client.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
        if one["platformCapabilities"] == ["FARGATE"]
    ]
    assert made["executionRoleArn"] == role
    assert made["ephemeralStorage"] == {"sizeInGiB": 50}
    assert made["resourceRequirements"][0] == {"type": "VCPU", "value": "0.5"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cpu": 0}, "cpu must be a number of at least 0.25"),
        ({"swappiness": 101}, "swappiness must be a whole number from 0 to 100"),
        ({"aws_batch_tags": ["a"]}, "aws_batch_tags must give each tag's value by its key"),
        ({"cpus": 1}, "@batch on step work does not take 'cpus'"),
    ],
)
def test_arguments_that_make_no_sense(given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidDecoratorAttribute, match=re.escape(message)):
        Batch(given, "step work").check(None, None)  # type: ignore[arg-type]
