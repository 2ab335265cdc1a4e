"""AWS Batch for tests, whose jobs are processes; with S3, CloudWatch and the other services at the same address."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from object_stores import KEY, SECRET, ObjectStore, free_ports, listens, server, store_at

SERVER = Path(__file__).with_name("moto_batch_server.py")


class BatchService:
    """The service, with one job queue; ``jobs`` is where the folders of jobs are."""

    def __init__(self, store: ObjectStore, jobs: Path) -> None:
        self.store = store
        self.jobs = jobs
        self.client = self.connect("batch")
        self.set_in_images({})

    def set_in_images(self, variables: dict[str, str]) -> None:
        """What each job finds in its environment."""
        (self.jobs / "image.json").write_text(json.dumps(variables))

    def connect(self, service: str) -> Any:
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.store.endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def make_queue(self, name: str, kind: str | None = None) -> None:
        """A queue of machines that are not managed, or of ``FARGATE``."""
        iam = self.connect("iam")
        role = iam.create_role(RoleName=f"{name}-service", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        made: dict[str, Any] = {"type": "UNMANAGED"}
        if kind is not None:
            ec2 = self.connect("ec2")
            made = {
                "type": "MANAGED",
                "computeResources": {
                    "type": kind,
                    "maxvCpus": 4,
                    "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
                    "securityGroupIds": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
                },
            }
        environment = self.client.create_compute_environment(
            computeEnvironmentName=f"{name}-machines", state="ENABLED", serviceRole=role, **made
        )["computeEnvironmentArn"]
        self.client.create_job_queue(
            jobQueueName=name,
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        )


@pytest.fixture(scope="session")
def moto_batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchService]:
    (port,) = free_ports(1)
    jobs = tmp_path_factory.mktemp("batch-jobs")
    environment = {**os.environ, "MOTO_PORT": str(port), "MOTO_JOBS": str(jobs)}
    log = tmp_path_factory.mktemp("moto-batch") / "log"
    with server([sys.executable, str(SERVER)], log, lambda: listens(port), environment):
        store = store_at(port)
        store.make_bucket()
        service = BatchService(store, jobs)
        service.make_queue("queue")
        yield service
        for job in service.client.list_jobs(jobQueue="queue", jobStatus="RUNNING")["jobSummaryList"]:
            service.client.terminate_job(jobId=job["jobId"], reason="The tests have ended.")
        shutil.rmtree(jobs, ignore_errors=True)


@pytest.fixture
def batch(moto_batch: BatchService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BatchService:
    """Settings with which this process, and those that it starts, use the service and its S3."""
    for name, value in moto_batch.store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_batch.store.endpoint)
    monkeypatch.setenv("METAFLOW_STORE_CACHE", str(tmp_path / "store-cache"))
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", moto_batch.store.new_url())
    monkeypatch.setenv("METAFLOW_BATCH_JOB_QUEUE", "queue")
    monkeypatch.setenv("METAFLOW_BATCH_CONTAINER_IMAGE", "team/image:1")
    moto_batch.set_in_images({})
    return moto_batch
