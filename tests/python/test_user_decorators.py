"""Decorators and mutators that users define, around steps that really run."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from metaflow import Run

DECORATORS = """
    from metaflow import FlowMutator, Parameter, StepMutator, UserStepDecorator, current, user_step_decorator

    @user_step_decorator
    def noted(step_name, flow, inputs=None, attributes=None):
        word = attributes.get("word", "noted")
        flow.words = (getattr(flow, "words", None) or []) + [f"{word} before {step_name}"]
        flow.joined = len(inputs) if inputs is not None else None
        yield
        flow.words.append(f"{word} after {step_name}")

    @user_step_decorator
    def lenient(step_name, flow, inputs=None, attributes=None):
        try:
            yield
        except ZeroDivisionError as error:
            flow.problem = str(error)
        finally:
            flow.cleaned = True

    @user_step_decorator
    def skipped(step_name, flow, inputs=None, attributes=None):
        flow.items = attributes.get("items", [1])
        yield {}

    @user_step_decorator
    def fallback(step_name, flow, inputs=None, attributes=None):
        def instead(self):
            self.replaced = step_name
        if current.retry_count == 0:
            yield
        else:
            yield instead

    class tried(UserStepDecorator):
        def init(self, handle=False, skip=False):
            self.handle = handle
            self.skip = skip

        def pre_step(self, step_name, flow, inputs=None):
            self.skip_step = self.skip
            flow.pre = step_name
            return None

        def post_step(self, step_name, flow, inputs=None, exception=None):
            flow.post = repr(exception)
            return self.handle
"""


@pytest.fixture
def flow(project: Path, run_flow: Any) -> Any:
    (project / "decorators.py").write_text(dedent(DECORATORS), encoding="utf-8")

    def run(body: str, *arguments: str, **options: Any) -> Any:
        script = "from metaflow import *\nfrom decorators import *\n" + dedent(body)
        return run_flow(script + "\nif __name__ == '__main__':\n    F()\n", *arguments, **options)

    return run


TWO = """
    class F(FlowSpec):
        {0}
        @step
        def start(self):
            {1}
            self.next(self.end)
        @step
        def end(self):
            pass
"""

EVERYWHERE = """
    class F(FlowSpec):
        @noted(word="outer")
        @tried
        @noted
        @step
        def start(self):
            self.words.append("start itself")
            self.next(self.each, foreach="missing")

        @noted
        @step
        def each(self):
            self.next(self.join)

        @noted
        @step
        def join(self, inputs):
            self.all = [one.words[-2:] for one in inputs]
            self.next(self.end)

        @step
        def end(self):
            pass
