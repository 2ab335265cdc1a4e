"""Tags and namespaces of flows in R: tags from inside a task, the command line, many writers in two languages."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest
from metaflow import Flow, Run

FLOW = """
library(metaflow)
start <- function(self) {
  self$score <- 0.9
  flow_client$new(current("flow_name"))$run(current("run_id"))$add_tag("promising_model")
  run <- run_client$new(current("flow_name"), current("run_id"))
  run$replace_tags("from outside", c("seen", "by R"))
  refused <- tryCatch(run$remove_tag(current("namespace")), metaflow_tagging_error = conditionMessage)
  cat("refused:", refused, "\\n")
  stopifnot("seen" %in% current("tags"), !"from outside" %in% current("tags"))
}
end <- function(self) {
  run <- flow_client$new(current("flow_name"))$run(current("run_id"))
  run$remove_tag("by R")
  cat("sees", run$user_tags, "in", get_namespace(), "as", current("namespace"), "\\n")
}
metaflow("ModelFlow") |>
  step(step = "start", r_function = start, next_step = "end") |>
  step(step = "end", r_function = end) |>
  run()
"""


def test_tags_from_inside_a_task_and_from_the_command_line(run_r, printed):
    lines = printed(run_r(FLOW, "run", "--tag", "from outside", user="anne"))
    assert any(line.startswith("refused: ") and "System tags can't be removed: 'user:anne'" in line for line in lines)
    assert "sees promising_model seen in user:anne as user:anne " in lines
    # Whose results the task reads does not matter: its own run it can always open.
    elsewhere = printed(run_r("flow.R", "run", "--namespace", "user:will", user="anne"))
    assert "sees promising_model seen in user:will as user:anne " in elsewhere

    def tag(*arguments: str, user: str = "anne", check: bool = True) -> subprocess.CompletedProcess[str]:
        return run_r("flow.R", "--quiet", "tag", *arguments, user=user, check=check)

    assert (
        tag("add", "good", "ünï", "--run-id", "1").stdout
        == "User tags of ModelFlow/1: good, promising_model, seen, ünï\n"
    )
    others = tag("remove", "ünï", "--run-id", "1", user="will", check=False)
    assert others.returncode == 1 and '--namespace "user:anne"' in others.stderr
    tag("remove", "ünï", "--run-id", "1", "--namespace", "user:anne", user="will")
    tag("replace", "--remove", "good", "--add", "best", "--run-id", "1")
    unnamed = tag("add", "x", check=False)
    assert unnamed.returncode == 1 and "--run-id 2" in unnamed.stderr
    grouped = tag("list", "--my-runs", "--hide-system-tags", "--group-by-run", "--flat").stdout
    assert grouped == "ModelFlow/2\tpromising_model\tseen\nModelFlow/1\tbest\tpromising_model\tseen\n"
    history = [line.split("\t") for line in tag("list", "--history", "--flat", "--run-id", "1").stdout.splitlines()]
    expected = [
        ["added", "from outside", "user:anne"],
        ["added", "promising_model", "user:anne"],
        ["removed", "from outside", "user:anne"],
        ["added", "seen", "user:anne"],
        ["added", "by R", "user:anne"],
        ["removed", "by R", "user:anne"],
        ["added", "good", "user:anne"],
        ["added", "ünï", "user:anne"],
        ["removed", "ünï", "user:will"],
        ["removed", "good", "user:anne"],
        ["added", "best", "user:anne"],
    ]
    assert [change[1:] for change in history] == expected
    look = """
        library(metaflow)
        history <- run_client$new("ModelFlow/1")$tag_history
        stopifnot(identical(names(history), c("tag", "action", "identity", "at")), inherits(history$at, "POSIXct"))
        stopifnot(!is.unsorted(history$at), attr(history$at, "tzone") == "UTC")
        cat(paste(history$action, history$tag, history$identity, sep = "\\t"), sep = "\\n")
        """
    told = run_r(look, user="anne", name="look.R").stdout
    assert [line.split("\t") for line in told.splitlines()] == expected


def test_system_tags_of_a_run(run_r):
    run_r(FLOW, "run", "--tag", "from outside", user="anne")
    run_r("flow.R", "run", user="anne", env={"METAFLOW_PRODUCTION_TOKEN": "modelflow-0-abcd"})
    look = """
        library(metaflow)
        set_namespace(NULL)
        for (run in flow_client$new("ModelFlow")$runs) {
          parts <- strsplit(run$system_tags, ":")
          facts <- setNames(vapply(parts, `[[`, "", 2L), vapply(parts, `[[`, "", 1L))
          stopifnot(
            identical(facts[["r_version"]], paste(R.version$major, R.version$minor, sep = ".")),
            identical(facts[["date"]], format(run$created_at, "%Y-%m-%d")),
            c("metaflow_version", "python_version") %in% names(facts)
          )
          own <- setdiff(names(facts), c("r_version", "date", "metaflow_version", "python_version"))
          cat(paste(own, facts[own]), run$user_tags, "\\n")
          run$add_tag("later")
          start <- run$step("start")
          for (part in list(start, start$a_task, start$a_task$artifacts$score)) {
            stopifnot(identical(part$tags, run$tags), "later" %in% part$user_tags)
          }
        }
        """
    assert run_r(look, user="will", name="look.R").stdout.splitlines() == [
        "production modelflow-0-abcd runtime dev promising_model seen ",
        "runtime dev user anne promising_model seen ",
    ]


R_WRITER = """
library(metaflow)
run <- run_client$new("ModelFlow/1")
me <- commandArgs(TRUE)[[1]]
cat("ready\\n")
input <- file("stdin")
invisible(readLines(input, 1L))
close(input)
for (turn in 1:25) {
  run$add_tag(paste(me, "begins"))
  run$replace_tag(paste(me, "begins"), paste(me, "ends"))
  run$remove_tag(paste(me, "ends"))
  if (turn %% 2) run$add_tag("everybody's") else run$remove_tag("everybody's")
}
run$add_tag(paste(me, "is done"))
"""
PYTHON_WRITER = """
import sys
from metaflow import Run
run, me = Run("ModelFlow/1"), sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
for turn in range(25):
    run.add_tag(f"{me} begins")
    run.replace_tag(f"{me} begins", f"{me} ends")
    run.remove_tag(f"{me} ends")
    (run.remove_tag if turn % 2 else run.add_tag)("everybody's")
