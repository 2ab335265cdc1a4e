"""One step alone, from R: by the command line, by `run()` and by `runner()`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FLOW = """
    library(metaflow)
    metaflow("SpinFlow") |>
      parameter("alpha", default = 2) |>
      step(
        step = "start", foreach = "items", next_step = "work",
        r_function = function(self) self$items <- c("a", "b")
      ) |>
      step(
        step = "work", next_step = "join",
        r_function = function(self) self$word <- strrep(self$input, self$alpha)
      ) |>
      step(
        step = "join", join = TRUE, next_step = "end",
        r_function = function(self, inputs) self$words <- unlist(gather_inputs(inputs, "word"))
      ) |>
      step(step = "end", r_function = function(self) cat("words", self$words, "\\n")) |>
      run()
    """


@pytest.fixture
def flows(r_project: Path, run_r: Any) -> Path:
    run_r(FLOW, "run")
    (r_project / "others.R").write_text('ARTIFACTS <- list(input = "x", alpha = 3)\n')
    (r_project / "branches.R").write_text('ARTIFACTS <- list(alpha = 3, work = list(word = "w"))\n')
    return r_project


def test_on_the_command_line(flows: Path, run_r: Any) -> None:
    assert run_r("flow.R", "spin", "1/work/2").stdout == "self$word = 'aa'\n"
    assert run_r("flow.R", "spin", "work", "--artifacts-module", "others.R").stdout == "self$word = 'xxx'\n"
    assert (
        run_r("flow.R", "spin", "join", "--artifacts-module", "branches.R", "--persist").stdout
        == "self$words = ['w', 'w']\n"
    )
    (flows / "wrong.R").write_text("ARTIFACTS <- 1:3\n")
    result = run_r("flow.R", "spin", "join", "--artifacts-module", "wrong.R", check=False)
    assert "'wrong.R' must define a list of artifacts by name, ARTIFACTS <- list(...); it has 1:3." in result.stderr
    script = """
        library(metaflow)
        inspect_spin(".")
        task <- flow_client$new("SpinFlow")$latest_run$step("join")$a_task
        cat(task$data$words, task$data$alpha, "\\n")
        reset_default_metadata()
        cat(length(flow_client$new("SpinFlow")$runs), "\\n")
        tryCatch(inspect_spin(tempdir()), metaflow_error = function(e) cat("nothing\\n"))
        """
    assert run_r(script, name="look.R").stdout.splitlines() == ["w w 3 ", "1 ", "nothing"]


def test_from_a_session(flows: Path, run_r: Any) -> None:
    (flows / "asks.R").write_text(
        (flows / "flow.R").read_text().replace("run()", 'run(spin = "work", max_num_splits = 5)')
    )
    assert run_r("asks.R").stdout == "self$word = 'bb'\n"
    script = """
        library(metaflow)
        made <- runner("flow.R", show_output = FALSE)
        spun <- made$spin("work", artifacts_module = "others.R")
        cat(spun$status, spun$task$pathspec, spun$task$data$word, "\\n")
        spinning <- made$async_spin("1/work/2", with = "retry", skip_decorators = FALSE)
        spinning$wait()
        print(spinning)
        cat(spinning$task$data$word, spinning$stdout)
        tryCatch(made$spin("nowhere")$task, error = function(e) cat(conditionMessage(e), "\\n"))
        tryCatch(made$spin(5), error = function(e) cat(conditionMessage(e), "\\n"))
        tryCatch(made$spin("work", persits = TRUE), error = function(e) cat(conditionMessage(e), "\\n"))
        """
    lines = run_r(script, name="notebook.R").stdout.splitlines()
    assert lines[:4] == [
        "successful SpinFlow/1/work/3 xxx ",
        "<flow.R: successful, exit status 0>",
        "aa self$word = 'aa'",
        "MetaflowException: The step did not run: There is no step 'nowhere'. Steps: start, work, join, end. ",
    ]
    assert lines[4].startswith("spin() takes the name of a step, or a pathspec")
    assert "No such option '--persits'" in lines[5]
