"""AWS Step Functions for tests: the services of ``moto_batch``, with what deployments need of roles and tables."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from moto_batch import BatchService

TABLE = "metaflow"
ROLE = "arn:aws:iam::123456789012:role"
ENDED = ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT")


class StepFunctionsService:
    """``aws`` has the clients."""

    def __init__(self, aws: BatchService) -> None:
        self.aws = aws
        self.machines = aws.connect("stepfunctions")
        self.rules = aws.connect("events")
        self.tables = aws.connect("dynamodb")

    def make_table(self) -> None:
        if TABLE not in self.tables.list_tables()["TableNames"]:
            self.tables.create_table(
                TableName=TABLE,
                KeySchema=[{"AttributeName": "pathspec", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "pathspec", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )

    def machine(self, name: str) -> dict[str, Any]:
        """The state machine whose name begins so."""
        arns = [
            one["stateMachineArn"]
            for page in self.machines.get_paginator("list_state_machines").paginate()
            for one in page["stateMachines"]
            if one["name"].startswith(name)
        ]
        assert len(arns) == 1, arns
        return dict(self.machines.describe_state_machine(stateMachineArn=arns[0]))

    def wait(self, execution: str, seconds: float = 240) -> dict[str, Any]:
        """The execution with this ARN, once it has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = dict(self.machines.describe_execution(executionArn=execution))
            if found["status"] in ENDED:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{execution} has not ended: {json.dumps(found, default=str)}")

    def executions(self, machine: str) -> list[str]:
        """The ARNs of executions, the latest first."""
        found = self.machines.list_executions(stateMachineArn=machine)["executions"]
        return [one["executionArn"] for one in sorted(found, key=lambda one: one["startDate"], reverse=True)]

    def logs(self) -> str:
        """All that jobs have printed."""
        logs = self.aws.connect("logs")
        found: list[str] = []
        if not logs.describe_log_groups(logGroupNamePrefix="/aws/batch/job")["logGroups"]:
            return ""
        for page in logs.get_paginator("describe_log_streams").paginate(logGroupName="/aws/batch/job"):
            for stream in page["logStreams"]:
                events = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream["logStreamName"])
                found += [stream["logStreamName"], *(event["message"] for event in events["events"])]
        return "\n".join(found)


@pytest.fixture
def step_functions(batch: BatchService, monkeypatch: pytest.MonkeyPatch) -> StepFunctionsService:
    """Settings with which this process, and those that it starts, deploy to the service."""
    monkeypatch.setenv("METAFLOW_SFN_IAM_ROLE", f"{ROLE}/machines")
    monkeypatch.setenv("METAFLOW_SFN_DYNAMO_DB_TABLE", TABLE)
    monkeypatch.setenv("METAFLOW_EVENTS_SFN_ACCESS_IAM_ROLE", f"{ROLE}/rules")
    batch.set_in_images({"AWS_ENDPOINT_URL": batch.store.endpoint})
    service = StepFunctionsService(batch)
    service.make_table()
    return service
