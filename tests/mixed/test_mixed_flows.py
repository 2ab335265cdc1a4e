"""Flows with steps in both languages."""

from __future__ import annotations

import sys

import pytest

R_FUNCTIONS = """
fit <- function(self) {
  self$model <- lm(y ~ x, data = self$table)
  self$slope <- unname(coef(self$model)["x"])
  self$group <- self$input
}
collect <- function(self, inputs) {
  self$result <- data.frame(
    group = unlist(gather_inputs(inputs, "group")),
    slope = vapply(inputs, function(i) coef(i$model)[["x"]], 0)
  )
  merge_artifacts(self, inputs, include = "table")
}
two <- function(self, inputs) NULL
three <- function(self, a, b) NULL
crash <- function(self) f <- (function(n) sys.function()(n + 1))(1)
leave <- function(self) { self$x <- 1; quit(status = 5) }
segfault <- function(self) tools::pskill(Sys.getpid(), 11)
"""

PYTHON_FLOW = """
import pandas as pd
from metaflow import FlowSpec, step, r_step

class PyFlow(FlowSpec):
    @step
    def start(self):
        self.table = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]})
        self.groups = ["a", "b"]
        self.next(self.fit, foreach="groups")

    @r_step("model.R", "fit")
    def fit(self):
        "Fits in R."
        self.next(self.collect)

    @r_step("model.R")
    def collect(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        print("columns", list(self.result.columns), "slopes", [round(s, 6) for s in self.result.slope])
        print("table", type(self.table).__module__)

if __name__ == "__main__":
    PyFlow()
"""

SAYING_FLOW = """
from metaflow import FlowSpec, r_step, step

class SayingFlow(FlowSpec):
    @r_step("say.R", "say")
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

SayingFlow()
"""


def test_a_python_flow_with_steps_in_r(run_flow, r_project):
    (r_project / "model.R").write_text(R_FUNCTIONS)
    result = run_flow(PYTHON_FLOW, "run")
    assert "columns ['group', 'slope'] slopes [2.0, 2.0]" in result.stdout
    assert "table pandas" in result.stdout


def test_messages_and_warnings_of_r_are_on_the_error_stream(run_flow, r_project):
    (r_project / "say.R").write_text('say <- function(self) { message("m"); cat("c\\n"); warning("w") }')
    run_flow(SAYING_FLOW, "run")
    flow = r_project / "flow.py"
    assert run_flow(flow, "logs", "--stdout", "1/start").stdout == "c\n"
    assert run_flow(flow, "logs", "--stderr", "1/start").stdout == "m\nWarning in start(self) : w\n"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"model.R", "fit"', '"model.R", "fitt"', "the R file model.R has no function 'fitt'. Did you mean 'fit'?"),
        ('"model.R", "fit"', '"modell.R", "fit"', "the R file modell.R does not exist."),
        ('"Fits in R."', "self.y = 1", "its code is the R function, and the method says where the flow goes."),
        ('"model.R", "fit"', '"model.R", "three"', "takes self, a, b. It must be function(self)."),
        ('@r_step("model.R", "fit")', "@r_step(5)", "takes the name of an R file and of a function in it"),
    ],
)
def test_what_is_wrong_with_an_r_step_is_found_before_the_run(run_flow, r_project, before, after, said):
    (r_project / "model.R").write_text(R_FUNCTIONS)
    result = run_flow(PYTHON_FLOW.replace(before, after), "run", check=False)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Workflow starting" not in result.stdout


def test_an_r_file_that_can_not_be_sourced(run_flow, r_project):
    (r_project / "model.R").write_text("fit <- function(self) {\ncollect <- 1\nstop('at source time')")
    result = run_flow(PYTHON_FLOW, "run", check=False)
    assert result.returncode == 1
    assert "the R file model.R can't be loaded" in result.stderr
    assert "Workflow starting" not in result.stdout


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("leave", "TaskDied: The code of step fit ended the process: quit(status = 5)."),
        ("segfault", "killed by signal 11"),
        ("crash", "infinite recursion"),
    ],
)
def test_an_r_step_that_dies_in_a_python_flow(run_flow, r_project, function, said):
    (r_project / "model.R").write_text(R_FUNCTIONS)
    source = PYTHON_FLOW.replace('"model.R", "fit"', f'"model.R", "{function}"')
    result = run_flow(source, "run", check=False)
    assert result.returncode == 1
    assert said in result.stdout


