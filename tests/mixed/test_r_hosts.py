"""Interactive hosts: there a run is a process of its own, whose lines are shown."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Terminal:
    """R at a terminal."""

    def __init__(self, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> None:
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            if folder is not None:
                os.chdir(folder)
            given = {**os.environ, "TERM": "dumb"} if environment is None else environment
            os.execve("/usr/bin/env", ["env", "R", "--no-save", "--quiet", "--no-readline"], dict(given))

    def say(self, code: str, until: str, seconds: float = 60) -> str:
        """Enter ``code`` and return what is shown up to the pattern ``until``."""
        os.write(self.file, (code + "\n").encode())
        return self.wait(until, seconds)

    def wait(self, until: str, seconds: float = 60) -> str:
        shown, end = "", time.monotonic() + seconds
        while not re.search(until, shown):
            left = end - time.monotonic()
            assert left > 0, f"{until!r} did not come:\n{shown}"
            if select.select([self.file], [], [], left)[0]:
                shown += os.read(self.file, 65536).decode(errors="replace").replace("\r\n", "\n")
        return shown

    def close(self) -> None:
        os.write(self.file, b"quit('no')\n")
        os.waitpid(self.pid, 0)
        os.close(self.file)


@pytest.fixture
def r(r_project: Path) -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_a_terminal(r_project: Path) -> None:
    r = Terminal()
    try:
        r.say("library(metaflow); offset <- 40; add <- function(x) x + offset", "> ")
        r.say("make <- function(k) function(self) { self$x <- add(k); cat('pid', Sys.getpid(), '\\n') }", "> ")
        r.say("flow <- metaflow('TtyFlow') |> step(step = 'start', r_function = make(2), next_step = 'end')", "> ")
        shown = r.say("r <- run(flow |> step(step = 'end'), tag = c('a', 'b c')); cat('over', '\\n')", r"\nover")
        lines = [line for line in shown.splitlines() if "[1/" in line or "Workflow" in line]
        assert [re.sub(r"^\S+ \S+ |\[.*?\)\] ", "", line) for line in lines[:2]] == [
            "Workflow starting (run-id 1):",
            "Task is starting.",
        ]
        pid = re.search(r"\)\] pid (\d+)", shown)
        assert pid is not None and int(pid.group(1)) != r.pid
        assert "TtyFlow/1" in r.say("print(r)", r"TtyFlow/1")
        assert "x is 42" in r.say("cat('x', 'is', r$data$x, '\\n')", "x is 42")
        assert "status TRUE" in r.say("cat('status', r == 0, '\\n')", "status TRUE")
        assert "tags a/b c" in r.say("cat('tags', paste(r$user_tags, collapse = '/'), '\\n')", "tags a/b c")
    finally:
        r.close()


def test_a_failed_run_is_a_condition_in_a_session(r_project: Path) -> None:
    r = Terminal()
    try:
        r.say("library(metaflow)", "> ")
        r.say(
            "flow <- metaflow('BadFlow') |> step(step = 'start', next_step = 'end', "
            "r_function = function(self) stop('boo')) |> step(step = 'end')",
            "> ",
        )
        shown = r.say(
            "tryCatch(run(flow), metaflow_run_failed = function(e) "
            "cat('class', class(e)[1], conditionMessage(e), '\\n'))",
            r"\nclass .*\n",
        )
        assert "Error in start(self): boo" in shown
        assert "class metaflow_run_failed RunFailed: the run BadFlow/1 did not succeed." in shown
    finally:
        r.close()


def test_a_document(r_project: Path) -> None:
    if subprocess.run(["Rscript", "-e", "quit(status = !requireNamespace('knitr'))"], capture_output=True).returncode:
        pytest.skip("knitr is not installed")
    (r_project / "report.Rmd").write_text(
        "```{r}\n"
        "library(metaflow)\n"
        "start <- function(self) self$x <- 6 * 7\n"
        "r <- metaflow('KnitFlow') |> step(step = 'start', r_function = start, next_step = 'end') |> "
        "step(step = 'end') |> run()\n"
        "r$data$x\n"
        "```\n"
    )
    done = subprocess.run(["Rscript", "-e", "knitr::knit('report.Rmd', quiet = TRUE)"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (r_project / "report.md").read_text()
    assert "Task finished successfully." in text
    assert "## [1] 42" in text


def test_a_run_sees_all_that_the_session_has_but_its_random_numbers(r: Terminal) -> None:
    r.say("library(metaflow); setClass('Point', representation(x = 'numeric')); .hidden <- function(p) p@x * 2", "> ")
    r.say("set.seed(1); invisible(runif(1))", "> ")
    r.say(
        "start <- function(self) { self$x <- .hidden(new('Point', x = 21)); "
        "self$seeded <- exists('.Random.seed', globalenv()) }",
        "> ",
    )
    r.say("flow <- metaflow('SeesFlow') |> step(step = 'start', r_function = start, next_step = 'end')", "> ")
    r.say("run <- run(flow |> step(step = 'end')); cat('over', '\\n')", r"\nover")
    assert r.say("cat('got', run$data$x, run$data$seeded, '\\n')", "got 42 FALSE")


SLOW = (
    "library(metaflow); slow <- metaflow('SlowFlow') |> step(step = 'end') |> step(step = 'start', next_step = 'end', "
    "r_function = function(self) { cat('begun', '\\n'); Sys.sleep(300) })"
)


@pytest.mark.parametrize("host", ["a terminal interrupts all", "RStudio interrupts R alone"])
def test_one_interrupt_stops_the_run_and_not_the_session(r: Terminal, host: str) -> None:
    r.say(SLOW, "> ")
    r.say("tryCatch(run(slow), metaflow_run_failed = function(e) cat('caught', e$pathspec, '\\n'))", r"\)\] begun")
    if host.startswith("RStudio"):
        os.kill(r.pid, signal.SIGINT)
    else:
        os.write(r.file, b"\x03")
    shown = r.wait(r"\ncaught .*\n")
    assert "Interrupted: stopping 1 running task. Again to kill." in shown
    assert "Workflow interrupted." in shown
    assert "caught SlowFlow/1" in shown
    assert r.say("cat('still', 1 + 1, '\\n')", "still 2")


def test_a_run_ends_with_its_session(r_project: Path) -> None:
    r = Terminal()
    r.say(SLOW, "> ")
    r.say("run(slow)", r"\)\] begun")
    os.kill(r.pid, signal.SIGKILL)
    os.waitpid(r.pid, 0)
    os.close(r.file)
    from metaflow import Run, namespace

    namespace(None)
    end = time.monotonic() + 60
    while Run("SlowFlow/1").status != "interrupted":
        assert time.monotonic() < end, "the run goes on"
        time.sleep(0.05)


def test_a_session_whose_tasks_are_processes_of_their_own(r_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_LAUNCHER", "spawn")
    r = Terminal()
    try:
        r.say("library(metaflow); k <- 41; start <- function(self) self$x <- k + 1", "> ")
        r.say("flow <- metaflow('SpawnFlow') |> step(step = 'start', r_function = start, next_step = 'end')", "> ")
        r.say("run <- run(flow |> step(step = 'end')); cat('over', '\\n')", r"\nover")
        assert r.say("cat('got', run$data$x, '\\n')", "got 42 ")
    finally:
        r.close()


def test_usage_names_no_file_of_ours(r: Terminal) -> None:
    r.say("library(metaflow); flow <- metaflow('F') |> step(step = 'start', next_step = 'end')", "> ")
    shown = r.say("run(flow |> step(step = 'end'), help = TRUE); cat('over', '\\n')", r"\nover")
    assert "Usage: flow.R run [OPTIONS]" in shown


def test_an_r_that_a_desktop_icon_started(r_project: Path, r_library: Path, tmp_path: Path) -> None:
    """No PATH, no locale, nothing of a virtual environment; the working directory is the home."""
    home = tmp_path / "home of änne"
    home.mkdir()
    (home / ".Renviron").write_text(f"R_LIBS_USER={r_library}\n")
    r = Terminal({"HOME": str(home), "DISPLAY": ":0", "USER": "aenne", "RSTUDIO": "1"}, home)
    try:
        r.say("library(metaflow); start <- function(self) { self$x <- 42L; print('gr\\u00fcn') }", "> ")
        r.say("flow <- metaflow('IconFlow') |> step(step = 'start', r_function = start, next_step = 'end')", "> ")
        # cli, once it is loaded, shows the cursor after each command.
        shown = r.say("run <- run(flow |> step(step = 'end')); cat('over', '\\n')", r"\n(\x1b\[\?25h)?over")
        assert "executing IconFlow for user:aenne" in shown
        assert '[1] "grün"' in shown
        assert "Warning" not in shown
        assert r.say("cat('got', flow_client$new('IconFlow')$latest_run$data$x, '\\n')", "got 42 ")
    finally:
        r.close()
    assert (home / ".metaflow").is_dir()


# --- notebooks

CELLS = [
    "library(metaflow); offset <- 40; make <- function(k) function(self) "
    "{ self$x <- k + offset; cat('in task', Sys.getpid(), '\\n') }",
    "flow <- metaflow('NoteFlow') |> step(step = 'start', r_function = make(2), next_step = 'end') |> "
    "step(step = 'end')\nflow",
    "r <- run(flow, tag = 'a b'); cat('kernel', Sys.getpid(), '\\n')",
    "flow_client$new('NoteFlow')$latest_run\nr$data$x",
    "tryCatch(run_client$new('NoteFlow/9'), metaflow_not_found = function(e) cat(conditionMessage(e)))",
]


def outputs(cell: Any) -> str:
    parts = []
    for output in cell.outputs:
        assert output.output_type != "error", output.evalue
        parts.append(output.text if output.output_type == "stream" else output.data["text/plain"] + "\n")
    return "".join(parts)


@pytest.fixture
def notebook(r_project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], Any]:
    """A notebook with these cells, and the client that executes it in IRkernel."""
    probe = ["Rscript", "-e", "quit(status = !requireNamespace('IRkernel'))"]
    modules = ("nbclient", "nbformat", "jupyter_client")
    if subprocess.run(probe, capture_output=True).returncode or not all(map(importlib.util.find_spec, modules)):
        pytest.skip("IRkernel or nbclient is not installed; `make test` installs them")
    import nbclient
    import nbformat

    kernel = r_project / "jupyter" / "kernels" / "r_of_the_test"
    kernel.mkdir(parents=True)
    command = ["R", "--no-echo", "-e", "IRkernel::main()", "--args", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "R", "language": "R"}))
    monkeypatch.setenv("JUPYTER_PATH", str(r_project / "jupyter"))

    def made(cells: list[str]) -> Any:
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
        return nbclient.NotebookClient(book, kernel_name="r_of_the_test", timeout=120)

    return made


def test_a_notebook(notebook: Callable[[list[str]], Any]) -> None:
    client = notebook(CELLS)
    from jupyter_core.utils import run_sync

    book = client.nb
    with client.setup_kernel():
        for number, cell in enumerate(book.cells):
            client.execute_cell(cell, number)

        async def complete(code: str) -> list[str]:
            request = client.kc.complete(code, len(code))
            while True:
                answer = await client.kc.get_shell_msg(timeout=60)
                if answer["parent_header"].get("msg_id") == request:
                    return list(answer["content"]["matches"])

        completed = {code: run_sync(complete)(code) for code in ("r$user_t", "r$data$", "flow_cl")}
    _, shown, ran, found, missing = map(outputs, book.cells)
    assert re.sub(r"\x1b\[\d+m", "", shown) == "Flow NoteFlow: 2 steps\n  start → end\n  end\n"
    pids = re.search(r"\)\] in task (\d+)[^$]*Done!\nkernel (\d+)", ran)
    assert pids is not None and pids[1] != pids[2]
    # The lines came while the run went on, not at its end.
    assert len([output for output in book.cells[2].outputs if output.output_type == "stream"]) > 1
    assert found == "NoteFlow/1\n[1] 42\n"
    assert "There is no run 'NoteFlow/9'" in missing
    assert completed == {
        "r$user_t": ["r$user_tags"],
        "r$data$": ["r$data$name", "r$data$x"],
        "flow_cl": ["flow_client"],
    }


def test_runners_in_a_notebook(notebook: Callable[[list[str]], Any], project: Path) -> None:
    (project / "train.R").write_text("""
