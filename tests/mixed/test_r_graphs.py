"""Flows in R of every shape: branches, foreaches and joins inside each other, merges, switches; what tasks share."""

from __future__ import annotations

import re
from pathlib import Path

NESTED = """
library(metaflow)
library(stats4)
scale <- 10
helper <- function(x) x * scale
writes <- function(n) function(self) self$made <- n
metaflow("NestedFlow") |>
  step(step = "start", next_step = c("p", "q"), r_function = function(self) {
    self$common <- data.frame(x = 1:2)
    "the last value of a function"
  }) |>
  step(step = "p", foreach = "outer", next_step = "inner", r_function = function(self) {
    self$outer <- factor(c("u", "v"))
  }) |>
  step(step = "inner", foreach = "js", next_step = "leaf", r_function = function(self) {
    self$o <- self$input
    self$js <- list(first = 1, second = c(2, 3))
  }) |>
  step(step = "leaf", next_step = c("s2", "s1"), r_function = function(self) {
    stack <- foreach_stack(self)
    stopifnot(identical(stack[[2]], list(self$index, 2L, self$input)), identical(stack[[1]][[3]], self$o))
    self$v <- paste(as.character(self$o), sum(self$input), stack[[1]][[1]], self$index)
  }) |>
  step(step = "s1", r_function = writes(1), next_step = "static") |>
  step(step = "s2", r_function = writes(2), next_step = "static") |>
  step(step = "static", join = TRUE, next_step = "in_join", r_function = function(self, inputs) {
    stopifnot(identical(names(inputs), c("s2", "s1")))
    self$made <- paste(inputs$s1$made, inputs[["s2"]]$made, inputs[[1]]$made)
    merge_artifacts(self, inputs)
  }) |>
  step(step = "in_join", join = TRUE, next_step = "out_join", r_function = function(self, inputs) {
    stopifnot(is.null(names(inputs)), length(inputs) == 2)
    self$vs <- unlist(gather_inputs(inputs, "v"))
    merge_artifacts(self, inputs, include = c("common", "made"))
  }) |>
  step(step = "out_join", join = TRUE, next_step = "final", r_function = function(self, inputs) {
    self$vs <- do.call(c, gather_inputs(inputs, "vs"))
    merge_artifacts(self, inputs)
  }) |>
  step(step = "q", next_step = "final") |>
  step(step = "final", join = TRUE, next_step = "end", r_function = function(self, inputs) {
    self$from <- vapply(inputs, function(i) length(names(i)), 1L)
    merge_artifacts(self, inputs)
  }) |>
  step(step = "end", r_function = function(self) {
    cat("vs:", self$vs, sep = " | ")
    cat("\\nmade:", self$made, "common:", self$common$x, "helper:", helper(2), "\\n")
    cat("stats4:", "stats4" %in% .packages(), "\\n")
    cat("input:", is.null(self$input), "index:", is.null(self$index), "stack:", length(foreach_stack(self)), "\\n")
    cat("from:", names(self$from), "\\n")
  }) |>
  run()
"""


def test_splits_inside_each_other(run_r, printed):
    found = printed(run_r(NESTED, "run"))
    at = next(i for i, line in enumerate(found) if line.startswith("vs:"))
    assert found[at : at + 5] == [
        "vs: | u 1 0 0 | u 5 0 1 | v 1 1 0 | v 5 1 1",
        "made: 1 2 2 common: 1 2 helper: 20 ",
        "stats4: TRUE ",
        "input: TRUE index: TRUE stack: 0 ",
        "from: out_join q ",
    ]
    assert not any("the last value" in line for line in found)


MERGE = """
library(metaflow)
attempt <- function(code) {
  error <- tryCatch(code, error = function(e) e)
  cat(class(error)[[1]], "|", gsub("\\n", " ", conditionMessage(error)), "|", error$artifact_names, "\\n")
}
metaflow("MergeFlow") |>
  step(step = "start", r_function = function(self) self$same <- list(1, "a"), next_step = c("a", "b")) |>
  step(step = "a", next_step = "join", r_function = function(self) {
    self$x <- 1
    self$y <- "p"
    self$only <- "A"
    self$m <- matrix(1:4, 2)
  }) |>
  step(step = "b", next_step = "join", r_function = function(self) {
    self$x <- 2
    self$y <- "q"
    self$m <- matrix(1:4, 2)
  }) |>
  step(step = "join", join = TRUE, next_step = "end", r_function = function(self, inputs) {
    attempt(merge_artifacts(self, inputs))
    cat("nothing is set:", "same" %in% names(self), "\\n")
    attempt(merge_artifacts(self, inputs, include = "nope"))
    attempt(merge_artifacts(self, inputs, include = "same", exclude = "x"))
    attempt(merge_artifacts(self, 5))
    attempt(gather_inputs(self, "x"))
    attempt(gather_inputs(inputs, "nope"))
    attempt(gather_inputs(inputs, 5))
    attempt(inputs$aa)
    attempt(inputs$a$x <- 3)
    attempt(self$x)
    self$x <- 9
    merge_artifacts(self, inputs, exclude = "y")
    cat(sort(names(self)), dim(self$m), "\\n")
    stop("in the join")
  }) |>
  step(step = "end") |>
  run()
"""


