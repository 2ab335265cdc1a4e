"""Comparing runs: what is told, in Python and on the command line, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from metaflow import Run, Step, Task, default_namespace, namespace
from metaflow.exception import MetaflowInvalidPathspec, MetaflowNamespaceMismatch, MetaflowNotFound
from metaflow_core.values import difference

TRAIN = """
from metaflow import FlowSpec, Parameter, retry, step

class Model:
    def __init__(self, depth):
        self.depth = depth
    def __reduce__(self):  # loading it would leave a trace
        return open, (f"loaded{self.depth}", "w")

class TrainFlow(FlowSpec):
    depth = Parameter("depth", default=3)
    rows = Parameter("rows", default=500)
    LEARNING_RATE = 0.1

    @step
    def start(self):
        import numpy, pandas
        self.table = pandas.DataFrame({"x": range(self.rows), "y": [1.0 * self.depth] * self.rows})
        self.same = numpy.arange(5000)
        self.note = "first line\\n" * 3
        self.parts = [1, 2]
        self.next(self.fit, foreach="parts")

    @step
    def fit(self):
        self.score = self.input * self.depth
        self.next(self.join)

    @step
    def join(self, inputs):
        self.merge_artifacts(inputs, include=["table", "same"])
        self.metrics = {"rmse": 1 / self.depth, "best": max(i.score for i in inputs)}
        self.model = Model(self.depth)
        self.next(self.end)

    @step
    def end(self):
        if self.depth > 9:
            raise ValueError("too deep")
        self.accuracy = 0.8 + self.depth / 100

if __name__ == "__main__":
    TrainFlow()
"""
CHANGED = (
    TRAIN.replace("LEARNING_RATE = 0.1", "LEARNING_RATE = 0.2")
    .replace("    @step\n    def end", "    @retry(times=2)\n    @step\n    def end")
    .replace('self.note = "first line', 'self.extra, self.note = 7, "another line')
)
OTHER = """
from metaflow import FlowSpec, Parameter, step