library(metaflow)
metaflow("TrainFlow") |>
  parameter("alpha", default = 1) |>
  step(step = "start", r_function = function(self) {
    cat("alpha is", self$alpha, "\\n")
    while (self$alpha == 7 && !file.exists("go")) Sys.sleep(0.02)
  }, next_step = "end") |>
  step(step = "end", r_function = function(self) {
    if (self$alpha < 0) stop("negative")
    self$double <- self$alpha * 2
  }) |>
  run()
""")
    client = notebook(
        [
            "library(metaflow); made <- runner('train.R')$run(alpha = 3)",
            "cat(made$status, made$run$data$double)\nmade",
            "going <- runner('train.R', show_output = FALSE)$async_run(alpha = 7, tags = c('a', 'b c'))\n"
            "cat(going$status, is.null(going$returncode), format(going$run))",
            # The step waits for a file, which is made when its line has come.
            "go <- function(line) if (grepl('alpha is', line)) file.create('go')\n"
            "lines <- going$stream_log('stdout', go)\n"
            "cat(going$wait()$status, going$run$data$double, going$run$user_tags, any(grepl('alpha is 7', lines)))",
            "both <- lapply(4:5, function(alpha) runner('train.R', show_output = FALSE)$async_run(alpha = alpha))\n"
            "for (one in both) one$wait(stream = 'stdout')\n"
            "cat(vapply(both, function(one) one$run$data$double, 1))",
            "failed <- runner('train.R', show_output = FALSE)$run(alpha = -1)\n"
            "cat(failed$status, failed$returncode, grepl('negative', failed$stdout))",
            "runner('train.R', show_output = FALSE)$run(alhpa = 1)",
        ]
    )
    client.allow_errors = True
    client.execute()
    first, shown, going, streamed, both, failed = map(outputs, client.nb.cells[:-1])
    assert "] alpha is 3" in first and "executing TrainFlow" in first and "Done!" in first
    assert len([output for output in client.nb.cells[0].outputs if output.output_type == "stream"]) > 1
    assert shown.startswith("successful 6") and "TrainFlow/1" in shown
    assert going == "running TRUE TrainFlow/2"
    assert streamed == "successful 14 a b c TRUE"
    assert both.count("Done!") == 2 and both.endswith("8 10")
    assert failed == "failed 1 TRUE"
    (wrong,) = client.nb.cells[-1].outputs
    assert wrong.output_type == "error" and "alpha" in wrong.evalue


# --- interrupts


def test_an_interrupt_is_heard_by_r_when_python_runs_too(run_r: Run) -> None:
    result = run_r(
        """
        library(metaflow)
        interrupted <- function() tryCatch({
          tools::pskill(Sys.getpid(), 2L)
          for (i in 1:100) Sys.sleep(0.05)
          "nothing came"
        }, interrupt = function(e) "interrupted")
        cat(interrupted(), get_namespace(), interrupted(), get_namespace(), "\\n")
        made <- metaflow("HeardFlow") |> step(step = "start", next_step = "end") |> step(step = "end") |> run()
        cat(interrupted(), get_namespace(), "\\n")
        """,
        "run",
    )
    assert result.stdout.startswith("interrupted user:tester interrupted user:tester \n")
    assert result.stdout.endswith("Done!\ninterrupted user:tester \n")
    assert "Exception" not in result.stderr


# --- reticulate

WITH_RETICULATE = """
library(reticulate)
sys <- import("sys")
cat("reticulate runs", sys$executable, "\\n")
library(metaflow)
start <- function(self) {
  self$x <- 42L
  self$text <- import("json")$dumps(list(a = 1L))
  for (i in 1:3) {
    made <- lapply(1:500, function(i) r_to_py(list(a = i)))
    rm(made)
    gc() # which gives back what Python has made
  }
}
flow <- metaflow("ReticulateFlow") |> step(step = "start", r_function = start, next_step = "end") |> step(step = "end")
run <- flow |> run()
"""


@pytest.fixture
def reticulate(r_project: Path) -> None:
    if subprocess.run(["Rscript", "-e", "quit(status = !requireNamespace('reticulate'))"]).returncode:
        pytest.skip("reticulate is not installed")


def test_reticulate_runs_python_already(run_r: Run, reticulate: None) -> None:
    env = {"RETICULATE_PYTHON": sys.executable}
    result = run_r(WITH_RETICULATE, "run", env=env)
    assert result.stdout.startswith(f"reticulate runs {sys.executable}")
    assert "Done!" in result.stdout
    look = """
        library(reticulate)
        sys <- import("sys")
        library(metaflow)
        data <- flow_client$new("ReticulateFlow")$latest_run$data
        cat(data$x, data$text, sys$version_info$major, "\\n")
        """
    assert run_r(look, env=env).stdout == '42 {"a": 1} 3 \n'


def test_reticulate_joins_the_python_that_metaflow_has_started(run_r: Run, reticulate: None) -> None:
    result = run_r(
        """
        library(metaflow)
        start <- function(self) self$sum <- reticulate::import("operator")$add(40L, 2L)
        flow <- metaflow("JoinsFlow") |> step(step = "start", r_function = start, next_step = "end")
        set_namespace(NULL)
        python <- reticulate::py_config()$python
        run <- flow |> step(step = "end") |> run()
        cat(python, reticulate::import("sys")$executable, run$data$sum, "\\n")
        """,
        "run",
    )
    assert result.stdout.splitlines()[-1] == f"{sys.executable} {sys.executable} 42 "


def test_reticulate_runs_a_python_that_does_not_fit(
    run_r: Run, reticulate: None, r_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "bare"], check=True)
    python = r_project / "bare" / "bin" / "python"
    code = """
        library(reticulate)
        use_python("PYTHON", required = TRUE)
        invisible(import("sys"))
        library(metaflow)
        tryCatch(flow_client$new("F"), metaflow_python_not_available = function(e) cat(conditionMessage(e), "\\n"))
        found <- doctor()
        """.replace("PYTHON", str(python))
    said, _, found = run_r(code).stdout.partition("\nok   R")
    assert f"reticulate has started the Python at {python}, which can't be used" in said
    assert "No module named 'metaflow_r'" in said
    assert f'Start R again, and then, before Python is used: Sys.setenv(RETICULATE_PYTHON = "{sys.executable}")' in said
    assert re.search(rf"BAD +Python package rpy2 +not installed\n .*{python}' -m pip install rpy2", found)
