"""`metaflow gc` with real flows: what goes, what it prints and asks, resumed runs, and gc beside a running flow."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from metaflow import Flow, Run, collect_garbage, namespace
from metaflow_core.metadata.backend import open_backend

METAFLOW = str(Path(sys.executable).parent / "metaflow")
Command = Callable[..., "subprocess.CompletedProcess[str]"]

FLOW = """
from metaflow import FlowSpec, Parameter, step

class F(FlowSpec):
    fail = Parameter("fail", default=False)
    size = Parameter("size", default=20_000)

    @step
    def start(self):
        self.shared = list(range(20_000))
        self.mine = [self.size] * self.size
        self.parts = [1, 2]
        print("start of", self.size)
        self.next(self.work, foreach="parts")

    @step
    def work(self):
        print("work on", self.input)
        self.square = self.input ** 2
        self.next(self.join)

    @step
    def join(self, inputs):
        self.squares = [one.square for one in inputs]
        self.merge_artifacts(inputs, exclude=["square"])
        print("joined")
        if self.fail:
            raise ValueError("as asked")
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    F()
"""

SMALL = """
from metaflow import FlowSpec, step

class F(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    F()
"""


@pytest.fixture
def gc(project: Path) -> Command:
    """``metaflow gc ARGS``."""

    def run(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [METAFLOW, "gc", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    return run


def make_old(project: Path, *runs: str, days: float = 100) -> None:
    """Let these runs of F, and all files, be old; and the database older."""
    db = open_backend().db
    at = int((time.time() - days * 86400) * 1e6)
    for run in runs:
        db.execute("UPDATE runs SET created_at = ?, finished_at = ?, heartbeat_at = ? WHERE id = ?", (at, at, at, run))
    db.execute("UPDATE schema_migrations SET applied_at = 1000")
    db.close()
    for path in (project / ".metaflow").rglob("*"):
        if path.is_file():
            os.utime(path, (at / 1e6, at / 1e6))


def everything(*runs: str) -> dict[str, object]:
    """All artifacts and logs of these runs of F."""
    namespace(None)
    found: dict[str, object] = {}
    for run in runs:
        for step in Run(f"F/{run}"):
            for task in step:
                found[f"{run}/{step.id}/{task.index}"] = task.stdout, task.stderr
                found.update({f"{run}/{step.id}/{task.index}/{one.id}": one.data for one in task})
    return found


def payloads(project: Path) -> int:
    return sum(path.is_file() for path in (project / ".metaflow" / "data").rglob("*"))


def test_nothing_to_do(gc: Command, run_flow: Command, project: Path) -> None:
    assert gc().stdout == gc("--dry-run").stdout == "There are no results here yet.\n"
    assert list((project / ".metaflow").iterdir()) == []
    run_flow(SMALL, "run")
    assert "There is nothing to remove." in gc().stdout
    assert json.loads(gc("--json").stdout)["bytes"] == 0


def test_old_runs_go_and_the_others_keep_all_they_have(gc: Command, run_flow: Command, project: Path) -> None:
    for size in (20_000, 20_001, 20_002):
        run_flow(FLOW, "run", "--size", str(size), *(["--tag", "candidate"] if size == 20_000 else []))
    make_old(project, "1", "2")
    kept = everything("1", "3")
    assert payloads(project) == 4
    shown = gc("--older-than", "90d", "--dry-run").stdout
    assert everything("1", "3") == kept
    assert Run("F/2").successful
    lines = shown.splitlines()
    assert lines[0].startswith("Runs that ended before 20")
    assert lines[0].endswith(", to be removed: 1")
    assert lines[1].startswith("  F: 1 run, 6 tasks, ")
    assert lines[2].startswith("    F/2  completed  20")
    assert lines[3] == "Kept although as old: 1 with a tag"
    assert "1 file with large values" in lines[4]
    assert "4 logs" in lines[4]

    refused = gc("--older-than", "90d", check=False)
    assert refused.returncode == 2
    assert "1 run would be removed, and nobody can be asked here: add --yes. Nothing was removed." in refused.stderr
    assert refused.stdout == ""
    assert Run("F/2").successful

    report = json.loads(gc("--older-than", "90d", "--yes", "--json").stdout)
    assert [run["run"] for run in report["runs"]] == ["F/2"]
    assert report["flows"]["F"]["runs"] == 1
    assert (report["files"]["count"], report["logs"]["count"], report["kept"]) == (1, 4, {"tagged": 1})
    assert [run.id for run in Flow("F")] == ["3", "1"]
    assert everything("1", "3") == kept
    assert payloads(project) == 3
    assert not (project / ".metaflow" / "logs" / "F" / "2").exists()
    run_flow("flow.py", "run")
    assert Flow("F").latest_run.id == "4"


def test_on_a_terminal_it_asks(run_flow: Command, project: Path) -> None:
    run_flow(SMALL, "run")
    run_flow(SMALL, "run")
    make_old(project, "1")
    namespace(None)
    for answer, code, left in ((b"n\n", 1, ["2", "1"]), (b"y\n", 0, ["2"])):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [METAFLOW, "gc", "--older-than", "90d"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        os.write(ours, answer)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert b"F/1  completed" in err
        assert b"Remove 1 run for good?" in err
        assert [run.id for run in Flow("F")] == left
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--older-than", "soon"], 1, "An age is a number of hours, days or weeks"),
        (["--flow", "F"], 1, "give older_than as well"),
        (["--older-than", "1d", "--flow", "G"], 1, "G"),
        (["--older-than", "1d", "--status", "running"], 2, "running"),
        (["--older-than", "1d", "--keep-last", "-1"], 2, "-1"),
        (["F"], 2, "unexpected extra argument"),
    ],
)
def test_wrong_options(gc: Command, history_free_project: Path, arguments: list[str], code: int, message: str) -> None:
    result = gc(*arguments, check=False)
    assert result.returncode == code
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.fixture
def history_free_project(project: Path) -> Path:
    """A project with an empty database."""
    backend = open_backend()
    _ = backend.db
    backend.close()
    return project


def test_a_resumed_run_keeps_values_and_logs_of_the_runs_it_came_from(
    gc: Command, run_flow: Command, project: Path
) -> None:
    """1 fails, 2 resumes 1 and fails, 3 and 4 resume 2: all but 3 and 4 may go."""
    run_flow(FLOW, "run", "--fail", "True", check=False)
    run_flow("flow.py", "resume", "join", "--origin-run-id", "1", check=False)
    fixed = FLOW.replace('raise ValueError("as asked")', 'print("repaired")')
    for _ in range(2):
        run_flow(fixed, "resume", "--origin-run-id", "2")
    kept = everything("3", "4")
    assert kept["3/start/None"] == kept["4/start/None"] == ("start of 20000\n", "")
    assert Run("F/3")["start"].task.origin_pathspec == "F/2/start/1"
    task = Run("F/3")["start"].task
    make_old(project, "1", "2")
    shown = gc("--older-than", "90d", "--yes").stdout
    assert "removed: 2" in shown
    assert [run.id for run in Flow("F")] == ["4", "3"]
    assert everything("3", "4") == kept
    assert task.stdout == "start of 20000\n"
    assert Run("F/3").origin_pathspec == "F/2"
    assert Run("F/3")["start"].task.origin_pathspec is None
    assert task.metadata_dict["origin-run-id"] == "2"
    assert not (project / ".metaflow" / "logs" / "F" / "1").exists()
    gc("--older-than", "90d", "--yes")
    assert everything("3", "4") == kept
    run_flow(fixed, "resume", "work", "--origin-run-id", "3")
    assert Flow("F").latest_run.data.squares == [1, 4]
    gone = run_flow("flow.py", "resume", "--origin-run-id", "1", check=False)
    assert gone.returncode == 1
    assert "no run F/1" in gone.stderr


def test_gc_beside_a_running_flow(run_flow: Command, project: Path) -> None:
    """Tasks of a running flow store the value that removed runs had, while gc runs again and again."""
    run_flow(FLOW, "run")
    run_flow(FLOW, "run")
    make_old(project, "1")
    source = """
        import os, time
        from metaflow import FlowSpec, step

        class H(FlowSpec):
            @step
            def start(self):
                self.parts = list(range(12))
                self.next(self.work, foreach="parts")

            @step
            def work(self):
                self.shared = list(range(20_000))
                self.mine = [20_000] * 20_000
                self.own = [self.input] * 20_000
                self.next(self.join)

            @step
            def join(self, inputs):
                assert all(one.shared == list(range(20_000)) for one in inputs)
                assert [one.own[7] for one in inputs] == list(range(12))
                self.count = len(inputs)
                self.next(self.end)

            @step
            def end(self):
                pass

        H()
    """
    (project / "h.py").write_text("\n".join(line[8:] for line in source.splitlines()))
    flow = subprocess.Popen(
        [sys.executable, "h.py", "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    turns = removed = 0
    while flow.poll() is None:
        removed += len(collect_garbage("1d").runs)
        turns += 1
    assert flow.stdout is not None
    assert flow.returncode == 0, flow.stdout.read()
    assert turns > 1
    assert removed == 1
    namespace(None)
    run = Run("H/1")
    for task in run["work"]:
        assert task.data.shared == list(range(20_000))
        assert task.data.own == [task.index] * 20_000
    assert everything("2")


def test_a_killed_task_leaves_nothing_for_ever(gc: Command, run_flow: Command, project: Path) -> None:
    """What a task had stored before it was killed, and its half-written file, go with the next collection."""
    run_flow(
        """
        import os, signal
        from metaflow import FlowSpec, step
        from metaflow_plugins.local_storage import LocalStorage

        class F(FlowSpec):
            @step
            def start(self):
                self.x = list(range(20_000))
                self.y = list(range(30_000))
                put, done = LocalStorage.put, []
                def put_once(self, key, write, replace=False):
                    if done:
                        def write(file):
                            file.write(b"half")
                            file.flush()
                            os.kill(os.getpid(), signal.SIGKILL)
                    done.append(key)
                    return put(self, key, write, replace)
                LocalStorage.put = put_once
                self.next(self.end)

            @step
            def end(self):
                pass

        F()
        """,
        "run",
        check=False,
    )
    assert payloads(project) == 1
    assert len(list((project / ".metaflow" / ".tmp").iterdir())) == 1
    assert "nothing to remove" in gc().stdout  # too young: the task could still be there
    make_old(project)
    shown = gc().stdout
    assert "1 file with large values" in shown
    assert "1 temporary file (4 bytes)" in shown
    assert payloads(project) == 0
    assert list((project / ".metaflow" / ".tmp").iterdir()) == []
    assert everything("1")
