"""`@exit_hook`: functions that are called when a run has ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from metaflow import Run

FLOW = """
    import os, subprocess, sys, time
    from pathlib import Path
    from metaflow import FlowSpec, Parameter, exit_hook, step

    def tell(run):
        print("run", run.pathspec, run.status, run.data.total if run.successful else "-")
        print("process", os.getpid())

    def child():
        subprocess.run("echo from a child; echo warned >&2", shell=True)

    def broken(run=None):
        raise KeyError(f"broken with {run.id}")

    def leaves():
        sys.exit(3)

    @exit_hook(on_success=[tell, broken, leaves, child], on_error=(tell,))
    class Ends(FlowSpec):
        how = Parameter("how", default="")

        @step
        def start(self):
            self.total = 5
            print("driver", os.getppid())
            self.next(self.end)

        @step
        def end(self):
            if self.how == "fail" and not Path("repaired").exists():
                raise ValueError("failed")
            if self.how == "wait":
                Path("waits").touch()
                time.sleep(100)

    if __name__ == "__main__":
        Ends()
"""


def hook_lines(output: str) -> list[str]:
    """What the hooks have printed, without the stamp."""
    return [line.split(") ] ")[-1].split(")] ")[1] for line in output.splitlines() if "/exit_hook (pid " in line]


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_after_a_success(run_flow: Any, launcher: str) -> None:
    result = run_flow(FLOW, "run", env={"METAFLOW_LAUNCHER": launcher})
    assert result.returncode == 0, "errors of hooks change nothing"
    lines = hook_lines(result.stdout)
    assert lines[0] == "run Ends/1 completed 5"
    assert "KeyError: 'broken with 1'" in lines and "The exit hook broken failed." in lines
    assert "The exit hook leaves failed." in lines
    assert {"from a child", "warned"} <= set(lines), "those after one that fails are called"
    assert not any("exit_hooks.py" in line for line in lines), "frames of ours"
    assert re.search(r"Done!\n.*\[1/exit_hook ", result.stdout)
    assert result.stdout.splitlines()[-1].endswith("An exit hook failed. The run is as it was.")
    process = next(line for line in lines if line.startswith("process "))
    assert f"[1/exit_hook (pid {process.split()[1]})]" in result.stdout
    assert Run("Ends/1").successful


def test_after_a_failure_and_a_resume(run_flow: Any, project: Path) -> None:
    result = run_flow(FLOW, "run", "--how", "fail", check=False)
    assert result.returncode == 1
    assert hook_lines(result.stdout)[0] == "run Ends/1 failed -"
    assert "broken" not in result.stdout
    (project / "repaired").touch()
    result = run_flow("flow.py", "resume", "--namespace", "user:nobody")
    assert hook_lines(result.stdout)[0] == "run Ends/2 completed 5", "a run is in its own namespace"


def test_an_interrupted_run_is_no_success(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "check")
    process = subprocess.Popen(
        [sys.executable, "flow.py", "run", "--how", "wait"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (project / "waits").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert hook_lines(output)[0] == "run Ends/1 interrupted -"


HOOK = """
    import os
    from metaflow import FlowSpec, exit_hook, step

    {function}

    @exit_hook({arguments})
    class Small(FlowSpec):
        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Small()
"""


def test_a_hook_whose_process_dies(run_flow: Any) -> None:
    result = run_flow(HOOK.format(function="def f(): os.kill(os.getpid(), 9)", arguments="on_success=f"), "run")
    assert "The process of the exit hooks was killed by signal 9. The run is as it was." in result.stdout


def test_what_a_hook_has_started_ends_with_it(run_flow: Any) -> None:
    function = "def f(): print('before', os.spawnvp(os.P_NOWAIT, 'sleep', ['sleep', '600']))"
    result = run_flow(HOOK.format(function=function, arguments="on_success=[f]"), "run")
    (line,) = hook_lines(result.stdout)
    state = Path("/proc", line.split()[1], "stat")
    end = time.monotonic() + 30
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("", "calls nothing. Give it functions"),
        ("on_success=['f']", "on_success must be a list of functions, and 'f' is none"),
        ("on_error=5", "on_error must be a list of functions, and 5 is none"),
        ("on_error=[f]", "on_error: f(a, b) needs more than one argument. It gets the run, or nothing."),
        ("on_end=[f]", "does not take 'on_end'"),
    ],
)
def test_what_is_no_hook(run_flow: Any, arguments: str, message: str) -> None:
    for command in ("check", "run"):
        result = run_flow(HOOK.format(function="def f(a, b): pass", arguments=arguments), command, check=False)
        assert result.returncode == 1
        assert message in " ".join(result.stderr.split()) and "Traceback" not in result.stderr


def test_the_graph_names_the_functions(run_flow: Any) -> None:
    result = run_flow(HOOK.format(function="def f(): pass", arguments="on_success=[f]"), "output-raw")
    assert '"on_success": [\n' in result.stdout and '"f"' in result.stdout