class OtherFlow(FlowSpec):
    depth = Parameter("depth", default=4)

    @step
    def start(self):
        self.note = "none"
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    OtherFlow()
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with runs, made once; each test gets a copy."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / ".metaflow").mkdir()

    def run(source: str, name: str, *arguments: str, user: str = "tester", code: int = 0) -> None:
        (folder / name).write_text(source)
        environment = {"METAFLOW_USER": user, "PATH": "/usr/bin:/bin", "HOME": str(folder)}
        command = [sys.executable, name, "--quiet", "run", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr

    run(TRAIN, "train.py", "--tag", "draft", "--tag", "both")
    run(CHANGED, "train.py", "--depth", "4", "--rows", "520", "--tag", "good", "--tag", "both")
    run(CHANGED, "train.py", "--depth", "10", code=1)
    run(OTHER, "other.py")
    run(OTHER, "other.py", user="will")
    return folder


@pytest.fixture(autouse=True)
def copied(runs: Path, project: Path) -> Iterator[Path]:
    shutil.copytree(runs / ".metaflow", project / ".metaflow", dirs_exist_ok=True)
    default_namespace()
    yield project
    default_namespace()


def metaflow(*arguments: str) -> tuple[int, str, str]:
    command = [str(Path(sys.executable).with_name("metaflow")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def body(text: str) -> list[str]:
    """The lines below the header, whose times differ each time."""
    lines = text.splitlines()
    return lines[lines.index("") :]


def test_the_text_tells_what_differs_and_where(copied: Path) -> None:
    code, text, _ = metaflow("diff", "TrainFlow/1", "TrainFlow/2")
    assert code == 0
    assert "\x1b" not in text
    head = [line.split() for line in text.splitlines()[:4]]
    assert head[0] == ["TrainFlow/1", "TrainFlow/2"]
    assert head[1] == ["status", "completed", "completed"]
    assert [line[0] for line in head[2:]] == ["started", "took"]
    assert "\n".join(body(text)).startswith(
        """
Parameters
  ~ LEARNING_RATE  0.1 → 0.2  (+0.1) (a constant)
  ~ depth          3 → 4  (+1)
  ~ rows           500 → 520  (+20)

Artifacts
  start
    + extra  7
    ~ note   text: 3 lines added, 3 removed
    ~ table  pandas.DataFrame, 500 → 520 rows (+20)
          y: 500 of 500 values changed, by 1 at most, +1 on average
  join
    ~ metrics  dict, 2 elements
          rmse: 0.33333333 → 0.25  (-0.0833333)
          best: 6 → 8  (+2)
    ~ model    """
    )
    assert (
        "bytes; not looked into\n  end\n    ~ accuracy  0.83 → 0.84  (+0.01)\n"
        "  fit, in a foreach\n    ~ score  differs in 2 of 2 tasks, as in 1/fit/2 and 2/fit/2\n\n"
    ) in text
    assert (
        "\n".join(body(text))
        .partition("Tags\n")[2]
        .startswith(
            """  + good
  - draft

Graph
  + end: @retry times=2

Code
  --- train.py
  +++ train.py
"""
        )
    )
    assert "\n  -    LEARNING_RATE = 0.1\n  +    LEARNING_RATE = 0.2\n" in text
    assert text.endswith("\nThe same: tasks, environment, 2 artifacts.\n")
    assert not list(copied.glob("loaded*"))  # the model was never unpickled


def test_the_object_has_what_the_text_tells(copied: Path) -> None:
    old, new = Run("TrainFlow/1"), Run("TrainFlow/2")
    diff = old.diff(new)
    assert (diff.old, diff.new, diff.differs) == (old, new, True)
    assert diff.facts["status"] == ("completed", "completed")
    assert sorted(diff.parameters) == ["LEARNING_RATE", "depth", "rows"]
    depth = diff.parameters["depth"]
    assert (depth.change, depth.old.data, depth.new.data) == ("changed", 3, 4)
    assert depth.difference == {"kind": "number", "difference": 1, "old": "3", "new": "4"}
    found = {change.name: change for change in diff.artifacts}
    assert [(change.step, change.name) for change in diff.artifacts] == [
        ("start", "extra"), ("start", "note"), ("start", "table"),
        ("join", "metrics"), ("join", "model"), ("end", "accuracy"),
    ]  # fmt: skip
    assert (found["extra"].change, found["extra"].old, found["extra"].new.data) == ("added", None, 7)
    assert len(found["table"].new.data) == 520
    assert found["table"].difference["rows"] == [500, 520]
    (score,) = diff.foreach  # what the tasks inherit is told above
    assert (score.step, score.name, score.changed, score.compared) == ("fit", "score", 2, 2)
    assert score.example == ("TrainFlow/1/fit/2", "TrainFlow/2/fit/2")
    assert (diff.tags.added, diff.tags.removed) == (["good"], ["draft"])
    assert [(change.step, change.what, change.change) for change in diff.graph] == [("end", "@retry", "added")]
    assert diff.code["train.py"].startswith("--- train.py\n+++ train.py\n@@")
    assert (diff.environment, diff.tasks, diff.unknown) == ([], {}, [])
    assert str(diff) == repr(diff) and "~ depth" in str(diff)
    page = diff._repr_html_()
    assert "<td" in page and "0.83 → 0.84" in page and "LEARNING_RATE = 0.2" in page
    # other ways to name the other one
    for other in ("TrainFlow/2", "2", 2):
        assert body(str(old.diff(other))) == body(str(diff))


def test_json_is_for_programs() -> None:
    code, text, _ = metaflow("diff", "TrainFlow/1", "TrainFlow/2", "--json")
    data = json.loads(text)
    assert (code, data["old"], data["new"], data["differs"]) == (0, "TrainFlow/1", "TrainFlow/2", True)
    assert data["parameters"]["depth"]["old"]["value"] == 3
    assert data["parameters"]["depth"]["difference"]["difference"] == 1
    table = next(one for one in data["artifacts"] if one["name"] == "table")
    assert table["difference"]["columns"]["y"]["max_difference"] == 1.0
    assert table["new"]["artifact"] == "TrainFlow/2/start/1/table"
    assert data["tags"] == {"added": ["good"], "removed": ["draft"]}
    assert data["code"]["train.py"].startswith("--- train.py")
    assert data == Run("TrainFlow/1").diff("TrainFlow/2").to_dict()


def test_other_flows_failed_runs_and_the_same_run() -> None:
    failed = Run("TrainFlow/2").diff("TrainFlow/3")
    assert failed.facts["status"] == ("completed", "failed")
    assert {change.name for change in failed.artifacts if change.step == "end"} == {"accuracy"}
    other = Run("TrainFlow/1").diff("OtherFlow/1")
    assert other.tasks == {"fit": (2, 0), "join": (1, 0)}
    assert list(other.code) == ["other.py"]  # the files of the flows are compared with each other
    assert [(change.step, change.change) for change in other.graph if change.what == "step"] == [
        ("fit", "removed"), ("join", "removed"),
    ]  # fmt: skip
    code, text, _ = metaflow("diff", "TrainFlow/1", "TrainFlow/1", "--exit-code")
    assert (code, text.splitlines()[-1]) == (0, "This is the same one twice.")
    assert metaflow("diff", "TrainFlow/1", "OtherFlow/1", "--exit-code")[0] == 1
    assert metaflow("diff", "TrainFlow/1", "TrainFlow/99", "--exit-code")[0] == 2


def test_steps_and_tasks() -> None:
    end = Step("TrainFlow/1/end").diff("TrainFlow/2/end")
    assert [(change.name, change.step) for change in end.artifacts if change.name == "accuracy"] == [("accuracy", None)]
    code, text, _ = metaflow("diff", "TrainFlow/1/fit/2", "TrainFlow/2/fit/2")
    assert code == 0 and "  ~ score  3 → 4  (+1)\n" in text and "Code" not in text
    tasks = Task("TrainFlow/1/fit/2").diff("3")  # of the same step
    assert {change.name for change in tasks.artifacts} == {"score"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["TrainFlow/1", "TrainFlow/99"], "There is no run 'TrainFlow/99'"),
        (["TrainFlow/1", "NoFlow/1"], "There is no flow 'NoFlow'"),
        (["TrainFlow/1", "TrainFlow"], "FLOW/RUN, FLOW/RUN/STEP or FLOW/RUN/STEP/TASK, not 'TrainFlow'"),
        (["TrainFlow/1", "a/b/c/d/e"], "not 'a/b/c/d/e'"),
        (["TrainFlow/1", "TrainFlow/.."], "'..' is no run"),
        (["TrainFlow/1", "TrainFlow/1/start"], "TrainFlow/1 is a run, TrainFlow/1/start a step"),
        (["TrainFlow/1/fit", "TrainFlow/2/fit"], "has 2 tasks. Name the one to compare, as in TrainFlow/1/fit/2."),
        (["OtherFlow/1", "OtherFlow/2"], "switch with --namespace \"user:will\", or"),
    ],
)  # fmt: skip
def test_what_can_not_be_compared_is_one_clear_message(arguments: Sequence[str], said: str) -> None:
    code, text, message = metaflow("diff", *arguments)
    assert (code, text) == (1, "")
    assert said in message and "Traceback" not in message


def test_namespaces_and_wrong_values_in_python() -> None:
    with pytest.raises(MetaflowNamespaceMismatch, match="user:will"):
        Run("OtherFlow/1").diff("OtherFlow/2")
    assert metaflow("diff", "OtherFlow/1", "OtherFlow/2", "--namespace", "")[0] == 0
    namespace(None)
    assert not Run("OtherFlow/1").diff(2).differs  # who ran it is no difference
    for wrong in (None, 2.5, True, "", "TrainFlow/1/start", Run("TrainFlow/1")["start"]):
        with pytest.raises(MetaflowInvalidPathspec):
            Run("OtherFlow/1").diff(wrong)
    with pytest.raises(MetaflowNotFound):
        Run("OtherFlow/1").diff(99)


def test_equal_values_are_never_read_and_a_lost_one_hides_nothing_else(copied: Path) -> None:
    stored = {name: Run("TrainFlow/1")["start"].task[name] for name in ("same", "table")}
    for artifact in stored.values():
        (file,) = (copied / ".metaflow" / "data").rglob(artifact.sha)
        file.unlink()
    diff = Run("TrainFlow/1").diff(2)
    assert {change.name: change.difference["kind"] for change in diff.artifacts if change.difference} == {
        "note": "text", "table": "unreadable", "metrics": "items", "model": "opaque", "accuracy": "number",
    }  # fmt: skip
    assert "not readable" in str(diff) and "~ accuracy" in str(diff)


def test_large_values_are_looked_into_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difference, "LIMIT", 2000)
    run = Run("TrainFlow/1")
    small = {change.name: change.difference["kind"] for change in run.diff(2).artifacts if change.difference}
    assert (small["table"], small["accuracy"]) == ("large", "number")
    assert "more than 1.953 KB, so not looked into" in str(run.diff(2))
    full = {change.name: change.difference["kind"] for change in run.diff(2, full=True).artifacts if change.difference}
    assert full["table"] == "table"


