"""Decorators that users define, around steps in R, and around steps in the other language."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from metaflow import Run

FLOW = """
library(metaflow)
noted <- function(word) user_decorator("noted", around = function(self, body) {
  cat(word, "before", current("step_name"), "\\n")
  body()
  cat(word, "after\\n")
})
twice <- user_decorator("twice", around = function(self, body) { body(); body() })
skipped <- user_decorator("skipped", around = function(self, body) self$items <- c(4, 5))
counted <- user_decorator("counted",
  before = function(self, inputs) self$before <- length(inputs),
  after = function(self) self$after <- "done"
)
lenient <- user_decorator("lenient", around = function(self, body) {
  on.exit(self$cleaned <- TRUE)
  tryCatch(body(), error = function(e) self$problem <- conditionMessage(e))
})
flaky <- user_decorator("flaky", around = function(self, body) {
  self$attempt <- current("retry_count")
  body()
  if (self$attempt < 1) stop("not yet")
})
nothing <- function(self) self$never <- TRUE
metaflow("RFlow") |>
  step(noted("outer"), noted("inner"), step = "start", next_step = "more", r_function = \\(self) cat("step\\n")) |>
  step(twice, step = "more", next_step = "split", r_function = function(self) {
    self$n <- (if ("n" %in% names(self)) self$n else 0) + 1
  }) |>
  step(skipped, step = "split", r_function = nothing, next_step = "each", foreach = "items") |>
  step(counted, step = "each", next_step = "join") |>
  step(counted, step = "join", join = TRUE, r_function = function(self, inputs) self$m <- 1, next_step = "bad") |>
  step(lenient, step = "bad", r_function = function(self) stop("oh no"), next_step = "again") |>
  step(retry(times = 1), flaky, step = "again", next_step = "end") |>
  step(decorator("py_decorators.traced", label = "x"), step = "end", r_function = function(self) {
    self$seen <- self$given
    self$table <- data.frame(a = 1:2)
    self$model <- lm(dist ~ speed, cars)
  }) |>
  run()
"""

PY_DECORATORS = """
from metaflow import user_step_decorator

@user_step_decorator
def traced(step_name, flow, inputs=None, attributes=None):
    flow.given = [1, 2]
    flow.given.append(3)
    yield
    flow.rows = len(flow.table)
    flow.kind = type(flow.table).__name__
    flow.label = attributes["label"]

@user_step_decorator
def skipped(step_name, flow, inputs=None, attributes=None):
    flow.items = ["a", "b", "c"]
    yield {}
