"""The client on what the engine has really run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from metaflow import Flow, Metaflow, Run, Step, Task, default_metadata, default_namespace

FLOW = """
import sys
from metaflow import FlowSpec, Parameter, catch, current, retry, step

class ShopFlow(FlowSpec):
    alpha = Parameter("alpha", default=0.5)

    @step
    def start(self):
        print("Grüße\\n  * indented")
        print("a warning", file=sys.stderr)
        self.items = ["x", "y", "z"]
        self._private = 1
        self.next(self.work, foreach="items")

    @retry(times=2)
    @step
    def work(self):
        if current.retry_count == 0 and self.input == "y":
            self.partial = "kept"
            raise ValueError("not yet")
        print("attempt", current.retry_count)
        self.result = self.input * 2
        self.next(self.join)

    @step
    def join(self, inputs):
        self.results = [i.result for i in inputs]
        self.next(self.risky)

    @catch(var="problem")
    @step
    def risky(self):
        1 / 0
        self.next(self.end)

    @step
    def end(self):
        if self.alpha > 1:
            raise RuntimeError("alpha is too large")

if __name__ == "__main__":
    ShopFlow()
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the flow has run once. Tests work on copies of it."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / ".metaflow").mkdir()
    (folder / "shop.py").write_text(FLOW)
    environment = {**os.environ, "METAFLOW_USER": "tester", "METAFLOW_HOME": str(folder / "home")}
    command = [sys.executable, "shop.py", "run", "--tag", "t"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture
def shop(run_flow: Any, ran: Path, project: Path) -> Iterator[Any]:
    shutil.copytree(ran, project, dirs_exist_ok=True)
    default_metadata()
    default_namespace()
    yield run_flow
    default_metadata()


def test_a_run_is_found_again_down_to_its_values(shop: Any) -> None:
    [flow] = Metaflow()
    run = flow.latest_successful_run
    assert run == flow.latest_run == Run("ShopFlow/1")
    assert [step.id for step in run] == ["end", "risky", "join", "work", "start"]
    assert run.data.results == ["xx", "yy", "zz"]
    assert (run.data.alpha, run.data.name) == (0.5, "ShopFlow")
    assert {task.index: task.data.result for task in run["work"]} == {0: "xx", 1: "yy", 2: "zz"}
    start = run["start"].task
    assert [artifact.id for artifact in start] == ["alpha", "items", "name"]
    assert start.data._private == 1
    assert [step.id for step in run["join"].parent_steps] == ["work"]
    assert [task.data.result for task in run["join"].task.parent_tasks] == ["xx", "yy", "zz"]
    assert {"user:tester", "runtime:dev", "t"} <= run.tags and run.user_tags == {"t"}


def test_logs(shop: Any) -> None:
    task = Step("ShopFlow/1/start").task
    assert task.stdout == "Grüße\n  * indented\n"
    assert task.stderr == "a warning\n"
    assert [line for _, line in task.loglines("stdout")] == ["Grüße", "  * indented"]


def test_attempts_and_failures(shop: Any) -> None:
    second = next(task for task in Step("ShopFlow/1/work") if task.index == 1)
    assert (second.successful, second.current_attempt, second.exception) == (True, 1, None)
    assert second.stdout == "attempt 1\n"
    first = Task(second.pathspec, attempt=0)
    assert (first.finished, first.successful, first.data.partial) == (False, False, "kept")
    assert (first.exception.type, first.exception.exception) == ("ValueError", "not yet")
    assert "shop.py" in first.exception.stacktrace and "metaflow_core" not in first.exception.stacktrace
    risky = Step("ShopFlow/1/risky").task
    assert (risky.finished, risky.successful) == (True, False)
    assert risky.data.problem.type == risky.exception.type == "ZeroDivisionError"


def test_a_run_that_failed(shop: Any) -> None:
    shop("shop.py", "run", "--alpha", "2", check=False)
    run = Flow("ShopFlow").latest_run
    assert (run.id, run.status, run.successful, run.finished, run.data) == ("2", "failed", False, False, None)
    task = run["end"].task
    assert (task.status, task.finished, task.exception.exception) == ("failed", False, "alpha is too large")
    assert Flow("ShopFlow").latest_successful_run.id == "1"


def test_a_resumed_run(shop: Any) -> None:
    shop("shop.py", "resume", "join", "--origin-run-id", "1")
    run = Flow("ShopFlow").latest_run
    assert (run.id, run.origin_pathspec, run.successful) == ("2", "ShopFlow/1", True)
    start = run["start"].task
    assert start.origin_pathspec == Run("ShopFlow/1")["start"].task.pathspec
    assert start.stdout == "Grüße\n  * indented\n"
    assert (run["join"].origin_pathspec, run["work"].origin_pathspec) == (None, "ShopFlow/1/work")
    assert run.data.results == ["xx", "yy", "zz"]


def test_a_run_object_kept_as_an_artifact(shop: Any) -> None:
    keep = """
        from metaflow import FlowSpec, Run, step

        class KeepFlow(FlowSpec):
            @step
            def start(self):
                self.run_of_shop = Run("ShopFlow/1")
                self.next(self.end)

            @step
            def end(self):
                print("results", self.run_of_shop.data.results)

        if __name__ == "__main__":
            KeepFlow()
    """
    assert "results ['xx', 'yy', 'zz']" in shop(keep, "run", name="keep.py").stdout
    assert Run("KeepFlow/1").data.run_of_shop.data.alpha == 0.5


SLEEPY = """
import time
from metaflow import FlowSpec, step

class SleepyFlow(FlowSpec):
    @step
    def start(self):
        print("asleep", flush=True)
        time.sleep(600)
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    SleepyFlow()
"""


def test_a_killed_driver_leaves_a_lost_run_that_can_be_seen_while_it_ran(project: Path) -> None:
    (project / "sleepy.py").write_text(SLEEPY)
    default_metadata()
    driver = subprocess.Popen(
        [sys.executable, "sleepy.py", "run"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert driver.stdout is not None
        assert any("asleep" in line for line in driver.stdout)
        run = Run("SleepyFlow/1")
        assert (run.status, run.finished, run["start"].task.status) == ("running", False, "running")
        with pytest.raises(KeyError):
            run["end"]
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        driver.stdout.close()
    end = time.monotonic() + 30
    while run.status == "running" and time.monotonic() < end:
        time.sleep(0.01)
    assert (run.status, run.successful, run.finished, run.finished_at) == ("lost", False, False, None)


def test_importing_the_client_is_light(project: Path) -> None:
    program = """
        import sys
        import metaflow
        from metaflow import Flow, Run, namespace
        namespace(None)
        from metaflow_core.metadata import recording
        try:
            Flow("Nothing")
        except metaflow.exception.MetaflowNotFound:
            pass
        heavy = "pyarrow numpy pandas fsspec rich importlib.metadata asyncio subprocess tempfile click".split()
        print([name for name in heavy if name in sys.modules])
    """
    found = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\[\]\n", found.stdout), found.stdout