def test_what_a_join_can_and_can_not_do(run_r, printed):
    result = run_r(MERGE, "run", check=False)
    assert result.returncode == 1
    found = printed(result)
    at = next(i for i, line in enumerate(found) if line.startswith("metaflow_unhandled"))
    wanted = [
        (
            "metaflow_unhandled_in_merge_artifacts | UnhandledInMergeArtifactsException: ",
            "different values of x, y.",
            "| x y ",
        ),
        ("nothing is set: FALSE",),
        ("metaflow_missing_in_merge_artifacts | MissingInMergeArtifactsException: ", "no branch has nope", "| nope "),
        ("merge_artifacts takes include or exclude, not both", "MergeArtifactsException"),
        ("metaflow_invalid_argument | The inputs are the second argument of a join's function", "Given was 5."),
        ("metaflow_invalid_argument | The inputs are the second argument of a join's function",),
        ("AttributeError", 'The branch "a" (input 1) has no artifact "nope". It has: '),
        ("takes the name of one artifact, not 5.",),
        ('the join has no input "aa". Did you mean `a`?',),
        ("The artifacts of an input can't be changed. Set them on self.",),
        (
            "AttributeError",
            'Step "join" has no artifact "x". In a join, take it from one of the inputs (inputs[[1]]$x)',
        ),
        ("m name only same x 2 2",),
        ("Error in join(self, inputs): in the join",),
    ]
    for line, parts in zip(found[at:], wanted, strict=False):
        for part in parts:
            assert part in line


SWITCH = """
library(metaflow)
metaflow("SwitchFlow") |>
  parameter("how", default = "text") |>
  step(step = "start", condition = "case", next_step = c(a = "again", b = "other", `2` = "other"),
       r_function = function(self) {
    self$i <- 0
    self$case <- switch(self$how, text = "a", factor = factor("b"), number = 2, na = NA, several = c("a", "b"))
  }) |>
  step(step = "again", condition = "more", next_step = c(yes = "again", no = "end"), r_function = function(self) {
    self$i <- self$i + 1
    self$more <- if (self$i < 3) "yes" else "no"
  }) |>
  step(step = "other", r_function = function(self) self$i <- -1, next_step = "end") |>
  step(step = "end", r_function = function(self) cat("i:", self$i, "\\n")) |>
  run()
"""


def test_a_switch_and_a_loop(run_r):
    assert "i: 3" in run_r(SWITCH, "run").stdout
    for how in ("factor", "number"):
        assert "i: -1" in run_r("flow.R", "run", "--how", how).stdout
    for how, shown in (("na", "NA"), ("several", 'c("a", "b")')):
        failed = run_r("flow.R", "run", "--how", how, check=False)
        assert failed.returncode == 1
        assert f"the condition 'case' has the value '{shown}', which is none of the cases: a, b, 2." in failed.stdout


STATE = """
library(metaflow)
counter <- 0
body <- function(self) {
  counter <<- counter + 1
  options(digits = 3 + counter)
  Sys.setenv(LEFT_OVER = "set")
  cat("counter", counter, "digits", getOption("digits"), "file", file.exists("made.txt"), "\\n")
  cat(current()$step_name, current("retry_count"), "\\n")
  if (current("step_name") == "flaky" && current("retry_count") < 1) stop("once")
}
metaflow("StateFlow") |>
  step(step = "start", r_function = body, next_step = "flaky") |>
  step(retry(times = 2), step = "flaky", r_function = body, next_step = "caught") |>
  step(catch(var = "failure"), retry(times = 1), step = "caught", next_step = "end", r_function = function(self) {
    self$kept <- c(a = 1)
    self$kept[["b"]] <- 2
    tools::pskill(Sys.getpid(), 9)
  }) |>
  step(environment_variables(GIVEN = "x y"), step = "end", r_function = function(self) {
    cat("left:", Sys.getenv("LEFT_OVER"), "given:", Sys.getenv("GIVEN"), "\\n")
    cat("failure:", conditionMessage(self$failure), self$failure$type, "\\n")
    tryCatch(stop(self$failure), error = function(e) cat("stopped again:", class(e), "\\n"))
  }) |>
  run()
"""