run.add_tag(f"{me} is done")
"""


@pytest.mark.both_databases
def test_writers_in_both_languages_lose_no_tag(run_r, r_project):
    run_r(FLOW, "run", "--tag", "from outside")
    (r_project / "writer.R").write_text(dedent(R_WRITER))
    (r_project / "writer.py").write_text(dedent(PYTHON_WRITER))
    commands = {f"r{n}": ["Rscript", "writer.R"] for n in range(3)}
    commands |= {f"py{n}": [sys.executable, "writer.py"] for n in range(3)}
    writers = [
        subprocess.Popen(
            [*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name, command in commands.items()
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [writer.communicate()[1] for writer in writers] == [""] * 6

    run = Run("ModelFlow/1")
    assert {f"{name} is done" for name in commands} <= run.user_tags
    there: set[str] = set()
    for change in run.tag_history:
        assert (change.tag in there) == (change.action == "removed"), change
        there ^= {change.tag}
    assert there == run.user_tags
    for name in commands:
        own = [
            f"{change.action}{change.tag.removeprefix(name)}"
            for change in run.tag_history
            if change.tag.startswith(name)
        ]
        assert own == [*["added begins", "removed begins", "added ends", "removed ends"] * 25, "added is done"]


def test_the_namespace_of_tasks(run_r, printed):
    """``--namespace`` is that of the client in tasks; the run and ``current`` stay with who runs it."""
    flow = FLOW.replace('metaflow("ModelFlow")', 'metaflow("SpacesFlow")')
    flow = flow[: flow.index("start <-")] + dedent("""
        start <- function(self) {
          seen <- if (is.null(get_namespace())) "everything" else get_namespace()
          cat("sees", seen, "as", current("namespace"), "\\n")
        }
        end <- NULL
        """) + flow[flow.index("metaflow(") :]  # fmt: skip
    assert "sees user:tester as user:tester " in printed(run_r(flow, "run", name="spaces.R"))
    assert "sees xyz_features as user:tester " in printed(run_r("spaces.R", "run", "--namespace", "xyz_features"))
    in_file = flow.replace("  run()", "  run(namespace = NULL)")
    assert "sees everything as user:tester " in printed(run_r(in_file, "run", name="everything.R"))
    assert ["xyz_features" in run.tags for run in Flow("SpacesFlow")] == [False] * 3
