"""Values: R reads back what R wrote, identically, and Python reads it natively."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
EXPRESSIONS = [line for line in (HERE / "r_values.txt").read_text().splitlines() if line and not line.startswith("#")]

# What Python must make of an R value: the start of its repr.
NATIVE = {
    "NULL": "None",
    "TRUE": "True",
    "NA": "None",
    "5L": "5",
    "1.5": "1.5",
    "NaN": "nan",
    '"a"': "'a'",
    "as.raw(0:255)": "b'\\x00\\x01",
    "1+2i": "(1+2j)",
    "c(TRUE,NA,FALSE)": "[True, None, False]",
    "1:3": "[1, 2, 3]",
    'c("a",NA,"b")': "['a', None, 'b']",
    "c(a=1,b=2)": "{'a': 1.0, 'b': 2.0}",
    'list(a=1,b="x")': "{'a': 1.0, 'b': 'x'}",
    'as.Date("2024-02-29")': "datetime.date(2024, 2, 29)",
    'as.POSIXct("2024-03-31 02:30:00", tz="UTC")': "datetime.datetime(2024, 3, 31, 2, 30, tzinfo=datetime.timezone.utc",
    'as.difftime(5, units="mins")': "datetime.timedelta(seconds=300)",
    'structure(3600, class=c("hms","difftime"), units="secs")': "datetime.time(1, 0)",
    'bit64::as.integer64("9007199254740993")': "9007199254740993",
    "matrix(1:6, 2)": "array([[1, 3, 5],",
    'iconv("\\u00e9","UTF-8","latin1")': "'é'",
    "lm(mpg ~ wt, mtcars)": "<lm written in R:",
    "function(x) x + 1": "<function written in R:",
}
PYTHON_TYPES = {
    "mtcars": "DataFrame",
    "iris": "DataFrame",
    "tibble::tibble(a=1:2,b=list(1,2:3))": "DataFrame",
    'factor(c("a","b","a"))': "Categorical",
    "Matrix::sparseMatrix(i=c(1,2),j=c(1,3),x=c(1.5,2))": "csc_matrix",
}
# Values that carry what Python has no place for: reading them in Python must say so.
WARNS = ['setNames(1:3, c("a","a",""))', "ts(1:12, start=c(2020,1), frequency=12)", 'structure(1, class="foo")']


@pytest.fixture(scope="module")
def results(r_library: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "check_r_values.py")],
        input=json.dumps(EXPRESSIONS),
        env={**os.environ, "R_LIBS": str(r_library)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "JSON" in done.stdout, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.partition("JSON")[2])
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_r_reads_back_what_r_wrote(results: dict[str, Any], expression: str) -> None:
    found = results[expression]
    if "there is no package called" in found.get("error", "") or "loadNamespace" in found.get("error", ""):
        pytest.skip("the R package of this value is not installed")
    assert "error" not in found, found
    assert found["identical"], found
    assert found["stable"], "the fingerprint of the value that was read is another one"


@pytest.mark.parametrize("expression", NATIVE)
def test_python_reads_it_natively(results: dict[str, Any], expression: str) -> None:
    assert results[expression]["python"].startswith(NATIVE[expression]), results[expression]


@pytest.mark.parametrize("expression", PYTHON_TYPES)
def test_python_reads_tables_and_arrays_as_its_own(results: dict[str, Any], expression: str) -> None:
    assert results[expression].get("python_type") == PYTHON_TYPES[expression], results[expression]


@pytest.mark.parametrize("expression", WARNS)
def test_what_python_can_not_show_is_told(results: dict[str, Any], expression: str) -> None:
    assert any("Python has no place for" in text for text in results[expression]["warned"])


def test_small_values_need_no_arrow(results: dict[str, Any]) -> None:
    for expression in ("TRUE", "5L", '"a"', "1:3", "c(a=1,b=2)", 'list(a=1,b="x")', 'as.Date("2024-02-29")'):
        assert results[expression]["encoding"] in ("bool", "int", "str", "json"), results[expression]
