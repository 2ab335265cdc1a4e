"""Lineage, what ran, and the comparison of runs, in R and between the languages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TRAIN = """
library(metaflow)
library(tools)
metaflow("TrainFlow") |>
  parameter("alpha", default = 0.1) |>
  step(step = "start", next_step = "fit", r_function = function(self) {
    self$cars <- transform(mtcars, mpg = mpg + self$alpha)
    self$same <- letters
  }) |>
  step(step = "fit", next_step = "end", r_function = function(self) {
    self$model <- lm(mpg ~ wt, self$cars[1:(200 * self$alpha), ])
    self$metrics <- c(rmse = self$alpha, mae = 0.5)
    self$matrix <- matrix(c(1, NA, self$alpha, 4), 2)
  }) |>
  step(step = "end", r_function = function(self) self$good <- self$alpha > 0.12) |>
  run()
"""
READER = """
from metaflow import Flow, FlowSpec, r_step, step

class ReaderFlow(FlowSpec):
    @step
    def start(self):
        self.good = Flow("TrainFlow").latest_run.data.good
        self.next(self.look)

    @r_step("steps/look.R")
    def look(self):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    ReaderFlow()
"""
LOOK = """
look <- function(self) {
  run <- flow_client$new("TrainFlow")$latest_run
  self$metrics <- run$artifact("metrics")
  n <- nrow(run$step("start")$a_task$data$cars)
  run$artifacts$model$size # this reads no value
}
"""
IN_R = """
library(metaflow)
old <- run_client$new("TrainFlow/1")
inputs <- run_client$new("ReaderFlow/1")$inputs
stopifnot(
  identical(names(inputs), c("artifact", "run", "step", "task", "at")),
  identical(inputs$artifact, paste0("TrainFlow/2/", c("end/3/good", "end/3/metrics", "start/1/cars"))),
  identical(inputs$step, c("start", "look", "look")),
  all(inputs$run == "TrainFlow/2"), inherits(inputs$at, "POSIXct"),
  nrow(old$inputs) == 0L, nrow(old$consumers) == 0L,
  all(run_client$new("TrainFlow/2")$consumers$run == "ReaderFlow/1"),
  identical(names(run_client$new("ReaderFlow/1")$source), c("reader.py", "steps/look.R")),
  grepl("matrix(c(1, NA", old$source[["train.R"]], fixed = TRUE),
  identical(old$environment$versions[["r"]], as.character(getRversion())),
  identical(old$environment$packages$r[["magrittr"]], as.character(packageVersion("magrittr"))),
  !"tools" %in% names(old$environment$packages$r)
)
difference <- old$diff(2)
stopifnot(
  inherits(difference, "metaflow_diff"), difference$differs,
  difference$old == "TrainFlow/1", difference$new == "TrainFlow/2",
  identical(difference$parameters$name, "alpha"), identical(difference$parameters$new, "0.15"),
  identical(difference$artifacts$name, c("cars", "matrix", "metrics", "model", "good")),
  identical(difference$artifacts$step, c("start", "fit", "fit", "fit", "end")),
  identical(subset(difference$tags, change == "added")$name, "better"),
  identical(difference$facts$fact[[1]], "status"),
  identical(as.data.frame(difference)$section[[1]], "parameters"),
  identical(as.data.frame(old$diff("TrainFlow/2")), as.data.frame(difference)),
  identical(as.data.frame(old$diff(flow_client$new("TrainFlow")$latest_run)), as.data.frame(difference)),
  "good" %in% old$step("end")$diff("TrainFlow/2/end")$artifacts$name,
  "FALSE \\u2192 TRUE" %in% old$step("end")$a_task$diff("TrainFlow/2/end/3", full = TRUE)$artifacts$detail,
  length(difference$code) == 0L, startsWith(attr(difference, "html"), "<table>")
)
print(difference)
say <- function(expression) tryCatch(expression, error = function(e) cat(class(e)[[1]], conditionMessage(e), "\\n"))
say(old$diff("TrainFlow/9"))
say(old$diff(old$step("end")))
say(old$diff(2, full = NA))
say(old$diff())
"""


@pytest.fixture
def runs(run_r: Any, run_flow: Any, r_project: Path) -> Path:
    run_r(TRAIN, "run", name="train.R")
    run_r(TRAIN, "run", "--alpha", "0.15", "--tag", "better", name="train.R")
    (r_project / "steps").mkdir()
    (r_project / "steps" / "look.R").write_text(LOOK)
    run_flow(READER, "run", name="reader.py")
    return r_project


def test_runs_in_r_and_python_are_told_in_r_and_python(runs: Path, run_r: Any) -> None:
    text = run_r(IN_R, name="look.R").stdout
    assert "\x1b" not in text
    assert text.partition("\n\n")[2].startswith(
        """Parameters
  ~ alpha  0.1 → 0.15  (+0.05)

