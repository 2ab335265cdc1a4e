"""Production tokens: who may deploy under a name, and the namespace of what is deployed."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_agents import rows

FLOW = """
    from metaflow import FlowSpec, step

    class TokenFlow(FlowSpec):
        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        TokenFlow()
    """
PROJECT = FLOW.replace("import FlowSpec,", "import FlowSpec, project,").replace(
    "    class", '    @project(name="fraud")\n    class'
)
R_FLOW = """
    library(metaflow)

    flow <- metaflow("TokenFlow") |>
      step(step = "start", next_step = "end") |>
      step(step = "end")
    """
RANDOM = "[a-km-np-z2-9]{20}"


class People:
    """Those who deploy, each with a home of their own."""

    def __init__(self, run: Callable[..., Any], homes: Path) -> None:
        self.run, self.homes = run, homes

    def home(self, user: str) -> Path:
        return self.homes / user

    def __call__(self, user: str, *words: str, script: str = "flow.py", code: int = 0) -> Any:
        done = self.run(script, *words, user=user, env={"METAFLOW_HOME": str(self.home(user))}, check=False)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done

    def create(self, user: str, *words: str, script: str = "flow.py", code: int = 0) -> Any:
        return self(user, "local", "create", *words, script=script, code=code)

    def tokens(self, user: str) -> dict[str, str]:
        return json.loads((self.home(user) / "production_tokens.json").read_text())


@pytest.fixture
def people(run_flow: Any, project: Path, tmp_path: Path) -> People:
    (project / "flow.py").write_text(FLOW.replace("\n    ", "\n").lstrip())
    return People(run_flow, tmp_path)


def token(done: Any) -> str:
    """The token that ``create`` has told."""
    found = re.search(r"^Its runs are in the namespace +production:(\S+)$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return found[1]


@pytest.mark.both_databases
def test_the_first_deployment_and_those_after_it(people: People) -> None:
    first = people.create("anne")
    made = token(first)
    assert re.fullmatch(f"tokenflow-0-{RANDOM}", made)
    assert f"python flow.py local create --authorize {made}" in first.stdout
    file = people.home("anne") / "production_tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(people.home("anne").stat().st_mode) == 0o700
    assert list(people.tokens("anne").values()) == [made]

    again = people.create("anne")
    assert token(again) == made and "--authorize" not in again.stdout
    assert "TokenFlow is replaced on the local orchestrator." in again.stdout

    before = rows("SELECT pk, status FROM deployments ORDER BY pk")
    day = time.strftime("%Y-%m-%d", time.gmtime())
    refused = people.create("bob", code=1)
    assert (
        f"TokenFlow was deployed by anne, first on {day}. You have not shown its production token yet."
        in refused.stderr
    )
    assert "Ask anne for it, or anybody who has deployed it. Then show it once:" in refused.stderr
    assert "python flow.py local create --authorize TOKEN" in refused.stderr
    assert made not in refused.stdout + refused.stderr
    wrong = people.create("bob", "--authorize", made[:-1] + ("a" if made[-1] != "a" else "b"), code=1)
    assert "The token given with --authorize is not its production token." in wrong.stderr
    people.create("bob", "--generate-new-token", code=1)
    people.create("bob", "--new-token", "mine", code=1)
    assert rows("SELECT pk, status FROM deployments ORDER BY pk") == before, "who is refused changes nothing"
    assert not (people.home("bob") / "production_tokens.json").exists()

    shown = people.create("bob", "--authorize", f"production:{made}")
    assert token(shown) == made
    assert token(people.create("bob")) == made, "once is enough"
    people.create("carl", "--authorize", made)


def test_a_token_to_show_before_there_is_one(people: People) -> None:
    done = people.create("anne", "--authorize", "x", code=1)
    assert "nothing has been deployed as TokenFlow yet, so there is no token to show" in done.stderr
    assert rows("SELECT COUNT(*) FROM deployments") == [(0,)]


def test_a_new_token_is_a_new_namespace(people: People) -> None:
    old = token(people.create("anne"))
    people.create("bob", "--authorize", old)
    fresh = people.create("anne", "--generate-new-token")
    new = token(fresh)
    assert re.fullmatch(f"tokenflow-1-{RANDOM}", new) and new[-20:] != old[-20:]
    assert f"--authorize {new}" in fresh.stdout
    assert token(people.create("anne")) == new
    people.create("bob", code=1)
    people.create("bob", "--authorize", old, code=1)
    assert token(people.create("bob", "--authorize", new)) == new


def test_a_token_that_is_named(people: People) -> None:
    assert token(people.create("anne", "--new-token", "forecasts.v1")) == "forecasts.v1"
    assert token(people.create("anne", "--new-token", "production:forecasts.v2")) == "forecasts.v2"
    reused = people.create("anne", "--new-token", "forecasts.v1", code=1)
    assert "was in use before, so its namespace is not empty" in reused.stderr
    for wrong in ("", "a b", "-x", "x" * 129, "a/b", "ä"):
        done = people.create("anne", f"--new-token={wrong}", code=1)
        assert "--new-token" in done.stderr and "Traceback" not in done.stderr
    both = people.create("anne", "--new-token", "a", "--generate-new-token", code=2)
    assert "Give one of --generate-new-token and --new-token." in both.stderr
    assert token(people.create("anne")) == "forecasts.v2"


def test_who_is_refused_can_look_and_trigger_but_not_end(people: People) -> None:
    made = token(people.create("anne"))
    assert f"production:{made}" in people("bob", "local", "status").stdout
    people("bob", "local", "trigger")
    for words in (["delete"], ["terminate", "local-1"]):
        refused = people("bob", "local", *words, code=1)
        assert f"python flow.py local {words[0]} --authorize TOKEN" in refused.stderr
    assert rows("SELECT status FROM local_runs") == [("queued",)]
    people("bob", "local", "terminate", "local-1", "--authorize", made)
    people("bob", "local", "delete")
    assert token(people.create("anne")) == made, "what was deleted keeps its token"


def test_each_branch_has_a_token(people: People, project: Path) -> None:
    (project / "flow.py").write_text(PROJECT.replace("\n    ", "\n").lstrip())
    mine = token(people.create("anne"))
    theirs = token(people.create("bob"))
    assert mine.startswith("fraud-user-anne-tokenflow-0-") and theirs.startswith("fraud-user-bob-tokenflow-0-")
    shared = token(people("anne", "--branch", "better", "local", "create"))
    refused = people("bob", "--branch", "better", "local", "create", code=1)
    assert "python flow.py --branch better local create --authorize TOKEN" in refused.stderr
    people("bob", "--branch", "better", "local", "create", "--authorize", shared)
    people("anne", "--production", "local", "create")
    refused = people("bob", "--production", "local", "create", code=1)
    assert "fraud.prod.TokenFlow is the production version, deployed by anne" in refused.stderr
    assert "python flow.py --production local create --authorize TOKEN" in refused.stderr
    named = people.create("anne", "--new-token", "mine", code=1)
    assert "--new-token does not go with @project" in named.stderr
    assert token(people.create("anne", "--generate-new-token")).startswith("fraud-user-anne-tokenflow-1-")
    assert set(people.tokens("anne").values()) >= {shared}


def test_a_token_is_of_a_name_in_a_database(people: People, project: Path) -> None:
    made = token(people.create("anne"))
    other = token(people("anne", "--metadata", f"sqlite:///{project}/other.db", "local", "create"))
    assert other != made
    assert token(people.create("anne")) == made
    assert sorted(people.tokens("anne").values()) == sorted([made, other])


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_password_that_was_typed_is_not_shown(people: People, project: Path) -> None:
    address = os.environ["METAFLOW_METADATA_URL"]
    scheme, _, place = address.partition("://")
    user, _, place = place.rpartition("@")
    typed = f"{scheme}://{user.partition(':')[0] or 'anne'}:opensesame@{place}"
    (project / "flow.py").write_text((project / "flow.py").read_text().replace("pass", "1 / 0"))
    made = people("anne", "--metadata", typed, "run", code=1)
    assert "Resume: " in made.stderr + made.stdout and "--metadata" in made.stderr + made.stdout
    none = people("anne", "--metadata", typed, "local", "status", code=1)
    assert "Deploy it: python flow.py --metadata" in none.stderr
    people.create("anne")
    refused = people("bob", "--metadata", typed, "local", "create", code=1)
    assert "local create --authorize TOKEN" in refused.stderr
    assert "opensesame" not in "".join(one.stdout + one.stderr for one in (made, none, refused))


def test_one_of_those_who_deploy_first_at_the_same_time_does(people: People) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "flow.py", "local", "create"],
            env={**os.environ, "METAFLOW_USER": user, "METAFLOW_HOME": str(people.home(user))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for user in ("anne", "bob", "carl")
    ]
    ended = [(process.communicate(timeout=100), process.returncode) for process in processes]
    assert sorted(code for _, code in ended) == [0, 1, 1], ended
    assert rows("SELECT COUNT(*) FROM production_tokens") == [(1,)]
    for (_, error), code in ended:
        assert "Traceback" not in error
        if code:
            assert "TokenFlow is being deployed by" in error or "TokenFlow was deployed by" in error


def test_a_file_of_tokens_that_can_not_be_used(people: People) -> None:
    people.create("anne")
    file = people.home("anne") / "production_tokens.json"
    file.write_text("{")
    done = people.create("anne", code=1)
    assert f"{file} is no JSON file. Remove it; then show the tokens again with --authorize." in done.stderr


def test_nothing_that_is_deployed_has_the_token_in_it(people: People) -> None:
    made = token(people.create("anne"))
    people.create("anne")
    assert made not in people("anne", "local", "create", "--only-json").stdout
    for row in rows("SELECT handle, info, plan, given FROM deployments"):
        assert made not in "".join(row)


def test_tokens_in_r(run_r: Any, r_project: Path, tmp_path: Path) -> None:
    people = People(run_r, tmp_path)
    (r_project / "flow.R").write_text(R_FLOW.replace("\n    ", "\n").lstrip() + "run(flow)\n")
    first = people.create("anne", script="flow.R")
    made = token(first)
    assert f"Rscript flow.R local create --authorize {made}" in first.stdout
    refused = people.create("bob", script="flow.R", code=1)
    assert "TokenFlow was deployed by anne" in refused.stderr
    assert "Rscript flow.R local create --authorize TOKEN" in refused.stderr
    assert token(people.create("bob", "--authorize", made, script="flow.R")) == made
    fresh = token(people.create("anne", "--generate-new-token", script="flow.R"))
    (r_project / "given.R").write_text(
        R_FLOW.replace("\n    ", "\n").lstrip() + 'run(flow, local = "create", authorize = Sys.getenv("TOKEN"))\n'
    )
    done = run_r("given.R", user="bob", env={"METAFLOW_HOME": str(people.home("bob")), "TOKEN": fresh})
    assert token(done) == fresh
    assert people.tokens("bob") == people.tokens("anne")
