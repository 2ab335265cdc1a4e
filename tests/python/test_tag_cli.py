"""tag, dump and logs, as typed in a terminal."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

FLOW = """
import sys
from metaflow import FlowSpec, current, retry, step

class CliFlow(FlowSpec):

    @step
    def start(self):
        self.items = [1, 2]
        self.text = "it's ünï"
        self.big = list(range(2000))
        self._secret = "hidden"
        print(f"password: hunter{1 + 1}")  # not in the source, which is kept
        print("careful", file=sys.stderr)
        self.next(self.work, foreach="items")

    @retry(times=1)
    @step
    def work(self):
        print("try", current.retry_count, "of", self.input)
        if current.retry_count == 0 and self.input == 2:
            raise ValueError("again")
        self.y = self.input
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    CliFlow()
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the flow has run once, by Anne. Tests work on copies of it."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / ".metaflow").mkdir()
    (folder / "flow.py").write_text(FLOW)
    environment = {**os.environ, "METAFLOW_USER": "anne", "METAFLOW_HOME": str(folder / "home")}
    command = [sys.executable, "flow.py", "run", "--tag", "first"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture
def cli(run_flow: Any, ran: Path, project: Path) -> Any:
    """Runs commands of the flow."""
    shutil.copytree(ran, project, dirs_exist_ok=True)

    def command(*args: str, user: str = "anne", check: bool = True) -> Any:
        return run_flow("flow.py", "--quiet", *args, user=user, check=check)

    return command


def failed(result: Any, code: int = 1) -> str:
    """What a command that failed said: one message, and no traceback of ours."""
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr and result.stdout == ""
    return " ".join(result.stderr.split())


def tags(cli: Any, *options: str) -> list[str]:
    return cli("tag", "list", "--run-id", "1", "--hide-system-tags", "--flat", *options).stdout.splitlines()


def test_add_remove_and_replace(cli: Any) -> None:
    added = cli("tag", "add", "--run-id", "1", "good", "it's ünï", "--", "-x").stdout
    assert added == "User tags of CliFlow/1: -x, first, good, it's ünï\n"
    cli("tag", "remove", "--run-id", "1", "it's ünï", "absent", "--", "-x")
    cli("tag", "replace", "--run-id", "1", "--remove", "good", "--remove", "first", "--add", "best", "--add", "good")
    assert tags(cli) == ["best", "good"]


def test_what_can_not_be_done_is_said_and_changes_nothing(cli: Any) -> None:
    on_it = ("--run-id", "1")
    assert "--run-id 1" in failed(cli("tag", "add", "x", check=False))
    assert "--run-id 1" in failed(cli("tag", "list", check=False))
    assert "no run 'CliFlow/99'" in failed(cli("tag", "add", "x", "--run-id", "99", check=False))
    assert "'CliFlow/../../etc'" in failed(cli("tag", "add", "x", "--run-id", "../../etc", check=False))
    assert "System tags" in failed(cli("tag", "remove", "user:anne", *on_it, check=False))
    assert "501" in failed(cli("tag", "add", "x" * 501, *on_it, check=False))
    assert "empty" in failed(cli("tag", "add", "", *on_it, check=False))
    assert "No tag" in failed(cli("tag", "replace", *on_it, check=False))
    assert "TAGS" in failed(cli("tag", "add", *on_it, check=False), 2)
    exclusive = ("tag", "list", "--all", "--my-runs")
    assert "exclude each other" in failed(cli(*exclusive, check=False), 2)
    exclusive = ("tag", "list", "--all", "--group-by-tag", "--group-by-run")
    assert "exclude each other" in failed(cli(*exclusive, check=False), 2)
    assert tags(cli) == ["first"]


def test_the_run_of_someone_else_must_be_named_as_such(cli: Any) -> None:
    said = failed(cli("tag", "add", "x", "--run-id", "1", user="will", check=False))
    assert "'user:will'" in said and '--namespace "user:anne"' in said
    assert "none in the namespace 'user:will'" in failed(cli("tag", "add", "x", user="will", check=False))
    cli("tag", "add", "x", "--run-id", "1", "--namespace", "user:anne", user="will")
    cli("tag", "add", "y", "--run-id", "1", "--namespace", "", user="will")
    assert tags(cli) == ["first", "x", "y"]


def test_lists(cli: Any, run_flow: Any) -> None:
    run_flow("flow.py", "run", "--tag", "first", "--tag", "second", user="will")
    assert "user:anne\n" in cli("tag", "list", "--run-id", "1").stdout
    hidden = ("--hide-system-tags", "--flat")
    assert cli("tag", "list", "--all", *hidden).stdout == "first\nsecond\n"
    assert cli("tag", "list", "--my-runs", *hidden).stdout == "first\n"
    by_tag = cli("tag", "list", "--all", "--group-by-tag", "--hide-system-tags").stdout
    assert by_tag == "first\n    CliFlow/2\n    CliFlow/1\nsecond\n    CliFlow/2\n"
    by_run = cli("tag", "list", "--all", "--group-by-run", *hidden).stdout
    assert by_run == "CliFlow/2\tfirst\tsecond\nCliFlow/1\tfirst\n"


def test_tags_that_a_run_is_started_with(cli: Any) -> None:
    many = [text for n in range(51) for text in ("--tag", f"t{n}")]
    assert "at most 50 user tags, not 51" in failed(cli("run", *many, check=False))
    assert "no run 'CliFlow/2'" in failed(cli("tag", "list", "--run-id", "2", check=False)), "nothing was registered"
    cli("run", *many[2:], "--tag", "t1", "--tag", "user:anne")
    listed = cli("tag", "list", "--run-id", "2", "--hide-system-tags").stdout.splitlines()
    assert sorted(listed) == sorted(many[3::2]), "one that it has already adds nothing"


def test_history(cli: Any) -> None:
    cli("tag", "add", "--run-id", "CliFlow/1", "good", "two\nlines")
    cli("tag", "replace", "--run-id", "1", "--namespace", "", "--remove", "good", "--add", "best", user="will")
    shown = cli("tag", "list", "--history", "--run-id", "1").stdout.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in shown)
    assert [line[21:] for line in shown] == [
        "user:anne  added    first",
        "user:anne  added    good",
        r"user:anne  added    two\nlines",
        "user:will  removed  good",
        "user:will  added    best",
    ]
    flat = [line.split("\t") for line in cli("tag", "list", "--history", "--flat", "--run-id", "1").stdout.splitlines()]
    assert flat[3][1:] == ["removed", "good", "user:will"]
    times = [datetime.fromisoformat(line[0]) for line in flat]
    assert times == sorted(times) and times[0].utcoffset() == timedelta(0)
    assert "--run-id 1" in failed(cli("tag", "list", "--history", check=False))
    assert "of one run" in failed(cli("tag", "list", "--history", "--all", check=False), 2)


