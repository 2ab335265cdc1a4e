"""`spin`: one step again, on the inputs of an earlier run, storing nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow, default_metadata, inspect_spin
from metaflow.exception import MetaflowException

FLOW = """
    from metaflow import FlowSpec, Parameter, current, step

    class Spin(FlowSpec):
        base = Parameter("base", default=100)

        @step
        def start(self):
            self.items = ["a", "b"]
            self.next(self.work, foreach="items")

        @step
        def work(self):
            self.word = self.input * 2
            self.next(self.join)

        @step
        def join(self, inputs):
            self.words = [i.word for i in inputs]
            self.next(self.end)

        @step
        def end(self):
            print("words", self.words)

    if __name__ == "__main__":
        Spin()
"""


def test_a_changed_step(run_flow: Any) -> None:
    run_flow(FLOW, "run", "--base", "7")
    changed = FLOW.replace("[i.word for i in inputs]", "[i.word.upper() for i in inputs] + [self.base]")
    result = run_flow(changed, "spin", "join")
    assert result.stdout == "self.words = ['AA', 'BB', 7]\n"
    assert "Trying step join on the inputs of Spin/1/join/4. Nothing is stored." in result.stderr
    assert [run.id for run in Flow("Spin")] == ["1"]
    assert Flow("Spin").latest_run["end"].task.data.words == ["aa", "bb"]


@pytest.mark.parametrize(
    ("place", "word"), [("work", "bb"), ("1/work", "bb"), ("1/work/2", "aa"), ("Spin/1/work/3", "bb")]
)
def test_which_task(run_flow: Any, place: str, word: str) -> None:
    run_flow(FLOW, "run")
    assert run_flow("flow.py", "spin", place).stdout == f"self.word = '{word}'\n"


def test_a_step_that_fails(run_flow: Any) -> None:
    run_flow(FLOW, "run")
    result = run_flow(FLOW.replace("self.input * 2", "self.input / 2"), "spin", "work", check=False)
    assert result.returncode == 1
    assert "TypeError" in result.stderr
    assert "metaflow_core" not in result.stderr
    assert Flow("Spin").latest_run.successful


@pytest.mark.parametrize(
    ("place", "artifacts", "expected"),
    [
        ("work", {"input": "xy"}, "self.word = 'xyxy'"),
        ("join", {"word": "zz", "base": 5}, "self.words = ['zz', 'zz']"),
        ("join", {"work": {"word": "one"}, "items": [9]}, "self.words = ['one', 'one']"),
        ("end", {"words": ("u",), "more": 1}, "words ('u',)"),
    ],
)
def test_other_inputs(run_flow: Any, project: Path, place: str, artifacts: Any, expected: str) -> None:
    run_flow(FLOW, "run")
    (project / "others.py").write_text(f"ARTIFACTS = {artifacts!r}\n")
    assert run_flow("flow.py", "spin", place, "--artifacts-module", "others.py").stdout == f"{expected}\n"


def test_what_branches_agree_on_follows_other_inputs(run_flow: Any, project: Path) -> None:
    merging = FLOW.replace("self.words =", "self.merge_artifacts(inputs, exclude=['word'])\n            self.words =")
    run_flow(merging, "run")
    (project / "others.py").write_text("ARTIFACTS = {'items': [9], 'fresh': {'a': 1}}\n")
    run_flow("flow.py", "spin", "join", "--artifacts-module", "others.py", "--persist")
    inspect_spin(str(project))
    try:
        kept = Flow("Spin").latest_run["join"].task
        assert (kept.data.items, kept.data.fresh, kept.data.words) == ([9], {"a": 1}, ["aa", "bb"])
    finally:
        default_metadata()


def test_results_are_kept_apart_when_asked_for(run_flow: Any, project: Path) -> None:
    with pytest.raises(MetaflowException, match="There is nothing to inspect"):
        inspect_spin(".")
    run_flow(FLOW, "run", "--base", "7")
    result = run_flow("flow.py", "spin", "1/work/2", "--persist")
    assert "What it sets is kept in .metaflow_spin." in result.stderr
    run_flow(FLOW.replace("self.input * 2", "self.input / 2"), "spin", "work", "--persist", check=False)
    assert [run.id for run in Flow("Spin")] == ["1"]
    inspect_spin(".")
    try:
        failed, kept = Flow("Spin")
        assert (kept.status, failed.status) == ("completed", "failed")
        task = kept["work"].task
        assert (task.id, task.index, task.data.word, task.data.base, task.data.items) == ("2", 0, "aa", 7, ["a", "b"])
        assert task.metadata_dict["origin-run-id"] == "1"
        assert failed["work"].task.exception.type == "TypeError"
    finally:
        default_metadata()
    assert [run.id for run in Flow("Spin")] == ["1"]


DECORATED = """
    import os
    from metaflow import FlowSpec, StepMutator, environment, step, user_step_decorator

    @user_step_decorator
    def loud(step_name, flow, inputs=None, attributes=None):
        print("before", step_name)
        yield

    class quiet(StepMutator):
        def mutate(self, mutable_step):
            mutable_step.add_decorator(loud)

    class Decorated(FlowSpec):
        @quiet
        @environment(vars={"SHADE": "blue"})
        @step
        def start(self):
            print(os.environ.get("SHADE"))
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Decorated()
    """


def test_decorators_apply_unless_they_are_skipped(run_flow: Any) -> None:
    run_flow(DECORATED, "run")
    assert run_flow("flow.py", "spin", "start").stdout == "before start\nblue\n"
    assert run_flow("flow.py", "spin", "start", "--skip-decorators").stdout == "None\n"
    shade = 'environment:vars={"SHADE":"red"}'
    assert run_flow("flow.py", "spin", "end", "--with", "no_such", check=False).returncode == 1
    assert run_flow("flow.py", "spin", "end", "--with", shade).stdout == ""


def test_a_step_that_has_not_run(run_flow: Any) -> None:
    run_flow(FLOW, "run")
    failing = FLOW.replace("self.input * 2", "self.input / 2")
    run_flow(failing, "run", check=False)
    result = run_flow("flow.py", "spin", "end", check=False)
    assert result.returncode == 1
    message = " ".join(result.stderr.split())
    assert "Run Spin/2 has no task of step end to take inputs from: it did not come so far." in message
    assert "An earlier run has: spin 1/end." in message
    longer = FLOW.replace("self.next(self.end)", "self.next(self.more)").replace(
        "@step\n        def end",
        "@step\n        def more(self):\n            self.next(self.end)\n\n        @step\n        def end",
    )
    result = run_flow(longer, "spin", "1/more", check=False)
    assert "Steps that have run: start, work, join, end." in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("others = 1", "it has none"),
        ("ARTIFACTS = [1]", "it has [1]"),
        ("import no_such_module", "can't be loaded: it raised ModuleNotFoundError"),
        ("ARTIFACTS = {'work': 1}", "The join join has inputs from work: give it their artifacts by name, not 1."),
        ("ARTIFACTS = {'a b': 1}", "'a b'"),
        ("ARTIFACTS = {'next': 1}", "'next' can't be given as an artifact: it is reserved."),
        (None, "there is no file 'others.py'"),
    ],
)
def test_a_module_of_artifacts_that_can_not_be_used(
    run_flow: Any, project: Path, content: str | None, message: str
) -> None:
    run_flow(FLOW, "run")
    if content is not None:
        (project / "others.py").write_text(content + "\n")
    result = run_flow("flow.py", "spin", "join", "--artifacts-module", "others.py", check=False)
    assert result.returncode in (1, 2)
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