"""


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_decorators_see_and_change_the_task_in_the_order_of_the_source(flow: Any, launcher: str) -> None:
    script = EVERYWHERE.replace("@tried\n        @noted\n", "@tried\n").replace('"missing"', '"sides"')
    script = script.replace("self.words.append", "self.sides = ['a', 'b']; self.words.append")
    environment = {} if launcher == "fork" else {"METAFLOW_LAUNCHER": "spawn"}
    flow(script, "run", "--with", "decorators.lenient", env=environment)
    run = Run("F/1")
    assert run["start"].task.data.words == ["outer before start", "start itself", "outer after start"]
    assert (run["start"].task.data.pre, run["start"].task.data.post) == ("start", "None")
    assert run["join"].task.data.all == [["noted before each", "noted after each"]] * 2
    assert run["join"].task.data.joined == 2
    assert run["join"].task.data.words == ["noted before join", "noted after join"]
    assert run["end"].task.data.cleaned, "--with adds a decorator of a module to every step"


def test_the_nearest_decorator_is_the_innermost(flow: Any) -> None:
    body = """
        @user_step_decorator
        def outer(step_name, flow, inputs=None, attributes=None):
            print("outer in"); yield; print("outer out")
        @user_step_decorator
        def inner(step_name, flow, inputs=None, attributes=None):
            print("inner in"); yield; print("inner out")
    """
    flow(dedent(body) + dedent(TWO.format("@outer\n        @inner", "print('step')")), "run")
    assert Run("F/1")["start"].task.stdout.split("\n")[:-1] == [
        "outer in",
        "inner in",
        "step",
        "inner out",
        "outer out",
    ]


def test_an_error_is_raised_at_the_yield_and_can_be_handled(flow: Any) -> None:
    flow(TWO.format("@lenient", "1 / 0"), "run")
    task = Run("F/1")["start"].task
    assert task.successful and (task.data.problem, task.data.cleaned) == ("division by zero", True)

    failed = flow(TWO.format("@lenient", "{}['a']"), "run", check=False)
    assert failed.returncode == 1
    task = Run("F/2")["start"].task
    assert task.data.cleaned
    trace = task.exception.stacktrace
    assert "in start" in trace and "in lenient" in trace and "metaflow_core" not in trace and "user_code" not in trace

    flow(TWO.format("@tried(handle=True)", "1 / 0"), "run")
    assert "ZeroDivisionError" in Run("F/3")["start"].task.data.post
    assert flow(TWO.format("@tried", "1 / 0"), "run", check=False).returncode == 1


def test_skipping_and_replacing_a_step(flow: Any) -> None:
    flow(TWO.format("@skipped", "self.ran = True"), "run")
    assert "ran" not in Run("F/1")["start"].task
    flow(TWO.format("@tried(skip=True)", "self.ran = True"), "run")
    assert "ran" not in Run("F/2")["start"].task and Run("F/2").successful
    flow(TWO.format("@retry(times=1)\n        @fallback", "1 / 0"), "run")
    task = Run("F/3")["start"].task
    assert task.data.replaced == "start" and task.current_attempt == 1
    foreach = EVERYWHERE.replace('@noted(word="outer")', "@skipped(items=[5, 6, 7])").replace('"missing"', '"items"')
    foreach = foreach.replace("@tried\n        @noted\n        @step", "@step")
    flow(foreach, "run")
    assert len(list(Run("F/4")["each"])) == 3, "a step that is skipped leads on as the graph says"


def test_retry_catch_and_resume(flow: Any) -> None:
    failing = """
        @user_step_decorator
        def failing(step_name, flow, inputs=None, attributes=None):
            flow.attempt = current.retry_count
            yield
            raise ValueError("in the decorator")
    """
    script = dedent(failing) + dedent(
        TWO.format('@catch(var="caught")\n        @retry(times=1)\n        @failing', "pass")
    )
    flow(script, "run")
    task = Run("F/1")["start"].task
    assert task.data.attempt == 1, "the decorator runs in each attempt"
    assert "in the decorator" in str(task.data.caught.exception), "its error is the step's"

    last = TWO.format("@noted", "self.x = 1").replace(
        "@step\n        def end", "@noted\n        @step\n        def end"
    )
    assert flow(last.replace("pass", "1 / 0"), "run", check=False).returncode == 1
    flow(last, "resume")
    assert Run("F/3")["end"].task.data.words == [
        "noted before start", "noted after start", "noted before end", "noted after end"
    ]  # fmt: skip


BROKEN = {
    "two yields": (
        "@user_step_decorator\ndef d(step_name, flow, inputs=None, attributes=None):\n    yield\n    yield\n",
        "@d on step start came to a second `yield`",
    ),
    "no yield was reached": (
        "@user_step_decorator\ndef d(step_name, flow, inputs=None, attributes=None):\n    return\n    yield\n",
        ") on step start ended before its `yield`",
    ),
    "no generator": ("@user_step_decorator\ndef d(step_name, flow):\n    pass\n", "'d' has none"),
    "arguments": ("@user_step_decorator\ndef d(flow):\n    yield\n", "must take (step_name, flow, inputs=None"),
    "what was yielded": (
        "@user_step_decorator\ndef d(step_name, flow, inputs=None, attributes=None):\n    yield 5\n",
        "@d on step start asked for 5",
    ),
    "no arguments are taken": (
        "class e(UserStepDecorator):\n    pass\nd = e(k=1)\n",
        "it takes no arguments, and was given k=1",
    ),
    "init": (
        "class e(UserStepDecorator):\n    def init(self, n): pass\nd = e(k=1)\n",
        "can't be made with its arguments: it raised TypeError",
    ),
    "an unknown name": (
        "class d(StepMutator):\n    def mutate(self, step):\n        step.targets\n",
        "A MutableStep has no 'targets'",
    ),
    "removing a step": (
        "class m(FlowMutator):\n    def mutate(self, flow):\n        flow.remove_step('end')\nd = lambda f: f\nW = m\n",
        "A MutableFlow has no 'remove_step'",
    ),
    "an unknown decorator": (
        "class d(StepMutator):\n    def mutate(self, step):\n        step.add_decorator('retri')\n",
        "It adds @retri to step start, and there is no such decorator of steps. Did you mean 'retry'?",
    ),
    "duplicates": (
        "class e(StepMutator):\n    def mutate(self, s):\n        s.add_decorator('retry', duplicates=s.ERROR)\n"
        "d = lambda f: e(retry(f))\n",
        "It adds @retry to step start, which has it",
    ),
    "a parameter, late": (
        "class m(FlowMutator):\n    def mutate(self, f):\n        f.remove_parameter('x')\nd = lambda f: f\nW = m\n",
        "Call it in pre_mutate",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_mistakes_are_explained(flow: Any, case: str) -> None:
    code, message = BROKEN[case]
    mutated = "@W\n" if "W = m" in code else ""
    result = flow(code + mutated + dedent(TWO.format("@d", "pass")), "run", check=False)
    text = " ".join((result.stderr + result.stdout).split())
    assert result.returncode != 0 and message in text
    assert "metaflow/mutators" not in text or case in ("no generator", "arguments")


def test_a_decorator_stands_above_step(flow: Any) -> None:
    for decorator in ("noted", "tried", "tried(skip=True)"):
        result = flow(
            TWO.format("@step", "pass").replace("@step\n        @step", f"@step\n        @{decorator}"), check=False
        )
        assert result.returncode == 1
        assert f"Write @{decorator.split('(')[0]} above @step" in result.stderr


def test_with_names_a_module(flow: Any) -> None:
    script = TWO.format("", "pass")
    result = flow(script, "run", "--with", "decorators.note", check=False)
    assert "has no decorator of steps 'note'. It has: noted" in result.stderr
    result = flow(script, "run", "--with", "nowhere.note", check=False)
    assert "there is no Python module 'nowhere'" in result.stderr
    flow(script, "run", "--with", "decorators.noted:word=x")
    assert Run("F/1")["end"].task.data.words[-1] == "x after end"


MUTATORS = """
    class robust(FlowMutator):
        def init(self, times=3):
            self.times = times

        def pre_mutate(self, mutable_flow):
            mutable_flow.add_parameter("extra", Parameter("extra", default=4))
            mutable_flow.remove_parameter("old")

        def mutate(self, mutable_flow):
            for name, step in mutable_flow.steps:
                step.add_decorator("retry", deco_kwargs={"times": self.times}, duplicates=step.IGNORE)
                for deco_name, module, args, attributes in step.decorator_specs:
                    if deco_name == "resources":
                        attributes["cpu"] = min(attributes["cpu"], mutable_flow.limits.cpu)
                        step.add_decorator("resources", deco_kwargs=attributes, duplicates=step.OVERRIDE)

    class dataset(StepMutator):
        def init(self, url):
            self.url = url

        def mutate(self, mutable_step):
            assert mutable_step.remove_decorator("timeout") and not mutable_step.remove_decorator("timeout")
            mutable_step.add_decorator(noted, deco_kwargs={"word": self.url}, duplicates=mutable_step.ERROR)

    @robust(times=2)
    class Base(FlowSpec):
        limits = Config("limits", default_value={"cpu": 2, "url": "u"})

    class F(Base):
        old = Parameter("old", default=1)

        @dataset(url=Base.limits.url)
        @timeout(seconds=5)
        @resources(cpu=16)
        @step
        def start(self):
            print(self.extra)
            self.next(self.end)

        @retry(times=1)
        @step
        def end(self):
            pass
