"""`FlowSpec` and its decorators as a user meets them."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from metaflow import FlowSpec, Parameter, environment, retry, step
from metaflow.exception import (
    BadFlowDecoratorException,
    BadStepDecoratorException,
    DuplicateStepDecoratorException,
    InvalidDecoratorAttribute,
    MetaflowException,
)


class Quiet(FlowSpec):
    alpha = Parameter("alpha", default=1)
    constant = [1]

    @step
    def start(self) -> None:
        self.next(self.end)

    @step
    def end(self) -> None: ...


# --- decorators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target, shown",
    [
        (type("Klass", (), {}), "the class 'Klass'"),
        (staticmethod(print), "'print'"),
        (property(lambda self: 1), "property"),
        (lambda self: 1, "'<lambda>'"),
        (5, "a value of type int"),
    ],
)
def test_step_on_something_else(target: Any, shown: str) -> None:
    with pytest.raises(BadStepDecoratorException, match=shown):
        step(target)


def test_step_that_would_never_run() -> None:
    async def coroutine(self: Any) -> None: ...

    def generator(self: Any) -> Any:
        yield 1

    for function in (coroutine, generator):
        with pytest.raises(BadStepDecoratorException, match=f"{function.__name__!r} must be a plain method"):
            step(function)


def test_step_twice() -> None:
    with pytest.raises(BadStepDecoratorException, match="@step stands twice above 'start'"):

        class F(FlowSpec):
            @step
            @step
            def start(self) -> None: ...


@pytest.mark.parametrize("decorator", [retry, retry(), retry(times=2)])
def test_decorator_below_step(decorator: Any) -> None:
    with pytest.raises(BadStepDecoratorException, match=r"'start', which is no step \(yet\). Write @retry above @step"):

        class F(FlowSpec):
            @step
            @decorator
            def start(self) -> None: ...


def test_step_decorator_on_a_flow() -> None:
    with pytest.raises(BadStepDecoratorException, match="stands above the class 'F'"):

        @retry
        class F(FlowSpec): ...


def test_flow_decorator_on_a_step() -> None:
    from metaflow.decorators import FlowDecorator

    with pytest.raises(BadFlowDecoratorException, match="@project decorates a flow, but it stands above the function"):
        FlowDecorator("project")(name="p")(Quiet.start)


def test_decorator_twice() -> None:
    with pytest.raises(DuplicateStepDecoratorException, match="'start' has the decorator @retry twice"):

        class F(FlowSpec):
            @retry
            @environment(vars={"A": "1"})
            @retry(times=1)
            @step
            def start(self) -> None: ...


def test_positional_arguments() -> None:
    with pytest.raises(InvalidDecoratorAttribute, match="@retry takes its arguments by name"):
        retry(3)


# --- outside of a task -----------------------------------------------------------------------------------------------


def test_a_flow_object_outside_of_a_run() -> None:
    flow = Quiet(use_cli=False)
    assert flow.name == "Quiet"
    assert [s.__name__ for s in flow] == ["start", "end"]
    assert isinstance(Quiet.alpha, Parameter)
    assert flow.constant == [1]
    with pytest.raises(AttributeError, match="'alpha' has a value only while the flow runs"):
        flow.alpha  # noqa: B018
    with pytest.raises(AttributeError, match="'Quiet' has no attribute 'x'"):
        flow.x  # noqa: B018
    with pytest.raises(MetaflowException, match=r"self.next\(\) can be used in a step only"):
        flow.next(flow.end)
    flow.note = "plain attributes are free"
    assert flow.note
    del flow.note
    assert not hasattr(flow, "note")


@pytest.mark.parametrize("store", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_flow_can_not_be_stored(store: Any) -> None:
    with pytest.raises(MetaflowException, match="The flow Quiet can't be stored or copied"):
        store(Quiet(use_cli=False))


# --- inside of a task ------------------------------------------------------------------------------------------------

ATTRIBUTES = """
    import json
    from functools import cached_property
    from metaflow import FlowSpec, Parameter, step

    def outcome(function):
        try:
            return function()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    class F(FlowSpec):
        alpha = Parameter("al-pha", default=3)
        constant = {"a": 1}
        _cache = None

        @property
        def doubled(self):
            return self.x * 2

        @property
        def broken(self):
            return self.nowhere

        @property
        def percent(self):
            return self._percent

        @percent.setter
        def percent(self, value):
            self._percent = value / 100

        @cached_property
        def slow(self):
            return [self.alpha]

        def helper(self):
            return self.x

        @classmethod
        def make(cls):
            return cls.constant

        @step
        def start(self):
            self.x = 1
            self.items = []
            self.items.append(1)
            same = self.items
            self._cache = "set"
            self.percent = 50
            found = {
                "parameter": self.alpha, "constant": self.constant, "name": self.name, "helper": self.helper(),
                "doubled": self.doubled, "percent": self.percent, "slow": self.slow is self.slow, "make": self.make(),
                "cache": self._cache, "same": same is self.items, "input": (self.input, self.index),
                "stack": self.foreach_stack(),
                "missing": outcome(lambda: self.missing),
                "broken": outcome(lambda: self.broken),
                "set parameter": outcome(lambda: setattr(self, "alpha", 1)),
                "set constant": outcome(lambda: setattr(self, "constant", 1)),
                "set step": outcome(lambda: setattr(self, "end", 1)),
                "set method": outcome(lambda: setattr(self, "helper", 1)),
                "set api": outcome(lambda: setattr(self, "merge_artifacts", 1)),
                "set input": outcome(lambda: setattr(self, "input", 1)),
                "set read-only": outcome(lambda: setattr(self, "doubled", 1)),
                "delete missing": outcome(lambda: delattr(self, "missing")),
                "delete constant": outcome(lambda: delattr(self, "constant")),
                "steps": [s.__name__ for s in self],
            }
            self.gone = 1
            del self.gone
            found["deleted"] = hasattr(self, "gone")
            print(json.dumps(found))
            self.next(self.middle)

        @step
        def middle(self):
            self.items.append(2)
            del self.x
            self.next(self.end)

        @step
        def end(self):
            found = {"items": self.items, "x": hasattr(self, "x"), "cache": self._cache, "percent": self.percent}
            print(json.dumps(found))

    if __name__ == "__main__":
        F()
