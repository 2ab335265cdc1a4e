"""``metaflow runs``, ``metaflow tags``, ``metaflow namespaces`` and ``runs`` of a flow file, after real runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from metaflow_core.cli.metaflow import main

Command = Callable[..., "subprocess.CompletedProcess[str]"]

TRAIN = """
from metaflow import FlowSpec, Parameter, step

class TrainFlow(FlowSpec):
    alpha = Parameter("alpha", default=0.5)

    @step
    def start(self):
        self.accuracy = 1 - self.alpha / 10
        self.next(self.end)

    @step
    def end(self):
        self.model = "für 'x'"
        self.good = self.accuracy > 0.9
        self.table = [1, 2]
        if self.alpha > 5:
            raise ValueError("too large")

if __name__ == "__main__":
    TrainFlow()
"""


@pytest.fixture
def metaflow(project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """``metaflow ARGS`` in this process, which is quicker than in one of its own."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        monkeypatch.setattr("sys.argv", ["metaflow", *args])
        with pytest.raises(SystemExit) as exit:
            main()
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(args, int(exit.value.code or 0), out, err)

    return run


@pytest.fixture
def trained(run_flow: Any) -> None:
    """Runs 1, 2 and 4 of the tester, of which 4 failed, and 3 of Will; and one of another flow."""
    run_flow(TRAIN, "run", "--alpha", "0.5", "--tag", "candidate", name="train.py")
    run_flow("train.py", "run", "--alpha", "2", "--tag", "candidate", "--tag", "best of\ttwo")
    run_flow("train.py", "run", "--alpha", "0.1", user="will")
    run_flow("train.py", "run", "--alpha", "9", check=False)
    run_flow(TRAIN.replace("TrainFlow", "OtherFlow"), "run", name="other.py")


def rows(result: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """The cells of a table without times."""
    assert result.returncode == 0, result.stderr
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "TIME", result.stdout)
    text = re.sub(r"\b[\d.]+s\b|\b\dm \d\ds", "1s", text)
    return [re.split(r"  +", line.strip()) for line in text.splitlines()]


