"""Where flows of both languages run: locales, odd paths, no R, no Python, and `step()` beside R's own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TEXTS = """
library(metaflow)
metaflow("TextFlow") |>
  parameter("p", default = "é") |>
  step(step = "start", next_step = "end", r_function = function(self) {
    self$latin <- iconv("\\u00e9t\\u00e9", "UTF-8", "latin1")
    self$chinese <- "\\u4e2d"
    print(self$p)
    cat(basename(getwd()), self$latin, nchar(self$p), "\\n")
    message("ü")
    if (self$p == "stop") stop(self$latin)
  }) |>
  step(step = "end", r_function = function(self) {
    cat(self$latin, self$chinese, identical(self$latin, "\\u00e9t\\u00e9"), "\\n")
  }) |>
  run()
"""


@pytest.mark.parametrize("locale", ["C.UTF-8", "C", None])
def test_texts_in_any_locale_and_paths_with_any_name(run_r, r_project, printed, monkeypatch, locale):
    for variable in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    if locale:
        monkeypatch.setenv("LC_ALL", locale)
    there = r_project / "hier ü"
    there.mkdir()
    script = there / "my flow.R"
    script.write_text(TEXTS, encoding="utf-8")
    monkeypatch.chdir(there)
    result = run_r(script, "run", "--p", "ü 中", "--tag", "ünï")
    found = printed(result)
    assert found[1:4] == ['[1] "ü 中"', "hier ü été 3 ", "ü"]
    assert "été 中 TRUE " in found
    assert "latin = 'été'" in run_r(script, "dump", "1/end").stdout
    failed = run_r(script, "run", "--p", "stop", check=False)
    assert "Error in start(self): été" in failed.stdout
    (r_project / "look.R").write_text(
        'library(metaflow); run <- flow_client$new("TextFlow")$run(1); cat(run$user_tags, run$data$chinese, "\\n")'
    )
    assert run_r(r_project / "look.R").stdout == "ünï 中 \n"


LATIN1 = """
library(metaflow)
place <- "M\xfcnchen"
metaflow("LatinFlow") |>
  parameter("p", default = "stra\xdfe") |>
  step(step = "start", next_step = "end", r_function = function(self) {
    self$place <- place
    self$frame <- data.frame(name = c("\xe4", NA))
    print(self$p)
  }) |>
  step(step = "end", r_function = function(self) {
    cat(self$place, identical(self$place, "M\\u00fcnchen"), nchar(self$frame$name[1]), "\\n")
  }) |>
  run()
"""


def test_a_locale_that_is_neither_c_nor_utf8(r_project, monkeypatch, tmp_path):
    """The script is in latin1; what it stores reads the same everywhere."""
    made = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(tmp_path / "de_DE.ISO-8859-1")]
    if not os.path.exists("/usr/share/i18n/locales/de_DE") or subprocess.run(made, capture_output=True).returncode:
        pytest.skip("locales can't be made here; Debian's package locales has what it takes")
    (r_project / "flow.R").write_bytes(LATIN1.encode("latin-1"))
    latin = {**os.environ, "LC_ALL": "de_DE.ISO-8859-1", "LOCPATH": str(tmp_path)}
    done = subprocess.run(
        ["Rscript", "flow.R", "run", b"--tag", "sch\xf6n".encode("latin-1")], env=latin, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nchen TRUE 1" in done.stdout.decode("latin-1")
    look = (
        'library(metaflow); r <- flow_client$new("LatinFlow")$latest_run; '
        'cat(r$data$place, r$user_tags, r$data$p, r$data$frame$name[1], "\\n")'
    )
    utf8 = subprocess.run(["Rscript", "-e", look], env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True)
    assert utf8.stdout.decode() == "München schön straße ä \n"


R_STEP = """
from metaflow import FlowSpec, step, r_step

class RStepFlow(FlowSpec):
    @r_step("model.R")
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        print("fitted", self.word)

