"""What a task leaves: artifacts, changes in place, constants, parameters, values that can't be stored."""

from __future__ import annotations

from typing import Any

import pytest
from metaflow import Flow, Run, Task

FLOW = """
    import threading
    from metaflow import FlowSpec, Parameter, current, step

    class Base(FlowSpec):
        CONSTANT = {"from": "base"}

    class Artifacts(Base):
        alpha = Parameter("alpha", default=0.5)
        how = Parameter("how", default="")
        LIMIT = 10
        _cache = None

        @step
        def start(self):
            self.table = {"x": [1]}
            self.text = "before"
            self.kept = [1, 2]
            self.dropped = 1
            self._hidden = {"secret": 1}
            self.function = lambda x: x + 1
            if self.how == "parameter":
                self.alpha = 1
            elif self.how == "constant":
                self.LIMIT = 1
            elif self.how == "name":
                self.name = "x"
            elif self.how == "step":
                self.end = 1
            elif self.how == "input":
                self.input = 1
            elif self.how == "delete parameter":
                del self.alpha
            elif self.how == "raise":
                raise RuntimeError("after some artifacts")
            elif self.how == "lock":
                self.model = {"weights": [1, threading.Lock()]}
            elif self.how == "reduce":
                self.model = Broken()
            elif self.how == "absent":
                self.not_there
            self.next(self.change)

        @step
        def change(self):
            self.table["x"].append(2)
            self.table["y"] = self.LIMIT
            alias = self.kept
            assert alias is self.kept
            del self.dropped
            assert not hasattr(self, "dropped")
            assert self._hidden == {"secret": 1} and self.function(1) == 2
            self.text += " and after"
            self.next(self.end)

        @step
        def end(self):
            assert self.table == {"x": [1, 2], "y": 10} and self.kept == [1, 2]
            assert not hasattr(self, "dropped")
            assert self.name == "Artifacts" and self.CONSTANT == {"from": "base"}

    class Broken:
        def __reduce__(self):
            raise ValueError("I do not want to be stored")

    if __name__ == "__main__":
        Artifacts()
"""


def test_artifacts_of_a_run(run_flow: Any) -> None:
    run_flow(FLOW, "run", "--alpha", "0.25")
    run = Run("Artifacts/1")
    start, end = run["start"].task, run["end"].task
    assert start.data.table == {"x": [1]}, "a change in a later step does not reach back"
    assert end.data.table == {"x": [1, 2], "y": 10}
    assert end.data.text == "before and after"
    names = {artifact.id for artifact in end}
    assert names == {"alpha", "how", "LIMIT", "CONSTANT", "name", "table", "text", "kept", "function"}
    assert end.data._hidden == {"secret": 1}
    assert end["_hidden"].data == {"secret": 1}
    assert end.data.function(41) == 42
    assert (end.data.name, end.data.alpha, end.data.LIMIT) == ("Artifacts", 0.25, 10)
    assert "dropped" in start
    assert "dropped" not in end


def test_parameters_are_stored_once(run_flow: Any) -> None:
    import sqlite3

    run_flow(FLOW, "run")
    rows = sqlite3.connect(".metaflow/metaflow.db").execute("SELECT name FROM artifacts WHERE name = 'alpha'")
    assert len(rows.fetchall()) == 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("parameter", "self.alpha can't be assigned: it is a parameter of Artifacts."),
        ("constant", "self.LIMIT can't be assigned: it is a constant of Artifacts."),
        ("name", "self.name can't be set in step start: it is the name of the flow."),
        ("step", "self.end can't be assigned: it is a step of Artifacts."),
        ("input", "self.input can't be assigned"),
        ("delete parameter", "Artifacts.alpha belongs to the flow and can't be deleted in a step."),
        ("absent", "Step 'start' of flow 'Artifacts' has no artifact 'not_there'."),
    ],
)
def test_what_can_not_be_set(run_flow: Any, how: str, message: str) -> None:
    result = run_flow(FLOW, "run", "--how", how, check=False)
    assert result.returncode == 1
    assert f"AttributeError: {message}" in result.stdout


def test_what_was_set_before_a_failure_is_there(run_flow: Any) -> None:
    run_flow(FLOW, "run", "--how", "raise", check=False)
    task = Task("Artifacts/1/start/1")
    assert task.data.table == {"x": [1]}
    assert task.data._hidden == {"secret": 1}
    assert task.exception.type == "RuntimeError"
    assert (task.finished, task.successful) == (False, False)


def test_a_value_that_can_not_be_stored(run_flow: Any) -> None:
    result = run_flow(FLOW, "run", "--how", "lock", check=False)
    assert result.returncode == 1
    for part in ("start", "'model'", "weights", "lock"):
        assert part in result.stdout
    assert "Traceback" not in result.stdout, "the place of the value is in the message"
    task = Task("Artifacts/1/start/1")
    assert task.data.text == "before", "the other artifacts are there"
    assert "model" not in task


def test_a_value_that_refuses_to_be_stored(run_flow: Any) -> None:
    result = run_flow(FLOW, "run", "--how", "reduce", check=False)
    assert result.returncode == 1
    assert "'model'" in result.stdout
    assert "I do not want to be stored" in result.stdout
    assert Task("Artifacts/1/start/1").data.text == "before"


def test_an_element_that_can_not_be_stored(run_flow: Any) -> None:
    result = run_flow(
        """
        import threading
        from metaflow import FlowSpec, step

        class Elements(FlowSpec):
            @step
            def start(self):
                items = [1, threading.Lock()]
                self.items = iter(items)
                self.next(self.work, foreach="items")

            @step
            def work(self):
                self.next(self.join)

            @step
            def join(self, inputs):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Elements()
        """,
        "run",
        check=False,
    )
    assert result.returncode == 1
    assert "Step start" in result.stdout
    assert "lock" in result.stdout
    assert Flow("Elements").latest_run["start"].task.exception is not None


def test_a_task_that_changes_its_directory(run_flow: Any, tmp_path: Any) -> None:
    script = """
        import os
        from metaflow import Flow, FlowSpec, step

        class Wanderer(FlowSpec):
            @step
            def start(self):
                os.chdir("/")
                self.big = "x" * 100_000
                self.next(self.end)

            @step
            def end(self):
                os.chdir("/")
                assert len(self.big) == 100_000
                assert len(Flow("Wanderer").latest_run["start"].task.data.big) == 100_000

        if __name__ == "__main__":
            Wanderer()
    """
    for launcher in ("fork", "spawn"):
        place = ("--datastore", "store", "--metadata", "sqlite:///runs.db")
        run_flow(script, *place, "run", env={"METAFLOW_LAUNCHER": launcher})
    assert (tmp_path / "project" / "store").is_dir()
    assert (tmp_path / "project" / "runs.db").is_file()
