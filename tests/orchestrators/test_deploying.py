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


# --- one that fails ---------------------------------------------------------------------------------------------------


def test_the_token_that_is_there_is_no_new_one(people: People) -> None:
    assert token(people.create("anne", "--new-token", "abc")) == "abc"
    done = people.create("anne", "--new-token", "abc", code=1)
    assert "abc is the production token of TokenFlow already" in done.stderr
    assert rows("SELECT COUNT(*) FROM deployments") == [(1,)]


# --- several at the same time -----------------------------------------------------------------------------------------


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
