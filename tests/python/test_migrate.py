"""``metaflow migrate``: the runs of a project in the database of a team."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from metaflow_core.metadata import copying
from metaflow_core.metadata.backend import Backend
from metaflow_core.metadata.schema import MIGRATIONS

FLOW = """
    from metaflow import FlowSpec, Parameter, Run, step, namespace

    class ShopFlow(FlowSpec):
        rate = Parameter("rate", default=0.1 + 0.2)
        fail = Parameter("fail", default=False)

        @step
        def start(self):
            print("Grüße")
            self.big = list(range(5000))
            self.items = ["x", "y"]
            self.next(self.work, foreach="items")

        @step
        def work(self):
            self.result = self.input * 2
            self.next(self.join)

        @step
        def join(self, inputs):
            self.results = [one.result for one in inputs]
            self.next(self.end)

        @step
        def end(self):
            if self.fail:
                raise ValueError("no")
            namespace(None)
            self.before = Run("ShopFlow/1").data.results if Run("ShopFlow/1").finished else None

    if __name__ == "__main__":
        ShopFlow()
"""

LOOK = """
import sys
from metaflow import Flow, Run, namespace
namespace(None)
for run in Flow("ShopFlow"):
    print(run.pathspec, run.status, run.created_at.timestamp(), run.finished_at.timestamp(), run.origin_pathspec)
    print(sorted(run.tags), [(e.tag, e.action, str(e.at)) for e in run.tag_history])
    for step in run:
        for task in step:
            print(task.pathspec, task.stdout, task.stderr, task.origin_pathspec, task.index, task.exception)
            print([p.pathspec for p in task.parent_tasks], sorted((m.name, str(m.value)) for m in task.metadata))
            for artifact in sorted(task, key=lambda one: one.id):
                print(artifact.pathspec, artifact.data)
    print(sorted((str(r), r.artifact) for r in run.inputs))
found = Flow("ShopFlow").search("rate == 0.30000000000000004")
print(Run("ShopFlow/1")["start"].task.data.big[-1], [run.id for run in found])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three runs: one with tags that changed, one that failed, one that resumed it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / ".metaflow").mkdir()
    environment = {**os.environ, "METAFLOW_USER": "tester", "METAFLOW_HOME": str(folder / "home")}
    from textwrap import dedent

    (folder / "shop.py").write_text(dedent(FLOW))
    for ends, arguments in (
        (0, ["run", "--tag", "first"]),
        (0, ["tag", "add", "--run-id", "1", "good"]),
        (0, ["tag", "remove", "--run-id", "1", "first"]),
        (1, ["run", "--fail", "True"]),
    ):
        done = subprocess.run(
            [sys.executable, "shop.py", *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == ends, done.stderr
    (folder / "shop.py").write_text(dedent(FLOW).replace("if self.fail", "if False"))
    subprocess.run([sys.executable, "shop.py", "resume"], cwd=folder, env=environment, check=True, capture_output=True)
    return folder


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def metaflow(made: Path, project: Path) -> Run:
    """Runs ``metaflow ...`` in a copy of the project."""
    shutil.copytree(made, project, dirs_exist_ok=True)

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("metaflow")), *arguments]
        return subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False)

    return run


