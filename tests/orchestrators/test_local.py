"""The local orchestrator: deploy, trigger, and what ``metaflow agent`` makes of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from local_agents import FLOW, Agents, agent, listed, queue, ran, rows, statuses, wait_for
from metaflow import Flow, Run, namespace
from metaflow_core.deployment.interface import Orchestrator
from metaflow_core.testing.orchestrator import OrchestratorContract
from metaflow_plugins.local_orchestrator import LocalOrchestrator


class TestContract(OrchestratorContract):
    @pytest.fixture
    def orchestrator(self) -> Orchestrator:
        return LocalOrchestrator()

    def read(self, document: str) -> Any:
        return json.loads(document)


@pytest.fixture
def agents(project: Path) -> Any:
    found = Agents()
    yield found
    found.close()


def token_of(stdout: str) -> str:
    return next(line.split()[-1] for line in stdout.splitlines() if line.startswith("Its runs are in the namespace"))


@pytest.mark.both_databases
def test_a_run_from_its_deployment_to_its_results(run_flow: Any, project: Path) -> None:
    created = run_flow(FLOW, "local", "create", "--tag", "nightly").stdout
    assert "LocalFlow is deployed on the local orchestrator." in created
    assert "No agent is running, so nothing starts yet. Start one here: metaflow agent" in created
    (project / "flow.py").write_text((project / "flow.py").read_text().replace("2 * self", "3 * self"))
    triggered = run_flow("flow.py", "local", "trigger", "--alpha", "7", "--place", str(project)).stdout
    assert triggered.splitlines() == [
        "Queued LocalFlow/local-1 on the local orchestrator.",
        "No agent is running, so it waits. Start one here: metaflow agent",
    ]
    assert run_flow("flow.py", "local", "status", "local-1").stdout.splitlines()[0] == "queued"
    said = agent()
    assert "LocalFlow/local-1 of LocalFlow begins" in said
    assert "LocalFlow/local-1 has ended: succeeded" in said
    assert listed(run_flow, "flow.py") == {"local-1": "succeeded"}
    assert listed(run_flow, "flow.py", "--failed") == {}
    assert run_flow("flow.py", "local", "status", "LocalFlow/local-1").stdout == "succeeded\n"
    production = token_of(created)
    namespace(production)
    run = Flow("LocalFlow").latest_successful_run
    assert run.pathspec == "LocalFlow/local-1"
    assert run.data.doubled == 14, "what runs is the code that was deployed"
    assert run.data.namespace == production
    assert {production, "runtime:local", "nightly"} <= run.tags
    assert "user:tester" not in run.tags
    assert run.code is not None
    assert ran(project) == ["local-1"]
    assert not list((project / ".metaflow" / "agent").iterdir()), "what was printed is with the run"
    assert agent().count("\n") == 2, "there is nothing left to do"


def test_every_transition_gives_what_run_gives(run_flow: Any, project: Path) -> None:
    flow = """
        from metaflow import FlowSpec, step

        class AllFlow(FlowSpec):
            @step
            def start(self):
                self.outer = ["a", "b"]
                self.next(self.middle, foreach="outer")

            @step
            def middle(self):
                self.inner = [1, 2, 3]
                self.next(self.leaf, foreach="inner")

            @step
            def leaf(self):
                self.found = self.input * 10
                self.kind = "odd" if self.input % 2 else "even"
                self.next({"odd": self.odd, "even": self.even}, condition="kind")

            @step
            def odd(self):
                self.found += 1
                self.next(self.inner_join)

            @step
            def even(self):
                self.next(self.inner_join)

            @step
            def inner_join(self, inputs):
                self.total = sum(one.found for one in inputs)
                self.next(self.outer_join)

            @step
            def outer_join(self, inputs):
                self.totals = [one.total for one in inputs]
                self.next(self.fork)

            @step
            def fork(self):
                self.next(self.left, self.right)

            @step
            def left(self):
                self.l = sum(self.totals)
                self.next(self.join)

            @step
            def right(self):
                self.next(self.join)

            @step
            def join(self, inputs):
                self.merge_artifacts(inputs)
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            AllFlow()
        """
    run_flow(flow, "run")
    run_flow("flow.py", "local", "create", "--max-workers", "3")
    queue()
    agent()
    namespace(None)
    here, there = Run("AllFlow/1"), Run("AllFlow/local-1")
    assert here.data.totals == there.data.totals == [62, 62]
    assert here.data.l == there.data.l
    assert sorted(task.data.found for task in there["leaf"]) == sorted(task.data.found for task in here["leaf"])


def test_a_failed_run_is_resumed_by_anybody(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "local", "create")
    run_flow("flow.py", "local", "trigger", "--fail", "True", "--place", str(project))
    said = agent(code=1)
    assert "has ended: failed: A task has failed. `resume --origin-run-id local-1` goes on from there." in said
    assert run_flow("flow.py", "local", "status", "local-1").stdout.splitlines() == [
        "failed",
        "A task has failed. `resume --origin-run-id local-1` goes on from there.",
    ]
    assert listed(run_flow, "flow.py", "--failed") == {"local-1": "failed"}
    assert "as asked" in (project / ".metaflow" / "agent" / "LocalFlow-local-1.log").read_text()
    (project / "mended").touch()
    run_flow("flow.py", "resume", "--origin-run-id", "local-1", user="other")
    namespace("user:other")
    run = Flow("LocalFlow").latest_run
    assert run.successful and run["start"].task.origin_pathspec == "LocalFlow/local-1/start/1"
    assert ran(project) == ["local-1"]


def test_terminate(run_flow: Any, project: Path, agents: Agents) -> None:
    run_flow(FLOW, "local", "create")
    queue(project, hold=True)
    queue(project, hold=True)
    assert run_flow("flow.py", "local", "terminate", "local-2").stdout == "LocalFlow/local-2 is terminated.\n"
    agents.start()
    wait_for(lambda: ran(project))
    assert run_flow("flow.py", "local", "terminate", "local-1").stdout.splitlines()[0] == (
        "LocalFlow/local-1 is terminated."
    )
    assert statuses() == {"local-1": "terminated", "local-2": "terminated"}
    namespace(None)
    assert Run("LocalFlow/local-1").status == "interrupted"
    assert ran(project) == ["local-1"]
    gone = run_flow("flow.py", "local", "terminate", "local-9", check=False)
    assert gone.returncode == 1 and "LocalFlow has no run local-9" in gone.stderr


def test_workflow_timeout(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "local", "create", "--workflow-timeout", "1")
    queue(project, hold=True)
    assert "takes longer than --workflow-timeout" in agent(code=1)
    assert statuses() == {"local-1": "timed-out"}


def test_delete_leaves_the_runs(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "local", "create")
    queue()
    agent()
    queue(project)
    assert "LocalFlow is no longer on the local orchestrator" in run_flow("flow.py", "local", "delete").stdout
    agent()
    assert ran(project) == [], "what waited does not begin"
    missing = run_flow("flow.py", "local", "trigger", check=False)
    assert missing.returncode == 1 and "Nothing is deployed as LocalFlow on the local orchestrator" in missing.stderr
    namespace(None)
    assert [run.id for run in Flow("LocalFlow")] == ["local-1"]
    run_flow("flow.py", "local", "create")
    assert listed(run_flow, "flow.py") == {"local-1": "succeeded", "local-2": "terminated"}


def test_a_run_that_waits_gets_the_code_that_is_deployed_when_it_begins(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "local", "create")
    queue()
    run_flow(FLOW.replace("2 * self", "5 * self"), "local", "create")
    agent()
    namespace(None)
    assert Run("LocalFlow/local-1").data.doubled == 2.5


def test_what_can_not_begin_says_why(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "local", "create")
    queue()
    for file in (project / ".metaflow" / "data").rglob("*"):
        if file.is_file():
            file.unlink()
    said = agent(code=1, env={"METAFLOW_JOB_FOLDER": str(project / "code")})
    assert "LocalFlow/local-1 has ended: failed: " in said
    reason = run_flow("flow.py", "local", "status", "local-1").stdout
    assert reason.startswith("failed\n") and "is not in the artifact store" in reason
    namespace(None)
    assert rows("SELECT COUNT(*) FROM runs")[0][0] == 0


@pytest.mark.parametrize("level", ["folder", "package", "link", "writable"])
def test_code_that_others_may_have_put_there_is_not_run(run_flow: Any, project: Path, level: str) -> None:
    temporary = project / "tmp"
    place = temporary / f"metaflow-code-{os.getuid()}"
    run_flow(FLOW, "local", "create")
    queue(project)
    key = deployed_package()
    target = {"folder": place, "writable": place}.get(level, place / key)
    (place / key).mkdir(parents=True, mode=0o700)
    place.chmod(0o777 if level == "writable" else 0o700)
    (place / key / "flow.py").write_text(f"open({str(project / 'theirs')!r}, 'w')")
    if level == "link":
        target.rename(project / "elsewhere")
        target.symlink_to(project / "elsewhere")
    elif level != "writable":
        if os.getuid():
            pytest.skip("only root can make another user's folder")
        os.chown(target, 65534, 65534)
    agent(code=1, env={"TMPDIR": str(temporary)})
    assert not (project / "theirs").exists() and not ran(project)
    reason = run_flow("flow.py", "local", "status", "local-1").stdout
    assert str(target) in reason and "METAFLOW_JOB_FOLDER" in reason


def test_unpacked_code_is_for_its_user_alone(run_flow: Any, project: Path) -> None:
    (project / "tmp").mkdir()
    run_flow(FLOW, "local", "create")
    before = os.umask(0o002)
    try:
        for _ in range(2):
            queue(project)
            agent(env={"TMPDIR": str(project / "tmp")})
    finally:
        os.umask(before)
    place = project / "tmp" / f"metaflow-code-{os.getuid()}"
    assert [folder.stat().st_mode & 0o777 for folder in (place, place / deployed_package())] == [0o700, 0o700]
    assert ran(project) == ["local-1", "local-2"]


def deployed_package() -> str:
    """The key of the code package of what is deployed."""
    [(info,)] = rows("SELECT info FROM deployments WHERE status = 'active'")
    return str(json.loads(json.loads(info)["environment"]["METAFLOW_DEPLOYMENT"])["package"])


def test_settings_of_a_deployment(run_flow: Any, project: Path) -> None:
    (project / "settings.json").write_text('{"rate": 3}')
    flow = """
        from metaflow import Config, FlowSpec, Parameter, current, get_namespace, retry, step

        class SetFlow(FlowSpec):
            config = Config("config", default="settings.json")
            rate = Parameter("rate", default=config.rate)

            @retry(times=1, minutes_between_retries=0)
            @step
            def start(self):
                if current.retry_count == 0:
                    raise ValueError("the first time")
                self.seen = get_namespace()
                self.items = list(range(110))
                self.next(self.each, foreach="items")

            @step
            def each(self):
                self.next(self.join)

            @step
            def join(self, inputs):
                self.count = len(list(inputs))
                self.next(self.end)

            @step
            def end(self):
                self.known = self.config.rate

        if __name__ == "__main__":
            SetFlow()
        """
    run_flow(flow, "local", "create", "--namespace", "user:anne", "--max-num-splits", "120")
    (project / "settings.json").write_text('{"rate": 4}')
    queue()
    agent()
    namespace(None)
    run = Run("SetFlow/local-1")
    assert (run.data.known, run.data.rate, run.data.count) == (3, 3, 110)
    assert run["start"].task.data.seen == "user:anne"


def test_only_json_needs_nothing(run_flow: Any, project: Path) -> None:
    document = json.loads(run_flow(FLOW, "local", "create", "--only-json").stdout)
    assert document["name"] == "LocalFlow" and document["steps"] == ["start", "end"]
    assert run_flow("flow.py", "local", "status", check=False).returncode == 1
