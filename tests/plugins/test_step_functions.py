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


@pytest.fixture
def team(
    project: Path, step_functions: StepFunctionsService, team_database: str, monkeypatch: pytest.MonkeyPatch
) -> StepFunctionsService:
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    return step_functions


def test_a_flow_is_deployed_and_run(run_flow: RunFlow, project: Path, team: StepFunctionsService) -> None:
    made = run_flow(FLOW, "step-functions", "create")
    print(made.stdout)
    started = run_flow(project / "flow.py", "step-functions", "trigger", "--alpha", "1.5")
    (execution,) = team.executions(team.machine("SmallFlow")["stateMachineArn"])
    ended = team.wait(execution)
    print(started.stdout, ended, team.logs())
    assert ended["status"] == "SUCCEEDED"