def test_runs_that_run_still_and_runs_of_which_nothing_was_recorded(copied: Path) -> None:
    run = Run("TrainFlow/1")
    run._db.execute("UPDATE runs SET source_pk = NULL, environment_pk = NULL, status = 'running', finished_at = NULL")
    text = str(Run("TrainFlow/1").diff(2))
    assert "Not recorded for one of the two: code." in text and "Not recorded for one of the two: environment." in text
    assert text.splitlines()[3] == "took"


def test_environments_are_compared_package_by_package() -> None:
    run = Run("TrainFlow/2")
    text = json.loads(run._db.execute("SELECT t.text FROM runs r JOIN texts t ON t.pk = r.environment_pk")[0][0])
    packages = text["packages"]["python"]
    version = packages.pop("click")
    packages |= {"numpy": "0.1", "zebra": "9"}
    pk = run._db.execute("INSERT INTO texts (fingerprint, text) VALUES ('x', ?) RETURNING pk", (json.dumps(text),))
    run._db.execute("UPDATE runs SET environment_pk = ? WHERE pk = ?", (pk[0][0], run._row.pk))
    diff = Run("TrainFlow/1").diff(2)
    assert [(one.language, one.name, one.change) for one in diff.environment] == [
        ("python", "click", "removed"), ("python", "numpy", "changed"), ("python", "zebra", "added"),
    ]  # fmt: skip
    assert f"  - click  {version}\n  ~ numpy  {diff.environment[1].old} → 0.1\n  + zebra  9\n" in str(diff)


def test_a_terminal_that_knows_few_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    code, text, message = metaflow("diff", "TrainFlow/1", "TrainFlow/2")
    assert (code, message) == (0, "") and "3 -> 4" in text


def test_code_can_not_act_on_the_terminal() -> None:
    run = Run("TrainFlow/2")
    pk = run._db.execute(
        "INSERT INTO texts (fingerprint, text) VALUES ('y', ?) RETURNING pk", ('{"train.py": "\\u001b]0;x"}',)
    )
    run._db.execute("UPDATE runs SET source_pk = ? WHERE pk = ?", (pk[0][0], run._row.pk))
    _, text, _ = metaflow("diff", "TrainFlow/1", "TrainFlow/2")
    assert "\x1b" not in text and "\n  +\\x1b]0;x\n" in text
