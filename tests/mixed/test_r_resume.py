"""`Rscript flow.R resume` and `run(resume = ...)`: what flows in R take over from an earlier run, and what they run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

FLOW = """
library(metaflow)

# Says which body runs, and fails where it is told to.
body <- function(...) {
  place <- paste(...)
  cat("body", place, "\\n")
  if (place %in% strsplit(Sys.getenv("FAIL"), ",")[[1]]) stop("told to")
  if (place == Sys.getenv("SLEEP")) Sys.sleep(600)
}

start <- function(self) {
  body("start")
  self$outer <- c("a", "b")
}
fan <- function(self) {
  self$letter <- self$input
  self$numbers <- 1:3
}
leaf <- function(self) {
  self$leaf_name <- paste0(self$letter, self$input)
  body("leaf", self$leaf_name)
  self$value <- self$input + self$base
}
collect <- function(self, inputs) {
  body("collect", inputs[[1]]$letter)
  self$values <- unlist(gather_inputs(inputs, "value"))
}
join <- function(self, inputs) {
  body("join")
  self$total <- sum(unlist(gather_inputs(inputs, "values")))
}
left <- function(self) body("left")
right <- function(self) body("right")
both <- function(self, inputs) {
  body("both")
  self$total <- inputs$left$total
}
end <- function(self) {
  origin <- current("origin_run_id")
  cat("total", self$total, "from", if (is.null(origin)) "none" else origin, "in",
      if (is.null(get_namespace())) "NULL" else get_namespace(), "as", current("namespace"), "\\n")
}

metaflow("AgainFlow") |>
  parameter("base", default = 10L) |>
  step(step = "start", r_function = start, foreach = "outer", next_step = "fan") |>
  step(step = "fan", r_function = fan, foreach = "numbers", next_step = "leaf") |>
  step(step = "leaf", r_function = leaf, next_step = "collect") |>
  step(step = "collect", r_function = collect, join = TRUE, next_step = "join") |>
  step(step = "join", r_function = join, join = TRUE, next_step = "share") |>
  step(step = "share", next_step = c("left", "right")) |>
  step(step = "left", r_function = left, next_step = "both") |>
  step(step = "right", r_function = right, next_step = "both") |>
  step(step = "both", r_function = both, join = TRUE, next_step = "end") |>
  step(step = "end", r_function = end) |>
  run()