"""


def test_decorators_around_steps_in_r(
    run_r: Any, r_project: Path, printed: Callable[[subprocess.CompletedProcess[str]], list[str]]
) -> None:
    (r_project / "py_decorators.py").write_text(PY_DECORATORS, encoding="utf-8")
    run_r(FLOW, "run")
    run = Run("RFlow/1")
    assert run["start"].task.stdout.split(" \n")[0] == "outer before start"
    lines = [line.strip() for line in run["start"].task.stdout.splitlines()]
    assert lines == ["outer before start", "inner before start", "step", "inner after", "outer after"]
    assert run["more"].task.data.n == 2, "the step ran twice"
    assert "never" not in run["split"].task and [task.data.after for task in run["each"]] == ["done", "done"]
    assert (run["each"].task.data.before, run["join"].task.data.before) == (0, 2)
    bad = run["bad"].task
    assert (bad.data.problem, bad.data.cleaned) == ("oh no", True)
    assert (run["again"].task.data.attempt, run["again"].task.current_attempt) == (1, 1)
    end = run["end"].task.data
    assert (list(end.seen), end.rows, end.kind, end.label) == ([1, 2, 3], 2, "DataFrame", "x")
    assert "model" in run["end"].task, "a value that only R has stays what it is"
    shown = run_r(r_project / "flow.R", "show").stdout
    assert "Step start (@noted, @noted)" in shown and "Step end (@traced)" in shown


AROUND = """
library(metaflow)
noted <- function(word) user_decorator("noted", around = function(self, body) {
  cat(word, "in", current("step_name"), "\\n", file = "calls.txt", append = TRUE)
  on.exit(cat(word, "out\\n", file = "calls.txt", append = TRUE))
  body()
})
changes <- user_decorator("changes", around = function(self, body) {
  self$x <- self$x * 10
  body()
  self$x <- self$x + 1
})
per_child <- user_decorator("per_child", around = function(self, body) {
  if (self$index == 1L) return(self$score <- -1)
  body()
  self$score <- self$score + 0.5
})
replaces <- user_decorator("replaces", around = function(self, body, inputs) {
  self$total <- sum(unlist(gather_inputs(inputs, "score")))
  merge_artifacts(self, inputs, exclude = "score")
})
chooses <- function(case, run = TRUE) user_decorator("chooses", around = function(self, body) {
  if (run) body()
  self$kind <- case
})
tries <- user_decorator("tries", around = function(self, body) {
  self$tried <- current("retry_count")
  body()
})
refuses <- user_decorator("refuses",
  before = function(self) stop("before the step"), after = function(self) self$never <- 1
)
explains <- user_decorator("explains", around = function(self, body) {
  tryCatch(body(), mine = function(e) stop("explained: ", conditionMessage(e), " ", e$code))
})
sees <- user_decorator("sees", around = function(self, body, inputs) {
  self$seen <- names(inputs)
  body()
  self$caught <- paste(self$caught, "twice")
})
breaks <- user_decorator("breaks", around = function(self, body) {
  body()
  if (file.exists("fail")) stop("after the step")
})
never <- function(self, ...) stop("replaced or skipped")
metaflow("Around") |>
  step(step = "start", next_step = "split", r_function = function(self) {
    self$x <- 1
    self$items <- c("p", "qq", "rrr")
  }) |>
  step(
    noted("a"), changes, noted("b"), step = "split", next_step = "each", foreach = "items",
    r_function = function(self) {
      self$given <- self$x
      self$x <- self$x + 0.5
    }
  ) |>
  step(per_child, step = "each", r_function = function(self) self$score <- nchar(self$input), next_step = "join") |>
  step(replaces, step = "join", join = TRUE, r_function = never, next_step = "pick") |>
  step(
    chooses("up"), step = "pick", r_function = function(self) self$kind <- "nowhere",
    next_step = c(up = "u", down = "fork"), condition = "kind"
  ) |>
  step(
    chooses("down", run = FALSE), step = "u", r_function = never,
    next_step = c(up = "u", down = "fork"), condition = "kind"
  ) |>
  step(step = "fork", next_step = c("l", "r")) |>
  step(
    catch(var = "failure"), retry(times = 1), tries, refuses, step = "l", r_function = function(self) self$never <- 1,
    next_step = "meet"
  ) |>
  step(
    catch(var = "failure"), explains, step = "r", next_step = "meet",
    r_function = function(self) rlang::abort("inner", class = "mine", code = 5)
  ) |>
  step(
    sees, step = "meet", join = TRUE, next_step = "last",
    r_function = function(self, inputs) self$caught <- c(inputs$l$failure$exception, inputs$r$failure$exception)
  ) |>
  step(noted("d"), breaks, step = "last", r_function = function(self) self$y <- 5, next_step = "end") |>
  step(step = "end") |>
  run()
