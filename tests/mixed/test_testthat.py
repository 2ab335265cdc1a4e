"""The tests that are written in R, one file at a time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1] / "testthat"
RUN = """
if (!requireNamespace("testthat", quietly = TRUE) || !requireNamespace("withr", quietly = TRUE)) quit(status = 77)
library(metaflow)
testthat::test_file(
  commandArgs(TRUE), package = "metaflow", load_package = "installed", reporter = "check", stop_on_failure = TRUE
)
"""


@pytest.mark.parametrize("file", sorted(path.name for path in TESTS.glob("test-*.R")))
def test_in_r(file, r_project):
    # CI: a snapshot that is not there yet is a failure too
    environment = {**os.environ, "NOT_CRAN": "true", "CI": "true", "METAFLOW_USER": "tester"}
    result = subprocess.run(
        ["Rscript", "-e", RUN, str(TESTS / file)], env=environment, capture_output=True, text=True, timeout=600
    )
    if result.returncode == 77:
        pytest.skip("the R packages testthat and withr are not installed; `make setup` installs them")
    assert result.returncode == 0, result.stdout + result.stderr
