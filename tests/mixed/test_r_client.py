"""The client of R inside of a Python process, and what each language tells of runs of the other."""

from __future__ import annotations

import pytest

PYTHON_FLOW = """
from metaflow import Flow, FlowSpec, r_step, step

class MixedFlow(FlowSpec):
    @step
    def start(self):
        self.table = {"a": [1, 2]}
        self.next(self.look)

    @r_step("look.R")
    def look(self):
        self.next(self.end)

    @step
    def end(self):
        print("seen", self.seen)
        print("advice in R", "set_namespace(NULL)" in self.advice)
        try:
            Flow("OtherFlow")
        except Exception as error:
            print("advice in Python", "namespace(None)" in str(error) and "set_namespace" not in str(error))
        print("namespace", self.namespace)

if __name__ == "__main__":
    MixedFlow()
"""
LOOK = """
look <- function(self) {
  run <- run_client$new(current("flow_name"), current("run_id"))
  run$add_tags("looked_at")
  self$seen <- run$step("start")$a_task$data$table$a
  self$advice <- tryCatch(flow_client$new("OtherFlow")$id, metaflow_namespace_mismatch = conditionMessage)
  self$namespace <- get_namespace()
  print(run)
}
"""
OTHER = """
from metaflow import FlowSpec, step

class OtherFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    OtherFlow()
"""


def test_an_r_step_of_a_python_flow_uses_the_client(run_flow, r_project, monkeypatch):
    run_flow(OTHER, "run", user="will", name="other.py")
    (r_project / "look.R").write_text(LOOK)
    result = run_flow(PYTHON_FLOW, "run", user="anne")
    printed = [line.partition(")] ")[2] for line in result.stdout.splitlines()]
    assert "MixedFlow/1" in printed
    assert "seen [1, 2]" in printed
    assert "advice in R True" in printed
    assert "advice in Python True" in printed
    assert "namespace user:anne" in printed

    from metaflow_core.results import Run, default_namespace

    monkeypatch.setenv("METAFLOW_USER", "anne")
    default_namespace()
    run = Run("MixedFlow/1")
    assert run.user_tags == {"looked_at"}
    assert run.tag_history[0].identity == "user:anne"
    assert any(tag.startswith("r_version:") for tag in run.system_tags)


@pytest.mark.filterwarnings("ignore:The artifact is an R character")
def test_python_reads_a_run_object_of_r_as_its_pathspec(run_r, run_flow, r_project, monkeypatch):
    run_flow(OTHER, "run", user="anne", name="other.py")
    run_r(
        """
        library(metaflow)
        metaflow("KeepFlow") |>
          step(
            step = "start", next_step = "end",
            r_function = function(self) self$source <- flow_client$new("OtherFlow")$latest_run
          ) |>
          step(step = "end", r_function = function(self) print(self$source$status)) |>
          run()
        """,
        "run",
        user="anne",
    )

    from metaflow_core.results import Run, default_namespace

    monkeypatch.setenv("METAFLOW_USER", "anne")
    default_namespace()
    run = Run("KeepFlow/1")
    assert Run(run.data.source).successful
    assert '[1] "completed"' in next(iter(run["end"])).stdout


def test_columns_of_a_table_that_either_language_wrote(run_r, run_flow, r_project):
    table = "data.frame(x = 1:200000, y = seq(0, 1, length.out = 200000), z = rep(c('a', 'b'), 100000))"
    run_r(
        f"""
        library(metaflow)
        metaflow("TableFlow") |>
          step(step = "start", r_function = function(self) self$table <- {table}, next_step = "end") |>
          step(step = "end") |>
          run()
        """,
        "run",
    )
    look = """
        library(metaflow)
        set_namespace(NULL)
        artifact <- flow_client$new("TableFlow")$latest_run$artifacts$table
        found <- artifact$select("z", "x")
        stopifnot(identical(names(found), c("z", "x")), identical(found$x, 1:200000), is.data.frame(found))
        cat(tryCatch(artifact$select("zz"), metaflow_not_found = conditionMessage), "\n")
        cat(tryCatch(artifact$select(3), metaflow_error = conditionMessage), "\n")
    """
    printed = run_r(look, name="look.R").stdout
    assert "The table has no column 'zz'. Did you mean 'z'?" in printed
    assert "select() takes names of columns" in printed

    from metaflow_core.results import Flow, namespace

    namespace(None)
    assert list(Flow("TableFlow").latest_run["end"].task["table"].select("y").columns) == ["y"]


def test_everything_that_current_tells(run_r, r_project):
    identity = ["is_running_flow", "flow_name", "run_id", "step_name", "task_id", "retry_count", "origin_run_id"]
    more = ["pathspec", "namespace", "username", "tags", "tempdir", "parameter_names", "graph", "run", "task"]
    fields = [*identity, *more]
    script = """
        library(metaflow)
        fields <- FIELDS
        cat("outside:", vapply(fields, function(name) is.null(current(name)) || isFALSE(current(name)), NA), "\\n")
        start <- function(self) {
          cat(current("flow_name"), current()$run_id, current("step_name"), current("task_id"), "\\n")
          cat(current("pathspec"), current("namespace"), current("username"), current("is_running_flow"), "\\n")
          task <- current("task")
          cat(format(current()$run), format(task), inherits(task, "task_client"), dir.exists(current("tempdir")), "\\n")
          cat("a" %in% current("tags"), current("parameter_names"), names(current("graph")$steps), "\\n")
          cat("origin:", is.null(current("origin_run_id")), all(fields %in% names(current())), "\\n")
          tryCatch(current("run_idd"), error = function(e) cat("error:", conditionMessage(e), "\\n"))
        }
        metaflow("TellsFlow") |>
          parameter("alpha", default = 1) |>
          step(step = "start", r_function = start, next_step = "end") |>
          step(step = "end") |>
          run()
    """.replace("FIELDS", "c('" + "', '".join(fields) + "')")
    printed = run_r(script, "run", "--tag", "a").stdout
    assert "outside: " + "TRUE " * len(fields) in printed
    told = [line.split(")] ", 1)[1].strip() for line in printed.splitlines() if "[1/start/1 " in line]
    assert told[1:-1] == [
        "TellsFlow 1 start 1",
        "TellsFlow/1/start/1 user:tester tester TRUE",
        "TellsFlow/1 TellsFlow/1/start/1 TRUE TRUE",
        "TRUE alpha start end",
        "origin: TRUE TRUE",
        told[6],
    ]
    assert told[6].startswith("error: ") and "run_id" in told[6]
