"""How steps written in R end: well, with an error, with their process, or out of time."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

FLOW = """
library(metaflow)
metaflow("EndsFlow") |>
  parameter("alpha", default = 0.5) |>
  step(step = "start", r_function = function(self) {{
    self$before <- 1
    {code}
  }}, next_step = "end"{decorators}) |>
  step(step = "end", r_function = function(self) cat("before is", self$before, "\\n")) |>
  run()
"""


def flow(code: str, *decorators: str) -> str:
    return FLOW.format(code=code, decorators="".join(f", {d}" for d in decorators))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('stop("boo ", 1)', "Error in start(self): boo 1"),
        ("quit(status = 3)", "TaskDied: The code of step start ended the process: quit(status = 3)."),
        ('q("no", 4)', "TaskDied: The code of step start ended the process: quit(status = 4)."),
        ("library(notthere)", "there is no package called"),
        (
            "self$nope",
            'AttributeError: Step "start" has no artifact "nope". Set self$nope in this step before it is used',
        ),
        ("self$alpha <- 1", "AttributeError: self$alpha can't be set in step start: it is a parameter"),
        ("self$`a b` <- 1", "'a b' can't name an artifact"),
        ('current("run_idd")', 'current() has no "run_idd". Did you mean "run_id"?'),
        ("merge_artifacts(self, list())", "MergeArtifactsException"),
    ],
)
def test_an_error_ends_only_its_task_and_catch_goes_on(run_r, printed, code, expected):
    result = run_r(flow(code, 'catch(var = "failure")'), "run")
    found = printed(result)
    assert any(expected in line for line in found), result.stdout
    assert "before is 1 " in found, "what was set before the error is kept"


def test_recursion_without_end_is_an_error(run_r):
    result = run_r(flow("f <- function(n) f(n + 1); f(1)"), "run", check=False)
    assert result.returncode == 1
    # R tells it in one of two ways, whichever limit comes first
    assert "infinite recursion" in result.stdout or "C stack usage" in result.stdout
    assert "signal" not in result.stdout


@pytest.mark.parametrize("signal", [9, 11])
def test_a_killed_process_ends_only_its_task(run_r, signal):
    code = f"tools::pskill(Sys.getpid(), {signal})"
    result = run_r(flow(code, "retry(times = 1)"), "run", check=False)
    assert result.returncode == 1
    assert result.stdout.count(f"killed by signal {signal}") == 2
    assert "Task is starting (retry)." in result.stdout


def test_a_crash_shows_the_users_calls_and_no_others(run_r):
    code = "native <- function(n) tools::pskill(Sys.getpid(), n); outer <- function() native(11); outer(); Sys.sleep(5)"
    shown = run_r(flow(code), "run", check=False).stdout
    assert "caught segfault" in shown
    calls = re.findall(r"(?m)\] +(\d+): (.*)$", shown)
    assert calls == [
        ("1", "tools::pskill(Sys.getpid(), n)"),
        ("2", "native(11)"),
        ("3", "outer()"),
        ("4", "start(self)"),
    ]


@pytest.mark.parametrize("code", ["Sys.sleep(60)", "repeat NULL"])
def test_a_timeout_ends_r_code(run_r, code):
    result = run_r(flow(code, "timeout(seconds = 1)"), "run", check=False)
    assert result.returncode == 1
    assert "TimeoutException: Step start ran longer than its @timeout of 1 seconds." in result.stdout


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("inner <- function(x) stop('deep ', x); outer <- function() inner(2); outer()", ["outer()", "inner(2)"]),
        ("helper <- function(s) s$nope; helper(self)", ["helper(self)", "s$nope"]),
        ("self$model.fit <- 1", []),
        ("self$nope$a[2] <- 1", []),
        (
            "lapply(1, function(i) self[['nope']])",
            ["lapply(1, function(i) self[['nope']])", "FUN(X[[i]], ...)", "self[['nope']]"],
        ),
    ],
)
def test_an_error_shows_the_users_calls_and_no_others(run_r, printed, code, calls):
    found = printed(run_r(flow(code), "run", check=False))
    start = found.index("Calls, the outermost first:")
    shown = [line.strip().replace('"', "'") for line in found[start + 1 : found.index("Task failed.")]]
    assert shown == ["start(self)", *calls]


def test_what_a_tasks_ends_with_runs(run_r, printed):
    code = """
      tidy <- function() { on.exit(cat("tidied\\n")); stop("while tidying is due") }
      first <- tryCatch(tidy(), error = conditionMessage, finally = cat("finally\\n"))
      try(stop("tried"), silent = TRUE)
      withCallingHandlers(warning("heard"), warning = function(w) { cat("hears\\n"); invokeRestart("muffleWarning") })
      leave <- function() { on.exit(cat("left\\n")); quit(status = 5) }
      leave()
    """
    found = printed(run_r(flow(code, 'catch(var = "failure")'), "run"))
    assert found[1:6] == [
        "tidied",
        "finally",
        "hears",
        "left",
        "TaskDied: The code of step start ended the process: quit(status = 5).",
    ]
    assert "before is 1 " in found


def test_the_exit_status_of_a_failed_flow_is_1(run_r):
    result = run_r(flow("stop('no')"), "run", check=False)
    assert result.returncode == 1
    assert "Workflow failed." in result.stdout


def test_output_comes_line_by_line_and_warnings_at_once(run_r, printed):
    code = """
      print("a"); Sys.sleep(0.05)
      message("b"); Sys.sleep(0.05)
      warning("c"); Sys.sleep(0.05)
      system("echo d"); Sys.sleep(0.05)
      cat("  e *\\n")
    """
    found = printed(run_r(flow(code), "run"))
    start = found.index('[1] "a"')
    assert found[start : start + 5] == ['[1] "a"', "b", "Warning in start(self) : c", "d", "  e *"]


def test_tasks_draw_different_random_numbers(run_r, r_project):
    result = run_r(
        """
        library(metaflow)
        set.seed(1)
        metaflow("RandomFlow") |>
          step(step = "start", r_function = function(self) self$i <- 1:3, foreach = "i", next_step = "draw") |>
          step(step = "draw", r_function = function(self) self$x <- runif(1), next_step = "join") |>
          step(step = "join", join = TRUE, next_step = "end", r_function = function(self, inputs) {
            cat("different:", length(unique(unlist(gather_inputs(inputs, "x")))), "\\n")
          }) |>
          step(step = "end") |>
          run()
        """,
        "run",
    )
    assert "different: 3" in result.stdout


def test_globals_and_files_of_one_task_do_not_reach_another(run_r):
    result = run_r(
        """
        library(metaflow)
        counter <- 0
        count <- function(self) {
          counter <<- counter + 1
          files <- list.files(tempdir())
          file.create(tempfile())
          cat("counter", counter, "files", length(files), "\\n")
        }
        metaflow("LeakFlow") |>
          step(step = "start", r_function = count, next_step = "end") |>
          step(step = "end", r_function = count) |>
          run()
        """,
        "run",
    )
    assert result.stdout.count("counter 1 files 0") == 2


SPAWNED = """
library(metaflow)
library(stats4)
scale <- 10
metaflow("SpawnFlow") |>
  parameter("alpha", default = 0.5) |>
  step(step = "start", next_step = "each", foreach = "xs", r_function = function(self) self$xs <- c(a = 1, b = 2)) |>
  step(step = "each", next_step = "py", r_function = function(self) self$y <- self$input * scale) |>
  step(step = "py", py_function = "double.py:double", next_step = "join") |>
  step(step = "join", join = TRUE, next_step = "end", r_function = function(self, inputs) {
    self$ys <- unlist(gather_inputs(inputs, "y"))
    merge_artifacts(self, inputs, include = "xs")
  }) |>
  step(catch(var = "failure"), step = "end", r_function = function(self) {
    cat("ys", self$ys, "of", names(self$xs), "alpha", self$alpha, "stats4", "stats4" %in% .packages(), "\\n")
    cat("a command of its own:", commandArgs(TRUE)[[1]], "\\n")
    stop("in a process of its own")
  }) |>
  run()