"""


def test_every_kind_of_step_failures_and_resume(run_r: Any, r_project: Path) -> None:
    (r_project / "fail").touch()
    failed = run_r(AROUND, "run", check=False)
    assert failed.returncode == 1
    run = Run("Around/1")

    def data(step: str) -> Any:
        return run[step].task.data

    assert (data("split").given, data("split").x) == (10, 11.5), "what it sets the step sees, and the reverse"
    assert sorted(task.data.score for task in run["each"]) == [-1, 1.5, 3.5], "a decorator skips the step in one child"
    assert (data("join").total, data("join").x) == (4, 11.5)
    assert (data("pick").kind, data("u").kind) == ("up", "down"), "the decorator has the last word in a switch"
    left, right = run["l"].task, run["r"].task
    assert (left.current_attempt, left.data.tried, "never" in left) == (1, 1, False)
    assert left.data.failure.exception == "before the step"
    assert right.data.failure.exception == "explained: inner 5"
    assert list(data("meet").seen) == ["l", "r"]
    assert list(data("meet").caught) == ["before the step twice", "explained: inner 5 twice"]
    last = run["last"].task
    assert last.data.y == 5 and not last.finished and last.exception.exception == "after the step"
    assert "Error in `@breaks`(self = self, body = body): after the step" in failed.stdout

    (r_project / "fail").unlink()
    resumed = run_r("flow.R", "resume", env={"METAFLOW_LAUNCHER": "spawn"})
    assert "finished tasks taken over from run 1." in resumed.stdout
    assert Run("Around/2").successful and Run("Around/2")["end"].task.data.y == 5
    # The decorators of what was taken over did not act again.
    calls = [line.strip() for line in (r_project / "calls.txt").read_text().splitlines()]
    assert calls == ["a in split", "b in split", "b out", "a out", "d in last", "d out", "d in last", "d out"]


def test_an_error_shows_the_calls_of_the_user(run_r: Any) -> None:
    flow = """
    library(metaflow)
    guard <- user_decorator("guard", around = function(self, body) {BODY})
    metaflow("RBad") |>
      step(guard, step = "start", next_step = "end", r_function = function(self) {
        f <- function() stop("here")
        f()
      }) |>
      step(step = "end") |>
      run()
    """
    result = run_r(dedent(flow).replace("{BODY}", "{ body() }"), "run", check=False)
    assert result.returncode == 1
    lines = [line.split(")] ")[-1].strip() for line in result.stdout.splitlines()]
    first = lines.index("Error in f(): here")
    calls = ["`@guard`(self = self, body = body)", "body()", "start(self)", "f()"]
    assert lines[first + 2 : first + 6] == calls
    result = run_r(dedent(flow).replace("{BODY}", '{ stop("mine") }'), "run", check=False)
    assert "mine" in result.stdout and "`@guard`" in result.stdout and "decorated_call" not in result.stdout


MISTAKES = {
    "user_decorator(1)": "needs a name",
    'user_decorator("x")': "it does nothing. Give it around",
    'user_decorator("x", around = 1)': "around must be a function, not 1",
    'user_decorator("x", around = function(me) me)': "around takes me. Write around = function(self, body)",
    'user_decorator("x", around = function(self, body) 1, after = function(self) 1)': "Choose one",
    'metaflow("F", user_decorator("x", after = function(self) 1)) |> step(step = "start", next_step = "end") |> '
    'step(step = "end") |> run()': "@x on flow F (flow.R, line 2) is a decorator of steps",
    'metaflow("F") |> step(user_decorator("x", after = function(self) 1), step = "start", py_function = "a.py:f", '
    'next_step = "end") |> step(step = "end") |> run()': 'give it to the step as decorator("module.x")',
}


@pytest.mark.parametrize("code", MISTAKES)
def test_mistakes_are_explained(run_r: Any, r_project: Path, code: str) -> None:
    (r_project / "a.py").write_text("def f(self):\n    pass\n", encoding="utf-8")
    result = run_r(f"library(metaflow)\n{code}\n", "run", check=False)
    assert result.returncode != 0
    assert MISTAKES[code] in " ".join((result.stdout + result.stderr).split())


def test_python_decorators_around_r_steps_of_a_python_flow(run_flow: Any, r_project: Path) -> None:
    (r_project / "py_decorators.py").write_text(PY_DECORATORS, encoding="utf-8")
    (r_project / "code.R").write_text(
        "fit <- function(self) { self$table <- data.frame(a = 1:3); self$seen <- self$given }\n"
        "never <- function(self) self$never <- TRUE\n",
        encoding="utf-8",
    )
    run_flow(
        """
        from metaflow import FlowSpec, step, r_step
        from py_decorators import skipped, traced

        class Mixed(FlowSpec):
            @traced(label="l")
            @r_step("code.R", "fit")
            def start(self):
                self.next(self.split)

            @skipped
            @r_step("code.R", "never")
            def split(self):
                self.next(self.each, foreach="items")

            @step
            def each(self):
                self.got = self.input
                self.next(self.join)

            @step
            def join(self, inputs):
                self.all = [one.got for one in inputs]
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Mixed()
        """,
        "run",
    )
    run = Run("Mixed/1")
    start = run["start"].task.data
    assert (start.rows, start.kind, start.label, list(start.seen)) == (3, "DataFrame", "l", [1, 2, 3])
    assert run["join"].task.data.all == ["a", "b", "c"] and "never" not in run["split"].task
