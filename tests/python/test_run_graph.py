"""Flows of every shape: branches, foreaches in each other, joins, switches; and what `next` refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from textwrap import dedent, indent
from typing import Any

import pytest
from metaflow import Flow

NESTED = """
    from metaflow import FlowSpec, step

    class Nested(FlowSpec):
        @step
        def start(self):
            assert (self.input, self.index, self.foreach_stack()) == (None, None, [])
            self.outer = ["a", "b", "c"]
            self.next(self.left, self.right)

        @step
        def left(self):
            self.side = "left"
            self.next(self.one, foreach="outer")

        @step
        def one(self):
            self.letter = self.input
            self.middle = range(2)
            self.next(self.two, foreach="middle")

        @step
        def two(self):
            self.numbers = (10, 20)
            self.next(self.three, foreach="numbers")

        @step
        def three(self):
            self.stack = self.foreach_stack()
            assert self.index == self.stack[-1][0] and self.input == self.stack[-1][2]
            self.next(self.minus, self.plus)

        @step
        def minus(self):
            self.value = -self.input
            self.next(self.join_branches)

        @step
        def plus(self):
            self.value = self.input
            self.next(self.join_branches)

        @step
        def join_branches(self, inputs):
            assert [i.value for i in inputs] == [-self.input, self.input] == [inputs.minus.value, inputs.plus.value]
            self.found = [inputs[0].stack]
            self.next(self.join_three)

        @step
        def join_three(self, inputs):
            assert [i.input for i in inputs] == [10, 20] and [i.index for i in inputs] == [0, 1]
            self.found = sum([i.found for i in inputs], [])
            self.next(self.join_two)

        @step
        def join_two(self, inputs):
            assert len(inputs) == 2 and self.input == self.foreach_stack()[0][2]
            self.found = sum([i.found for i in inputs], [])
            self.next(self.join_one)

        @step
        def join_one(self, inputs):
            self.found = sum([i.found for i in inputs], [])
            self.next(self.join_sides)

        @step
        def right(self):
            self.side = "right"
            self.next(self.join_sides)

        @step
        def join_sides(self, inputs):
            # `right` was ready long before, and comes second all the same
            assert [i.side for i in inputs[1:]] == ["right"] and inputs.right.side == "right"
            self.found = inputs[0].found
            assert (self.input, self.index, self.foreach_stack()) == (None, None, [])
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Nested()
"""


@pytest.mark.parametrize("launcher", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_foreaches_and_branches_in_each_other(run_flow: Any, launcher: str) -> None:
    run_flow(NESTED, "run", env={"METAFLOW_LAUNCHER": launcher})
    run = Flow("Nested").latest_run
    expected = [
        [(i, 3, letter), (j, 2, j), (k, 2, number)]
        for i, letter in enumerate("abc")
        for j in range(2)
        for k, number in enumerate((10, 20))
    ]
    assert run["end"].task.data.found == expected
    assert [len(list(run[step])) for step in ("one", "two", "three", "minus", "join_three")] == [3, 6, 12, 12, 6]


ITERABLES = """
    import numpy, pandas, pyarrow
    from metaflow import FlowSpec, Parameter, step

    VALUES = {
        "list": lambda: [1, "b", None],
        "tuple": lambda: (1, 2),
        "str": lambda: "xyz",
        "set": lambda: {"one"},
        "range": lambda: range(3),
        "generator": lambda: (i * i for i in range(3)),
        "dict": lambda: {"a": 1, "b": [2]},
        "array": lambda: numpy.array([1.5, 2.5]),
        "matrix": lambda: numpy.arange(4).reshape(2, 2),
        "series": lambda: pandas.Series([7, 8], index=["p", "q"]),
        "arrow": lambda: pyarrow.array(["s", None]),
    }

    class Iterables(FlowSpec):
        @step
        def start(self):
            self.kinds = list(VALUES)
            self.next(self.split, foreach="kinds")

        @step
        def split(self):
            self.kind = self.input
            self.values = VALUES[self.kind]()
            self.next(self.child, foreach="values")

        @step
        def child(self):
            self.got = self.input
            self.type = type(self.input).__name__
            self.next(self.gather)

        @step
        def gather(self, inputs):
            self.kind = inputs[0].kind
            self.got = [(i.type, getattr(i.got, "tolist", lambda: i.got)()) for i in inputs]
            self.next(self.join)

        @step
        def join(self, inputs):
            self.got = {i.kind: i.got for i in inputs}
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Iterables()
"""


def test_what_a_foreach_goes_over(run_flow: Any) -> None:
    run_flow(ITERABLES, "run")
    run = Flow("Iterables").latest_run
    assert run["end"].task.data.got == {
        "list": [("int", 1), ("str", "b"), ("NoneType", None)],
        "tuple": [("int", 1), ("int", 2)],
        "str": [("str", "x"), ("str", "y"), ("str", "z")],
        "set": [("str", "one")],
        "range": [("int", 0), ("int", 1), ("int", 2)],
        "generator": [("int", 0), ("int", 1), ("int", 4)],
        "dict": [("tuple", ("a", 1)), ("tuple", ("b", [2]))],
        "array": [("float64", 1.5), ("float64", 2.5)],
        "matrix": [("ndarray", [0, 1]), ("ndarray", [2, 3])],
        "series": [("int", 7), ("int", 8)],
        "arrow": [("str", "s"), ("NoneType", None)],
    }


SHORT = """
    from metaflow import FlowSpec, step

    class Short(FlowSpec):
        @step
        def start(self):
{start}

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
        Short()
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("self.items = []", "foreach='items' is empty"),
        ("self.items = 5", "can't be iterated. It is 5, of type int."),
        ("self.items = None", "can't be iterated"),
        ("pass", "foreach='items' names an artifact that does not exist"),
        ("self.items = range(101)", "has 101 elements, and --max-num-splits allows 100"),
        ("self.items = iter([1] * 101)", "more than 100 elements, and --max-num-splits allows 100"),
    ],
)
def test_a_foreach_that_can_not_go_on(run_flow: Any, body: str, message: str) -> None:
    start = indent(f'{body}\nself.next(self.work, foreach="items")', " " * 12)
    result = run_flow(SHORT.format(start=start), "run", check=False)
    assert result.returncode == 1
    assert message in result.stdout
    assert "InvalidNextException: Step start" in result.stdout
    if "range" in body:
        more = run_flow("flow.py", "run", "--max-num-splits", "200")
        assert re.search("Foreach yields (101|200) child steps.", more.stdout)


