"""`secrets()` and `exit_hook()` in R, and secrets of R steps in a Python flow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from metaflow import Run

FLOW = """
library(metaflow)

tell <- function(run) {
  cat("run", run$pathspec, run$status, if (run$successful) run$artifact("size") else "-", "\\n")
  warning("be warned")
}

metaflow("Vault", exit_hook(
  on_success = list(tell, function() stop("broken hook"), function(...) system("echo from a child")),
  on_error = tell
)) |>
  step(
    secrets(sources = list(
      "env.TOKEN", list(type = "inline", options = list(values = list(PW = "0pen-sesame", PIN = 123)))
    )),
    retry(times = 1),
    step = "start", next_step = "python",
    r_function = function(self) {
      cat("cat", Sys.getenv("TOKEN"), Sys.getenv("PW"), Sys.getenv("PIN"), "\\n")
      print(Sys.getenv("PW"))
      message("message ", Sys.getenv("TOKEN"))
      system("echo child $TOKEN")
      self$size <- nchar(Sys.getenv("PW"))
      if (file.exists("fail")) stop("refused ", Sys.getenv("TOKEN"))
    }
  ) |>
  step(secrets(sources = "env.TOKEN"), step = "python", next_step = "end", py_function = "steps.py:show") |>
  step(step = "end", r_function = function(self) cat("later", Sys.getenv("PW"), "\\n")) |>
  run()
"""
STEPS = "import os\ndef show(self): print('python', os.environ['TOKEN'], os.environ.get('PW'))\n"
ENV = {"TOKEN": "t0ken-of-anne"}
VALUES = (b"t0ken-of-anne", b"0pen-sesame")


def leaks(folder: Path, *texts: str) -> list[bytes]:
    stored = [file.read_bytes() for file in (folder / ".metaflow").rglob("*") if file.is_file()]
    everything = b"\n".join([*stored, *(text.encode() for text in texts)])
    return [value for value in VALUES if value in everything]


def test_an_r_flow(run_r: Any, r_project: Path, printed: Callable[[Any], list[str]]) -> None:
    (r_project / "steps.py").write_text(STEPS)
    result = run_r(FLOW, "run", env=ENV)
    lines = printed(result)
    assert {"cat *** *** 123 ", '[1] "***"', "message ***", "child ***", "python *** None", "later  "} <= set(lines)
    hooks = [line.split(")] ")[1] for line in result.stdout.splitlines() if "[1/exit_hook (pid " in line]
    assert hooks[0] == "run Vault/1 completed 11 "
    assert {"Error: broken hook", "The exit hook function failed.", "from a child"} <= set(hooks)
    assert any("be warned" in line for line in hooks)
    shown = [run_r(r_project / "flow.R", command).stdout for command in ("show", "output-raw")]
    assert not leaks(r_project, result.stdout, result.stderr, *shown)
    (r_project / "fail").touch()
    result = run_r(r_project / "flow.R", "run", env=ENV, check=False)
    assert result.returncode == 1
    assert "[2/exit_hook " in result.stdout and "run Vault/2 failed - " in result.stdout
    task = Run("Vault/2")["start"].task
    assert task.exception.exception == "refused ***" and task.current_attempt == 1
    assert not leaks(r_project, result.stdout, result.stderr)


def test_trying_an_r_step(run_r: Any, r_project: Path) -> None:
    (r_project / "steps.py").write_text(STEPS)
    run_r(FLOW, "run", env=ENV)
    result = run_r(r_project / "flow.R", "spin", "start", env=ENV)
    assert "child ***" in result.stdout and "message ***" in result.stderr
    assert not leaks(r_project, result.stdout, result.stderr)


def test_an_r_step_of_a_python_flow(run_flow: Any, r_project: Path) -> None:
    (r_project / "steps.R").write_text('show <- function(self) cat("R", Sys.getenv("TOKEN"), "\\n")\n')
    flow = """
        from metaflow import FlowSpec, r_step, secrets, step

        class Mixed(FlowSpec):
            @secrets(sources=["env.TOKEN"])
            @r_step("steps.R", "show")
            def start(self):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Mixed()
    """
    result = run_flow(flow, "run", env={**ENV, "METAFLOW_LAUNCHER": "spawn"})
    assert "R ***" in result.stdout
    assert not leaks(r_project, result.stdout, result.stderr)


@pytest.mark.parametrize(
    "code, message",
    [
        (
            'metaflow("F", exit_hook(on_success = "f"))',
            '`on_success` must be a function, or a list of functions, not "f"',
        ),
        ('metaflow("F", exit_hook(on_sucess = print))', "Did you mean `on_success`?"),
        (
            'metaflow("F", decorator("exit_hook", on_error = 5)) |> step(step = "start", next_step = "end") |> '
            'step(step = "end") |> run()',
            "on_error must be a list of functions, and 5",
        ),
        (
            'metaflow("F", exit_hook(on_error = function(a, b) 1)) |> step(step = "start", next_step = "end") |> '
            'step(step = "end") |> run()',
            "needs more than one argument",
        ),
        ('step(metaflow("F"), secrets(source = "env.A"), step = "start")', "Did you mean `sources`?"),
    ],
)
def test_what_is_wrong_is_said(run_r: Any, code: str, message: str) -> None:
    result = run_r(f"library(metaflow)\n{code}\n", check=False)
    assert result.returncode == 1
    assert message in " ".join(result.stderr.split())


def test_a_flow_prints_no_secret(run_r: Any) -> None:
    result = run_r("""
        library(metaflow)
        f <- function() 1
        flow <- metaflow("F", exit_hook(on_success = f, on_error = list(f, function() 2)))
        inline <- list(type = "inline", options = list(values = list(A = "hush")))
        flow <- step(flow, secrets(sources = list("env.A", inline)), step = "start")
        print(flow)
        print(secrets(sources = inline))
    """)
    assert '@secrets(sources = list("env.A", "inline")' in result.stdout
    assert "@exit_hook(on_success = list(f), on_error = list(f, function))" in result.stdout
    assert "hush" not in result.stdout
