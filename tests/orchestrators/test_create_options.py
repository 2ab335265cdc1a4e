"""What the options of ``create`` come to, and what is refused, on each orchestrator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import plan_walker
import pytest
from local_agents import agent, queue
from metaflow import Run

from tests.conftest import RunFlow
from tests.orchestrators.test_airflow_document import flow_of

ELSEWHERE = {
    "METAFLOW_METADATA_URL": "postgresql://127.0.0.1:9/db",
    "METAFLOW_DEFAULT_DATASTORE": "s3://bucket/x",
    "METAFLOW_SFN_DYNAMO_DB_TABLE": "table",
    "METAFLOW_BATCH_CONTAINER_IMAGE": "image",
    "METAFLOW_BATCH_JOB_QUEUE": "queue",
    "METAFLOW_KUBERNETES_CONTAINER_IMAGE": "image",
}
FLOW = """
    from metaflow import FlowSpec, current, get_namespace, step

    class OptionsFlow(FlowSpec):
        @step
        def start(self):
            self.items = list(range(3))
            self.next(self.each, foreach="items")

        @step
        def each(self):
            self.seen = get_namespace()
            self.tags = sorted(current.tags)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.merge_artifacts(inputs)
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        OptionsFlow()
"""
GANG = """
    import os, time
    from metaflow import FlowSpec, current, parallel, step

    class GangFlow(FlowSpec):
        @step
        def start(self):
            self.next(self.train, num_parallel=3)

        @parallel
        @step
        def train(self):
            # Every member waits until all are there, which only ends when they run at once.
            open(f"{os.environ['HERE']}/here-{current.parallel.node_index}", "w").close()
            while not all(os.path.exists(f"{os.environ['HERE']}/here-{i}") for i in range(current.parallel.num_nodes)):
                time.sleep(0.01)
            self.place = current.parallel.node_index
            self.next(self.join)

        @step
        def join(self, inputs):
            self.places = [i.place for i in inputs]
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        GangFlow()
"""
ORCHESTRATORS = ["airflow", "argo-workflows", "step-functions", "local"]


def found(document: Any, key: str) -> list[Any]:
    """All values under a key, wherever it is."""
    if isinstance(document, dict):
        own = [document[key]] if key in document else []
        return own + [one for value in document.values() for one in found(value, key)]
    return [one for value in document for one in found(value, key)] if isinstance(document, list) else []


def limits(orchestrator: str, text: str) -> tuple[Any, Any]:
    """Tasks at a time, and seconds of a run, as the service is told."""
    if orchestrator == "airflow":
        data, _ = flow_of(text)
        assert 'max_active_tasks=FLOW["max_workers"]' in text and 'timedelta(seconds=FLOW["timeout"])' in text
        return data["max_workers"], data["timeout"]
    document = json.loads(text)
    if orchestrator == "argo-workflows":
        return found(document, "parallelism")[0], found(document, "activeDeadlineSeconds")[0]
    if orchestrator == "step-functions":
        return found(document, "MaxConcurrency")[0], found(document, "Seconds")[0]
    return document["max_workers"], document["workflow_timeout"]


@pytest.mark.parametrize("orchestrator", ORCHESTRATORS)
def test_limits_are_told_to_the_service(run_flow: RunFlow, project: Path, orchestrator: str) -> None:
    options = ("--max-workers", "7", "--workflow-timeout", "90m")
    shown = run_flow(FLOW, orchestrator, "create", "--only-json", *options, env=ELSEWHERE).stdout
    assert limits(orchestrator, shown) == (7, 5400)
    for name, value, said in (
        ("--workflow-timeout", "soon", "'soon' is no time"),
        ("--max-workers", "0", "0 is not in the range"),
        ("--tag", "", "--tag: A tag must not be empty"),
        ("--tag", "x" * 501, "--tag: A tag has at most 500 characters"),
    ):
        refused = run_flow(
            Path("flow.py"), orchestrator, "create", "--only-json", name, value, env=ELSEWHERE, check=False
        )
        assert refused.returncode in (1, 2) and said in refused.stderr and not refused.stdout, (name, refused)


@pytest.mark.parametrize("orchestrator", ["toy", "local"])
def test_tags_and_the_namespace_are_those_of_the_runs(
    run_flow: RunFlow, project: Path, toy: Path, orchestrator: str
) -> None:
    """Airflow, Argo Workflows and Step Functions start the same nodes as the toy: the record says what they are."""
    run_flow(FLOW, orchestrator, "create", "--tag", "nightly", "--tag", "two words", "--namespace", "user:anne")
    if orchestrator == "toy":
        assert plan_walker.Walker(plan_walker.plan_of("OptionsFlow"), "toy-1").run()
    else:
        queue()
        agent()
    run = Run(f"OptionsFlow/{orchestrator}-1", _namespace_check=False)
    assert run.user_tags == {"nightly", "two words"} and run.data.seen == "user:anne"
    assert {"nightly", f"runtime:{orchestrator}"} <= set(run.data.tags)


@pytest.mark.parametrize("orchestrator", ["airflow", "argo-workflows", "step-functions"])
def test_a_gang_is_refused_where_tasks_start_one_by_one(run_flow: RunFlow, project: Path, orchestrator: str) -> None:
    refused = run_flow(GANG, orchestrator, "create", "--only-json", env=ELSEWHERE, check=False)
    assert refused.returncode == 1 and "Step start leads on with num_parallel." in refused.stderr
    assert "Use foreach, deploy the flow with `local create`" in refused.stderr and not refused.stdout


def test_a_gang_runs_on_the_local_orchestrator(run_flow: RunFlow, project: Path) -> None:
    run_flow(GANG, "local", "create")
    queue()
    agent(env={"HERE": str(project)})
    run = Run("GangFlow/local-1", _namespace_check=False)
    assert run["join"].task.data.places == [0, 1, 2]
