"""`resume` of flows that choose: the case that was taken, cases that were not, and loops."""

from __future__ import annotations

import re
from typing import Any

from metaflow import Run

FLOW = """
    import os
    import time
    from metaflow import FlowSpec, Parameter, step

    class Choices(FlowSpec):
        way = Parameter("way", default="left")

        @step
        def start(self):
            self.items = ["left", "right"]
            self.fail("start")
            self.next({"left": self.left, "right": self.right, "both": self.fan}, condition="way")

        @step
        def left(self):
            self.fail("left")
            self.next(self.goal)

        @step
        def right(self):
            self.next(self.goal)

        @step
        def fan(self):
            self.next(self.each, foreach="items")

        @step
        def each(self):
            self.case = self.input
            self.next({"left": self.one, "right": self.two}, condition="case")

        @step
        def one(self):
            self.of_one = 1
            while os.environ.get("FAIL") == "one" and not os.path.exists("two"):
                time.sleep(0.01)
            self.fail("one")
            self.next(self.meet)

        @step
        def two(self):
            self.of_two = 2
            open("two", "w").close()
            self.next(self.meet)

        @step
        def meet(self):
            self.next(self.join)

        @step
        def join(self, inputs):
            self.merge_artifacts(inputs, exclude=["case"])
            self.next(self.goal)

        @step
        def goal(self):
            self.turn = 0
            self.next(self.loop)

        @step
        def loop(self):
            self.turn += 1
            self.fail(f"loop{self.turn}")
            self.over = self.turn >= 200
            self.next({False: self.loop, True: self.end}, condition="over")

        @step
        def end(self):
            print("ended", self.way, self.turn, getattr(self, "of_one", None), getattr(self, "of_two", None))

        def fail(self, place):
            print("body", place)
            if os.environ.get("FAIL") == place:
                raise RuntimeError("told to")

    if __name__ == "__main__":
        Choices()
"""


def dry(run_flow: Any, *arguments: str) -> dict[str, str]:
    lines = run_flow("flow.py", "resume", *arguments, "--dry-run").stdout.splitlines()[1:]
    return {line.split()[0]: line.split(None, 1)[1] for line in lines}


def test_a_loop_of_200_turns_goes_on_from_the_one_that_failed(run_flow: Any) -> None:
    failed = run_flow(FLOW, "run", env={"FAIL": "loop150"}, check=False)
    assert failed.returncode == 1
    said = dry(run_flow)
    assert said["loop"].startswith("149 tasks taken over; 1 runs again: loop/")
    assert said["right"] == said["fan"] == said["join"] == "does not run: the flow has taken another way"
    assert said["end"] == "runs: it was not reached"
    refused = run_flow("flow.py", "resume", "right", check=False)
    assert "Run Choices/1 has no task of step 'right': it took another way" in refused.stderr
    assert "resume from a step before: resume start" in refused.stderr
    resumed = run_flow("flow.py", "resume").stdout
    assert re.findall(r"body (\S+)", resumed) == [f"loop{turn}" for turn in range(150, 201)]
    assert "ended left 200 None None" in resumed
    turns = list(Run("Choices/2")["loop"])
    ids = [int(task.id) for task in turns]
    assert len(ids) == 200 and ids == sorted(ids, reverse=True), "each turn is a task of its own with a larger id"
    assert [next(iter(task.parent_tasks)).id for task in turns[:-1]] == [task.id for task in turns[1:]]
    assert [step.id for step in Run("Choices/2")["loop"].parent_steps] == ["goal", "loop"]


def test_a_case_that_was_not_reached_yet_can_be_named(run_flow: Any) -> None:
    run_flow(FLOW, "run", "--way", "right", env={"FAIL": "start"}, check=False)
    assert "does not run" not in "".join(dry(run_flow).values())
    run_flow("flow.py", "resume", "right")
    assert [step.id for step in Run("Choices/2")] == ["end", "loop", "goal", "right", "start"]


def test_elements_take_cases_of_their_own_and_the_failed_one_runs_again(run_flow: Any) -> None:
    failed = run_flow(FLOW, "run", "--way", "both", env={"FAIL": "one"}, check=False)
    assert failed.returncode == 1
    assert dry(run_flow)["two"].startswith("1 task taken over")
    resumed = run_flow("flow.py", "resume").stdout
    assert [place for place in re.findall(r"body (\S+)", resumed) if not place.startswith("loop")] == ["one"]
    assert "ended both 200 1 2" in resumed, "what only one case has set is merged"
    tried = run_flow("flow.py", "spin", "each")
    assert "self.case = 'right'" in tried.stdout
    assert "self.turn = 200" in run_flow("flow.py", "spin", "loop").stdout, "the last turn"
    assert "self.of_one" in run_flow("flow.py", "spin", "one").stdout
    assert run_flow("flow.py", "spin", "join").returncode == 0


VALUES = """
    import enum
    from metaflow import FlowSpec, Parameter, step

    class Size(enum.Enum):
        SMALL = 1
        LARGE = 2

    class Text(str, enum.Enum):
        HOT = "hot"

    class Number(enum.IntEnum):
        SEVEN = 7

    VALUES = [None, Size.SMALL, Text.HOT, "hot", Number.SEVEN, 7, 7.0, True, 1, False, 0]

    class Values(FlowSpec):
        @step
        def start(self):
            self.places = range(len(VALUES))
            self.next(self.each, foreach="places")

        @step
        def each(self):
            self.value = VALUES[self.input]
            self.next(
                {None: self.nothing, Size.SMALL: self.small, Text.HOT: self.hot, 7: self.seven, True: self.yes,
                 False: self.no},
                condition="value",
            )

        @step
        def nothing(self):
            self.next(self.meet)

        @step
        def small(self):
            self.next(self.meet)

        @step
        def hot(self):
            self.next(self.meet)

        @step
        def seven(self):
            self.next(self.meet)

        @step
        def yes(self):
            self.next(self.meet)

        @step
        def no(self):
            self.next(self.meet)

        @step
        def meet(self):
            self.next(self.join)

        @step
        def join(self, inputs):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Values()
"""


def test_cases_of_every_type(run_flow: Any) -> None:
    run_flow(VALUES, "run")
    taken = {}
    for step in Run("Values/1"):
        if step.id in ("nothing", "small", "hot", "seven", "yes", "no"):
            taken.update({task.index: step.id for task in step})
    assert [taken[i] for i in range(11)] == [
        "nothing",
        "small",
        *["hot"] * 2,
        *["seven"] * 3,
        *["yes"] * 2,
        *["no"] * 2,
    ]
