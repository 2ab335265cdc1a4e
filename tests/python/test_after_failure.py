"""What a run that failed says in the end, on standard error: what failed, the end of its log, how to look further."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow, namespace

FLOW = """
    import os, signal, sys, time
    from pathlib import Path
    from metaflow import FlowSpec, Parameter, catch, retry, step

    class Sad(FlowSpec):
        fail = Parameter("fail", default=1)
        how = Parameter("how", default="raise")
        lines = Parameter("lines", default=2)

        @step
        def start(self):
            self.numbers = list(range(6))
            self.next(self.work, foreach="numbers")

        @step
        def work(self):
            for i in range(self.lines):
                print("line", i, "of", self.input)
            if self.input < self.fail and not Path("mended").exists():
                while self.fail > 1 and not all(Path(f"here-{i}").exists() for i in range(self.fail)):
                    Path(f"here-{self.input}").touch()
                    time.sleep(0.01)
                if self.how == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise ValueError("told to")
            self.next(self.join)

        @catch(var="problem")
        @step
        def join(self, inputs):
            if self.how == "raise":
                raise ValueError("nobody hears of it")
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Sad()
"""
PYTHON = shlex.quote(sys.executable)


@pytest.fixture(autouse=True)
def no_environment_is_activated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `python` is this one, the commands say so."""
    folders = os.environ["PATH"].split(os.pathsep)
    here = os.path.dirname(sys.executable)
    monkeypatch.setenv("PATH", os.pathsep.join(folder for folder in folders if folder != here))


def advice(stderr: str) -> list[str]:
    """What was said beside the banners."""
    return [line for line in stderr.splitlines() if not line.startswith(("Metaflow ", "The graph ", "Resuming "))]


def test_a_short_log_is_not_repeated(run_flow: Any, project: Path) -> None:
    result = run_flow(FLOW, "run", "--max-workers", "1", check=False)
    assert result.returncode == 1
    file = shlex.quote(str(project / "flow.py"))
    assert advice(result.stderr) == [
        "Failed: 1/work/2",
        f"Log:    {PYTHON} {file} logs 1/work/2",
        f"Resume: {PYTHON} {file} resume --max-workers 1",
    ]
    assert result.stdout.endswith("Workflow failed.\n")
    assert advice(run_flow("flow.py", "--quiet", "run", check=False).stderr) != [], "an error is no banner"


def test_the_end_of_a_long_run_shows_why(run_flow: Any, project: Path) -> None:
    """Its output goes elsewhere than its errors, or the failure is far above."""
    run_flow(FLOW, "check")
    command = f"{PYTHON} flow.py --quiet run --max-workers 1 > out.txt"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    shown = advice(result.stderr)
    assert shown[:3] == ["Failed: 1/work/2", "    line 0 of 0", "    line 1 of 0"]
    assert shown[-3] == "    ValueError: told to"
    both = subprocess.run(["sh", "-c", command + " 2>&1"], capture_output=True, text=True)
    assert both.returncode == 1
    text = (project / "out.txt").read_text()
    assert text.count("ValueError: told to") == 1, "it stands directly above"
    assert text.splitlines()[-4].endswith(" Workflow failed."), "and nothing is out of order"


def test_a_failure_far_above_is_told_again(run_flow: Any) -> None:
    result = run_flow(
        """
        import os, time
        from pathlib import Path
        from metaflow import FlowSpec, step

        class Far(FlowSpec):
            @step
            def start(self):
                self.next(self.bad, self.good)

            @step
            def bad(self):
                for i in range(20):
                    print("line", i)
                print("x" * 1000)
                Path("new").write_text(str(os.getpid()))
                Path("new").rename("pid")
                while not Path("good").exists():
                    time.sleep(0.01)
                if Path("good").exists():
                    raise ValueError("told to")
                self.next(self.join)

            @step
            def good(self):
                Path("good").touch()
                while not Path("pid").exists() or Path("/proc", Path("pid").read_text()).exists():
                    time.sleep(0.01)
                for i in range(60):  # it takes a moment until the scheduler knows
                    print("still at work", flush=True)
                    time.sleep(0.01)
                self.next(self.join)

            @step
            def join(self, inputs):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Far()
        """,
        "run",
        check=False,
    )
    shown = advice(result.stderr)
    assert shown[0].startswith("Failed: 1/bad/")
    log = [line for line in shown if line.startswith("    ")]
    assert len(log) == 10, "the end of the log, and not all of it"
    assert log[-1] == "    ValueError: told to"
    assert all(len(line) <= 504 for line in log) and any(line.endswith("x…") for line in log)


