"""The lines of a run: what they say, their order, their form; banners, exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
LINE = re.compile(rf"{STAMP} (?:\[(?P<task>\S+/\S+/\S+)(?: \(pid (?P<pid>\d+)\))?\] )?(?P<text>.*)")

LINEAR = """
    import sys
    from metaflow import FlowSpec, Parameter, step

    class Linear(FlowSpec):
        fail = Parameter("fail", default=0)

        @step
        def start(self):
            print("    indented *")
            print("zum Abschied: grüß Gott")
            print("to stderr", file=sys.stderr)
            self.numbers = [1, 2]
            self.next(self.work, foreach="numbers")

        @step
        def work(self):
            if self.fail == self.input:
                raise ValueError("told to")
            self.next(self.join)

        @step
        def join(self, inputs):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Linear()
"""


def parsed(stdout: str) -> list[tuple[str | None, str]]:
    """``(RUN/STEP/TASK, text)`` of each line; the test fails when a line has another form."""
    found = []
    for line in stdout.splitlines():
        match = LINE.fullmatch(line)
        assert match, f"not a line of a run: {line!r}"
        assert bool(match["task"]) == bool(match["pid"])
        found.append((match["task"], match["text"]))
    return found


def of(lines: list[tuple[str | None, str]], task: str | None) -> list[str]:
    return [text for where, text in lines if where == task]


def test_lines_of_a_run(run_flow: Any) -> None:
    result = run_flow(LINEAR, "run")
    lines = parsed(result.stdout)
    assert of(lines, None) == ["Workflow starting (run-id 1):", "Done!"]
    start = of(lines, "1/start/1")
    assert start[0] == "Task is starting."
    assert set(start[1:4]) == {"    indented *", "zum Abschied: grüß Gott", "to stderr"}
    assert start[4:] == ["Foreach yields 2 child steps.", "Task finished successfully."]
    for task in ("1/work/2", "1/work/3", "1/join/4", "1/end/5"):
        assert of(lines, task) == ["Task is starting.", "Task finished successfully."]
    assert lines[0][1].startswith("Workflow starting")
    assert lines[-1][1] == "Done!"


def test_banners_go_to_stderr_and_quiet_drops_them(run_flow: Any) -> None:
    result = run_flow(LINEAR, "run")
    assert re.match(r"Metaflow \S+ executing Linear for user:tester\n", result.stderr)
    assert run_flow("flow.py", "--quiet", "run").stderr == ""


def test_exit_codes(run_flow: Any) -> None:
    assert run_flow(LINEAR, "run").returncode == 0
    assert run_flow("flow.py", "run", "--fail", "2", check=False).returncode == 1
    assert run_flow("flow.py", "run", "--no-such-option", check=False).returncode == 2
    assert run_flow("flow.py", "run", "--max-workers", "0", check=False).returncode == 2


def test_a_failed_task(run_flow: Any) -> None:
    result = run_flow(LINEAR, "run", "--fail", "2", check=False)
    lines = parsed(result.stdout)
    failed = of(lines, "1/work/3")
    assert failed[0] == "Task is starting."
    assert failed[-1] == "Task failed."
    assert "ValueError: told to" in failed
    assert lines[-1] == (None, "Workflow failed.")
    frames = [text for text in failed if text.startswith('  File "')]
    assert len(frames) == 1, "a traceback shows the user's frames alone"
    assert "flow.py" in frames[0]
    assert of(lines, "1/work/2")[-1] == "Task finished successfully.", "its sibling is not stopped"
    assert not any(task and "/join/" in task for task, _ in lines)
    assert "Traceback" not in result.stderr


def test_lines_of_tasks_are_not_mixed(run_flow: Any) -> None:
    result = run_flow(
        """
        import sys
        from metaflow import FlowSpec, step

        class Mixed(FlowSpec):
            @step
            def start(self):
                self.letters = "abcd"
                self.next(self.write, foreach="letters")

            @step
            def write(self):
                for i in range(400):
                    sys.stdout.write(self.input)  # many small writes for a line
                    sys.stdout.flush()
                    sys.stdout.write(self.input * 50 + str(i) + chr(10))
                    sys.stdout.flush()
                self.next(self.join)

            @step
            def join(self, inputs):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Mixed()
        """,
        "run",
    )
    lines = parsed(result.stdout)
    for letter, task in zip("abcd", ("2", "3", "4", "5"), strict=True):
        written = of(lines, f"1/write/{task}")[1:-1]
        assert written == [f"{letter * 51}{i}" for i in range(400)]


def test_a_task_s_own_streams(run_flow: Any) -> None:
    run_flow(LINEAR, "run")
    task = Flow("Linear").latest_run["start"].task
    assert task.stdout == "    indented *\nzum Abschied: grüß Gott\n"
    assert task.stderr == "to stderr\n"


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full"])
def test_closed_and_full_streams(project: Path, run_flow: Any, redirection: str) -> None:
    run_flow(LINEAR, "check")
    if "full" in redirection and not os.path.exists("/dev/full"):
        pytest.skip("this machine has no /dev/full")
    command = f'"{sys.executable}" flow.py run {redirection}'
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    run = Flow("Linear").latest_run
    assert run.successful
    assert run["start"].task.stdout.startswith("    indented *\n")


def test_output_into_head(project: Path, run_flow: Any) -> None:
    run_flow(LINEAR, "check")
    command = f'"{sys.executable}" flow.py --quiet run | head -n 1'
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert parsed(result.stdout) == [(None, "Workflow starting (run-id 1):")]
    assert result.stderr == ""


def test_a_run_whose_reader_leaves_completes(project: Path, run_flow: Any) -> None:
    run_flow(LINEAR, "check")
    process = subprocess.Popen([sys.executable, "flow.py", "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    assert Flow("Linear").latest_run.successful


def test_unicode_and_blanks_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_flow: Any) -> None:
    folder = tmp_path / 'mein Projekt für R\'s & "mehr"'
    folder.mkdir()
    monkeypatch.chdir(folder)
    for launcher in ("fork", "spawn"):
        result = run_flow(LINEAR, "run", name=str(folder / "ein Fluß.py"), env={"METAFLOW_LAUNCHER": launcher})
        assert result.stdout.endswith("Done!\n")
    assert (folder / ".metaflow" / "metaflow.db").exists()
    assert len(list(Flow("Linear"))) == 2
