"""`spin`: one step again, on the inputs of an earlier run, storing nothing."""

from __future__ import annotations

from typing import Any

import pytest
from metaflow import Flow

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