"""


def test_mutators_change_decorators_and_parameters(flow: Any) -> None:
    shown = flow(MUTATORS, "output-raw", "--json").stdout
    graph = json.loads(shown)
    decorators = {
        name: {one["name"]: one["attributes"] for one in step["decorators"]} for name, step in graph["steps"].items()
    }
    assert decorators == {
        "start": {"resources": {"cpu": 2}, "retry": {"times": 2}, "noted": {"word": "u"}},
        "end": {"retry": {"times": 1}},
    }
    assert [one["name"] for one in graph["parameters"]] == ["extra"]
    for options in ({}, {"METAFLOW_LAUNCHER": "spawn"}):
        flow(MUTATORS, "run", "--extra", "9", env=options)
    task = Run("F/2")["start"].task
    assert task.stdout == "9\n" and task.data.words == ["u before start", "u after start"]
    assert flow(MUTATORS, "run", "--old", "1", check=False).returncode == 2
    assert "@retry, @noted" in flow(MUTATORS, "show").stdout


def test_a_failing_mutator_is_shown_by_its_own_lines(flow: Any) -> None:
    code = "class m(FlowMutator):\n    def mutate(self, flow):\n        1 / 0\n@m\n"
    result = flow(code + dedent(TWO.format("", "pass")), "check", check=False)
    assert result.returncode == 1
    assert "The mutator @m of flow F (flow.py, line" in result.stderr and "1 / 0" in result.stderr
    assert "metaflow_core" not in result.stderr and "mutators.py" not in result.stderr


KINDS = """
    class F(FlowSpec):
        @step
        def start(self):
            self.where = "left"
            self.next(self.choose)

        @chosen
        @step
        def choose(self):
            self.next({"left": self.left, "right": self.right}, condition="where")

        @step
        def left(self):
            self.next(self.fan)

        @step
        def right(self):
            self.next(self.fan)

        @step
        def fan(self):
            self.next(self.one, self.other)

        @step
        def one(self):
            self.x = 1
            self.next(self.join)

        @step
        def other(self):
            self.x = 2
            self.next(self.join)

        @joined
        @step
        def join(self, inputs):
            self.never = True
            self.next(self.end)

        @step
        def end(self):
            pass
    """
OF_KINDS = """
    from metaflow import UserStepDecorator, user_step_decorator

    @user_step_decorator
    def chosen(step_name, flow, inputs=None, attributes=None):
        flow.where = "right"
        yield {}

    @user_step_decorator
    def noted(step_name, flow, inputs=None, attributes=None):
        yield
        flow.noted = step_name

    class joined(UserStepDecorator):
        def pre_step(self, step_name, flow, inputs=None):
            def instead(flow, inputs):
                flow.sum = sum(one.x for one in inputs)
                flow.merge_artifacts(inputs, exclude=["x", "noted"])
            return instead
    """


def test_a_switch_is_skipped_and_a_join_replaced_by_decorators_of_a_package(flow: Any, project: Path) -> None:
    package = project / "team" / "flows"
    package.mkdir(parents=True)
    (project / "team" / "__init__.py").touch()
    (package / "__init__.py").write_text(dedent(OF_KINDS))
    flow("from team.flows import chosen, joined\n" + dedent(KINDS), "run")
    run = Run("F/1")
    assert {step.id for step in run} == {"start", "choose", "right", "fan", "one", "other", "join", "end"}
    assert run["join"].task.data.sum == 3 and "never" not in run["join"].task
    assert run.data.where == "right"
    noted = "from team.flows import chosen, joined\n" + dedent(KINDS).replace("    pass", "    print('end')")
    flow(noted, "run", "--with", "team.flows.noted")
    assert Run("F/2")["end"].task.data.noted == "end"