def first_column(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [row[0] for row in rows(result)[1:]]


@pytest.mark.both_databases
def test_runs_of_a_flow_and_of_all(metaflow: Command, trained: None, run_flow: Any) -> None:
    found = metaflow("runs")
    assert rows(found) == [
        ["RUN", "STATUS", "STARTED", "DURATION", "USER", "TAGS"],
        ["OtherFlow/1", "completed", "TIME", "1s", "tester"],
        ["TrainFlow/4", "failed", "TIME", "1s", "tester"],
        ["TrainFlow/2", "completed", "TIME", "1s", "tester", r"best of\ttwo, candidate"],
        ["TrainFlow/1", "completed", "TIME", "1s", "tester", "candidate"],
    ]
    assert len({line.index("TIME") for line in re.sub(r"\d{4}-", "TIME", found.stdout).splitlines()[1:]}) == 1

    assert rows(
        metaflow("runs", "TrainFlow", "accuracy > 0.7", "--show", "alpha,model", "--order-by", "-accuracy")
    ) == [
        ["RUN", "STATUS", "STARTED", "DURATION", "USER", "accuracy", "alpha", "model", "TAGS"],
        ["1", "completed", "TIME", "1s", "tester", "0.95", "0.5", "für 'x'", "candidate"],
        ["2", "completed", "TIME", "1s", "tester", "0.8", "2", "für 'x'", r"best of\ttwo, candidate"],
    ]
    for arguments, expected in [
        (["TrainFlow", "--all"], "4321"),
        (["TrainFlow", "--namespace", ""], "4321"),
        (["TrainFlow", "--namespace", "user:will"], "3"),
        (["TrainFlow", "--all", "--user", "will"], "3"),
        (["TrainFlow", "--tag", "candidate", "--no-tag", "best of\ttwo"], "1"),
        (["TrainFlow", "--any-tag", "candidate", "--any-tag", "nope"], "21"),
        (["TrainFlow", "--status", "failed", "--status", "lost"], "4"),
        (["TrainFlow", "good or status == 'failed'"], "41"),
        (["TrainFlow", "--since", "1h", "--until", "today"], "421"),
        (["TrainFlow", "--limit", "1", "--page", "2"], "2"),
        (["TrainFlow", "--after", "4"], "21"),
        (["TrainFlow", "--order-by", "oldest", "--limit", "2"], "12"),
    ]:
        assert first_column(metaflow("runs", *arguments)) == list(expected), arguments
    assert first_column(metaflow("runs", "alpha > 1")) == ["TrainFlow/4", "TrainFlow/2"]
    own = run_flow("train.py", "runs", "alpha < 5", "--tag", "candidate", env={"METAFLOW_USER": "tester"})
    assert first_column(own) == ["2", "1"]

    page = metaflow("runs", "--limit", "2")
    assert first_column(page) == ["OtherFlow/1", "TrainFlow/4"]
    assert page.stderr == "There are more: --after TrainFlow/4\n"
    last = metaflow("runs", "--limit", "2", "--after", "TrainFlow/4")
    assert first_column(last) == ["TrainFlow/2", "TrainFlow/1"] and last.stderr == ""


def test_json(metaflow: Command, trained: None) -> None:
    found = metaflow("runs", "TrainFlow", "--json", "--show", "*", "--all", "--limit", "3")
    failed, wills, second = map(json.loads, found.stdout.splitlines())
    assert list(second) == ["flow", "id", "status", "user", "created_at", "finished_at", "duration", "tags", "values"]
    assert (failed["id"], failed["status"], wills["user"]) == ("4", "failed", "will")
    assert second["tags"] == ["best of\ttwo", "candidate"]
    # What a run had when it failed is known, too.
    assert failed["values"] == {"accuracy": pytest.approx(0.1), "alpha": 9.0, "name": "TrainFlow"}
    assert second["values"] == {"accuracy": 0.8, "alpha": 2.0, "good": False, "model": "für 'x'", "name": "TrainFlow"}
    assert 0 < second["duration"] < 60 and second["created_at"].endswith("+00:00")
    assert metaflow("runs", "TrainFlow", "--tag", "nope", "--json").stdout == ""


def test_tags_and_namespaces(metaflow: Command, trained: None) -> None:
    assert rows(metaflow("tags")) == [
        ["TAG", "RUNS", "SINCE", "LATEST", "BY"],
        [r"best of\ttwo", "1", "TIME", "TIME", "user:tester"],
        ["candidate", "2", "TIME", "TIME", "user:tester"],
    ]
    assert first_column(metaflow("tags", "OtherFlow")) == []
    assert "runtime:dev" in first_column(metaflow("tags", "OtherFlow", "--all"))
    first = json.loads(metaflow("tags", "--json").stdout.splitlines()[0])
    assert (first["tag"], first["runs"], first["by"]) == ("best of\ttwo", 1, ["user:tester"])
    assert rows(metaflow("namespaces"))[:3] == [
        ["NAMESPACE", "RUNS", "SINCE", "LATEST", "BY"],
        ["user:tester", "4", "TIME", "TIME", "tester"],
        ["user:will", "1", "TIME", "TIME", "will"],
    ]
    first = json.loads(metaflow("namespaces", "TrainFlow", "--json").stdout.splitlines()[0])
    assert (first["namespace"], first["runs"], first["owners"]) == ("user:tester", 3, ["tester"])


def test_what_is_wrong(metaflow: Command, trained: None) -> None:
    for arguments, message in [
        (["TrainFlow", "acuracy > 0.9"], "Did you mean `accuracy`?\n  acuracy > 0.9\n  ^\n"),
        (["accuracy >"], "Expected a value, not the end:\n  accuracy >\n            ^\n"),
        (["TrainFlow", "--show", "table"], "No run of TrainFlow has a parameter or a scalar artifact `table`"),
        (["TrainFlow", "--status", "done"], "status = 'done': There is no such status."),
        (["TrainFlow", "--since", "soon"], "since = 'soon': This is no time."),
        (["TrainFlow", "--order-by", "nope"], "artifact `nope`"),
        (["TrainFlow", "--after", "99"], "There is no run 'TrainFlow/99'"),
        (["NoFlow"], "There is no flow 'NoFlow'"),
        (["TrainFlow", "--tag", "x" * 501], "A tag has at most 500 characters"),
    ]:
        result = metaflow("runs", *arguments)
        assert (result.returncode, result.stdout) == (1, ""), arguments
        assert message in result.stderr
        assert "Traceback" not in result.stderr
    assert metaflow("runs", "--limit", "0").returncode == 2
    assert metaflow("runs", "--all", "--namespace", "x").returncode == 2
    assert metaflow("tags", "NoFlow").returncode == 1
    nothing = metaflow("runs", "TrainFlow", "--tag", "nope")
    assert (nothing.returncode, nothing.stdout) == (
        0,
        "There are no runs of TrainFlow, tags = 'nope', in the namespace 'user:tester'."
        " --all looks in every namespace.\n",
    )


def test_a_look_at_an_empty_project_makes_nothing(metaflow: Command, project: Path) -> None:
    assert metaflow("runs").stdout == "There are no results here yet.\n"
    assert metaflow("runs", "--json").stdout == ""
    assert metaflow("tags").returncode == metaflow("namespaces").returncode == 0
    assert metaflow("runs", "TrainFlow").returncode == 1
    assert list((project / ".metaflow").iterdir()) == []


def test_a_listing_imports_nothing_heavy(trained: None) -> None:
    code = (
        "import sys\nfrom metaflow_core.cli.metaflow import main\nsys.argv = ['metaflow', 'runs', 'alpha > 1']\n"
        "try: main()\nexcept SystemExit: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "metaflow_core.results.search" in loaded
    assert not {"pyarrow", "numpy", "pandas", "fsspec", "rich", "importlib.metadata"} & loaded