"""


def printed(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line.split("] ", 1)[1]) for line in stdout.splitlines() if "] {" in line]


def test_attributes_in_a_task(run_flow: Any) -> None:
    start, end = printed(run_flow(ATTRIBUTES, "run").stdout)
    assert start == {
        "parameter": 3,
        "constant": {"a": 1},
        "name": "F",
        "helper": 1,
        "doubled": 2,
        "percent": 0.5,
        "slow": True,
        "make": {"a": 1},
        "cache": "set",
        "same": True,
        "input": [None, None],
        "stack": [],
        "missing": "AttributeError: Step 'start' of flow 'F' has no artifact 'missing'. Set self.missing in this step "
        "before it is used, or in a step that leads here.",
        "broken": "AttributeError: Step 'start' of flow 'F' has no artifact 'nowhere'. Set self.nowhere in this step "
        "before it is used, or in a step that leads here.",
        "set parameter": "AttributeError: self.alpha can't be assigned: it is a parameter of F. Choose another name.",
        "set constant": "AttributeError: self.constant can't be assigned: it is a constant of F. Choose another name.",
        "set step": "AttributeError: self.end can't be assigned: it is a step of F. Choose another name.",
        "set method": "AttributeError: self.helper can't be assigned: it is defined as code in the class of F. "
        "Choose another name.",
        "set api": "AttributeError: self.merge_artifacts can't be assigned: FlowSpec uses the name itself. "
        "Choose another name.",
        "set input": start["set input"],
        "set read-only": start["set read-only"],
        "delete missing": start["missing"],
        "delete constant": "AttributeError: F.constant belongs to the flow and can't be deleted in a step.",
        "steps": ["start", "middle", "end"],
        "deleted": False,
    }
    for refused in ("set input", "set read-only"):
        assert start[refused].startswith("AttributeError: ")
    assert end == {"items": [1, 2], "x": False, "cache": "set", "percent": 0.5}


def test_absent_artifact_of_a_join_says_how_to_get_it(run_flow: Any) -> None:
    result = run_flow(
        """
        from metaflow import FlowSpec, step
        class F(FlowSpec):
            @step
            def start(self):
                self.x = 1
                self.next(self.a, self.b)
            @step
            def a(self): self.next(self.join)
            @step
            def b(self): self.next(self.join)
            @step
            def join(self, inputs):
                print(self.x)
                self.next(self.end)
            @step
            def end(self): pass
        if __name__ == "__main__":
            F()
        """,
        "run",
        check=False,
    )
    assert result.returncode == 1
    assert "In a join, take it from one of the inputs (inputs[0].x) or call self.merge_artifacts(inputs)" in (
        result.stdout + result.stderr
    )


@pytest.mark.parametrize(
    "call, message",
    [
        ("self.next(helper)", "self.next() takes steps of the flow, such as self.end, not 'helper', which is no step"),
        ("self.next('end')", "not 'end', which is no step"),
        (
            "self.next(self.end, bogus=1)",
            "does not take bogus. It takes foreach, num_parallel and condition",
        ),
        ("self.next({'a': self.end}, self.end, condition='x')", "takes one dict and nothing beside it"),
        ("self.next(self.end)", "next twice"),
    ],
)
def test_wrong_next_at_run_time(run_flow: Any, call: str, message: str) -> None:
    # A first call that only happens at run time: what stands at the end of the body is checked before.
    result = run_flow(
        f"""
        from metaflow import FlowSpec, step
        def helper(): pass
        def wrong(self):
            {call}
        class F(FlowSpec):
            @step
            def start(self):
                wrong(self)
                self.next(self.end)
            @step
            def end(self): pass
        if __name__ == "__main__":
            F()
        """,
        "run",
        check=False,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 1
    assert "InvalidNextException" in output and message in output


def test_a_flow_as_an_artifact_fails_the_task(run_flow: Any) -> None:
    result = run_flow(
        """
        from metaflow import FlowSpec, step
        class F(FlowSpec):
            @step
            def start(self):
                self.callback = self.helper
            def helper(self): pass
        if __name__ == "__main__":
            F()
        """,
        "run",
        check=False,
    )
    assert result.returncode == 1
    assert "callback" in result.stdout + result.stderr


# --- the program -----------------------------------------------------------------------------------------------------


def test_flow_without_source_is_an_error_without_traceback(run_flow: Any) -> None:
    result = run_flow(
        '''
        exec("""
        from metaflow import FlowSpec, step
        class F(FlowSpec):
            @step
            def start(self): pass
        F()
        """.replace("\\n        ", "\\n"))
        ''',
        "check",
        check=False,
    )
    assert result.returncode == 1
    assert "define the flow in a file or in a notebook cell" in result.stderr
    assert "Traceback" not in result.stderr


def test_flow_run_as_a_module(run_flow: Any, project: Path) -> None:
    import subprocess
    import sys

    package = project / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "names.py").write_text("GREETING = 'hello from a package'\n")
    (package / "flow.py").write_text(
        "from metaflow import FlowSpec, step\nfrom .names import GREETING\n"
        "class F(FlowSpec):\n    @step\n    def start(self):\n        print(GREETING)\n"
        "if __name__ == '__main__':\n    F()\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "package.flow", "run"], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "hello from a package" in result.stdout


def test_program_is_the_command_without_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from metaflow.flowspec import _program

    monkeypatch.setattr(sys, "executable", "/bin/python")
    for command, arguments in (
        (["python", "flow.py"], ["run", "--tag", "a b"]),
        (["python3", "-u", "-X", "dev", "flow.py"], []),
        (["python", "-m", "package.flow"], ["run"]),
    ):
        monkeypatch.setattr(sys, "orig_argv", [*command, *arguments])
        monkeypatch.setattr(sys, "argv", ["/somewhere/flow.py", *arguments])
        assert _program() == ["/bin/python", *command[1:]]
    monkeypatch.setattr(sys, "argv", ["flow.py", "changed"])
    assert _program() == ["/bin/python", "flow.py"]