"""


def test_tasks_that_are_spawned_and_not_forked(run_r, r_project):
    (r_project / "double.py").write_text("def double(self):\n    self.y = self.y * 2\n")
    shown = run_r(SPAWNED, "run", "--alpha", "0.7", "--max-workers", "2", env={"METAFLOW_LAUNCHER": "spawn"}).stdout
    assert "ys 20 40 of a b alpha 0.7 stats4 TRUE" in shown
    assert "a command of its own: --quiet" in shown or "a command of its own: step" in shown, shown
    assert "Error in end(self): in a process of its own" in shown
    assert "Done!" in shown


TWICE = """
library(metaflow)
metaflow("{name}") |>
  step(step = "start", next_step = "end", r_function = function(self) {{
    file.create("started-{name}")
    for (i in 1:400) if (length(list.files(pattern = "^started-")) == 2) break else Sys.sleep(0.05)
    self$together <- length(list.files(pattern = "^started-"))
    self$mine <- "{name}"
  }}) |>
  step(step = "end", r_function = function(self) cat(self$mine, "together", self$together, "\\n")) |>
  run()
"""


def test_two_flows_run_at_once_in_one_project(run_r, r_project):
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(run_r, TWICE.format(name=name), "run", name=f"{name}.R") for name in ("One", "Two")]
    for name, done in zip(("One", "Two"), runs, strict=True):
        assert f"{name} together 2" in done.result().stdout
    look = 'library(metaflow)\nprint(sort(list_flows()))\nprint(flow_client$new("Two")$latest_run$data$mine)\n'
    assert run_r(look, name="look.R").stdout == '[1] "One" "Two"\n[1] "Two"\n'


def test_nothing_is_left_in_the_working_directory(run_r, r_project):
    run_r(flow("plot(1)"), "run")
    left = {path.name for path in r_project.iterdir()}
    assert left <= {"flow.R", ".metaflow", "Rplots.pdf"}


def test_self_behaves_like_a_list(run_r):
    result = run_r(
        """
        library(metaflow)
        start <- function(self) {
          self$x <- 1:3
          self$x[2] <- 10L
          self[["y"]] <- list(a = 1)
          self$y$b <- "two"
          self$none <- NULL
          helper <- function(s) s$z <- "set in a helper"
          helper(self)
        }
        end <- function(self) {
          stopifnot(
            identical(self$x, c(1L, 10L, 3L)), identical(self[["y"]], list(a = 1, b = "two")),
            is.null(self$none), self$z == "set in a helper", all(c("x", "y", "z", "none") %in% names(self))
          )
          cat("all is there\\n")
        }
        metaflow("SelfFlow") |>
          step(step = "start", r_function = start, next_step = "end") |>
          step(step = "end", r_function = end) |>
          run()
        """,
        "run",
    )
    assert "all is there" in result.stdout


def test_static_branches_have_names_and_inputs_are_a_list(run_r):
    result = run_r(
        """
        library(metaflow)
        metaflow("BranchFlow") |>
          step(step = "start", next_step = c("b", "a")) |>
          step(step = "a", r_function = function(self) self$x <- 1, next_step = "join") |>
          step(step = "b", r_function = function(self) self$x <- 2, next_step = "join") |>
          step(step = "join", join = TRUE, next_step = "end", r_function = function(self, inputs) {
            cat("names", names(inputs), "length", length(inputs), "\\n")
            cat("a", inputs$a$x, "first", inputs[[1]]$x, "\\n")
            self$x <- sum(sapply(inputs, function(i) i$x))
            inputs$c
          }) |>
          step(step = "end") |>
          run()
        """,
        "run",
        check=False,
    )
    assert "names b a length 2" in result.stdout
    assert "a 1 first 2" in result.stdout
    assert 'the join has no input "c". Known: b, a.' in result.stdout


@pytest.mark.parametrize(
    ("source", "elements"),
    [
        ("c(5)", ["5"]),
        ('c("ab")', ["ab"]),
        ("list(1, 'x', TRUE)", ["1", "x", "TRUE"]),
        ("list(a = 1, b = 2)", ["1", "2"]),
        ("factor(c('u', 'v'))", ["u", "v"]),
        ("rows_of(data.frame(k = 1:2))", ["1", "2"]),
    ],
)
def test_a_foreach_follows_r(run_r, source, elements):
    result = run_r(
        f"""
        library(metaflow)
        metaflow("EachFlow") |>
          step(step = "start", r_function = function(self) self$it <- {source}, foreach = "it", next_step = "one") |>
          step(step = "one", next_step = "join", r_function = function(self) {{
            cat("element", self$index, as.character(unlist(self$input)), "\\n")
          }}) |>
          step(step = "join", join = TRUE, next_step = "end") |>
          step(step = "end") |>
          run()
        """,
        "run",
    )
    assert [f"element {i} {e} " for i, e in enumerate(elements)] == sorted(
        line.partition(")] ")[2] for line in result.stdout.splitlines() if "element" in line
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("data.frame(a = 1)", "is a data frame, which could mean its rows or its columns"),
        ("character()", "is empty, there is nothing to run"),
        ("mean", "can't be iterated, it is a function"),
    ],
)
def test_what_a_foreach_can_not_go_over(run_r, source, said):
    result = run_r(
        f"""
        library(metaflow)
        metaflow("EachFlow") |>
          step(step = "start", r_function = function(self) self$it <- {source}, foreach = "it", next_step = "one") |>
          step(step = "one", next_step = "join") |>
          step(step = "join", join = TRUE, next_step = "end") |>
          step(step = "end") |>
          run()
        """,
        "run",
        check=False,
    )
    assert result.returncode == 1
    assert said in result.stdout


def test_a_switch_chooses_by_value(run_r):
    script = """
        library(metaflow)
        metaflow("SwitchFlow") |>
          parameter("big", default = TRUE) |>
          step(step = "start", r_function = function(self) self$how <- self$big,
               next_step = c(`TRUE` = "slow", `FALSE` = "quick"), condition = "how") |>
          step(step = "slow", r_function = function(self) cat("slowly\\n"), next_step = "end") |>
          step(step = "quick", r_function = function(self) cat("quickly\\n"), next_step = "end") |>
          step(step = "end") |>
          run()
        """
    assert "slowly" in run_r(script, "run").stdout
    assert "quickly" in run_r(script, "run", "--big", "False").stdout