Artifacts
  start
    ~ cars  data.frame, 32 rows
          mpg: 32 of 32 values changed, by 0.05 at most, +0.05 on average
  fit
"""
    )
    assert "\n          rmse: 0.1 → 0.15  (+0.05)\n" in text
    assert "(2, 2): 1 of 4 values changed" in text
    assert "~ model    lm, " in text and "not looked into" in text
    assert "  end\n    ~ good  FALSE → TRUE\n" in text
    assert "metaflow_not_found MetaflowNotFound: There is no run 'TrainFlow/9'." in text
    assert "metaflow_invalid_pathspec" in text
    assert "`full` is TRUE or FALSE, not NA." in text

    from metaflow_core.results import Run, default_namespace

    default_namespace()
    diff = Run("TrainFlow/1").diff(2)
    found = {change.name: change.difference for change in diff.artifacts}
    assert found["cars"]["columns"]["mpg"]["max_difference"] == pytest.approx(0.05)
    assert (found["good"]["old"], found["good"]["new"]) == ("FALSE", "TRUE")
    assert found["model"]["kind"] == "opaque"
    assert [read.step for read in Run("ReaderFlow/1").inputs] == ["start", "look", "look"]


def test_functions_that_are_in_no_recorded_file_are_recorded_themselves(run_r: Any, r_project: Path) -> None:
    (r_project / "features.py").write_text("def build(self):\n    self.x = 1\n")
    script = """
        library(metaflow)
        source("helpers.R")
        metaflow("HelpedFlow") |>
          step(step = "start", next_step = "middle", py_function = "features.py:build") |>
          step(step = "middle", next_step = "last", r_function = add) |>
          step(step = "last", next_step = "end", r_function = function(self, ...) {
            print(self$y) # in this file
          }) |>
          step(step = "end") |>
          run()
    """
    for number in ("1", "2L"):
        (r_project / "helpers.R").write_text(f"add <- function(self) self$y <- self$x + {number}\n")
        run_r(script, "run", name="script.R")

    from metaflow_core.results import Run, default_namespace

    default_namespace()
    run = Run("HelpedFlow/1")
    assert list(run.source) == ["script.R", "features.py", "middle()"]
    assert run.source["features.py"] == "def build(self):\n    self.x = 1\n"
    assert "self$y <- self$x + 1" in (run.source["middle()"] or "")
    assert list(run.diff(2).code) == ["middle()"]


def test_a_session_has_no_file(run_r: Any, r_project: Path) -> None:
    (r_project / "console.R").write_text(
        """
        library(metaflow)
        flow <- metaflow("SessionFlow") |>
          step(step = "start", next_step = "end", r_function = function(self) self$x <- 1) |>
          step(step = "end")
        options(knitr.in.progress = TRUE) # a notebook runs flows as a session does
        run(flow)
        """
    )
    run_r(r_project / "console.R")

    from metaflow_core.results import Run, default_namespace

    default_namespace()
    assert {name: (text or "").split() for name, text in Run("SessionFlow/1").source.items()} == {
        "start()": ["function", "(self)", "self$x", "<-", "1"]
    }


def test_help_names_are_completed(runs: Path, run_r: Any, printed: Callable[..., list[str]]) -> None:
    text = run_r(
        """
        library(metaflow)
        run <- run_client$new("TrainFlow/1")
        stopifnot(all(c("inputs", "consumers", "source", "environment", "diff") %in% .DollarNames(run, "")))
        str(run$diff("TrainFlow/2"))
        """,
        name="complete.R",
    ).stdout
    assert text == " <difference of TrainFlow/1 and TrainFlow/2>\n"