def look(env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_table_is_dealt_with() -> None:
    tables = set(re.findall(r"CREATE TABLE (\w+)", "".join(MIGRATIONS)))
    assert tables == copying.COPIED | copying.NOT_COPIED


def test_runs_arrive_as_they_were(metaflow: Run, project: Path, team_database: str) -> None:
    there = {"METAFLOW_METADATA_URL": team_database, "METAFLOW_DEFAULT_DATASTORE": str(project / "team")}
    before = look()
    done = metaflow("migrate", "--to", team_database, "--datastore", str(project / "team"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # quiet in a pipe
    assert "Copied 3 runs" in done.stdout and "0 were there already" in done.stdout
    assert "Compared: 3 runs" in done.stdout
    shutil.rmtree(project / ".metaflow" / "data")  # nothing is read from here any more
    assert look(there) == before
    again = metaflow("migrate", "--to", team_database, "--datastore", str(project / "team"))
    assert again.returncode == 1  # the artifacts are gone here: that is said, not taken for a success
    run = subprocess.run(
        [sys.executable, "shop.py", "run"], env={**os.environ, **there}, capture_output=True, text=True, check=True
    )
    assert "run-id 4" in run.stdout + run.stderr


def test_artifacts_may_stay(metaflow: Run, team_database: str, project: Path) -> None:
    before = look()
    assert metaflow("migrate", "--to", team_database, "ShopFlow").returncode == 0
    assert look({"METAFLOW_METADATA_URL": team_database}) == before
    again = metaflow("migrate", "--to", team_database)
    assert "Copied 0 runs" in again.stdout and "3 were there already" in again.stdout


@pytest.mark.parametrize("number", range(1, 12, 3))
def test_killed_it_goes_on(metaflow: Run, project: Path, team_database: str, number: int) -> None:
    program = f"""
import os, signal, sys
from metaflow_core.metadata import recording
from metaflow_plugins import postgresql
calls = [0]
insert = postgresql.PostgreSQL.executemany
def killed(self, sql, rows):
    calls[0] += 1
    if calls[0] == 3 * {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    insert(self, sql, rows)
postgresql.PostgreSQL.executemany = killed
from metaflow_core.cli.metaflow import main
sys.argv = ["metaflow", "migrate", "--to", {team_database!r}, "--datastore", {str(project / "team")!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert metaflow("migrate", "--to", team_database, "--datastore", str(project / "team")).returncode == 0
    there = {"METAFLOW_METADATA_URL": team_database, "METAFLOW_DEFAULT_DATASTORE": str(project / "team")}
    assert look(there) == look()


def test_another_run_with_the_same_id(metaflow: Run, team_database: str, project: Path) -> None:
    there = {"METAFLOW_METADATA_URL": team_database}
    done = subprocess.run([sys.executable, "shop.py", "run"], env={**os.environ, **there}, capture_output=True)
    assert done.returncode == 0
    before = look_at_ids(team_database)
    refused = metaflow("migrate", "--to", team_database)
    assert refused.returncode == 1
    assert "other runs with the same ids: ShopFlow/1" in refused.stderr and "Nothing was copied" in refused.stderr
    assert look_at_ids(team_database) == before == ["1"]


def test_a_copy_that_differs_is_found(metaflow: Run, team_database: str, postgresql: Any) -> None:
    assert metaflow("migrate", "--to", team_database).returncode == 0
    name = team_database.rpartition("/")[2]
    postgresql.sql("UPDATE artifacts SET content_pk = (SELECT MIN(pk) FROM contents) WHERE name = 'result'", name)
    done = metaflow("migrate", "--to", team_database)
    assert done.returncode == 1
    assert "ShopFlow/1 did not arrive as it was" in done.stderr


def test_what_is_wrong(metaflow: Run, team_database: str) -> None:
    for arguments, message in (
        (["--to", team_database, "NoFlow"], "no runs here of NoFlow"),
        (["--to", "sqlite:///.metaflow/metaflow.db"], "used here already"),
        (["--to", "postgresql://me:hush@127.0.0.1:1/team"], "team on 127.0.0.1:1 can't be used"),
        (["--to", "mysql://here"], "No installed plugin"),
    ):
        done = metaflow("migrate", *arguments)
        assert done.returncode == 1 and message in done.stderr, done.stderr
        assert "hush" not in done.stderr and "Traceback" not in done.stderr
    assert look_at_ids(team_database) == []


def look_at_ids(url: str) -> list[str]:
    backend = Backend(url, "/nowhere")
    try:
        return [row[0] for row in backend.db.execute("SELECT id FROM runs ORDER BY pk")]
    finally:
        backend.close()


def test_production_tokens_arrive_and_who_had_them_has_them_there(metaflow: Run, toy: Path, team_database: str) -> None:
    """What is deployed again there stays in its namespace. A name that has a token there already keeps that."""

    def create(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "shop.py", "toy", "create", *words]
        return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)

    def token(done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, done.stderr
        return done.stdout.split("production:")[1].split()[0]

    there = {"METAFLOW_METADATA_URL": team_database}
    create()
    latest = token(create("--generate-new-token"))
    assert metaflow("migrate", "--to", team_database).returncode == 0
    assert token(create(**there)) == latest
    stranger = create(**there, METAFLOW_USER="bob", METAFLOW_HOME=str(toy.parent / "bob"))
    assert "was deployed by tester" in stranger.stderr
    # Afterwards the name goes on there, and what is copied again does not take it back.
    newest = token(create("--generate-new-token", **there))
    create("--generate-new-token")
    assert metaflow("migrate", "--to", team_database).returncode == 0
    assert token(create(**there)) == newest
