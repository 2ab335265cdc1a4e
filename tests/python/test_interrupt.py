"""Interrupted and killed runs: nothing is left running, nothing that was finished is lost, `resume` goes on."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow, Run

WAITING = """
    import os, signal, sys, time
    from pathlib import Path
    from metaflow import FlowSpec, Parameter, step

    class Waiting(FlowSpec):
        how = Parameter("how", default="")

        @step
        def start(self):
            self.items = [1, 2, 3]
            self.next(self.work, foreach="items")

        @step
        def work(self):
            self.done = self.input
            if self.input > 1 and not Path("go").exists():
                if self.how == "stubborn":
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                Path(f"new-{self.input}").write_text(str(os.getpid()))
                Path(f"new-{self.input}").rename(f"waiting-{self.input}")  # whole as soon as it is there
                time.sleep(100)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.total = sum(i.done for i in inputs)
            self.next(self.end)

        @step
        def end(self):
            print("total", self.total)

    if __name__ == "__main__":
        Waiting()
"""


def wait_until(condition: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


class Driver:
    """A run of ``WAITING`` of which one task has finished and two wait."""

    def __init__(self, project: Path, *options: str) -> None:
        command = [sys.executable, "flow.py", "run", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        wait_until(lambda: all((project / f"waiting-{i}").exists() for i in (2, 3)))
        wait_until(lambda: finished_tasks() == 2)
        self.launcher = child_of(self.process.pid)
        self.tasks = [int((project / f"waiting-{i}").read_text()) for i in (2, 3)]

    def end(self) -> str:
        output, _ = self.process.communicate(timeout=30)
        return output


def finished_tasks() -> int:
    with sqlite3.connect(".metaflow/metaflow.db") as db:
        return db.execute("SELECT COUNT(*) FROM tasks WHERE status = 'done' AND step <> '_parameters'").fetchone()[0]


@pytest.fixture
def driver(project: Path, run_flow: Any) -> Iterator[Callable[..., Driver]]:
    started: list[Driver] = []

    def start(*options: str) -> Driver:
        run_flow(WAITING, "check")
        started.append(Driver(project, *options))
        return started[-1]

    yield start
    for one in started:
        for pid in (one.process.pid, one.launcher, *one.tasks):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        one.process.wait(10)


def check_resume(run_flow: Any, project: Path) -> None:
    (project / "go").touch()
    result = run_flow("flow.py", "resume")
    assert "2 finished tasks taken over from run 1." in result.stdout
    run = Flow("Waiting").latest_run
    assert run.successful
    assert run["end"].task.data.total == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_once(driver: Any, run_flow: Any, project: Path, number: int) -> None:
    run = driver()
    run.process.send_signal(number)
    output = run.end()
    assert run.process.returncode == 1
    assert re.search(r"Interrupted: stopping [23] running tasks\. Again to kill\.", output)
    assert re.search(r" Workflow interrupted\.\nResume: .* flow\.py resume.*\n\Z", output)
    assert "Traceback" not in output
    assert not any(map(alive, (run.launcher, *run.tasks)))
    assert Run("Waiting/1").status == "interrupted"
    assert not Run("Waiting/1").finished
    check_resume(run_flow, project)


def test_interrupted_twice_kills_at_once(driver: Any) -> None:
    run = driver("--how", "stubborn")
    run.process.send_signal(signal.SIGINT)
    assert run.process.stdout is not None
    for line in run.process.stdout:
        if "Interrupted" in line:
            break
    assert all(map(alive, run.tasks)), "they do not listen"
    run.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    run.end()
    assert time.monotonic() - began < 4, "not after the time in which tasks may end by themselves"
    assert run.process.returncode == 1
    assert not any(map(alive, (run.launcher, *run.tasks)))


def test_interrupt_of_the_whole_terminal(driver: Any) -> None:
    """Ctrl-C goes to all processes of the terminal; the tasks do not show tracebacks for it."""
    run = driver()
    os.killpg(run.process.pid, signal.SIGINT)
    output = run.end()
    assert "KeyboardInterrupt" not in output
    assert re.search(r" Workflow interrupted\.\nResume: .* flow\.py resume.*\n\Z", output)


def test_killed_driver(driver: Any, run_flow: Any, project: Path) -> None:
    run = driver()
    run.process.kill()
    run.process.wait(10)
    wait_until(lambda: not any(map(alive, (run.launcher, *run.tasks))))
    lost = Run("Waiting/1")
    assert lost.status == "lost"
    assert not lost.finished
    assert not lost.successful
    check_resume(run_flow, project)


def test_killed_launcher(driver: Any, run_flow: Any, project: Path) -> None:
    run = driver()
    os.kill(run.launcher, signal.SIGKILL)
    output = run.end()
    assert run.process.returncode == 1
    assert "The process that starts tasks was killed" in output
    assert re.search(r" Workflow failed\.\nFailed: [\s\S]*\nResume: .* flow\.py resume.*\n\Z", output)
    assert "Traceback" not in output
    wait_until(lambda: not any(map(alive, run.tasks)))
    check_resume(run_flow, project)


def test_killed_launcher_and_retries(driver: Any) -> None:
    run = driver("--with", "retry:times=2")
    os.kill(run.launcher, signal.SIGKILL)
    output = run.end()
    assert run.process.returncode == 1
    assert "Traceback" not in output
    assert re.search(r" Workflow failed\.\nFailed: [\s\S]*\nResume: .* flow\.py resume.*\n\Z", output)


MANY = """
    from metaflow import FlowSpec, Parameter, step

    class Many(FlowSpec):
        size = Parameter("size", default=1)  # of the files that each task writes; small values need none

        @step
        def start(self):
            self.items = list(range(20))
            self.big = "x" * self.size
            self.next(self.work, foreach="items")

        @step
        def work(self):
            self.square = self.input ** 2
            self.file = str(self.input % 10) * self.size
            print("working on", self.input)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.total = sum(i.square for i in inputs)
            self.sizes = {len(i.file) for i in inputs}
            self.merge_artifacts(inputs, include=["big"])
            self.next(self.end)

        @step
        def end(self):
            assert len(self.big) == self.size

    if __name__ == "__main__":
        Many()
