"""One flow, two languages: what a step of one sets is native in the steps of the other."""

from __future__ import annotations

STEPS_IN_R = """
look <- function(self) {
  stopifnot(
    identical(self$df$i, 1:2), identical(self$df$s, c("a", NA)), identical(self$df$c, factor(c("u", "v"))),
    inherits(self$df$d, "POSIXct"), is.na(self$df$d[2]), identical(self$day, as.Date("2026-01-02")),
    is.null(self$none), identical(self$nested, list(a = list(1L, "x", NULL), b = list(c = 2.5))),
    identical(format(self$big), "1099511627776"), identical(self$arr, rbind(c(0, 1, 2), c(3, 4, 5))),
    isTRUE(self$flag), identical(self$text, "ünï"), identical(self$empty, list())
  )
  print(self$py_function)
  tryCatch(self$py_function(1), error = function(e) cat("no call:", class(e)[[1]], "\\n"))
  self$rdf <- data.frame(x = c(1.5, NA), y = c(NA, 2L), s = c("a", NA), l = c(TRUE, NA), stringsAsFactors = FALSE)
  self$rdf$f <- factor(c("b", "a"), levels = c("b", "a"))
  self$rday <- as.Date("2026-03-04")
  self$rnull <- NULL
  self$rlist <- list(a = 1, b = list("x", 2L))
  self$rna <- NA
  self$rchr <- c("a", NA)
  self$rfac <- factor(c("lo", "hi"), levels = c("lo", "hi"))
  self$rmat <- matrix(1:6, 2)
  self$rtime <- as.POSIXct("2026-01-01 12:00:00", tz = "Europe/Paris")
  self$rtwice <- setNames(data.frame(1, 2), c("a", "a"))
  self$model <- lm(x ~ y, data = data.frame(x = 1:3, y = c(2, 4, 7)))
  self$items <- list(list(k = 1L), list(k = 2L))
}
join <- function(self, inputs) {
  self$vs <- unlist(gather_inputs(inputs, "v"))
  merge_artifacts(self, inputs, exclude = "v")
  stopifnot(
    identical(self$rfac, factor(c("lo", "hi"), levels = c("lo", "hi"))), inherits(self$model, "lm"),
    identical(names(self$rtwice), c("a", "a")), identical(self$rmat, matrix(1:6, 2)), is.null(self$rnull),
    identical(self$rtime, as.POSIXct("2026-01-01 12:00:00", tz = "Europe/Paris")), identical(self$rna, NA)
  )
  cat("predicted", round(predict(self$model, data.frame(y = 3)), 3), "\\n")
}
"""

FLOW = """
import datetime
import numpy as np
import pandas as pd
from metaflow import FlowSpec, r_step, step

class CrossFlow(FlowSpec):
    @step
    def start(self):
        self.df = pd.DataFrame({"i": np.array([1, 2], "int32"), "s": ["a", None],
            "d": pd.to_datetime(["2026-01-01", None]), "c": pd.Categorical(["u", "v"])})
        self.day = datetime.date(2026, 1, 2)
        self.none = None
        self.nested = {"a": [1, "x", None], "b": {"c": 2.5}}
        self.big = 2**40
        self.arr = np.arange(6.0).reshape(2, 3)
        self.flag = True
        self.text = "ünï"
        self.empty = []
        self.py_function = lambda x: x + 1
        self.next(self.look)

    @r_step("steps.R")
    def look(self):
        self.next(self.each, foreach="items")

    @step
    def each(self):
        self.v = self.input["k"] * 10 + self.index
        assert self.py_function(1) == 2
        self.next(self.join)

    @r_step("steps.R")
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        assert self.vs == [10, 21]
        assert list(self.rdf.columns) == ["x", "y", "s", "l", "f"] and self.rdf.shape == (2, 5)
        assert self.rdf.x.isna().tolist() == [False, True] and self.rdf.y.isna().tolist() == [True, False]
        assert self.rdf.l.isna().tolist() == [False, True] and self.rdf.s.isna().tolist() == [False, True]
        assert list(self.rdf.f.cat.categories) == ["b", "a"]
        assert self.rday == datetime.date(2026, 3, 4)
        assert self.rnull is None and self.rna is None
        assert self.rlist == {"a": 1.0, "b": ["x", 2]}
        assert self.rchr == ["a", None]
        assert list(self.rfac) == ["lo", "hi"]
        assert self.rmat.tolist() == [[1, 3, 5], [2, 4, 6]]
        assert self.rtime.isoformat() == "2026-01-01T12:00:00+01:00"
        assert list(self.rtwice.columns) == ["a", "a"]
        assert (self.model.language, self.model.type) == ("r", "lm")
        assert self.empty == [] and self.py_function(2) == 3
        print("all as it should be")

if __name__ == "__main__":
    CrossFlow()
"""

