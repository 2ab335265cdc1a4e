"""Errors are one table for both languages: what R signals is documented, and is what Python raises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from metaflow_core.errors import table

ROOT = Path(__file__).resolve().parents[2]


def documented() -> list[str]:
    """The classes that `?metaflow_error` lists."""
    page = (ROOT / "man" / "metaflow_error.Rd").read_text()
    return re.findall(r"\\item \\code\{(metaflow_\w+)\}", page)


def test_every_class_is_documented_once():
    listed = documented()
    assert len(listed) == len(set(listed))
    assert [cls.condition for cls in table() if cls.condition not in listed] == []


def test_what_r_signals_itself_is_documented():
    sources = "".join(path.read_text() for path in (ROOT / "R").glob("*.R"))
    given = set(re.findall(r'class = "(metaflow_\w+)"', sources))
    # A class with methods is that of an object, as a rule.
    objects = set(re.findall(r"S3method\([^,]*,(metaflow_\w+)\)", (ROOT / "NAMESPACE").read_text()))
    assert "metaflow_invalid_argument" in given
    assert given - objects - set(documented()) - {"metaflow_include_file"} == set()


CASES = [
    ("flow_client$new('NoFlow')", "Flow('NoFlow')", "metaflow_not_found"),
    ("flow_client$new('OtherFlow')", "Flow('OtherFlow')", "metaflow_namespace_mismatch"),
    ("run_client$new('a/b/c')", "Run('a/b/c')", "metaflow_invalid_pathspec"),
    ("run_client$new('MineFlow/1')$add_tags('')", "Run('MineFlow/1').add_tags([''])", "metaflow_tagging_error"),
]
FLOW = """
library(metaflow)
metaflow("{name}") |> step(step = "start", next_step = "end") |> step(step = "end") |> run()
"""


def test_both_languages_fail_alike(run_r):
    from metaflow import Flow, Run, default_namespace
    from metaflow_core.errors import MetaflowException

    run_r(FLOW.format(name="MineFlow"), "run", name="mine.R")
    run_r(FLOW.format(name="OtherFlow"), "run", name="other.R", user="will")
    look = "".join(
        f"e <- tryCatch({code}, error = identity)\n"
        "cat(class(e), '\\n', gsub('\\n', ' ', conditionMessage(e)), '\\n', sep = ' ')\n"
        for code, _, _ in CASES
    )
    told = run_r("library(metaflow)\n" + look, name="look.R").stdout.splitlines()
    default_namespace()
    for (_, python, condition), classes, message in zip(CASES, told[::2], told[1::2], strict=True):
        assert condition in classes.split() and "metaflow_error" in classes.split()
        with pytest.raises(MetaflowException) as raised:
            eval(python, {"Flow": Flow, "Run": Run})
        text = str(raised.value.args[0])
        assert raised.value.condition == condition
        # The same words, as far as they do not say what to write next.
        assert text.split(".")[0].split(":")[0] in message, (text, message)
        assert "Traceback" not in message and "rpy2" not in message
