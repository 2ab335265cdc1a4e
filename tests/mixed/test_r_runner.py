"""``runner()``: flow files run from R, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
R_FLOW = """
    library(metaflow)
    start <- function(self) {
      cat("größer", self$alpha, Sys.getenv("SHADE"), "\\n")
      message("a warning")
      if (file.exists("marker")) stop("asked to fail")
      self$beta <- self$alpha * 2
      self$sizes <- self$options$sizes
    }
    metaflow("RFlow") |>
      parameter("alpha", default = 0.5) |>
      parameter("needed", type = "int", required = TRUE) |>
      parameter("options", default = list(sizes = 1L)) |>
      parameter("verbose", default = FALSE) |>
      step(step = "start", r_function = start, next_step = "end") |>
      step(step = "end") |>
      run()
    """
PYTHON_FLOW = """
    import os
    from metaflow import FlowSpec, Parameter, step

    class PyFlow(FlowSpec):
        alpha = Parameter("alpha", default=0.5)

        @step
        def start(self):
            self.x, self.folder = self.alpha * 2, os.getcwd()
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        PyFlow()
    """


@pytest.fixture
def flows(r_project: Path) -> Path:
    (r_project / "train.R").write_text(dedent(R_FLOW), encoding="utf-8")
    (r_project / "below").mkdir()
    (r_project / "below" / "train.py").write_text(dedent(PYTHON_FLOW), encoding="utf-8")
    return r_project


def test_flows_are_run_and_resumed(flows: Path, run_r: Run) -> None:
    result = run_r(
        """
        library(metaflow)
        made <- runner("train.R", env = c(SHADE = "blue"))
        made
        one <- made$run(needed = 3, alpha = 0.7, verbose = TRUE, options = list(sizes = c(1, 2)),
          tags = c("a", "b c"), max_workers = 1)
        one
        cat("one:", one$status, one$returncode, one$run$data$beta, one$run$data$needed, one$run$data$verbose, "\\n")
        cat("data:", one$run$data$sizes, "tags:", paste(one$run$user_tags, collapse = "/"), "\\n")
        cat("kept:", grepl("größer 0.7 blue", one$stdout), grepl("a warning", paste(one$stdout, one$stderr)), "\\n")

        file.create("marker")
        quiet <- runner("train.R", show_output = FALSE)
        failed <- quiet$run(needed = 4, alpha = 8)
        cat("failed:", failed$status, failed$returncode, failed$run$status, "\\n")
        unlink("marker")
        resumed <- quiet$resume("start", origin_run_id = failed$run)
        cat("resumed:", resumed$status, resumed$run$origin_pathspec, resumed$run$data$beta, "\\n")

        py <- runner("train.py", show_output = FALSE, cwd = "below", metadata = "local")$run(alpha = 2)
        cat("py:", py$run$pathspec, py$run$data$x, basename(py$run$data$folder), "\\n")
        cat("left:", length(list.files(tempdir(), "metaflow-runner")), "\\n")
        """,
        name="notebook.R",
    )
    lines = result.stdout.splitlines()
    assert lines[0] == "<runner of train.R: $run(...), $resume(...), $spin(...)>"
    assert any("größer 0.7 blue" in line for line in lines)
    assert "<RFlow/1: successful, exit status 0>" in lines
    assert not any("größer 8" in line for line in lines)
    told = dict(line.split(": ", 1) for line in lines if line.split(":")[0].isalpha() and ": " in line)
    assert told == {
        "one": "successful 0 1.4 3 TRUE ",
        "data": "1 2 tags: a/b c ",
        "kept": "TRUE TRUE ",
        "failed": "failed 1 failed ",
        "resumed": "successful RFlow/2 16 ",
        "py": "PyFlow/1 4 below ",
        "left": "0 ",
    }


def test_what_can_not_be_run_is_an_error(flows: Path, run_r: Run) -> None:
    result = run_r(
        """
        library(metaflow)
        tell <- function(code) tryCatch(code, error = function(e) cat(class(e)[1], conditionMessage(e), "\\n"))
        made <- runner("train.R", show_output = FALSE)
        tell(made$run(alpha = 1))
        tell(made$run(needed = 1, alhpa = 1))
        tell(made$run(needed = "many"))
        tell(made$run(5))
        tell(made$run(needed = NA))
        tell(made$resume(5))
        made$resume("nowhere")
        tell(runner())
        tell(runner(5))
        tell(runner("none.R"))
        tell(runner("train.R", metdata = "local"))
        tell(runner("train.R", env = "A"))
        tell(runner("train.R", show_output = 1))
        one <- runner("below/train.py", show_output = FALSE)$run()
        tell(one$runs)
        writeLines("import no_such_module", "broken.py")
        broken <- runner("broken.py", show_output = FALSE)$run()
        broken
        tell(broken$run)
        """,
        name="notebook.R",
    )
    told = result.stdout.splitlines()
    assert told == [
        "metaflow_usage MetaflowUsageError: Missing option '--needed'. ",
        "metaflow_usage MetaflowUsageError: No such option '--alhpa'. (Did you mean one of: '--alpha', '--help'?) ",
        "metaflow_usage MetaflowUsageError: Invalid value for '--needed': must be a whole number, not 'many'. ",
        "metaflow_invalid_argument run() takes its arguments by name. It was given 5. ",
        "metaflow_invalid_argument run(): `needed` is NA. Leave it out, or give it a value. ",
        "metaflow_invalid_argument resume() takes the name of a step first, not 5. ",
        "<no run: failed, exit status 1>",
        'metaflow_invalid_argument runner("flow.R") takes the name of a flow file. ',
        'metaflow_invalid_argument runner("flow.R") takes the name of a flow file, not 5. ',
        f'metaflow_command There is no flow file "none.R" in {flows}. ',
        "metaflow_invalid_argument runner() has no argument `metdata`. Did you mean `metadata`? ",
        'metaflow_invalid_argument runner(): env takes environment variables by name, as in c(DEBUG = "1"). ',
        "metaflow_invalid_argument runner(): show_output is TRUE or FALSE, not 1. ",
        "metaflow_unknown_member A run of runner() has no `runs`. Did you mean `run`? ",
        "<no run: failed, exit status 1>",
        "metaflow_not_found There is no run: ModuleNotFoundError: No module named 'no_such_module' ",
    ]


@pytest.fixture
def hosts() -> ModuleType:
    """The module that knows how to be a terminal."""
    specification = importlib.util.spec_from_file_location("r_hosts", Path(__file__).with_name("test_r_hosts.py"))
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_session_shows_it_and_an_interrupt_stops_it(flows: Path, hosts: ModuleType) -> None:
    (flows / "slow.py").write_text(
        dedent(PYTHON_FLOW).replace("self.x,", "import time; print('begun'); time.sleep(300); self.x,")
    )
    r = hosts.Terminal()
    try:
        r.say("library(metaflow)", "> ")
        r.say("made <- runner('below/train.py')$run(); cat('over', '\\n')", r"Done!\s[^$]*over")
        r.say("runner('slow.py')$run()", r"\)\] begun")
        os.kill(r.pid, signal.SIGINT)  # as RStudio does
        r.wait("> $")
        assert "status interrupted" in r.say(
            "cat('status', flow_client$new('PyFlow')$latest_run$status, '\\n')", "status i"
        )
    finally:
        r.close()


def test_flows_run_beside_each_other(flows: Path, run_r: Run) -> None:
    (flows / "slow.py").write_text(
        dedent(PYTHON_FLOW).replace(
            "self.x,",
            "import pathlib, time; print('größer', self.alpha, flush=True)\n"
            "        while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
            "        print('on'); self.x,",
        )
    )
    result = run_r(
        """
        library(metaflow)
        tell <- function(code) tryCatch(code, error = function(e) cat(class(e)[1], conditionMessage(e), "\\n"))
        slow <- runner("slow.py", show_output = FALSE)
        both <- lapply(c(1, 2), function(alpha) slow$async_run(alpha = alpha, tags = "both"))
        cat("begun:", vapply(both, function(one) one$status, ""), is.null(both[[1]]$returncode), "\\n")
        cat("runs:", sort(vapply(both, function(one) one$run$id, "")), "\\n")
        cat("waited:", both[[1]]$wait(timeout = 0.01)$status, "\\n")
        first <- both[[1]]$stream_log("stdout", function(line) !grepl("größer", line))
        cat("first:", sub(".*[)][]] ", "", tail(first, 1)), "\\n")
        print(both[[2]])
        stopped <- slow$async_run(alpha = 3)
        cat("stopped:", stopped$kill()$status, stopped$returncode, stopped$run$status, "\\n")
        invisible(file.create("go"))
        lines <- both[[1]]$stream_log("stdout")
        same <- identical(paste0(paste(lines, collapse = "\\n"), "\\n"), both[[1]]$stdout)
        cat("lines:", same, any(grepl("on$", lines)), "\\n")
        for (one in both) cat("ended:", one$wait()$status, one$run$data$x, "\\n")
        both[[1]]$wait(stream = "stdout")
        resumed <- slow$async_resume("end", origin_run_id = both[[1]]$run)
        cat("resumed:", resumed$wait()$run$origin_pathspec == both[[1]]$run$pathspec, "\\n")
        tell(slow$async_run(alhpa = 1))
        tell(both[[1]]$stream_log("out"))
        tell(both[[1]]$wait("long"))
        unlink("go")
        slow$async_run(alpha = 4)$status
        invisible(gc())
        cat("forgotten:", flow_client$new("PyFlow")$latest_run$status, "\\n")
        last <- slow$async_run(alpha = 5)
        """,
        name="notebook.R",
    )
    lines = result.stdout.splitlines()
    told = [line.rstrip() for line in lines if not line.startswith("20")]
    assert told == [
        "begun: running running TRUE",
        "runs: 1 2",
        "waited: timeout",
        told[3],
        told[4],
        "stopped: failed 1 interrupted",
        "lines: TRUE TRUE",
        "ended: successful 2",
        "ended: successful 4",
        "resumed: TRUE",
        "metaflow_usage MetaflowUsageError: No such option '--alhpa'. (Did you mean one of: '--alpha', '--help'?)",
        'metaflow_invalid_argument There is no stream "out". Streams: "stdout", "stderr".',
        'metaflow_invalid_argument wait() takes a timeout in seconds, not "long".',
        '[1] "running"',
        "forgotten: interrupted",
    ]
    assert told[3] in ("first: größer 1", "first: größer 1.0")
    assert told[4].startswith("<PyFlow/") and told[4].endswith(": running>")
    # What still runs when the session ends is stopped too.
    status = run_r('library(metaflow)\ncat(flow_client$new("PyFlow")$latest_run$status)\n', name="after.R").stdout
    assert status == "interrupted"
