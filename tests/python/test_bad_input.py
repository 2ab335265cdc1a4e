"""Bad input of any kind: one clear message, a sane exit code, no traceback of ours, and nothing is lost."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow, Run

FLOW = """
    from pathlib import Path
    from metaflow import FlowSpec, IncludeFile, Parameter, step

    class Small(FlowSpec):
        number = Parameter("number", default=1)
        file = IncludeFile("file", default=None)
        size = Parameter("size", default=1)

        @step
        def start(self):
            self.parts = range(4)
            self.next(self.work, foreach="parts")

        @step
        def work(self):
            import random
            self.random = random.Random(self.input).randbytes(self.size)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.sizes = [len(i.random) for i in inputs]
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Small()
"""


def refused(result: subprocess.CompletedProcess[str], code: int, *messages: str) -> None:
    assert result.returncode == code, result.stdout + result.stderr
    for message in messages:
        assert message in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert "metaflow_core" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run", "--number", "one"), 2, "must be a whole number, not 'one'"),
        (("run", "--file", "/no/such/file"), 2, "/no/such/file"),
        (("run", "--file", "."), 2, "."),
        (("run", "--tag", ""), 1, "--tag"),
        (("run", "--tag", "x" * 501), 1, "500"),
        (("run", *(f"--tag=t{i}" for i in range(51))), 1, "50"),
        (("run", "--run-id-file", "/no/such/folder/id"), 1, "--run-id-file /no/such/folder/id can't be written"),
        (("run", "--run-id-file", "."), 2, "directory"),
        (("run", "--max-num-splits", "-1"), 2, "-1"),
        (("rum",), 2, "Did you mean 'run'?"),
        (("run", "extra"), 2, "extra"),
        (("--environment", "moon", "run"), 1, "--environment 'moon' is unknown. Known: conda, local, pypi, r, uv."),
        (("logs", "../../etc/passwd"), 1, ""),
        (("logs", "1/start/1; rm -rf /"), 1, ""),
        (("dump", "1/start/../../x"), 1, ""),
        (("dump", "'/\"/☃"), 1, ""),
        (("spin", "nowhere"), 1, "There is no step 'nowhere'. Steps: start, work, join, end."),
        (("spin", "99/start"), 1, "There is no run Small/99."),
        (("spin", "a/b/c/d"), 1, "is neither STEP nor RUN/STEP[/TASK]"),
        (("spin", "start"), 1, "You (tester) have no run of Small to take inputs from."),
        (("resume", "--origin-run-id", "1' OR '1'='1"), 1, "There is no run"),
        (("step", "start", "--run-id", "../x", "--task-id", "1"), 1, "There is no run Small/../x."),
        (("step", "nowhere", "--run-id", "1", "--task-id", "1"), 1, "There is no step 'nowhere'."),
        (("tag", "add", "a", "--run-id", "../../x"), 1, ""),
    ],
)
def test_command_lines(run_flow: Any, arguments: tuple[str, ...], code: int, message: str) -> None:
    refused(run_flow(FLOW, *arguments, check=False), code, message)
    database = Path(".metaflow/metaflow.db")
    if database.exists():
        with sqlite3.connect(database) as db:
            assert db.execute("SELECT COUNT(*) FROM runs").fetchall() == [(0,)], "nothing was registered"


def test_tags_of_any_text(run_flow: Any) -> None:
    tags = ["schön", "it's", 'say "hi"', "a/b/../c", "x" * 500, "'; DROP TABLE runs; --", "☃ 雪", "a:b=c,d"]
    run_flow(FLOW, "run", *(f"--tag={tag}" for tag in tags))
    assert Flow("Small").latest_run.user_tags == frozenset(tags)


def test_a_module_that_fails_at_import(run_flow: Any) -> None:
    result = run_flow("import no_such_module\n" + FLOW.replace("\n    ", "\n"), "run", check=False)
    assert result.returncode == 1
    assert "ModuleNotFoundError: No module named 'no_such_module'" in result.stderr
    assert "metaflow_core" not in result.stderr


@pytest.mark.parametrize("user", ["", " ", "a\nb", "x" * 300])
def test_names_that_no_user_has(run_flow: Any, user: str) -> None:
    env = dict.fromkeys(("SUDO_USER", "USERNAME", "USER"), "")
    refused(run_flow(FLOW, "run", user=user, env=env, check=False), 1, "METAFLOW_USER")


def test_root_is_nobody(run_flow: Any) -> None:
    env = {"SUDO_USER": "", "USERNAME": "", "USER": "root"}
    refused(run_flow(FLOW, "run", user=None, env=env, check=False), 1, "export METAFLOW_USER=")
    assert run_flow("flow.py", "run", user="root", env=env).returncode == 0


# --- the database ----------------------------------------------------------------------------------------------------


def test_a_database_of_a_newer_version(run_flow: Any) -> None:
    run_flow(FLOW, "run")
    with sqlite3.connect(".metaflow/metaflow.db") as db:
        db.execute("INSERT INTO schema_migrations VALUES (99, 0)")
    result = run_flow("flow.py", "run", check=False)
    refused(result, 1, "was written by a newer version (schema 99", "pip install --upgrade", "Nothing was changed")
    with sqlite3.connect(".metaflow/metaflow.db") as db:
        assert db.execute("SELECT COUNT(*) FROM runs").fetchall() == [(1,)]


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_database(project: Path, run_flow: Any, content: bytes) -> None:
    (project / ".metaflow" / "metaflow.db").write_bytes(content)
    for arguments in (("run",), ("resume",), ("logs", "1/start"), ("tag", "list", "--all")):
        result = run_flow(FLOW, *arguments, check=False)
        refused(result, 1, "The metadata database", "metaflow.db can't be used")
        assert "Workflow starting" not in result.stdout
    assert (project / ".metaflow" / "metaflow.db").read_bytes() == content


def test_a_database_that_is_a_directory(project: Path, run_flow: Any) -> None:
    (project / ".metaflow" / "metaflow.db").mkdir()
    refused(run_flow(FLOW, "run", check=False), 1, "The metadata database")


def test_metaflow_folder_that_is_a_file(project: Path, run_flow: Any) -> None:
    (project / ".metaflow").rmdir()
    (project / ".metaflow").write_text("")
    env = {"METAFLOW_DATASTORE_SYSROOT_LOCAL": str(project)}
    refused(run_flow(FLOW, "run", env=env, check=False), 1, ".metaflow")


def test_an_unknown_database(run_flow: Any) -> None:
    refused(run_flow(FLOW, "--metadata", "oracle://x", "run", check=False), 1, "oracle://x")
    refused(run_flow(FLOW, "--datastore", "moon://x", "run", check=False), 1, "moon://x")


def test_runs_that_start_at_the_same_time(run_flow: Any) -> None:
    """Twenty processes make the database, and number their runs."""
    run_flow(FLOW, "check")
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: run_flow("flow.py", "run", check=False), range(20)))
    assert [result.returncode for result in results] == [0] * 20, [r.stdout + r.stderr for r in results]
    ids = {int(re.search(r"run-id (\d+)", result.stdout)[1]) for result in results}
    assert ids == set(range(1, 21))
    assert all(run.successful for run in Flow("Small"))


# --- places that can't be written ------------------------------------------------------------------------------------


@pytest.fixture
def read_only(project: Path) -> Iterator[Path]:
    """The project's ``.metaflow``, with a run in it, which nobody may write to."""
    folder = project / ".metaflow"
    if os.geteuid() == 0:
        folder.mkdir(exist_ok=True)
        bound = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, text=True)
        if bound.returncode:
            pytest.skip(f"as root only a mount makes a folder read-only, and: {bound.stderr.strip()}")
    yield folder
    if os.geteuid() == 0:
        subprocess.run(["umount", "-l", folder], check=True)
    else:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o700)