def test_a_flow_without_r_starts_no_r(run_flow, r_project):
    source = """
        import sys
        from metaflow import FlowSpec, step
        class PlainFlow(FlowSpec):
            @step
            def start(self):
                self.next(self.end)
            @step
            def end(self):
                print("rpy2" if "rpy2" in sys.modules else "no rpy2", "metaflow_r.session" in sys.modules)
        if __name__ == "__main__":
            PlainFlow()
        """
    assert "no rpy2 False" in run_flow(source, "run").stdout


def test_without_r_the_message_says_so(run_flow, r_project):
    (r_project / "model.R").write_text(R_FUNCTIONS)
    (r_project / "rpy2").mkdir()
    (r_project / "rpy2" / "__init__.py").write_text("raise ImportError('no R here')")
    result = run_flow(PYTHON_FLOW, "run", check=False, env={"PYTHONPATH": str(r_project)})
    assert result.returncode == 1
    assert "R can't be used" in result.stderr
    assert "Traceback" not in result.stderr


PY_FUNCTIONS = """
import pandas as pd

def load(self):
    self.table = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0], "s": ["a", None, "c"]})
    self.parts = [1, 2, 3]

def double(self):
    self.twice = self.input * 2

def total(self, inputs):
    self.sum = sum(i.twice for i in inputs)

def report(self):
    print("slope", round(self.slope, 6), "model", self.model.language, self.model.type, "sum", self.sum)

def wrong(self, a, b, c):
    pass
"""

R_FLOW = """
library(metaflow)
fit <- function(self) {
  stopifnot(is.data.frame(self$table), is.na(self$table$s[2]))
  self$model <- lm(y ~ x, data = self$table)
  self$slope <- coef(self$model)[["x"]]
  self$sum <- 12L
}
metaflow("MixedFlow") |>
  step(step = "start", py_function = "work.py:load", next_step = "fit") |>
  step(step = "fit", r_function = fit, next_step = "report") |>
  step(step = "report", py_function = "work.py:report", next_step = "end") |>
  step(step = "end") |>
  run()
"""


def test_an_r_flow_with_steps_in_python(run_r, r_project):
    (r_project / "work.py").write_text(PY_FUNCTIONS)
    result = run_r(R_FLOW, "run")
    assert "slope 2.0 model r lm sum 12" in result.stdout


def test_a_foreach_and_a_join_in_python_in_an_r_flow(run_r, r_project):
    (r_project / "work.py").write_text(PY_FUNCTIONS)
    result = run_r(
        """
        library(metaflow)
        metaflow("EachFlow") |>
          step(step = "start", r_function = function(self) self$p <- 1:3, foreach = "p", next_step = "double") |>
          step(step = "double", py_function = "work.py:double", next_step = "total") |>
          step(step = "total", py_function = "work:total", join = TRUE, next_step = "end") |>
          step(step = "end", r_function = function(self) cat("sum", self$sum, class(self$sum), "\\n")) |>
          run()
        """,
        "run",
        env={"PYTHONPATH": str(r_project)},
    )
    assert "sum 12 integer" in result.stdout


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("work.py:loadd", "the Python file work.py has no function 'loadd'. Did you mean 'load'?"),
        ("worker.py:load", "the Python file worker.py does not exist."),
        ("no_such_module:load", "there is no Python module 'no_such_module'."),
        ("work.py:wrong", "wrong() in work.py must take (self), not (self, a, b, c)."),
    ],
)
def test_what_is_wrong_with_a_python_function_is_found_before_the_run(run_r, r_project, function, said):
    (r_project / "work.py").write_text(PY_FUNCTIONS)
    result = run_r(R_FLOW.replace("work.py:load", function), "run", check=False)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Workflow starting" not in result.stdout


def test_an_error_in_python_shows_python_frames(run_r, r_project):
    (r_project / "work.py").write_text("def load(self):\n    return 1 / 0\ndef report(self): ...\n")
    result = run_r(R_FLOW, "run", check=False)
    assert result.returncode == 1
    assert "ZeroDivisionError: division by zero" in result.stdout
    assert "work.py" in result.stdout
    assert "metaflow_r" not in result.stdout


def test_python_steps_run_where_the_project_says(run_r, r_project):
    (r_project / "work.py").write_text(PY_FUNCTIONS)
    assert sys.executable
    result = run_r(R_FLOW, "show")
    assert "fit" in result.stdout
