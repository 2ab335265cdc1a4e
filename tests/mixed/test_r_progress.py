"""What a run of an R flow shows: at a terminal, in a session at one, in hosts without, as JSON, after a failure."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

from terminal_screen import Screen

Run = Callable[..., "subprocess.CompletedProcess[str]"]

FLOW = """
    library(metaflow)
    start <- function(self) self$numbers <- 1:3
    train <- function(self) {
      cat("number", self$input, "\\n")
      while (self$input > 1 && !file.exists("go")) Sys.sleep(0.01)
      if (file.exists("fail")) stop("told to")
    }
    join <- function(self, inputs) NULL
    flow <- metaflow("RowsFlow") |>
      step(step = "start", r_function = start, next_step = "train", foreach = "numbers") |>
      step(step = "train", r_function = train, next_step = "join") |>
      step(step = "join", r_function = join, join = TRUE, next_step = "end") |>
      step(step = "end")
"""


def test_a_script_at_a_terminal(r_project: Path) -> None:
    (r_project / "flow.R").write_text(dedent(FLOW) + "run(flow)\n")
    screen = Screen(["Rscript", "flow.R", "run"])
    screen.wait_for(r"1/3, 2 running")
    assert [line.split()[0] for line in screen.view()[:2]] == ["start", "train"]
    (r_project / "go").touch()
    assert screen.end() == 0
    assert "━" not in screen.text
    assert re.search(r'(?m)^6 tasks in .* Look at the run: run_client\$new\("RowsFlow/1"\)$', screen.text)


def test_a_session_at_a_terminal(r_project: Path) -> None:
    """The run is a process of its own there, which does not write to the terminal itself."""
    (r_project / "session.R").write_text(dedent(FLOW))
    screen = Screen(["R", "--no-save", "--quiet", "--no-readline"], 110, 40)
    screen.type(b"source('session.R')\n")
    screen.type(b"made <- try(run(flow))\n")
    screen.wait_for(r"train  ━{6}─{14}  1/3, 2 running")
    screen.resize(70, 40)
    screen.wait_for(r"train  ━+─+  1/3, 2 running")
    (r_project / "go").touch()
    screen.wait_for(r'Look at the run: run_client\$new\("RowsFlow/1"\)')
    assert " running, " not in screen.text and "not begun" not in screen.text
    (r_project / "fail").touch()
    screen.type(b"trains <- flow; bad <- try(run(trains, max_workers = 2), silent = TRUE)\n")
    screen.wait_for(r"Resume: ")
    task = re.search(r"Failed: (2/train/\d)\n", screen.text)
    assert task is not None
    assert f'Log:    run(trains, logs = "{task[1]}")\n' in screen.text
    assert 'Resume: run(trains, resume = TRUE, max_workers = "2")' in screen.text
    screen.type(f'run(trains, logs = "{task[1]}")\n'.encode())
    screen.wait_for(r"(?m)^Error in train\(self\): told to$")
    (r_project / "fail").unlink()
    screen.type(b'again <- run(trains, resume = TRUE, max_workers = "2"); cat("it", again == 0, "\\n")\n')
    screen.wait_for(r"it TRUE")
    screen.type(b"quit('no')\n")
    screen.end()
    assert " running, " not in screen.text and "━" not in screen.text


def test_lines_in_a_pipe_json_and_what_to_do_after_a_failure(run_r: Run, r_project: Path) -> None:
    (r_project / "go").touch()
    done = run_r(FLOW + "    run(flow)\n", "run", "--json-log")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "run_started" and events[-1]["status"] == "completed"
    assert [e["text"] for e in events if e["event"] == "output" and e["step"] == "train" and e["task"] == "2"] == [
        "number 1 "
    ]
    (r_project / "fail").touch()
    failed = run_r("flow.R", "run", "--max-workers", "1", check=False)
    assert failed.returncode == 1
    assert failed.stdout.endswith("Workflow failed.\n") and "\x1b" not in failed.stdout
    assert failed.stderr.splitlines()[-3:] == [
        "Failed: 2/train/2",
        "Log:    Rscript flow.R logs 2/train/2",
        "Resume: Rscript flow.R resume --max-workers 1",
    ]
    command = shlex.split("Rscript flow.R logs 2/train/2")
    log = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), cwd=r_project)
    assert log.stdout.startswith("number 1 \n")


def test_json_from_a_session(run_r: Run, r_project: Path) -> None:
    (r_project / "go").touch()
    (r_project / "flow.R").write_text(dedent(FLOW) + "made <- run(flow, json_log = TRUE, quiet = TRUE)\n")
    done = run_r("from <- 'flow.R'\nsource(from)\n", name="other.R")
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events[0] == "run_started" and events[-1] == "run_finished"
