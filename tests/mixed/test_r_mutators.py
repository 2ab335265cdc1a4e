"""`flow_mutator()` and `step_mutator()` in R, and mutators in Python of flows with steps in R."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FLOW = """
    library(metaflow)
    robust <- function(times = 3) {
      flow_mutator("robust",
        pre_mutate = function(flow) {
          flow$add_parameter("verbose", default = FALSE, help = "tell more")
          flow$remove_parameter("old")
          cat("early:", names(flow$parameters), names(flow$steps), length(flow$configs), "\\n")
        },
        mutate = function(flow) {
          for (step in flow$steps) step$add_decorator(retry(times = times))
          flow$steps$end$remove_decorator("retry")
          if (flow$limits$loud) flow$steps$start$add_decorator(loud)
          flow$steps$start$add_decorator(environment_variables(CPU = flow$limits$cpu), duplicates = "override")
          for (spec in flow$steps$start$decorator_specs) cat("has:", spec$name, unlist(spec$arguments), "\\n")
          cat("about:", flow$name, flow$steps$end$flow$name, flow$configs$limits$cpu, "\\n")
          cat("help:", flow$parameters$verbose$help, "\\n")
        }
      )
    }
    loud <- user_decorator("loud", before = function(self) cat("loud", current("step_name"), "\\n"))
    slow <- step_mutator("slow", function(step) {
      step$add_decorator(timeout(minutes = 5))
      tryCatch(step$add_decorator(timeout(minutes = 6), duplicates = "error"),
        metaflow_duplicate_step_decorator = function(e) cat("twice\\n"))
    })
    metaflow("MutatedFlow", robust(times = 2)) |>
      config("limits", default_value = list(cpu = 3, loud = TRUE)) |>
      parameter("old", default = 1) |>
      step(slow, environment_variables(CPU = "1"), step = "start", next_step = "end",
        r_function = function(self) cat("cpu", Sys.getenv("CPU"), self$verbose, "\\n")) |>
      step(step = "end") |>
      run(verbose = TRUE)
    """


def test_a_mutator_of_a_flow_and_one_of_a_step(run_r: Any, printed: Any) -> None:
    result = run_r(FLOW, "run")
    assert [line.rstrip() for line in printed(result) if line.startswith(("loud", "cpu"))] == [
        "loud start",
        "cpu 3 TRUE",
    ]
    shown = run_r("flow.R", "--quiet", "show").stdout
    assert "early: verbose start end 0" in shown
    assert "has: environment 3" in shown
    assert "about: MutatedFlow MutatedFlow 3" in shown
    assert "help: tell more" in shown
    assert "twice" in shown
    assert "Step start (@environment, @retry, @loud, @timeout)" in shown
    assert "Step end\n" in shown
    quiet = run_r(
        "flow.R", "--quiet", "--config-value", "limits", '{"cpu": 5, "loud": false}', "run", "--verbose=False"
    )
    assert "loud start" not in quiet.stdout
    assert "cpu 5 FALSE" in quiet.stdout


def test_what_is_wrong_is_told(run_r: Any) -> None:
    result = run_r(
        """
        library(metaflow)
        tell <- function(code) tryCatch(code, error = function(e) cat(class(e)[1], conditionMessage(e), "\\n"))
        checked <- function(...) tell(local({
          local_run <- function() run(metaflow("F", ...) |> step(step = "start", next_step = "end") |>
            step(step = "end"), check = TRUE)
          local_run()
        }))
        tell(flow_mutator())
        tell(flow_mutator("a"))
        tell(step_mutator("a", 5))
        tell(step_mutator("a", function() 1))
        checked(flow_mutator("a", function(flow) stop("oh no")))
        checked(flow_mutator("b", function(flow) flow$add_parameter("p", default = 1)))
        checked(flow_mutator("c", function(flow) flow$stpes))
        checked(flow_mutator("d", function(flow) flow$steps$start$add_decorator("retry")))
        checked(flow_mutator("e", function(flow) flow$steps$start$add_decorator(decorator("rtery"))))
        checked(step_mutator("f", function(step) 1))
        """,
        name="wrong.R",
    )
    text = " ".join((result.stdout + result.stderr).split())
    for message in (
        "flow_mutator() needs a name of letters, digits and underscores",
        'flow_mutator("a"): it does nothing.',
        'step_mutator("a"): mutate must be a function, not 5.',
        'step_mutator("a"): mutate takes no arguments.',
        "The mutator @a of flow F",
        "failed. oh no",
        "add_parameter() on flow F comes too late",
        "A mutator's flow has no `stpes`. Did you mean `steps`?",
        "add_decorator() takes a decorator, such as retry(times = 2)",
        "there is no such decorator of steps. Did you mean 'retry'?",
        'step_mutator("f") changes a step, but it was given to metaflow().',
    ):
        assert message in text, (message, text)


PYTHON = """
    from metaflow import FlowMutator, FlowSpec, StepMutator, Parameter, r_step

    class robust(FlowMutator):
        def init(self, times=3):
            self.times = times

        def pre_mutate(self, mutable_flow):
            mutable_flow.add_parameter("verbose", Parameter("verbose", default=False))

        def mutate(self, mutable_flow):
            for name, step in mutable_flow.steps:
                step.add_decorator("retry", deco_kwargs={"times": self.times})

    class slow(StepMutator):
        def mutate(self, mutable_step):
            mutable_step.add_decorator("timeout", deco_kwargs={"minutes": 5})
    """
IN_R = """
    library(metaflow)
    metaflow("InRFlow", decorator("mutators.robust", times = 2)) |>
      step(decorator("mutators.slow"), step = "start", next_step = "end",
        r_function = function(self) cat("told", self$verbose, "\\n")) |>
      step(step = "end") |>
      run()
    """


def test_mutators_in_python_of_a_flow_in_r(run_r: Any, r_project: Path) -> None:
    from textwrap import dedent

    (r_project / "mutators.py").write_text(dedent(PYTHON))
    shown = run_r(IN_R, "--quiet", "show").stdout
    assert "Step start (@retry, @timeout)" in shown
    assert "--verbose" in shown
    assert "told TRUE" in run_r("flow.R", "run", "--verbose").stdout
    wrong = run_r(IN_R.replace("mutators.robust", "mutators.robsut"), "check", check=False)
    assert "the module 'mutators' has no mutator of flows 'robsut'. It has: robust." in " ".join(wrong.stderr.split())
