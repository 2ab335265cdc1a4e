"""Deployments that die, fail, or are made by several at the same time: nobody is locked out, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from local_agents import rows, wait_for
from toy_orchestrator import toy as toy

from tests.orchestrators.test_tokens import FLOW, PROJECT, People, token

PYTHON = [sys.executable, "flow.py"]


@pytest.fixture
def people(run_flow: Any, project: Path, tmp_path: Path) -> People:
    put(project, FLOW)
    return People(run_flow, tmp_path)


def put(project: Path, text: str) -> None:
    (project / "flow.py").write_text(text.replace("\n    ", "\n").lstrip())


class Toys:
    """``toy create`` by several people."""

    def __init__(self, people: People) -> None:
        self.people = people

    def env(self, user: str, happens: str = "") -> dict[str, str]:
        home = str(self.people.home(user))
        return {**os.environ, "METAFLOW_USER": user, "METAFLOW_HOME": home, "TOY_DEPLOY": happens}

    def create(self, user: str, *words: str, code: int = 0) -> Any:
        return self.people(user, "toy", "create", *words, code=code)

    def dies(self, user: str, *words: str) -> None:
        done = subprocess.run(
            [*PYTHON, "toy", "create", *words], env=self.env(user, "kill"), capture_output=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done

    def begins(self, user: str, go: Path, *words: str) -> subprocess.Popen[str]:
        """One that waits in the middle of its work until ``go`` is there."""
        process = subprocess.Popen(
            [*PYTHON, "toy", "create", *words],
            env=self.env(user, f"wait {go}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: Path(f"{go}.waits").exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        return process


@pytest.fixture
def toys(people: People, toy: Path) -> Toys:
    return Toys(people)


# --- one that dies ----------------------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_one_that_is_killed_locks_nobody_out(toys: Toys) -> None:
    toys.dies("anne")
    made = token(toys.create("bob"))
    assert rows("SELECT status FROM deployments ORDER BY pk") == [("failed",), ("active",)]
    assert "TokenFlow was deployed by bob" in toys.create("anne", code=1).stderr
    toys.create("anne", "--authorize", made)
    toys.dies("anne", "--generate-new-token")
    assert token(toys.create("bob")) == made == token(toys.create("anne")), "the namespace is the one of before"
    toys.dies("bob", "--generate-new-token")
    fresh = token(toys.create("bob", "--generate-new-token"))
    assert fresh != made and rows("SELECT token FROM production_tokens ORDER BY pk") == [(made,), (fresh,)]
    assert toys.people.tokens("bob").popitem()[1] == fresh


def test_one_of_another_machine_counts_as_dead_some_time_later(toys: Toys, project: Path) -> None:
    toys.dies("anne")
    rows('UPDATE deployments SET handle = \'["elsewhere", 1, "then"]\' RETURNING pk')
    refused = toys.create("bob", code=1)
    assert "TokenFlow is being deployed by anne at this moment. Nothing was deployed." in refused.stderr
    assert len(marks(project)) == 1
    some_time_passes()
    toys.create("bob")


# --- one that fails ---------------------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_one_that_fails_forgets_no_token_but_its_own(toys: Toys) -> None:
    made = token(toys.create("anne"))
    rows("DELETE FROM deployments RETURNING pk")  # a token that `metaflow migrate` has brought has none
    assert "The toy is broken." in toys.create("anne", "--break", code=1).stderr
    assert rows("SELECT token FROM production_tokens") == [(made,)]
    toys.create("bob", code=1)
    toys.create("anne", "--break", "--generate-new-token", code=1)
    assert rows("SELECT token FROM production_tokens") == [(made,)]
    assert token(toys.create("anne")) == made


def test_a_program_that_can_not_be_told_deploys_nothing(people: People, project: Path) -> None:
    for words in (["local", "create", "--deployer-attribute-file"], ["run", "--runner-attribute-file"]):
        done = people("anne", *words, "nowhere/file", code=2)
        assert "nowhere/file can't be written." in done.stderr
    assert rows("SELECT COUNT(*) FROM deployments") == [(0,)] == rows("SELECT COUNT(*) FROM runs")


@pytest.mark.parametrize("wrong", ["a file", "no JSON"])
def test_a_home_that_can_not_keep_the_token(toys: Toys, project: Path, wrong: str) -> None:
    home = toys.people.home("anne")
    if wrong == "a file":
        home.write_text("")
    else:
        home.mkdir()
        (home / "production_tokens.json").write_text("{")
    done = toys.create("anne", code=1)
    assert "production_tokens.json" in done.stderr and "Traceback" not in done.stderr
    assert rows("SELECT status FROM deployments") == [("failed",)] and not marks(project)
    token(toys.create("bob"))


def test_the_token_that_is_there_is_no_new_one(people: People) -> None:
    assert token(people.create("anne", "--new-token", "abc")) == "abc"
    done = people.create("anne", "--new-token", "abc", code=1)
    assert "abc is the production token of TokenFlow already" in done.stderr
    assert rows("SELECT COUNT(*) FROM deployments") == [(1,)]


# --- several at the same time -----------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_one_at_a_time_is_deployed_under_a_name(toys: Toys, project: Path, tmp_path: Path) -> None:
    made = token(toys.create("anne"))
    before = marks(project)
    put(project, FLOW + "    # changed")
    go = tmp_path / "go"
    slow = toys.begins("anne", go)
    during = marks(project)
    assert len(during) == 2 and before < during
    put(project, FLOW + "    # changed again")
    other = toys.create("bob", "--authorize", made, code=1)
    assert "TokenFlow is being deployed by anne at this moment. Nothing was deployed." in other.stderr
    assert marks(project) == during
    toys.people("bob", "toy", "delete")
    assert marks(project) == during - before, "what is being deployed keeps its package"
    go.touch()
    _, error = slow.communicate(timeout=60)
    assert slow.returncode == 0, error
    assert marks(project) == during - before
    assert rows("SELECT status FROM deployments ORDER BY pk") == [("deleted",), ("active",)]


def test_one_that_has_taken_too_long_replaces_nothing(toys: Toys, tmp_path: Path) -> None:
    go = tmp_path / "go"
    slow = toys.begins("anne", go)
    some_time_passes()
    made = token(toys.create("bob"))
    go.touch()
    _, error = slow.communicate(timeout=60)
    assert slow.returncode == 1 and "somebody has deployed TokenFlow meanwhile" in error
    assert rows("SELECT owner, status FROM deployments ORDER BY pk") == [("anne", "failed"), ("bob", "active")]
    assert token(toys.create("bob")) == made


def some_time_passes() -> None:
    for table in ("deployments", "production_tokens"):
        rows(f"UPDATE {table} SET created_at = created_at - 1000000000 RETURNING pk")


def marks(project: Path) -> set[str]:
    """The packages that deployments hold."""
    return {file.parent.name for file in (project / ".metaflow").rglob("deployed/*/by-*")}


# --- what is legal ----------------------------------------------------------------------------------------------------


def test_the_longest_names(people: People, project: Path) -> None:
    put(project, PROJECT.replace("fraud", "p" * 128))
    branch = ("--branch", "b" * 128)
    token(people("anne", *branch, "local", "create"))
    assert len(marks(project)) == 1
    people("anne", *branch, "local", "create")
    assert len(marks(project)) == 1
    people("anne", *branch, "local", "delete")
    assert not marks(project)


STARTS = """
    from metaflow import FlowSpec, Parameter, schedule, step, trigger

    DECORATORS
    class StartFlow(FlowSpec):
        table = Parameter("table", required=True)
        day = Parameter("day", required=True)

        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        StartFlow()
    """
BOTH = '@trigger(event={"name": "both", "parameters": {"table": "table", "day": "day"}})'
TABLE = '{"name": "some", "parameters": {"table": "table"}}'
DAY = '{"name": "other", "parameters": {"day": "day"}}'


@pytest.mark.parametrize(
    ("decorators", "lacks", "by"),
    [
        (BOTH, None, ""),
        (f"@trigger(events=[{TABLE}, {DAY}])", None, ""),
        (f"@schedule(daily=True)\n    {BOTH}", "table", "by its schedule"),
        (f"{BOTH}\n    @trigger(event={TABLE})", "day", "by the event some"),
        (f"{BOTH}\n    @trigger(events=[{TABLE}, 'plain'])", "day", "by the events some and plain"),
    ],
)
def test_each_way_to_start_gives_what_is_required(
    people: People, project: Path, decorators: str, lacks: str | None, by: str
) -> None:
    put(project, STARTS.replace("DECORATORS", decorators))
    done = people("anne", "local", "create", "--only-json", code=1 if lacks else 0)
    if lacks:
        assert f"Parameter '{lacks}' is required, and nobody gives it to a run that is started {by}" in done.stderr