"""


@pytest.fixture
def bodies(printed):
    """The bodies that ran, in the order of the alphabet."""

    def of(result: subprocess.CompletedProcess[str]) -> list[str]:
        return sorted(line[5:].strip() for line in printed(result) if line.startswith("body "))

    return of


def ids(run_r) -> list[str]:
    """The runs that there are, the newest first."""
    look = "library(metaflow)\nset_namespace(NULL)\ncat(names(flow_client$new('AgainFlow')$runs))\n"
    return run_r(look, name="ids.R").stdout.split()


def test_every_way_to_resume(run_r, bodies, printed):
    failed = run_r(FLOW, "run", "--base", "20", "--max-workers", "1", env={"FAIL": "leaf b2"}, check=False)
    assert failed.returncode == 1

    said = run_r("flow.R", "resume", "--dry-run")
    assert [line.split(None, 1) for line in said.stdout.splitlines()] == [
        ["Resuming", "AgainFlow/1, which failed. A resumed run would do this:"],
        ["start", "1 task taken over (start/1)"],
        ["fan", "2 tasks taken over (fan/2, fan/7)"],
        ["leaf", "4 tasks taken over (leaf/3, leaf/4, leaf/5, leaf/8); 1 runs again: leaf/9 failed (simpleError); "
         "1 runs: not reached"],
        ["collect", "1 task taken over (collect/6); the rest runs: it follows leaf"],
        *([name, "runs: it was not reached"] for name in ("join", "share", "left", "right", "both", "end")),
    ]  # fmt: skip
    in_file = run_r(FLOW.replace("  run()", "  run(resume = TRUE, dry_run = TRUE)"), name="dry.R")
    assert in_file.stdout == said.stdout
    assert ids(run_r) == ["1"], "nothing was registered"

    # Of a nested foreach, what is missing; then it fails elsewhere, and the run that was resumed is resumed.
    second = run_r("flow.R", "resume", "--max-workers", "1", env={"FAIL": "both"}, check=False)
    assert "Resuming AgainFlow/1, which failed." in second.stderr
    assert bodies(second) == ["both", "collect b", "join", "leaf b2", "leaf b3", "left", "right"]
    third = run_r(FLOW.replace("  run()", "  run(resume = TRUE)"), name="again.R")
    assert "Resuming AgainFlow/2, which failed." in third.stderr
    assert bodies(third) == ["both"]
    assert "total 132 from 2 in user:tester as user:tester " in printed(third), "the parameter is that of the origin"

    # A named step, of a run that is named too; the code may have changed.
    changed = FLOW.replace("self$input + self$base", "self$input * self$base")
    named = run_r(changed, "resume", "leaf", "--origin-run-id", "1", "--namespace", "user:will")
    assert bodies(named)[4:10] == [f"leaf {letter}{n}" for letter in "ab" for n in (1, 2, 3)]
    assert len(bodies(named)) == 12
    assert "total 240 from 1 in user:will as user:tester " in printed(named)
    joined = run_r(
        FLOW.replace("  run()", '  run(resume = "join", origin_run_id = 3, namespace = NULL)'), name="join.R"
    )
    assert bodies(joined) == ["both", "join", "left", "right"]
    assert "total 132 from 3 in NULL as user:tester " in printed(joined)

    # A step more, in the middle.
    longer = FLOW.replace(
        'step(step = "both", r_function = both, join = TRUE, next_step = "end")',
        'step(step = "both", r_function = both, join = TRUE, next_step = "new") |>\n'
        '  step(step = "new", r_function = function(self) body("new"), next_step = "end")',
    )
    assert bodies(run_r(longer, "resume", name="longer.R")) == ["both", "new"]

    look = """
        library(metaflow)
        flow <- flow_client$new("AgainFlow")
        run <- flow$run("3")
        stopifnot(flow$latest_run == "6", run$origin_pathspec == "AgainFlow/2", is.null(flow$run("1")$origin_pathspec))
        start <- run$step("start")$a_task
        print(c(start$origin_pathspec, start$stdout))
        facts <- start$metadata
        print(facts$value[match(c("origin-run-id", "origin-task-id"), facts$name)])
        print(is.null(run$end_task$origin_pathspec))
        leaves <- run$step("leaf")$tasks
        cat(sort(vapply(leaves, function(task) task$data$leaf_name, "")), "\\n")
        stopifnot(!any(vapply(leaves, function(task) is.null(task$origin_pathspec), NA)))
        """
    assert run_r(look, name="look.R").stdout.splitlines() == [
        '[1] "AgainFlow/2/start/1" "body start \\n"      ',
        '[1] "2" "1"',
        "[1] TRUE",
        "a1 a2 a3 b1 b2 b3 ",
    ]


def test_what_can_not_be_resumed(run_r):
    nothing = run_r(FLOW, "resume", check=False)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "You (tester) have no run of AgainFlow in this project that could be resumed." in nothing.stderr
    run_r("flow.R", "run", "--max-workers", "2")
    for arguments, said in (
        (("resume", "strat"), "There is no step 'strat' to resume from. Did you mean 'start'?"),
        (("resume", "--origin-run-id", "99"), "There is no run AgainFlow/99."),
        (("resume",), "Run AgainFlow/1 is complete, there is nothing to resume. Name the step"),
    ):
        refused = run_r("flow.R", *arguments, check=False)
        assert refused.returncode == 1 and said in refused.stderr
        assert "Workflow" not in refused.stdout and "Traceback" not in refused.stderr
    # In a session the same is an error that can be caught.
    session = """
        library(metaflow)
        flow <- metaflow("AgainFlow") |> step(step = "start", next_step = "end") |> step(step = "end")
        no_script <- function() run(flow, resume = TRUE, origin_run_id = 99)
        local_run <- function(f) f()
        local_run(function() tryCatch(no_script(), metaflow_run_failed = function(e) cat("caught\\n")))
        stopifnot(is.null(local_run(function() run(flow, resume = TRUE, origin_run_id = 1, dry_run = TRUE))))
        """
    assert "caught" in run_r(session, name="session.R").stdout
    assert ids(run_r) == ["1"], "nothing was registered"


def test_runs_of_others_and_of_production(run_r, bodies):
    token = {"METAFLOW_PRODUCTION_TOKEN": "again-0-abcd"}
    run_r(FLOW, "run", user="will", env={"FAIL": "both"}, check=False)
    run_r("flow.R", "run", user="will", env={**token, "FAIL": "both"}, check=False)
    # Will's own latest run is the first, although he deployed what made the second.
    said = run_r("flow.R", "resume", "--dry-run", user="will").stdout
    assert said.startswith("Resuming AgainFlow/1, which failed.")
    others = run_r("flow.R", "resume", "--origin-run-id", "1", user="anne")
    assert "Resuming AgainFlow/1 of user:will, which failed." in others.stderr
    production = run_r("flow.R", "resume", "--origin-run-id", "2", user="anne")
    assert "Resuming AgainFlow/2 of production:again-0-abcd, which failed." in production.stderr
    assert bodies(others) == bodies(production) == ["both"]
    look = """
        library(metaflow)
        identity <- function(run) grep("^(user|production):", run$tags, value = TRUE)
        for (run in flow_client$new("AgainFlow")$runs) {
          cat(run$id, identity(run), run$origin_pathspec, run$step("start")$a_task$origin_pathspec, "\\n")
        }
        set_namespace(NULL)
        cat(vapply(flow_client$new("AgainFlow")$runs, identity, ""), "\\n")
        """
    assert run_r(look, user="anne", name="look.R").stdout.splitlines() == [
        "4 user:anne AgainFlow/2 AgainFlow/2/start/1 ",
        "3 user:anne AgainFlow/1 AgainFlow/1/start/1 ",
        "user:anne user:anne production:again-0-abcd user:will ",
    ]


def test_a_run_whose_driver_was_killed(run_r, r_project: Path, bodies, monkeypatch):
    (r_project / "flow.R").write_text(dedent(FLOW))
    monkeypatch.setenv("SLEEP", "leaf b2")
    driver = subprocess.Popen(
        ["Rscript", "flow.R", "run", "--max-workers", "1"], stdout=subprocess.PIPE, text=True, cwd=r_project
    )
    try:
        assert driver.stdout is not None
        assert any("body leaf b2" in line for line in driver.stdout)
    finally:
        driver.kill()
        driver.wait()
        driver.stdout.close()
    monkeypatch.delenv("SLEEP")
    resumed = run_r("flow.R", "resume")
    assert "Resuming AgainFlow/1, which was killed." in resumed.stderr
    assert bodies(resumed) == ["both", "collect b", "join", "leaf b2", "leaf b3", "left", "right"]
    assert re.search(r"total 72 from 1 ", resumed.stdout)