"""


@pytest.mark.parametrize(
    ("number", "size"),
    [(signal.SIGKILL, 1), (signal.SIGINT, 1), pytest.param(signal.SIGKILL, 50_000, marks=pytest.mark.slow)],
)
def test_ended_at_any_moment(project: Path, run_flow: Any, number: int, size: int) -> None:
    """Whenever the driver is killed or interrupted: the database is whole and `resume` leads to the right result."""
    run_flow(MANY, "check")
    run_flow("flow.py", "run", "--size", size)
    began = time.monotonic()
    run_flow("flow.py", "run", "--size", size)
    duration = time.monotonic() - began
    count = 15
    for i in range(count):
        command = [sys.executable, "flow.py", "run", "--size", str(size)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(duration * (i + 1) / count)  # the moments differ; what is checked holds for each
        process.send_signal(number)
        output, error = process.communicate(timeout=60)
        # Python itself drops an interrupt between two of its imports, and says so. This can't be heard before we run.
        error = re.sub(r"\AException ignored in.*\nTraceback.*\n( .*\n)+KeyboardInterrupt: *\n", "", error)
        if number == signal.SIGINT and "Workflow starting" in output:
            assert "Traceback" not in output + error
            assert process.returncode == (0 if "Done!" in output else 1)
        with sqlite3.connect(".metaflow/metaflow.db") as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        latest = next(iter(Flow("Many")))
        if latest.successful:
            continue
        assert latest.status in ("lost", "interrupted")
        result = run_flow("flow.py", "resume")
        taken = int(re.search(r"(\d+) finished tasks? taken over", result.stdout)[1])
        latest = Flow("Many").latest_run
        assert latest.origin_pathspec is not None or taken == 0
        assert latest.successful
        data = latest["end"].task.data
        assert (data.total, data.sizes, len(data.big)) == (2470, {size}, size)
        assert len(list(latest["work"])) == 20


def test_a_driver_that_was_killed_after_its_last_task(run_flow: Any) -> None:
    run_flow(MANY, "run")
    with sqlite3.connect(".metaflow/metaflow.db") as db:  # as it is between the last task's end and the run's
        db.execute("UPDATE runs SET status = 'running', finished_at = NULL, pid = 2147483647")
    db.close()
    assert Run("Many/1").status == "lost"
    result = run_flow("flow.py", "resume")
    assert "23 finished tasks taken over from run 1." in result.stdout
    assert result.stdout.endswith("Done!\n")
    assert Run("Many/2").successful
    assert "is complete, there is nothing to resume" in run_flow("flow.py", "resume", check=False).stderr


def test_files_left_by_a_killed_task_do_no_harm(project: Path, run_flow: Any) -> None:
    run_flow(MANY, "run", "--size", "10000")
    data = project / ".metaflow"
    for folder in [path for path in data.rglob("*") if path.is_dir()]:
        (folder / ".tmp-half-written").write_bytes(b"half")
        (folder / "half.tmp").write_bytes(b"half")
    run_flow("flow.py", "run", "--size", "10000")
    assert all(run["end"].task.data.total == 2470 for run in Flow("Many"))


DROPPING = """
    import os, signal, weakref
    from metaflow import FlowSpec, step

    class Dropping(FlowSpec):
        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            pass

    class Gone:
        pass

    if __name__ == "__main__":
        kept = weakref.ref(gone := Gone(), lambda reference: os.kill(os.getpid(), signal.SIGINT))

        import metaflow_core.cli.flow as program
        def command_line(flow, real=program.command_line):
            global gone
            del gone
            return real(flow)
        program.command_line = command_line
        Dropping()
"""


def test_an_interrupt_that_python_drops(run_flow: Any) -> None:
    """An exception in the callback of a weak reference is told and dropped, by Python. Ctrl-C may come in one."""
    result = run_flow(DROPPING, "run", check=False)
    assert (result.returncode, result.stderr) == (1, "Interrupted.\n")
