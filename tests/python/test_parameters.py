"""`Parameter`, `IncludeFile` and `JSONType` in flows that run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FLOW = """
    import json
    from metaflow import FlowSpec, IncludeFile, JSONType, Parameter, step

    def owner(context):
        print("called for", context.parameter_name)
        context.logger("computing")
        return f"{context.user_name} of {context.flow_name}"

    class F(FlowSpec):
        alpha = Parameter("al-pha", default=0.5, help="learning rate")
        count = Parameter("count", type=int)
        flag = Parameter("flag", is_flag=True)
        names = Parameter("names", separator=",", default="a,b")
        settings = Parameter("settings", type=JSONType, default='{"depth": 3}')
        owner = Parameter("owner", default=owner)
        text = IncludeFile("text", default="notes.txt")
        data = IncludeFile("data", is_text=False)

        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            print("values", json.dumps([
                self.alpha, self.count, self.flag, self.names, self.settings, self.owner, self.text,
                None if self.data is None else len(self.data),
            ]))

    if __name__ == "__main__":
        F()
"""


@pytest.fixture
def files(project: Path) -> Path:
    (project / "notes.txt").write_text("Notizen: ü", encoding="utf-8")
    (project / "data.bin").write_bytes(b"\\x00\\xff")
    return project


def values(stdout: str) -> Any:
    return json.loads(next(line for line in stdout.splitlines() if "] values " in line).split("] values ", 1)[1])


def test_defaults(run_flow: Any, files: Path) -> None:
    result = run_flow(FLOW, "run")
    assert values(result.stdout) == [0.5, None, False, ["a", "b"], {"depth": 3}, "tester of F", "Notizen: ü", None]
    assert result.stdout.count("called for owner") == 1
    assert "computing" in result.stderr


def test_given_values(run_flow: Any, files: Path) -> None:
    (files / "other.txt").write_text("other")
    result = run_flow(
        FLOW,
        "run",
        *("--al-pha", "2", "--count=7", "--flag", "--names", "x y,z", "--settings", "[1, null]"),
        *("--owner", "me", "--text", "other.txt", "--data", "data.bin"),
        env={"METAFLOW_RUN_COUNT": "8"},
    )
    assert values(result.stdout) == [2.0, 7, True, ["x y", "z"], [1, None], "me", "other", 8]
    assert "called for" not in result.stdout


def test_values_from_the_environment(run_flow: Any, files: Path) -> None:
    result = run_flow(FLOW, "run", env={"METAFLOW_RUN_COUNT": "8", "METAFLOW_RUN_AL_PHA": "0.25"})
    assert values(result.stdout)[:2] == [0.25, 8]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--count", "many"], "Invalid value for '--count': must be a whole number, not 'many'."),
        (["--flag", "maybe"], "Invalid value for '--flag': must be true or false"),
        (["--settings", "{"], "Invalid value for '--settings': must be JSON"),
        (["--data", "gone.bin"], "Invalid value for '--data': the file 'gone.bin' can't be read"),
        (["--alpha", "1"], "No such option"),
    ],
)
def test_bad_values_are_usage_errors(run_flow: Any, files: Path, arguments: list[str], message: str) -> None:
    result = run_flow(FLOW, "run", *arguments, check=False)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_missing_default_file_is_named(run_flow: Any, project: Path) -> None:
    result = run_flow(FLOW, "run", check=False)
    assert result.returncode == 1
    assert "the file 'notes.txt' can't be read" in result.stderr


SMALL = """
    from metaflow import FlowSpec, JSONType, Parameter, step
    def fail(context):
        raise RuntimeError("no network")
    class F(FlowSpec):
        p = Parameter({parameter})
        @step
        def start(self):
            print("value", repr(self.p))
    if __name__ == "__main__":
        F()
"""


@pytest.mark.parametrize(
    "parameter, code, message",
    [
        ('"p", required=True', 2, "Missing option '--p'"),
        ('"max-workers", default=1', 1, "(flow.py, line 6): the name is reserved"),
        ('"p", default="x", type=int', 1, "the default 'x' is a str, but the type is int"),
        ('"p", default=fail', 1, "raised RuntimeError in flow.py, line 4: no network"),
        ('"p", default=lambda context: 1', 1, "returned 1, and the parameter must be text"),
    ],
)
def test_wrong_parameters(run_flow: Any, parameter: str, code: int, message: str) -> None:
    result = run_flow(SMALL.format(parameter=parameter), "run", check=False)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_parameters_of_a_base_class_and_constants_as_artifacts(run_flow: Any) -> None:
    run_flow(
        """
        from metaflow import FlowSpec, Parameter, step
        class Base(FlowSpec):
            rate = Parameter("rate", default=1.5)
            unit = "kg"
        class F(Base):
            @step
            def start(self): pass
        if __name__ == "__main__":
            F()
        """,
        "run",
    )
    from metaflow import Run

    data = Run("F/1").data
    assert (data.rate, data.unit, data.name) == (1.5, "kg", "F")