if __name__ == "__main__":
    RStepFlow()
"""


def test_r_in_a_python_flow_in_the_c_locale(run_flow, r_project):
    (r_project / "model.R").write_text('start <- function(self) { self$word <- "é"; print("ü") }', encoding="utf-8")
    result = run_flow(R_STEP, "run", env={"LC_ALL": "C"})
    assert '[1] "ü"' in result.stdout
    assert "fitted é" in result.stdout


def path_without_r(r_project) -> str:
    """A PATH with what a shell needs, but R."""
    tools = r_project / "bin"
    tools.mkdir()
    for name in ("sh", "uname", "env", "ls", "ldconfig", "gcc", "cc"):
        for folder in os.environ["PATH"].split(os.pathsep):
            if os.path.exists(os.path.join(folder, name)):
                (tools / name).symlink_to(os.path.join(folder, name))
                break
    return str(tools)


def test_without_r_python_flows_run_and_a_step_in_r_says_what_is_missing(run_flow, r_project, monkeypatch):
    for variable in ("R_HOME", "R_LIBS", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", path_without_r(r_project))
    (r_project / "model.R").write_text("start <- function(self) self$word <- 1")
    result = run_flow(R_STEP, "run", check=False)
    assert result.returncode == 1
    assert "R can't be used" in result.stderr
    assert "R_HOME" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Workflow starting" not in result.stdout
    plain = R_STEP.replace('@r_step("model.R")', "@step")
    assert (
        "fitted 5"
        in run_flow(plain.replace("        self.next", "        self.word = 5\n        self.next"), "run").stdout
    )


def test_library_metaflow_without_python(run_r, r_project):
    script = """
        library(metaflow)
        cat("loaded\\n")
        f <- metaflow("F") |> step(step = "start", next_step = "end") |> step(step = "end")
        print(f)
        say <- function(e) cat("caught:", conditionMessage(e), "\\n")
        tryCatch(flow_client$new("F"), metaflow_python_not_available = say)
        f |> run()
        """
    result = run_r(script, "run", check=False, env={"METAFLOW_PYTHON": "/no/such/python"})
    assert result.returncode == 1
    assert result.stdout.startswith("loaded\nFlow F: 2 steps\n")
    assert "caught: METAFLOW_PYTHON is /no/such/python, which does not exist." in result.stdout
    assert "METAFLOW_PYTHON is /no/such/python, which does not exist." in result.stderr


def test_a_python_without_metaflow(run_r, r_project):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "bare"], check=True)
    result = run_r(
        """
        library(metaflow)
        flow_client$new("F")
        """,
        check=False,
        env={"METAFLOW_PYTHON": str(r_project / "bare" / "bin" / "python")},
    )
    assert result.returncode == 1
    said = " ".join(result.stderr.split())
    assert "bare/bin/python can't be used: ModuleNotFoundError: No module named 'metaflow_r'" in said
    assert "install_metaflow()" in result.stderr


def test_step_of_stats_still_works_and_loading_is_silent(run_r, r_project):
    result = run_r(
        """
        library(metaflow)
        full <- lm(mpg ~ wt + hp + qsec, data = mtcars)
        chosen <- step(full, trace = 0)
        same <- stats::step(full, trace = 0)
        smaller <- step(lm(mpg ~ 1, mtcars), scope = mpg ~ wt + hp, direction = "forward", trace = 0)
        cat(deparse(formula(chosen)), identical(formula(chosen), formula(same)), deparse(formula(smaller)), "\\n")
        pick <- function(data, trace) step(lm(mpg ~ wt + hp, data = data), trace = trace)
        cat(deparse(formula(pick(mtcars, 0))), "\\n")
        """
    )
    assert result.stdout == "mpg ~ wt + hp TRUE mpg ~ wt + hp \nmpg ~ wt + hp \n"
    assert result.stderr == ""
