"""`--with`: every decorator of steps, its arguments as they are typed, and the places that `--with` comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow, Run
from metaflow_core.decorators.attach import attach, parse
from metaflow_core.decorators.builtin import STEP_DECORATORS
from metaflow_core.decorators.provided import step_decorator_classes
from metaflow_core.decorators.resolve import check_decorators
from metaflow_core.errors import MetaflowException
from metaflow_core.graph.model import FlowDef, StepDef, Transition

# An example of each, and the arguments it gives.
EACH = {
    "retry:times=2,minutes_between_retries=0.5": {"times": 2, "minutes_between_retries": 0.5},
    "catch:var=why,print_exception=False": {"var": "why", "print_exception": False},
    "timeout:seconds=30,minutes=1": {"seconds": 30, "minutes": 1},
    'environment:vars={"A": "x, y: z", "B": 1}': {"vars": {"A": "x, y: z", "B": 1}},
    "resources:cpu=2,memory=500": {"cpu": 2, "memory": 500},
    "parallel": {},
    "secrets:sources=env.A,allow_override=true": {"sources": "env.A", "allow_override": True},
    'r_packages:packages={"cli": ""},disabled=true': {"packages": {"cli": ""}, "disabled": True},
    'pypi:packages={"x": "1"},python="3.11",disabled=true': {
        "packages": {"x": "1"},
        "python": "3.11",
        "disabled": True,
    },
    'conda:packages={"x": ">=1,<2"},disabled=true': {"packages": {"x": ">=1,<2"}, "disabled": True},
}


def graph() -> FlowDef:
    steps = {"start": StepDef("start", transition=Transition("linear", ("end",))), "end": StepDef("end")}
    return FlowDef("F", steps)


@pytest.mark.parametrize("text", EACH)
def test_each_decorator(text: str) -> None:
    flow = graph()
    attach(flow, [text])
    check_decorators(flow)
    for step in flow:
        assert [(spec.name, spec.attributes) for spec in step.decorators] == [(text.partition(":")[0], EACH[text])]


def test_there_is_an_example_of_each() -> None:
    """Of those of the core; those of plugins, and with them all others, can be added by their names."""
    examples = {text.partition(":")[0] for text in EACH}
    assert {cls.name for cls in STEP_DECORATORS} <= examples
    for name in set(step_decorator_classes()) - examples:
        flow = graph()
        attach(flow, [name])
        assert [spec.name for spec in flow["end"].decorators] == [name]


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("3", 3),
        ("-1.5", -1.5),
        ("1e-3", 0.001),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("null", None),
        ("None", None),
        ("NULL", None),
        ("text with blanks", "text with blanks"),
        ("a:b:c=d", "a:b:c=d"),
        ("it's", "it's"),
        ('"3"', "3"),
        ("'3'", "3"),
        ('"a,b"', "a,b"),
        ("'a,b'", "a,b"),
        ('"with \\"quotes\\", and more"', 'with "quotes", and more'),
        ("[1, 2.5, true]", [1, 2.5, True]),
        ("['a', 'b,c']", ["a", "b,c"]),
        ('{"a": {"b": [1, "x,y"]}}', {"a": {"b": [1, "x,y"]}}),
        ("{'a': True, 'b': None}", {"a": True, "b": None}),
        ("[not json", "[not json"),
        ("", ""),
    ],
)
def test_how_values_are_read(typed: str, value: object) -> None:
    found = parse(f"catch:var={typed}").attributes
    assert found == {"var": value}
    assert type(found["var"]) is type(value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["retri:times=2"], "there is no step decorator 'retri'. Did you mean @retry?"),
        (["exit_hook"], "@exit_hook is a decorator of flows: write it above the flow."),
        (["retry:tmes=2"], "does not take 'tmes'. Did you mean 'times'?"),
        (["retry:2"], "expected retry:key=value, not '2'"),
        (["retry:times=1", "retry:times=2"], "--with retry is given twice, with different arguments. Give it once."),
    ],
)
def test_what_is_refused(given: list[str], message: str) -> None:
    with pytest.raises(MetaflowException) as raised:
        attach(graph(), given)
    assert message in str(raised.value)


FLOW = """
    import os
    from metaflow import FlowSpec, current, environment, retry, step

    class With(FlowSpec):
        @retry(times=0)
        @step
        def start(self):
            self.colour = os.environ.get("COLOUR")
            if os.environ.get("FAIL"):
                raise ValueError("on demand")
            self.next(self.end)

        @environment(vars={"COLOUR": "own"})
        @step
        def end(self):
            self.last = os.environ["COLOUR"]
            if current.retry_count < int(os.environ.get("FAILURES", "0")):
                raise ValueError("not yet")

    if __name__ == "__main__":
        With()
"""
RED = "environment:vars={'COLOUR': 'dark red, a: b'}"


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_a_step_keeps_its_own(run_flow: Any, launcher: str) -> None:
    env = {"METAFLOW_LAUNCHER": launcher, "FAILURES": "1"}
    result = run_flow(FLOW, "run", "--with", RED, "--with", "retry:times=2", env=env)
    data = Run("With/1").data
    assert (data.colour, data.last) == ("dark red, a: b", "own")
    assert result.stdout.count("Task is starting (retry).") == 1
    result = run_flow("flow.py", "run", "--with", "retry:times=2", env={**env, "FAIL": "1"}, check=False)
    assert "(retry)" not in result.stdout


def test_in_resume_and_spin(run_flow: Any) -> None:
    run_flow(FLOW, "run", env={"FAIL": "1"}, check=False)
    run_flow("flow.py", "resume", "--with", RED)
    assert Run("With/2").data.colour == "dark red, a: b"
    assert "dark red" in run_flow("flow.py", "spin", "start", "--with", RED).stdout
    assert "dark red" in run_flow("flow.py", "--with", RED, "spin", "start").stdout


def test_parallel_on_steps_of_no_gang(run_flow: Any) -> None:
    result = run_flow(FLOW, "run", "--with", "parallel", check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert "step 'end' has @parallel and needs num_parallel" in result.stderr


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_a_stronger_place_wins(run_flow: Any, project: Path, launcher: str) -> None:
    """The same decorator in a file, in the environment, before the command and after it; others are added."""

    def colour(*command: str, **env: str) -> Any:
        run_flow(FLOW, *command, env={"METAFLOW_LAUNCHER": launcher, **env})
        return Flow("With").latest_run.data.colour

    def red(name: str) -> str:
        return f'environment:vars={{"COLOUR": "{name}"}}'

    (project / ".metaflow" / "config.json").write_text(json.dumps({"METAFLOW_WITH": [red("file"), "retry:times=1"]}))
    assert colour("run") == "file"
    if launcher == "fork":
        assert colour("run", METAFLOW_WITH=red("variable")) == "variable"
        assert colour("--with", red("before"), "run", METAFLOW_WITH=red("variable")) == "before"
    assert colour("--with", red("before"), "run", METAFLOW_RUN_WITH=red("of-run")) == "of-run"
    assert colour("--with", red("before"), "run", "--with", red("after"), METAFLOW_RUN_WITH=red("x")) == "after"