SWITCH = """
    from metaflow import FlowSpec, Parameter, current, step

    class Switch(FlowSpec):
        way = Parameter("way", default="left")
        rounds = Parameter("rounds", default=3)

        @step
        def start(self):
            self.seen = []
            self.choice = self.way
            self.next({"left": self.left, "right": self.right}, condition="choice")

        @step
        def left(self):
            self.next(self.loop)

        @step
        def right(self):
            self.next(self.loop)

        @step
        def loop(self):
            self.seen.append(int(current.task_id))
            self.again = len(self.seen) < self.rounds
            self.next({True: self.loop, False: self.end}, condition="again")

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Switch()
"""


def test_switch_and_recursion(run_flow: Any) -> None:
    run_flow(SWITCH, "run", "--way", "right")
    run = Flow("Switch").latest_run
    assert [step.id for step in run] == ["end", "loop", "right", "start"]
    seen = run["end"].task.data.seen
    assert len(seen) == 3
    assert seen == sorted(set(seen))
    assert sorted(int(task.id) for task in run["loop"]) == seen, "each iteration is a task of its own"


def test_a_value_outside_the_cases(run_flow: Any) -> None:
    result = run_flow(SWITCH, "run", "--way", "up", check=False)
    assert result.returncode == 1
    assert "the condition 'choice' has the value 'up', which is none of the cases: left, right" in result.stdout


CALLS = """
    from metaflow import FlowSpec, Parameter, step

    class Calls(FlowSpec):
        how = Parameter("how", default="")

        @step
        def start(self):
            self.text, self.list = "text", [1]
            call = self.next  # the graph is read from the text; these calls are only seen when they happen
            if self.how == "twice":
                call(self.end)
            elif self.how == "unknown":
                call(self.end, colour="red")
            elif self.how == "no step":
                call(self.helper)
            elif self.how == "text":
                call("end")
            elif self.how == "foreach list":
                call(self.end, foreach=self.list)
            elif self.how == "dict alone":
                call({"a": self.end})
            elif self.how == "both":
                call({"a": self.end}, condition="text", foreach="list")
            elif self.how == "condition alone":
                call(self.end, condition="text")
            elif self.how == "nothing":
                call()
            self.next(self.end)

        @step
        def end(self):
            if self.how == "after the end":
                call = self.next
                call(self.start)

        def helper(self):
            pass

    if __name__ == "__main__":
        Calls()
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("twice", "Step start calls next twice"),
        ("unknown", r"does not take colour\. It takes foreach"),
        ("no step", "helper.*, which is no step"),
        ("text", "not 'end', which is no step"),
        ("foreach list", r"foreach must be the name of an artifact, as text, not \[1\]"),
        ("dict alone", "a choice of steps needs condition="),
        ("both", "a condition can't be combined with foreach"),
        ("condition alone", "condition goes with a choice of steps"),
        ("nothing", "next needs a step to go to"),
        ("after the end", "Step end: it is the last step"),
    ],
)
def test_a_wrong_call_of_next(run_flow: Any, how: str, message: str) -> None:
    result = run_flow(CALLS, "run", "--how", how, check=False)
    assert result.returncode == 1
    assert re.search(message, result.stdout)
    assert "InvalidNextException" in result.stdout
    assert "Workflow failed." in result.stdout


def test_a_step_that_returns_before_its_next(run_flow: Any) -> None:
    start = indent('self.items = [1]\nif self.items:\n    return\nself.next(self.work, foreach="items")', " " * 12)
    result = run_flow(SHORT.format(start=start), "run", check=False)
    assert "ended without saying where the flow goes" in result.stdout


def test_one_worker_is_sequential_and_in_order(run_flow: Any) -> None:
    result = run_flow(NESTED, "run", "--max-workers", "1")
    running: set[str] = set()
    order = []
    for line in result.stdout.splitlines():
        task = line.split("[")[-1].split(" ")[0]
        if line.endswith("Task is starting."):
            assert not running
            running.add(task)
            order.append(task.split("/")[1])
        elif line.endswith("Task finished successfully."):
            running.remove(task)
    assert order.index("left") < order.index("right"), "branches start in the order of next"
    assert order.index("minus") < order.index("plus")


def test_the_launcher_keeps_up_with_many_workers(run_flow: Any) -> None:
    """More requests and reports than fit into the socket between the driver and the launcher."""
    start = indent('self.items = range(600)\nself.next(self.work, foreach="items")', " " * 12)
    script = SHORT.format(start=start)
    result = run_flow(script, "--quiet", "run", "--max-num-splits", "600", "--max-workers", "600")
    assert result.stdout.count("Task finished successfully.") == 603


def test_more_workers_than_files_may_be_open(project: Any, run_flow: Any) -> None:
    start = indent('self.items = range(80)\nself.next(self.work, foreach="items")', " " * 12)
    (project / "flow.py").write_text(dedent(SHORT.format(start=start)))
    command = f'ulimit -n 100; exec "{sys.executable}" flow.py --quiet run --max-workers 80'
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
