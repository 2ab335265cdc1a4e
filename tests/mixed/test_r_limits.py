"""Timeouts, resources, settings and `with =` of flows in R."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from metaflow import Run, Task

LATE = """
library(metaflow)
metaflow("LateFlow") |>
  step(step = "start", next_step = "late", foreach = "how", r_function = function(self) {
    self$how <- c("a loop in R", "asleep", "a child", "a loop in C")
  }) |>
  step(
    timeout(seconds = 1), retry(times = 1), catch(var = "why", print_exception = FALSE),
    step = "late", next_step = "join", r_function = function(self) {
      self$before <- self$input
      switch(self$input,
        "a loop in R" = repeat NULL,
        "asleep" = Sys.sleep(100),
        "a child" = system("sleep 100"),
        # a prime length: so long that it is never over, and without a look at signals
        "a loop in C" = fft(numeric(15485863))
      )
    }
  ) |>
  step(step = "join", join = TRUE, next_step = "end", r_function = function(self, inputs) {
    self$before <- vapply(inputs[1:2], function(input) input$before, "") # a process that is killed stores nothing
    self$classes <- vapply(inputs, function(input) paste(class(input$why), collapse = " "), "")
    self$whys <- vapply(inputs, function(input) paste(input$why$type, conditionMessage(input$why)), "")
  }) |>
  step(step = "end", r_function = function(self) cat(self$whys, self$classes, sep = "\\n")) |>
  run()
"""


def test_a_timeout_ends_r_wherever_it_is(run_r: Any) -> None:
    result = run_r(LATE, "run")
    assert result.stdout.count("Task is starting (retry).") == 4, "a retry after a timeout works"
    data = Run("LateFlow/1").data
    for why in data.whys:
        assert why.startswith("TimeoutException Step late ran longer than its @timeout"), data.whys
    assert "did not stop when asked, so it was killed" in data.whys[3]
    assert "of 1 seconds" in data.whys[0] and "of 1 seconds" in data.whys[1]
    assert list(data.before) == ["a loop in R", "asleep"]


LEFT = """
library(metaflow)
metaflow("LeftFlow") |>
  step(step = "start", next_step = "end", r_function = function(self) {
    system(paste0("setsid ", normalizePath("sleeper"), " 100 >/dev/null 2>&1 </dev/null &"))
    system2(normalizePath("sleeper"), "101", wait = FALSE)
    Sys.sleep(0.2)
    stop("enough")
  }) |>
  step(step = "end") |>
  run()
"""


def test_what_an_r_task_has_started_ends_with_it(run_r: Any, r_project: Path) -> None:
    program = r_project / "sleeper"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    assert "enough" in run_r(LEFT, "run", check=False).stdout
    left = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if os.readlink(f"/proc/{name}/exe") == str(program):
                left.append(int(name))
    assert not left


MEMORY = """
library(metaflow)
metaflow("BigFlow") |>
  step(
    resources(cpu = 1, memory = 300), catch(var = "why"),
    step = "start", next_step = "end", r_function = function(self) {
      cat("threads", Sys.getenv("OMP_NUM_THREADS"), "\\n")
      big <- numeric(1e8)
    }
  ) |>
  step(step = "end", r_function = function(self) cat("then:", conditionMessage(self$why), "\\n")) |>
  run()
