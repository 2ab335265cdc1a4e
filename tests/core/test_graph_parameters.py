"""What parameters accept, what they become, and what defaults are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from metaflow_core.errors import (
    MetaflowException,
    MetaflowUsageError,
    ParameterFieldFailed,
    ParameterFieldTypeMismatch,
)
from metaflow_core.graph.model import FlowDef, Location, ParameterDef
from metaflow_core.graph.parameter_options import options_for
from metaflow_core.graph.parameters import ParameterContext, accept, check_parameters, convert, evaluate

CONTEXT = ParameterContext("F", "anne")


def flow_with(*parameters: ParameterDef) -> FlowDef:
    return FlowDef("F", parameters=list(parameters))


@pytest.mark.parametrize(
    "parameter, given, expected",
    [
        (ParameterDef("p"), "x y", "x y"),
        (ParameterDef("p"), 5.0, "5"),
        (ParameterDef("p", default=1), "7", 7),
        (ParameterDef("p", default=1), 7.0, 7),
        (ParameterDef("p", default=1), np.int32(7), 7),
        (ParameterDef("p", type=int), "9007199254740993", 9007199254740993),
        (ParameterDef("p", default=0.5), "1e-3", 0.001),
        (ParameterDef("p", default=0.5), 2, 2.0),
        (ParameterDef("p", type="float"), np.float64(0.5), 0.5),
        (ParameterDef("p", default=False), "True", True),
        (ParameterDef("p", type=bool), "no", False),
        (ParameterDef("p", type=bool), True, True),
        (ParameterDef("p", separator=","), "a,b", ["a", "b"]),
        (ParameterDef("p", separator=","), "", []),
        (ParameterDef("p", separator="::"), ["a", "b"], ["a", "b"]),
        (ParameterDef("p", type="json"), '{"a": [1, null]}', {"a": [1, None]}),
        (ParameterDef("p", type="json"), {"a": 1}, {"a": 1}),
        (ParameterDef("p", default=[1, 2]), "[3]", [3]),
        (ParameterDef("p", type=click.Choice(["a", "b"])), "b", "b"),
    ],
)
def test_convert(parameter: ParameterDef, given: Any, expected: Any) -> None:
    value = convert(parameter, given)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    "parameter, given, message",
    [
        (ParameterDef("p", type=int), "1.5", "'p' must be a whole number, not '1.5'"),
        (ParameterDef("p", type=int), 1.5, "whole number"),
        (ParameterDef("p", type=int), True, "whole number"),
        (ParameterDef("p", type=int), float("inf"), "whole number"),
        (ParameterDef("p", type=float), "x", "must be a number"),
        (ParameterDef("p", type=bool), "maybe", "true or false"),
        (ParameterDef("p", type=bool), 1, "true or false"),
        (ParameterDef("p"), ["a"], "must be text"),
        (ParameterDef("p", type="json"), "{", "must be JSON"),
        (ParameterDef("p", type="json"), {"a": object()}, "must be JSON"),
        (ParameterDef("p", separator=","), 1, "',' between the elements"),
        (ParameterDef("p", type=click.Choice(["a"])), "b", "'p': 'b' is not"),
        (ParameterDef("p", type="file"), "missing.csv", "the file 'missing.csv' can't be read: No such file"),
        (ParameterDef("p", type="file"), ".", "can't be read: Is a directory"),
        (ParameterDef("p", type="file"), 1, "the path of a file, not 1"),
    ],
)
def test_values_that_do_not_fit(parameter: ParameterDef, given: Any, message: str) -> None:
    with pytest.raises(ParameterFieldTypeMismatch, match=message.replace("(", r"\(")):
        convert(parameter, given)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ([ParameterDef("max-workers")], "'max-workers': the name is reserved"),
        ([ParameterDef("max_workers")], "the name is reserved"),
        ([ParameterDef("Tag")], "the name is reserved"),
        ([ParameterDef("input")], "the name is reserved"),
        ([ParameterDef("x", attribute="next")], "the name is reserved"),
        ([ParameterDef("a b")], "'a b': a name has letters"),
        ([ParameterDef("--x")], "a name has letters"),
        ([ParameterDef("")], "a name has letters"),
        ([ParameterDef("alpha"), ParameterDef("Alpha")], "'Alpha': the name is taken by parameter 'alpha'"),
        ([ParameterDef("a-b"), ParameterDef("a_b")], "is taken by parameter 'a-b'"),
        ([ParameterDef("x", attribute="a"), ParameterDef("y", attribute="a")], "is taken by parameter 'x'"),
        ([ParameterDef("x", type=list)], "is no type of a parameter"),
        ([ParameterDef("x", type=click.Choice)], "is no type of a parameter"),
        ([ParameterDef("x", type=int, separator=",")], "separator goes with text"),
        ([ParameterDef("x", separator="")], "separator must be text"),
        ([ParameterDef("x", type=int, default="1")], "the default '1' is a str, but the type is int"),
        ([ParameterDef("x", type=str, default=1)], "the default 1 is a int"),
        ([ParameterDef("x", type=float, default=True)], "the default True is a bool"),
        ([ParameterDef("x", type="json", default="{")], "must be JSON"),
        ([ParameterDef("x", type=list, location=Location("/tmp/f.py", 7))], r"'x' \(.*f.py, line 7\)"),
    ],
)
def test_parameters_that_can_not_work(parameters: list[ParameterDef], message: str) -> None:
    with pytest.raises(MetaflowException, match=message):
        check_parameters(flow_with(*parameters))


def test_an_artifact_may_be_called_like_an_option_of_run() -> None:
    flow = flow_with(ParameterDef("workers", attribute="max_workers", default=1))
    check_parameters(flow)
    assert evaluate(flow, accept(flow, {"workers": 3}), CONTEXT) == {"max_workers": 3}


# --- defaults --------------------------------------------------------------------------------------------------------


def test_defaults_and_given_values() -> None:
    flow = flow_with(
        ParameterDef("a-b", default=1), ParameterDef("none"), ParameterDef("names", separator=",", default="x,y")
    )
    assert evaluate(flow, {}, CONTEXT) == {"a_b": 1, "none": None, "names": ["x", "y"]}
    assert evaluate(flow, accept(flow, {"a_b": "2", "none": "z"}), CONTEXT) == {
        "a_b": 2,
        "none": "z",
        "names": ["x", "y"],
    }


def test_unknown_value_names_the_parameters() -> None:
    with pytest.raises(MetaflowUsageError, match=r"has no parameter 'beta'\. Its parameters: alpha"):
        accept(flow_with(ParameterDef("alpha")), {"beta": 1})


def test_required() -> None:
    flow = flow_with(ParameterDef("p", required=True))
    with pytest.raises(MetaflowUsageError, match="'p' is required"):
        evaluate(flow, {}, CONTEXT)
    assert evaluate(flow, {}, CONTEXT, required=False) == {"p": None}


def test_functions_are_called_once_and_only_when_needed() -> None:
    calls = []

    def default(context: ParameterContext) -> str:
        calls.append(context.parameter_name)
        return f"{context.flow_name} {context.user_name} {context.ds_type}"

    flow = flow_with(ParameterDef("one", default=default), ParameterDef("two", default=default))
    assert evaluate(flow, accept(flow, {"two": "given"}), CONTEXT) == {"one": "F anne local", "two": "given"}
    assert calls == ["one"]


def test_function_that_raises() -> None:
    flow = flow_with(ParameterDef("p", default=lambda context: 1 / 0))
    with pytest.raises(ParameterFieldFailed, match=r"'p' raised ZeroDivisionError in .*parameters\.py, line \d+: "):
        evaluate(flow, {}, CONTEXT)


@pytest.mark.parametrize("type, result", [(None, 1), (int, "1"), (bool, 1), (float, "x")])
def test_function_that_returns_another_type(type: Any, result: Any) -> None:
    flow = flow_with(ParameterDef("p", type=type, default=lambda context: result))
    with pytest.raises(ParameterFieldTypeMismatch, match=f"returned {result!r}"):
        evaluate(flow, {}, CONTEXT)


def test_context_of_a_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = ParameterContext.of(FlowDef("F"), "anne")
    context.logger("hello")
    assert (context.flow_name, context.user_name, context.ds_type) == ("F", "anne", "local")
    assert capsys.readouterr() == ("", "hello\n")


# --- files -----------------------------------------------------------------------------------------------------------


def test_files(project: Path) -> None:
    (project / "text.txt").write_bytes("Grüße".encode("latin-1"))
    text = ParameterDef("p", type="file", options={"encoding": "latin-1"})
    assert convert(text, "text.txt") == "Grüße"
    raw = ParameterDef("p", type="file", options={"is_text": False})
    assert convert(raw, "text.txt") == "Grüße".encode("latin-1")
    with pytest.raises(ParameterFieldTypeMismatch, match=r"'text\.txt' is not text in utf-8"):
        convert(ParameterDef("p", type="file"), "text.txt")
    with pytest.raises(MetaflowException, match="no encoding 'klingon'"):
        convert(ParameterDef("p", type="file", options={"encoding": "klingon"}), "text.txt")


def test_parsers_of_files(project: Path) -> None:
    (project / "numbers.json").write_text("[1, 2]")
    for parser in (lambda text: len(text), "builtins.len"):
        assert convert(ParameterDef("p", type="file", options={"parser": parser}), "numbers.json") == 6
    with pytest.raises(ParameterFieldFailed, match=r"the file 'numbers\.json'\. It raised ValueError"):
        convert(ParameterDef("p", type="file", options={"parser": int}), "numbers.json")
    with pytest.raises(MetaflowException, match=r"'nowhere\.at_all' can't be found"):
        convert(ParameterDef("p", type="file", options={"parser": "nowhere.at_all"}), "numbers.json")


def test_default_of_a_file_is_a_path_read_when_the_run_starts(project: Path) -> None:
    flow = flow_with(ParameterDef("p", type="file", default="later.txt"))
    options_for(flow)
    (project / "later.txt").write_text("now")
    assert evaluate(flow, {}, CONTEXT) == {"p": "now"}


# --- options of the command line -------------------------------------------------------------------------------------


def invoke(flow: FlowDef, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, dict[str, Any]]:
    values: dict[str, Any] = {}

    def callback(**given: Any) -> None:
        values.update(evaluate(flow, given, CONTEXT))

    command = click.Command("run", params=list(options_for(flow)), callback=callback)
    result = CliRunner().invoke(command, arguments, env=env, auto_envvar_prefix="METAFLOW_RUN")
    return result.exit_code, result.output, values


def test_options() -> None:
    flow = flow_with(
        ParameterDef("al-pha", default=0.5),
        ParameterDef("flag", default=True),
        ParameterDef("names", separator=","),
        ParameterDef("data", type="json"),
    )
    code, _, values = invoke(flow, "--al-pha", "2", "--flag", "False", "--names=a,b", "--data", "null")
    assert code == 0
    assert values == {"al_pha": 2.0, "flag": False, "names": ["a", "b"], "data": None}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--flag"], {"flag": True, "n": 1}),
        (["--flag", "--n", "2"], {"flag": True, "n": 2}),
        (["--n", "2", "--flag"], {"flag": True, "n": 2}),
        (["--flag", "False"], {"flag": False, "n": 1}),
        ([], {"flag": False, "n": 1}),
    ],
)
def test_a_flag_needs_no_value(arguments: list[str], expected: dict[str, Any]) -> None:
    flow = flow_with(ParameterDef("flag", default=False), ParameterDef("n", default=1))
    code, output, values = invoke(flow, *arguments)
    assert (code, values) == (0, expected), output
    assert invoke(flow, "--flag", "maybe")[0] == 2
    assert invoke(flow, env={"METAFLOW_RUN_FLAG": "yes"})[2] == {"flag": True, "n": 1}
    assert invoke(flow, "--n")[0] == 2, "others do"


def test_null_differs_from_no_value() -> None:
    flow = flow_with(ParameterDef("data", type="json", default={"a": 1}))
    assert invoke(flow, "--data", "null")[2] == {"data": None}
    assert invoke(flow)[2] == {"data": {"a": 1}}


def test_environment_gives_values() -> None:
    flow = flow_with(ParameterDef("al-pha", attribute="a", default=0.5))
    assert invoke(flow, env={"METAFLOW_RUN_AL_PHA": "3"})[2] == {"a": 3.0}
    assert invoke(flow, "--al-pha", "4", env={"METAFLOW_RUN_AL_PHA": "3"})[2] == {"a": 4.0}
    assert invoke(flow, env={"METAFLOW_RUN_AL_PHA": "x"})[0] == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "Missing option '--count'"),
        (("--count", "x"), "Invalid value for '--count': must be a whole number, not 'x'."),
        (("--count", "1", "--file", "no.csv"), "Invalid value for '--file': the file 'no.csv' can't be read"),
        (("--conut", "1"), "No such option"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], message: str) -> None:
    flow = flow_with(ParameterDef("count", type=int, required=True), ParameterDef("file", type="file"))
    code, output, _ = invoke(flow, *arguments)
    assert code == 2
    assert message in output


def test_help_shows_types_and_defaults() -> None:
    flow = flow_with(
        ParameterDef("alpha", default=0.5, help="learning rate"),
        ParameterDef("hidden", default="secret", show_default=False),
        ParameterDef("kind", type=click.Choice(["a", "b"])),
    )
    _, output, _ = invoke(flow, "--help")
    assert "--alpha FLOAT" in output and "learning rate  [default: 0.5]" in output
    assert "secret" not in output
    assert "[a|b]" in output
