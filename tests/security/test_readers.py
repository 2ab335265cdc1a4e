"""A member who may only read: the client works, and what writes ends with one message and changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integrity import problems
from object_stores import READER_KEY, READER_SECRET

FLOW = """
    import random
    from metaflow import FlowSpec, step

    class SharedFlow(FlowSpec):
        @step
        def start(self):
            self.large = random.Random(1).randbytes(50_000)
            print("made here")
            self.next(self.end)

        @step
        def end(self):
            self.total = len(self.large)

    if __name__ == "__main__":
        SharedFlow()
"""
SMALL = """
    from metaflow import FlowSpec, Parameter, step

    class SmallFlow(FlowSpec):
        word = Parameter("word", default="hello")

        @step
        def start(self):
            PRINT
            self.small = [1, 2, 3]
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        SmallFlow()
"""
LOOK = """
from metaflow import Run, namespace
namespace(None)
run = Run("SmallFlow/1")
print(run.successful, run["start"].task.data.word, run["start"].task.data.small, "seen" in run.tags)
"""
LOOK_AT_LARGE = """
from metaflow import Run, namespace
namespace(None)
print(len(Run("SharedFlow/1")["start"].task.data.large))
"""
READ = """
from metaflow import Flow, namespace
namespace(None)
run = Flow("SharedFlow").latest_run
print(run.status, run.data.total, len(run["start"].task.data.large), run["start"].task.stdout.strip())
"""
ADD_TAG = """
from metaflow import Run, namespace
namespace(None)
Run("SharedFlow/1").add_tag("mine")
"""


@pytest.fixture
def visitor(
    run_flow: Any, project: Path, s3: str, team_database: str, postgresql: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The environment of somebody who may read one run of the team, from a machine that has copies of nothing."""
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    run_flow(FLOW, "run")
    name, database = f"visitor_{os.getpid()}", team_database.rpartition("/")[2]
    postgresql.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'look'")
    postgresql.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}", database)
    yield {
        "METAFLOW_METADATA_URL": team_database.replace("owner@", f"{name}:look@"),
        "METAFLOW_STORE_CACHE": str(project / "cache-of-the-visitor"),
        "AWS_ACCESS_KEY_ID": READER_KEY,
        "AWS_SECRET_ACCESS_KEY": READER_SECRET,
    }
    postgresql.sql(f"DROP OWNED BY {name}", database)
    postgresql.sql(f"DROP ROLE {name}")


def metaflow(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("metaflow")), *arguments]
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def refused(result: subprocess.CompletedProcess[str], what: str) -> None:
    shown = result.stdout + result.stderr
    assert result.returncode == 1, shown
    assert "Traceback" not in shown
    assert shown.count(what) == 1, shown


@pytest.mark.slow
def test_what_a_reader_can_and_can_not_do(run_flow: Any, visitor: dict[str, str], project: Path) -> None:
    expected = "completed 50000 50000 made here\n"
    assert run_flow(READ, name="read.py", env=visitor, user="visitor").stdout == expected
    assert "SharedFlow/1" in metaflow(visitor, "runs").stdout
    assert "made here" in run_flow("flow.py", "logs", "1/start", env=visitor, user="visitor").stdout
    assert "total" in run_flow("flow.py", "dump", "1/end", env=visitor, user="visitor").stdout

    database = "Your role may not do this: docs/teams-database.md tells which rights are needed."
    refused(run_flow("flow.py", "run", env=visitor, user="visitor", check=False), database)
    refused(
        run_flow("flow.py", "resume", "end", "--origin-run-id", "1", env=visitor, user="visitor", check=False), database
    )
    refused(
        run_flow(
            "flow.py",
            "tag",
            "add",
            "--namespace",
            "",
            "--run-id",
            "1",
            "mine",
            env=visitor,
            user="visitor",
            check=False,
        ),
        database,
    )
    assert database in run_flow(ADD_TAG, name="tag.py", env=visitor, user="visitor", check=False).stderr
    run_flow("flow.py", "run")  # run 1 is the latest no longer
    assert metaflow(visitor, "diff", "SharedFlow/1", "SharedFlow/2").returncode == 0
    assert "SharedFlow/1" in metaflow(visitor, "lineage", "SharedFlow/1").stdout
    refused(metaflow(visitor, "gc", "--older-than", "0d", "--yes"), database)
    assert run_flow(READ, name="read.py").stdout == expected  # nothing has changed for others


@pytest.mark.slow
def test_a_member_who_may_not_write_objects(run_flow: Any, visitor: dict[str, str], project: Path) -> None:
    """A run of which only the database takes something fails, with the reason, and leaves nothing half."""
    only_store = {name: value for name, value in visitor.items() if name != "METAFLOW_METADATA_URL"}
    result = run_flow("flow.py", "run", env=only_store, check=False)
    assert result.returncode == 1
    shown = result.stdout + result.stderr
    assert "Can't write the artifact store" in shown and "Traceback" not in shown, shown
    assert "denied" in shown.lower()
    assert problems() == []
    run_flow("flow.py", "resume")
    assert run_flow(READ, name="read.py").stdout == "completed 50000 50000 made here\n"

    result = run_flow(SMALL.replace("PRINT", "pass"), "run", name="small.py", env=only_store)
    assert "Done!" in result.stdout
    run_flow("small.py", "tag", "add", "--run-id", "1", "seen", env=only_store)
    assert run_flow(LOOK, name="look.py", env=only_store).stdout == "True hello [1, 2, 3] True\n"
    result = run_flow(SMALL.replace("PRINT", "print('a line')"), "run", name="small.py", env=only_store, check=False)
    shown = result.stdout + result.stderr
    assert result.returncode == 1
    assert "Can't write the artifact store" in shown and "Traceback" not in shown, shown
    assert problems() == []


@pytest.mark.slow
def test_who_may_read_the_database_and_not_the_store(run_flow: Any, visitor: dict[str, str], project: Path) -> None:
    run_flow(SMALL.replace("PRINT", "print('a line')"), "run", "--tag", "seen", name="small.py")
    stranger = {**visitor, "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
    assert run_flow(LOOK, name="look.py", env=stranger, user="visitor").stdout == "True hello [1, 2, 3] True\n"
    assert "SmallFlow/1" in metaflow(stranger, "runs").stdout
    for result in (
        run_flow("small.py", "logs", "1/start", env=stranger, user="visitor", check=False),
        run_flow(LOOK_AT_LARGE, name="large.py", env=stranger, user="visitor", check=False),
    ):
        assert result.returncode == 1
        assert "Can't read the artifact store" in result.stderr, result.stderr
    assert not any(path.is_file() for path in project.rglob("cache-of-the-visitor/*/data/*/*"))


@pytest.mark.slow
@pytest.mark.usefixtures("visitor")
def test_a_member_with_all_rights_may_remove_runs_of_others(run_flow: Any) -> None:
    run_flow("flow.py", "run")  # the latest one is kept
    result = metaflow({"METAFLOW_USER": "another"}, "gc", "--older-than", "0d", "--yes")
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in metaflow({}, "runs").stdout.splitlines() if "SharedFlow/" in line] == [
        "SharedFlow/2"
    ]