def test_tasks_share_nothing_and_failures_are_repeated_and_caught(run_r, printed):
    result = run_r(STATE, "run", check=False)
    found = printed(result)
    assert found.count("counter 1 digits 4 file FALSE ") == 3, "each task and each attempt starts anew"
    assert [line for line in found if line.startswith("flaky")] == ["flaky 0 ", "flaky 1 "]
    assert found.count("Task is starting (retry).") == 2
    assert "left:  given: x y " in found
    assert any(line.startswith("failure:") and "signal 9" in line for line in found), result.stdout
    assert "stopped again: metaflow_task_error error condition " in found
    assert result.returncode == 0


def test_a_script_that_is_run_from_elsewhere(run_r, r_project: Path, monkeypatch):
    (r_project / "code").mkdir()
    (r_project / "code" / "helpers.R").write_text("shared <- function() 'from helpers'")
    (r_project / "code" / "flow.R").write_text(
        """
        library(metaflow)
        source("code/helpers.R")
        metaflow("ElsewhereFlow") |>
          step(step = "start", r_function = function(self) self$x <- shared(), next_step = "end") |>
          step(step = "end", r_function = function(self) cat(self$x, "in", basename(getwd()), "\\n")) |>
          run()
        """
    )
    assert "from helpers in project" in run_r("code/flow.R", "run").stdout


CHOICES = """
library(metaflow)
metaflow("ChoicesRFlow") |>
  step(step = "start", foreach = "values", next_step = "each", r_function = function(self) {
    self$values <- list(TRUE, FALSE, NULL, 3L, 3, "text", factor("text"))
  }) |>
  step(
    step = "each", condition = "value",
    next_step = list(`TRUE` = "yes", `FALSE` = "no", `NULL` = "nothing", `3` = "three", text = "words"),
    r_function = function(self) self$value <- self$input
  ) |>
  step(step = "yes", next_step = "meet", r_function = function(self) self$took <- "yes") |>
  step(step = "no", next_step = "meet", r_function = function(self) self$took <- "no") |>
  step(step = "nothing", next_step = "meet", r_function = function(self) self$took <- "nothing") |>
  step(step = "three", next_step = "meet", r_function = function(self) {
    if (Sys.getenv("FAIL") != "") stop("told to")
    self$took <- "three"
    self$only_three <- 3
  }) |>
  step(step = "words", next_step = "meet", r_function = function(self) self$took <- "words") |>
  step(step = "meet", next_step = "join") |>
  step(step = "join", join = TRUE, next_step = "end", r_function = function(self, inputs) {
    self$took <- unlist(gather_inputs(inputs, "took"))
    merge_artifacts(self, inputs, exclude = "value")
  }) |>
  step(step = "end", r_function = function(self) cat("took:", self$took, self$only_three, "\\n")) |>
  run()
"""


def test_cases_of_every_type_in_a_foreach_resumed(run_r):
    assert run_r(CHOICES, "run", env={"FAIL": "1"}, check=False).returncode == 1
    said = run_r("flow.R", "resume", "--dry-run").stdout
    assert re.search(r"three +.*runs? again: three/", said)
    resumed = run_r("flow.R", "resume").stdout
    assert "took: yes no nothing three three words words 3" in resumed
    shown = run_r("flow.R", "show").stdout
    assert "one of TRUE: yes, FALSE: no, NULL: nothing, 3: three, text: words (condition value)" in shown
    assert "only_three" in run_r("flow.R", "spin", "three").stdout


WRONG_CHOICES = """
library(metaflow)
try_step <- function(...) tryCatch(
  metaflow("F") |> step(step = "start", ...),
  error = function(e) cat(gsub("\\n", " ", conditionMessage(e)), "\\n")
)
try_step(next_step = c("a", "b"), condition = "x")
try_step(next_step = c(u = "a", v = "b"))
try_step(next_step = list("a", 5), condition = "x")
try_step(next_step = list(u = "a", v = "b"), condition = "x", foreach = "y")
"""


def test_wrong_choices(run_r):
    found = run_r(WRONG_CHOICES, name="wrong.R").stdout.splitlines()
    assert "with a condition each of the next steps needs a name" in found[0]
    assert "next_step has names, so it is a choice" in found[1] and 'condition = "size"' in found[1]
    assert "next_step must be the name of a step, or several" in found[2]
    assert "foreach, condition and num_parallel can't be combined" in found[3]