LOOK = """
library(metaflow)
run <- flow_client$new("CrossFlow")$latest_run
stopifnot(inherits(run$data$model, "lm"), identical(run$data$vs, c(10L, 21L)))
stopifnot(identical(names(run$data$rtwice), c("a", "a")))
cat(run$step("each")$tasks[[1]]$data$v, run$data$text, "\\n")
"""


def test_values_cross_both_ways_and_both_clients_read_them(run_flow, run_r, r_project, printed):
    (r_project / "steps.R").write_text(STEPS_IN_R, encoding="utf-8")
    found = printed(run_flow(FLOW, "run"))
    assert "<function written in Python: " in " ".join(found)
    assert any(line.startswith("no call:") for line in found)
    assert any(line.startswith("predicted 1.") for line in found)
    assert "all as it should be" in found
    assert run_r(LOOK, name="look.R").stdout.endswith(" ünï \n")


# As in the issue that asked for flows of both languages.
CLEAN = """
import pandas as pd

def load(self):
    self.penguins = pd.DataFrame({"bill_length_mm": [39.1, 46.5, 49.9, 45.1], "body_mass_g": [3750, 3500, 5400, 4300]})
"""

MIXED = """
library(metaflow)
fit <- function(self) self$model <- lm(bill_length_mm ~ body_mass_g, data = self$penguins)
metaflow("MixedFlow") |>
  step(step = "start", py_function = "clean.py:load", next_step = "fit") |>
  step(step = "fit", r_function = fit, next_step = "end") |>
  step(step = "end") |>
  run()
"""


def test_the_sample_of_a_mixed_flow(run_r, r_project):
    (r_project / "clean.py").write_text(CLEAN)
    run_r(MIXED, "run")
    look = """
        library(metaflow)
        run <- flow_client$new("MixedFlow")$latest_run
        cat(class(run$data$model), nobs(run$data$model), class(run$data$penguins), "\\n")
        """
    assert run_r(look, name="look.R").stdout == "lm 4 data.frame \n"
    resumed = run_r("flow.R", "resume", "fit")
    assert "1 finished task" in resumed.stdout and "start/" not in resumed.stdout
    shown = run_r("flow.R", "show").stdout
    assert "Step start (Python)\n" in shown and "Step fit\n" in shown


CHAIN = """
def number(self):
    self.n = 1
    self.parts = ["a", "b"]

def each(self):
    self.word = self.input * 2
    if self.input == "b":
        raise ValueError("b is no good")

def collect(self, inputs):
    self.words = [i.word for i in inputs if hasattr(i, "word")]
    self.failures = [i.failure for i in inputs]
"""


def test_decorators_hold_for_steps_of_both_languages(run_r, r_project, printed):
    (r_project / "chain.py").write_text(CHAIN)
    result = run_r(
        """
        library(metaflow)
        metaflow("ChainFlow") |>
          step(step = "start", py_function = "chain.py:number", foreach = "parts", next_step = "each") |>
          step(catch(var = "failure"), retry(times = 1), step = "each", py_function = "chain.py:each",
               next_step = "collect") |>
          step(step = "collect", join = TRUE, py_function = "chain.py:collect", next_step = "end") |>
          step(step = "end", r_function = function(self) {
            cat("words:", unlist(self$words), "failures:", is.null(self$failures[[1]]), "\\n")
            cat(class(self$failures[[2]]), "\\n")
            cat(conditionMessage(self$failures[[2]]), "\\n")
          }) |>
          run()
        """,
        "run",
    )
    found = printed(result)
    assert "words: aa bb failures: TRUE " in found
    assert "metaflow_task_error error condition " in found
    assert "b is no good " in found
    assert found.count("Task is starting (retry).") == 1
