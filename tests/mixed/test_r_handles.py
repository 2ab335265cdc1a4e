"""Objects of one language in the other: handles that say what they are, and load the object when it is asked for."""

from __future__ import annotations

STEPS = """
look <- function(self) {
  print(self$scale)
  print(names(unclass(self$scale)))
  f <- self$scale$load()
  cat("called:", f(4), "\\n")
  cat("class:", class(self$scale), "language:", self$scale$language, "type:", self$scale$type, "\\n")
  self$model <- lm(y ~ x, data.frame(x = 1:3, y = c(2, 4, 6)))
  self$square <- function(x) x^2
  self$env <- new.env()
  self$formula <- y ~ x + z
}
"""

FLOW = """
from metaflow import FlowSpec, r_step, step

class HandleFlow(FlowSpec):
    @step
    def start(self):
        factor = 10
        self.scale = lambda x: x * factor
        self.next(self.look)

    @r_step("steps.R")
    def look(self):
        self.next(self.end)

    @step
    def end(self):
        print(repr(self.model), self.model.language, self.model.type, self.model.summary)
        print(repr(self.square), repr(self.env), repr(self.formula))
        print("squared:", self.square.load()(7)[0])
        print("still:", self.scale(2))

if __name__ == "__main__":
    HandleFlow()
"""

CLIENT = """
from metaflow import Flow
from metaflow.exception import MetaflowException
data = Flow("HandleFlow").latest_run.data
try:
    model = data.model.load()
except MetaflowException as error:
    print("FAILED", error)
else:
    import rpy2.robjects as ro
    print("slope:", round(model.rx2("coefficients")[1], 6), type(model).__module__)
    print("fitted:", ro.r["predict"](model, ro.DataFrame({"x": 10.0}))[0])
"""

R_CLIENT = """
library(metaflow)
data <- flow_client$new("HandleFlow")$latest_run$data
print(data$scale)
cat("called:", data$scale$load()(5), "\\n")
cat(predict(data$model, data.frame(x = 20)), data$square(3), class(data$formula), "\\n")
"""


def test_objects_of_each_language_are_handles_in_the_other(run_flow, run_r, r_project, printed):
    (r_project / "steps.R").write_text(STEPS, encoding="utf-8")
    found = printed(run_flow(FLOW, "run"))
    text = "\n".join(found)
    assert "<function written in Python: <function HandleFlow.start.<locals>.<lambda>>>" in text
    assert "called: 40 " in text
    assert "class: metaflow_opaque language: python type: function" in text
    assert "<lm written in R: " in text and "r lm " in text
    assert "<function written in R: function (x)" in text and "<formula written in R: " in text
    assert "<environment written in R: " in text
    assert "squared: 49.0" in text and "still: 20" in text

    result = run_flow(CLIENT, name="client.py")
    assert "slope: 2.0 rpy2.robjects" in result.stdout
    assert "fitted: 20.0" in result.stdout.replace("19.999999999999996", "20.0")

    without = run_flow(CLIENT, name="client.py", env={"PATH": "/nowhere", "R_HOME": ""})
    assert without.stdout.startswith("FAILED This lm was written in R, which loads it.")
    assert "Traceback" not in without.stderr

    result = run_r(R_CLIENT, name="look.R")
    assert "<function written in Python: " in result.stdout
    assert "called: 50" in result.stdout and "40 9 formula" in result.stdout


REFUSED = """
from metaflow import Flow
data = Flow("HandleFlow").latest_run.data
print(sorted(data._names)[:1] if hasattr(data, "_names") else "")
for name in ("model", "scale"):
    try:
        getattr(data, name)
    except Exception as error:
        print(type(error).__name__, error)
"""

R_REFUSED = """
library(metaflow)
data <- flow_client$new("HandleFlow")$latest_run$data
for (name in c("model", "scale")) {
  tryCatch(data[[name]], metaflow_unreadable_artifact = function(e) cat("refused", conditionMessage(e), "\\n"))
}
"""

REFUSE = {"METAFLOW_OPAQUE_ARTIFACTS": "refuse"}


def test_opaque_artifacts_can_be_refused_in_both_languages(run_flow, run_r, r_project, printed):
    (r_project / "steps.R").write_text(STEPS, encoding="utf-8")
    failed = run_flow(FLOW, "run", env=REFUSE, check=False)
    assert failed.returncode == 1
    assert "METAFLOW_OPAQUE_ARTIFACTS=refuse forbids that" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr

    run_flow(FLOW, "run")
    python = run_flow(REFUSED, name="client.py", env=REFUSE).stdout
    assert "opaque value (lm, written in R)" in python and "opaque value (function, written in Python)" in python
    r = run_r(R_REFUSED, name="look.R", env=REFUSE).stdout
    assert r.count("refused") == 2
    assert "(lm, written in R)" in r and "(function, written in Python)" in r


LOST = """
library(metaflow)
look <- function(self) {
  tryCatch(self$big, metaflow_artifact_warning = function(w) cat("caught", conditionMessage(w), "\\n"))
  value <- self$bigger
  self$connection <- file("kept.txt", "w")
  self$odd <- structure(1.5, class = "length", unit = "cm")
}
"""

LOST_FLOW = """
from metaflow import FlowSpec, r_step, step

class LostFlow(FlowSpec):
    @step
    def start(self):
        self.big = self.bigger = 10**30 + 1
        self.next(self.look)

    @r_step("steps.R")
    def look(self):
        self.next(self.end)

    @step
    def end(self):
        print(self.odd)

if __name__ == "__main__":
    LostFlow()
"""


def test_what_is_lost_is_told_where_it_is_lost(run_flow, r_project, printed):
    (r_project / "steps.R").write_text(LOST, encoding="utf-8")
    result = run_flow(LOST_FLOW, "run")
    text = result.stdout + result.stderr
    lost = "whole numbers beyond 64 bits are read as numbers of R, which lose digits."
    assert f"caught The artifact 'big': {lost}" in text and f"Warning: The artifact 'bigger': {lost}" in text
    assert "The artifact 'connection': it holds an open connection (file/connection)" in text
    assert "flow.py:16: ArtifactWarning: The artifact 'odd': it is an R double with attributes" in text
    for ours in ("metaflow_core/", "metaflow_r/", "losses.py", "state.py"):
        assert ours not in text


STUCK = """
import threading
from metaflow import FlowSpec, step

class StuckFlow(FlowSpec):
    @step
    def start(self):
        self.parts = {"log": [open("kept.txt", "w")], "fine": 1}
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    StuckFlow()
"""


def test_what_can_not_be_stored_is_named_with_its_place(run_flow):
    result = run_flow(STUCK, "run", check=False)
    text = result.stdout + result.stderr
    assert result.returncode == 1
    assert "Step start: the artifact 'parts' can't be stored. Its element ['log'][0], of type _io.TextIOWrapper" in text
    assert "make it anew in the step that needs it" in text