"""


def test_memory_of_r_is_limited_and_the_error_says_so(run_r: Any) -> None:
    result = run_r(MEMORY, "run", env={"METAFLOW_ENFORCE_RESOURCES": "true"})
    assert "threads 1" in result.stdout
    text = Task("BigFlow/1/end/2").stdout
    assert "cannot allocate vector of size" in text
    assert "Step start may allocate 300 MB, because @resources says so" in text


def test_settings_is_a_data_frame(run_r: Any, r_project: Path) -> None:
    (r_project / ".metaflow" / "config.json").write_text('{"METAFLOW_COLOR": "never", "METAFLOW_RUN_TAG": "x"}')
    code = """
        library(metaflow)
        Sys.setenv(METAFLOW_PRODUCTION_TOKEN = "s3same", METAFLOW_USR = "anne")
        found <- settings()
        stopifnot(is.data.frame(found), identical(names(found), c("setting", "value", "from", "kind", "note")))
        rownames(found) <- found$setting
        for (name in c("COLOR", "PRODUCTION_TOKEN", "RUN_TAG", "USR", "LAUNCHER", "DURABLE_WRITES")) {
          row <- found[paste0("METAFLOW_", name), ]
          cat(row$setting, row$value, basename(row$from), row$kind, "\\n")
        }
        stopifnot(is.na(found["METAFLOW_TASK_MEMORY_LIMIT", "value"]))
    """
    lines = run_r(code).stdout.splitlines()
    assert [line.strip() for line in lines] == [
        "METAFLOW_COLOR never config.json setting",
        "METAFLOW_PRODUCTION_TOKEN *** environment setting",
        "METAFLOW_RUN_TAG x config.json option",
        "METAFLOW_USR anne environment unknown",
        "METAFLOW_LAUNCHER fork default setting",
        "METAFLOW_DURABLE_WRITES false default setting",
    ]


WITH = """
library(metaflow)
metaflow("WithFlow") |>
  step(retry(times = 0), step = "start", next_step = "end", r_function = function(self) {
    cat("start", Sys.getenv("COLOUR"), "\\n")
    if (Sys.getenv("FAIL") == "start") stop("no")
  }) |>
  step(step = "end", r_function = function(self) {
    cat("end", Sys.getenv("COLOUR"), current("retry_count"), "\\n")
    if (current("retry_count") < 1) stop("not yet")
  }) |>
  run(__ARGUMENTS__)
"""


def test_with_in_r(run_r: Any, printed: Callable[[Any], list[str]]) -> None:
    """As an argument of `run()`, on the command line, and both: the command line wins."""
    arguments = """with = c("retry:times=1", 'environment:vars={"COLOUR": "dark red, a: b"}')"""
    result = run_r(WITH.replace("__ARGUMENTS__", arguments), "run")
    found = printed(result)
    assert "start dark red, a: b " in found and "end dark red, a: b 1 " in found
    assert result.stdout.count("(retry)") == 1
    kept = run_r(
        WITH.replace("__ARGUMENTS__", ""), "run", "--with", "retry:times=2", env={"FAIL": "start"}, check=False
    )
    assert "(retry)" not in kept.stdout, "a step keeps its own"
    wrong = run_r(WITH.replace("__ARGUMENTS__", 'with = "retri"'), "run", check=False)
    assert "Did you mean" in wrong.stderr and "retry" in wrong.stderr


RETRIED = """
library(metaflow)
metaflow("RetriedFlow") |>
  step(
    retry(times = 2, minutes_between_retries = 0), catch(var = "why"),
    step = "start", next_step = "again", r_function = function(self) {
      cat("attempt", current("retry_count"), "\\n")
      self$attempt <- current("retry_count")
      if (current("retry_count") < 2) stop("not yet")
    }
  ) |>
  step(
    retry(times = 1), catch(var = "why", print_exception = FALSE), environment_variables(COLOUR = "dark red"),
    step = "again", next_step = "died", r_function = function(self) {
      self$before <- is.null(self$why)
      stop("never, in ", Sys.getenv("COLOUR"))
    }
  ) |>
  step(
    catch(var = "end_of_it"),
    step = "died", next_step = "end", r_function = function(self) {
      self$seen <- c(class(self$why)[[1]], conditionMessage(self$why), Sys.getenv("COLOUR"))
      tools::pskill(Sys.getpid(), 9)
    }
  ) |>
  step(step = "end", r_function = function(self) {
    self$seen <- c(class(self$why)[[1]], conditionMessage(self$why), self$end_of_it$type)
  }) |>
  run()
"""


def test_retry_and_catch_in_r(run_r: Any, printed: Callable[[Any], list[str]]) -> None:
    result = run_r(RETRIED, "run")
    run = Run("RetriedFlow/1")
    start, again, died = (run[name].task for name in ("start", "again", "died"))
    assert (start.data.attempt, start.data.why, start.current_attempt) == (2, None, 2)
    assert (start.successful, again.finished, again.successful) == (True, True, False)
    assert again.current_attempt == 1 and again.data.before is True
    assert sum("never, in" in line for line in printed(result)) == 1, "it is not printed when it is caught"
    assert (died.finished, died.successful) == (True, False)
    seen = list(run.data.seen)
    assert "never, in dark red" in seen[1]
    assert seen[2] == "FailureHandledByCatch"
    assert run.successful
