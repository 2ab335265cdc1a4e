"""Invalid flows, as the command line refuses them: file, line, advice, exit code 1, nothing stored."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

HEAD = "from metaflow import FlowSpec, step\n\nclass F(FlowSpec):\n"
TAIL = "\nif __name__ == '__main__':\n    F()\n"


def flow(**steps: str) -> str:
    """A flow file; a step is ``"next"`` arguments, and a name with ``_join`` takes inputs."""
    text = HEAD
    for name, following in steps.items():
        arguments = "self, inputs" if "join" in name else "self"
        text += f"    @step\n    def {name}({arguments}):\n        {following or 'pass'}\n"
    return text + TAIL


END = {"end": ""}


@pytest.mark.parametrize(
    "source, line, message",
    [
        (flow(start="self.next(self.input)", input="self.next(self.end)", **END), 8, "the name is reserved"),
        (flow(start="self.next(self.Train)", Train="self.next(self.end)", **END), 8, "lower-case letters"),
        (flow(start="pass", **END), 5, "End it with self.next(self.end), or another step."),
        (flow(start="self.next(self.train)", **END), 6, "'train', which is no step of the flow. Steps: start, end."),
        (flow(start="self.next(self.a)", a="self.next(self.b)", b="self.next(self.a)", **END), 12, "a -> b -> a"),
        (flow(start="self.next(self.end)", a="self.next(self.end)", **END), 8, "no step leads to it"),
        (flow(start="self.next(self.end, foreach=3)", **END), 6, "foreach='items'"),
        (
            flow(start="self.next(self.join, foreach='x')", join="self.next(self.end)", **END),
            6,
            "straight into the join",
        ),
        (
            flow(start="self.next(self.a, self.b)", a="self.next(self.end)", b="self.next(self.end)", **END),
            14,
            "Put a join before it: def join(self, inputs): with self.next(self.end)",
        ),
        (flow(start="self.next({'x': self.end}, condition='c')", **END), 6, "at least two cases"),
        (HEAD + "    x = 1\n" + TAIL, 3, "it has no steps"),
    ],
)
def test_check_points_to_the_line(run_flow: Any, project: Path, source: str, line: int, message: str) -> None:
    result = run_flow(source, "check", check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"(flow.py, line {line}): " in result.stderr
    assert message in result.stderr
    assert "Validity checker found an issue" in result.stderr
    assert "Traceback" not in result.stderr


def test_run_refuses_before_anything_is_stored(run_flow: Any, project: Path) -> None:
    result = run_flow(flow(start="self.next(self.a)", **END), "run", check=False)
    assert result.returncode == 1
    assert "which is no step of the flow" in result.stderr
    assert result.stdout == ""


def test_check_of_a_valid_flow(run_flow: Any) -> None:
    source = flow(start="self.next(self.end)", **END)
    for arguments in ([], ["check"]):
        result = run_flow(source, *arguments)
        assert result.stdout == ""
        assert "The graph looks good." in result.stderr
    assert run_flow(source, "--quiet", "check").stderr == ""


def test_check_also_checks_decorators(run_flow: Any) -> None:
    source = dedent(
        """
        from metaflow import FlowSpec, step, retry
        class F(FlowSpec):
            @retry(tmies=3)
            @step
            def start(self): pass
        F()
        """
    )
    result = run_flow(source, "check", check=False)
    assert result.returncode == 1
    assert "'tmies'" in result.stderr


def test_invalid_flows_can_be_shown(run_flow: Any) -> None:
    result = run_flow(flow(start="self.next(self.nowhere)", **END), "show")
    assert "Step start" in result.stdout and "=> nowhere" in result.stdout


@pytest.mark.parametrize(
    "command, first",
    [
        (["show"], "Step start"),
        (["output-dot"], 'digraph "F" {'),
        (["output-mermaid"], "flowchart LR"),
        (["output-raw", "--json"], '{"name": "F"'),
    ],
)
def test_content_is_on_stdout_and_banners_on_stderr(run_flow: Any, command: list[str], first: str) -> None:
    result = run_flow(flow(start="self.next(self.end)", **END), *command)
    assert result.stdout.startswith(first)
    assert "executing F for user:tester" in result.stderr
