"""Interactive hosts: there a run is a process of its own, whose lines are shown."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest


class Terminal:
    """R at a terminal."""

    def __init__(self) -> None:
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            os.execvp("R", ["R", "--no-save", "--quiet", "--no-readline"])

    def say(self, code: str, until: str, seconds: float = 60) -> str:
        """Enter ``code`` and return what is shown up to the pattern ``until``."""
        os.write(self.file, (code + "\n").encode())
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