def forbid_writing(folder: Path) -> None:
    if os.geteuid() == 0:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    else:
        for path in (*folder.rglob("*"), folder):
            path.chmod(0o500 if path.is_dir() else 0o400)


def test_a_read_only_project(run_flow: Any, read_only: Path) -> None:
    run_flow(FLOW, "run")
    forbid_writing(read_only)
    result = run_flow("flow.py", "run", check=False)
    refused(result, 1, "The metadata database", "Check that the folder exists and that you may write to it.")
    assert len(result.stderr.splitlines()) < 8
    assert Run("Small/1").successful, "results can be read"


def test_a_project_that_can_not_be_made(run_flow: Any, read_only: Path) -> None:
    forbid_writing(read_only)
    refused(run_flow(FLOW, "run", check=False), 1, "The metadata database")


@pytest.fixture
def small_disk(project: Path) -> Iterator[Path]:
    """``.metaflow`` on a disk of 2 MB."""
    folder = project / ".metaflow"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mount command")
def test_a_disk_that_gets_full_while_artifacts_are_written(run_flow: Any, small_disk: Path) -> None:
    run_flow(FLOW, "run")
    result = run_flow("flow.py", "run", "--size", "600000", "--max-workers", "1", check=False)
    assert result.returncode == 1
    assert "The disk is full: free some space and resume." in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert "metaflow_core" not in result.stdout + result.stderr
    assert Run("Small/1").successful, "what was there before is there"
    assert Run("Small/2").status == "failed"
    done = [task for task in Run("Small/2")["work"] if task.successful]
    assert all(len(task.data.random) == 600_000 for task in done)
    subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
    run_flow("flow.py", "resume")
    assert Flow("Small").latest_run["end"].task.data.sizes == [600_000] * 4


def test_a_disk_that_is_full_from_the_start(run_flow: Any, small_disk: Path) -> None:
    run_flow(FLOW, "run")
    (small_disk / "ballast").write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize))
    result = run_flow("flow.py", "run", check=False)
    assert result.returncode == 1
    assert "free some space" in result.stderr + result.stdout or "check its space" in result.stderr + result.stdout
    assert "metaflow_core" not in result.stdout + result.stderr
    assert Run("Small/1").successful
    (small_disk / "ballast").unlink()
    assert run_flow("flow.py", "run").returncode == 0