def test_many_failures(run_flow: Any) -> None:
    result = run_flow(FLOW, "run", "--fail", "5", check=False)
    shown = [line for line in advice(result.stderr) if not line.startswith("    ")]
    assert len(shown) == 6
    assert all(re.fullmatch(r"Failed: 1/work/\d", line) for line in shown[:3])
    assert shown[3] == "... and 2 more"
    assert shown[4].endswith(f" logs {shown[0].removeprefix('Failed: ')}")


def test_a_task_that_was_killed(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "check")
    command = f"{PYTHON} flow.py --quiet run --how die --max-workers 1 > out.txt"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert advice(result.stderr)[3].startswith("    The process of step work was killed by signal 9 (SIGKILL).")


def test_what_was_caught_or_repeated_is_no_failure(run_flow: Any, project: Path) -> None:
    result = run_flow(FLOW, "run", "--fail", "0", check=False)
    assert result.returncode == 0
    assert advice(result.stderr) == []
    result = run_flow("flow.py", "run", "--with", "retry:times=1", "--max-workers", "1", check=False)
    shown = advice(result.stderr)
    assert shown[0] == "Failed: 2/work/2" and len([line for line in shown if line.startswith("Failed")]) == 1
    assert shown[-1].endswith(" resume --max-workers 1 --with retry:times=1")


def test_the_commands_work_as_they_stand(tmp_path: Path, run_flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With blanks and quotes in paths, and options before the command."""
    folder = tmp_path / "my flows"
    folder.mkdir()
    monkeypatch.chdir(folder)
    file = folder / "it's sad.py"
    root = folder / "a root"
    options = ("--datastore-root", str(root))
    run_flow(FLOW, *options, "check", name=str(file))
    environment = {**os.environ, "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]}
    first = subprocess.run(["python", "it's sad.py", *options, "run"], capture_output=True, text=True, env=environment)
    log, resume = (line.partition(": ")[2].strip() for line in advice(first.stderr)[-2:])
    assert shlex.split(log) == ["python", "it's sad.py", *options, "logs", "1/work/2"]
    shown = subprocess.run(["sh", "-c", log], capture_output=True, text=True, env=environment)
    assert shown.stdout.startswith("line 0 of 0\n")

    Path("mended").touch()
    resumed = subprocess.run(["sh", "-c", resume], capture_output=True, text=True, env=environment)
    assert resumed.returncode == 0, resumed.stderr
    monkeypatch.setenv("METAFLOW_DATASTORE_SYSROOT_LOCAL", str(root))
    namespace(None)
    assert Flow("Sad").latest_run.successful


def test_a_run_that_is_not_the_latest_is_named(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "check")
    process = subprocess.Popen(
        [sys.executable, "flow.py", "run", "--fail", "2", "--max-workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:  # its first task waits for a second one that can't start
            if "line 1 of 0" in line:
                break
        run_flow("flow.py", "run", "--fail", "0")
        (project / "here-1").touch()
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert advice(stderr)[-1] == f"Resume: {PYTHON} flow.py resume --origin-run-id 1 --max-workers 1"


def test_an_interrupt_says_how_to_go_on(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "check")
    process = subprocess.Popen(
        [sys.executable, "flow.py", "run", "--fail", "2", "--max-workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "line 1 of 0" in line:
                break
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert advice(stderr) == [f"Resume: {PYTHON} flow.py resume --max-workers 1"]