def test_dump(cli: Any, project: Path) -> None:
    shown = cli("dump", "1/start").stdout
    assert shown.startswith("CliFlow/1/start/1\n")
    assert """    text = "it's ünï"\n""" in shown and "    items = [1, 2]\n" in shown
    assert "big = <list," in shown and "1999" not in shown and "_secret" not in shown
    assert "1999]" in cli("dump", "1/start/1", "--max-value-size", "100000").stdout
    assert "_secret = 'hidden'" in cli("dump", "1/start", "--private").stdout
    names = cli("dump", "1/start", "--max-value-size", "0").stdout.split()
    assert names == ["CliFlow/1/start/1", "big", "items", "name", "text"]
    work = cli("dump", "CliFlow/1/work", "--include", "y,name").stdout
    assert "    y = 1\n    name = 'CliFlow'\n" in work and "    y = 2\n" in work
    wrote = cli("dump", "1/work", "--include", "y", "--file", "work.pickle")
    assert (wrote.stdout, "2 tasks" in wrote.stderr) == ("", True)
    content = pickle.loads((project / "work.pickle").read_bytes())
    assert [list(values) for values in content.values()] == [["y"], ["y"]]
    assert {pathspec.rpartition("/")[0] for pathspec in content} == {"CliFlow/1/work"}
    assert sorted(values["y"] for values in content.values()) == [1, 2]


def test_what_does_not_exist(cli: Any) -> None:
    absent = [
        ("dump 1", "RUN/STEP"),
        ("logs 1/start/1/x", "RUN/STEP"),
        ("logs scrub ../../etc", "CliFlow/../../etc"),
        ("dump 9/start", "no run 'CliFlow/9'"),
        ("logs 1/nope", "no step 'CliFlow/1/nope'"),
        ("logs scrub 1/größe", "größe"),
        ("dump 1/start/99", "no task 'CliFlow/1/start/99'"),
        ("dump 1/start --include nope", "no artifact 'nope'"),
        ("dump 1/start --file no/such/folder/x", "can't be written"),
        ("logs 1/start --attempt 7", "no attempt 7"),
    ]
    for command, said in absent:
        assert said in failed(cli(*command.split(), check=False)), command


def test_logs(cli: Any) -> None:
    assert cli("logs", "1/start").stdout == "password: hunter2\ncareful\n"
    assert cli("logs", "--stdout", "1/start").stdout == "password: hunter2\n"
    assert cli("logs", "show", "1/start/1", "--stderr").stdout == "careful\n"
    stamped = cli("logs", "--timestamps", "1/start").stdout.splitlines()
    assert [line[23:] for line in stamped] == [" password: hunter2", " careful"]
    both = cli("logs", "1/work", "--stdout")
    assert sorted(both.stdout.splitlines()) == ["try 0 of 1", "try 1 of 2"]
    assert "CliFlow/1/work" in both.stderr
    retried = next(line.split("/")[-1] for line in both.stderr.splitlines() if _tries(cli, line.split()[-1]) == 2)
    assert "again" in cli("logs", f"1/work/{retried}", "--attempt", "0").stdout


def _tries(cli: Any, pathspec: str) -> int:
    return 2 if "try 1" in cli("logs", pathspec, "--stdout").stdout else 1


def test_scrub(cli: Any, project: Path, run_flow: Any) -> None:
    run_flow("flow.py", "resume", "end", "--origin-run-id", "1", user="anne")
    run_flow("flow.py", "resume", "end", "--origin-run-id", "2", user="anne")
    for run in ("2", "3"):
        said = failed(cli("logs", "scrub", f"{run}/start", check=False))
        assert "logs scrub 1/start/1" in said
    assert "hunter2" in cli("logs", "2/start").stdout

    assert "1 line" in cli("logs", "scrub", "--stdout", "1/start").stdout
    after = cli("logs", "1/start").stdout
    assert "hunter2" not in after and "removed" in after and "careful" in after
    assert "hunter2" not in cli("logs", "2/start").stdout
    stored = b"".join(path.read_bytes() for path in project.rglob("*") if path.is_file())
    assert b"hunter2" not in stored

    cli("logs", "scrub", "1/work")  # every attempt of every task
    for attempt in ("0", "1"):
        assert "try" not in cli("logs", "1/work", "--attempt", attempt, check=False).stdout
    assert cli("logs", "scrub", "1/work").stdout == "Removed 0 lines.\n"
