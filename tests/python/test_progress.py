"""What a run shows on a terminal: a view of its steps below the lines, a table at the end, and no leftovers."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from terminal_screen import Screen

WAITING = """
    import os, time
    from pathlib import Path
    from metaflow import FlowSpec, step

    class Waiting(FlowSpec):
        @step
        def start(self):
            self.numbers = [1, 2, 3]
            self.next(self.train, foreach="numbers")

        @step
        def train(self):
            print("number", self.input)
            while self.input > 1 and not Path("go").exists():
                time.sleep(0.01)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Waiting()
"""


@pytest.fixture
def waiting(project: Path) -> list[str]:
    """The command that runs a flow of which two tasks wait for the file ``go``."""
    (project / "flow.py").write_text(dedent(WAITING))
    return [sys.executable, "flow.py", "run"]


def written(project: Path, source: str) -> list[str]:
    (project / "flow.py").write_text(dedent(source), encoding="utf-8")
    return [sys.executable, "flow.py", "run"]


def test_a_view_of_the_steps(project: Path, waiting: list[str]) -> None:
    screen = Screen(waiting)
    screen.wait_for(r"1/3, 2 running")
    start, train, later, totals = screen.view()
    assert re.fullmatch(r"  start  ━{20}  1/1", start)
    assert re.fullmatch(r"  train  ━{6}─{14}  1/3, 2 running", train)
    assert later == "  not begun: join, end"
    assert re.fullmatch(r"\d+:\d\d  2 running, 2 done", totals)
    assert re.search(r"\[1/train/2 \(pid \d+\)\] number 1\n", screen.text), "the lines are above it"
    (project / "go").touch()
    assert screen.end() == 0
    assert "━" not in screen.text and "not begun" not in screen.text, "nothing of it is left"
    assert screen.shows_cursor

    lines = screen.text.splitlines()
    assert [line for line in lines if line.startswith(("Metaflow", "The graph"))] == lines[:2]
    run = [re.sub(r"^\S+ \S+ (\[(\S+) \(pid \d+\)\])?", r"\2", line) for line in lines[2:]]
    for task, printed in (("start/1", ["Foreach yields 3 child steps."]), ("train/3", ["number 2"]), ("join/5", [])):
        ours = [line.removeprefix(f"1/{task} ") for line in run if line.startswith(f"1/{task} ")]
        assert ours == ["Task is starting.", *printed, "Task finished successfully."], "none is lost or doubled"
    table = lines[next(i for i, line in enumerate(lines) if line.endswith(" Done!")) + 1 :]
    assert re.fullmatch(r"step   tasks +time", table[0])
    assert [line.split()[:2] for line in table[1:-1]] == [["start", "1"], ["train", "3"], ["join", "1"], ["end", "1"]]
    assert re.fullmatch(r"6 tasks in [\d.]+ s\. Look at the run: Flow\('Waiting'\)\['1'\]", table[-1])


def test_quiet(project: Path, waiting: list[str]) -> None:
    (project / "go").touch()
    screen = Screen([waiting[0], waiting[1], "--quiet", "run"])
    assert screen.end() == 0
    lines = screen.text.splitlines()
    assert lines[0].endswith(" Workflow starting (run-id 1):") and lines[-1].endswith(" Done!")
    assert not re.search(rb"\x1b\[\d*[AJ]", screen.received), "nothing moves the cursor"


@pytest.mark.parametrize(
    ("env", "colour"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"METAFLOW_COLOR": "never"}, False),
        ({"NO_COLOR": "1", "METAFLOW_COLOR": "always"}, True),
    ],
)
def test_colour(project: Path, waiting: list[str], env: dict[str, str], colour: bool) -> None:
    (project / "go").touch()
    screen = Screen(waiting, env=env)
    assert screen.end() == 0
    assert bool(re.search(rb"\x1b\[[\d;]+m.*Done!", screen.received)) == colour
    assert re.search(rb"\x1b\[\d+A", screen.received), "there was a view"


def test_a_wrong_setting_is_told_before_there_is_a_run(run_flow: Any) -> None:
    result = run_flow(WAITING, "run", env={"METAFLOW_COLOR": "pink"}, check=False)
    assert result.returncode in (1, 2) and result.stdout == ""
    assert "METAFLOW_COLOR" in result.stderr and "Traceback" not in result.stderr


def test_a_terminal_that_can_only_print(project: Path, waiting: list[str]) -> None:
    (project / "go").touch()
    screen = Screen(waiting, env={"TERM": "dumb"})
    assert screen.end() == 0
    assert b"\x1b" not in screen.received
    assert screen.text.splitlines()[-1].endswith("Done!")


def test_an_encoding_without_bars(project: Path, waiting: list[str]) -> None:
    screen = Screen(waiting, env={"PYTHONIOENCODING": "latin-1"})
    screen.wait_for(r"train  #{6}\.{14}  1/3, 2 running")
    (project / "go").touch()
    assert screen.end() == 0


def test_in_a_pipe_there_are_lines_and_nothing_else(run_flow: Any, project: Path) -> None:
    (project / "go").touch()
    plain = run_flow(WAITING, "run")
    assert "\x1b" not in plain.stdout and "Look at" not in plain.stdout
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", line) for line in plain.stdout.splitlines())
    assert plain.stdout.endswith(" Done!\n")
    coloured = run_flow("flow.py", "run", env={"METAFLOW_COLOR": "always"}).stdout
    assert "\x1b[32mDone!\x1b[0m\n" in coloured, "who asks for colour gets it"
    assert not re.search(r"\x1b\[\d*[AJK]", coloured), "but no view"


def many(names: list[str]) -> str:
    """A flow with these branches, of which those from ``b10`` on wait."""
    steps = "".join(
        f"""
    @step
    def {name}(self):
        print("this is {name}")
        while "{name}" >= "b10" and not Path("go").exists():
            time.sleep(0.01)
        self.next(self.join)
"""
        for name in names
    )
    return f"""
import time
from pathlib import Path
from metaflow import FlowSpec, step

class Many(FlowSpec):
    @step
    def start(self):
        self.next({", ".join(f"self.{name}" for name in names)})
{steps}
    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    Many()
"""


@pytest.mark.parametrize(("columns", "lines"), [(110, 24), (40, 12), (30, 3), (110, 60)])
def test_the_view_fits_the_terminal(project: Path, columns: int, lines: int) -> None:
    names = [f"b{number:02d}" for number in range(20)]
    screen = Screen(written(project, many(names)), columns, lines)
    screen.wait_for(r"10 running, 11 done")
    view = screen.view()
    assert len(view) == min(23, max(1, lines // 2))
    assert all(len(line) < columns for line in view)
    steps = [line.split()[0] for line in view[:-1] if re.match(r"  b\d\d ", line)]
    if lines == 60:
        assert len(steps) == 20 and not any("more steps" in line for line in view)
    elif lines > 3:
        assert all(name >= "b10" for name in steps), "those that run come first"
        left = 21 - len(steps)
        assert re.fullmatch(rf"  \.\.\. {left} more steps(, {10 - len(steps)} of them running)?", view[-2])
    (project / "go").touch()
    assert screen.end() == 0
    assert "running" not in screen.text and "━" not in screen.text
    joined = "".join(screen.text.splitlines())
    assert all(joined.count(f"this is {name}") == 1 for name in names), "no line was overwritten"


def test_the_terminal_gets_another_size(project: Path, waiting: list[str]) -> None:
    screen = Screen(waiting, 110, 30)
    screen.wait_for(r"2 running, 2 done")
    screen.resize(30, 30)
    screen.wait_for(r"(?m)^  train  1/3, 2 running$")
    screen.resize(110, 30)
    screen.wait_for(r"train  ━+─+  1/3, 2 running")
    (project / "go").touch()
    assert screen.end() == 0
    assert "2 running" not in screen.text and "not begun" not in screen.text


HARD = r"""
    import sys, time
    from pathlib import Path
    from metaflow import FlowSpec, step

    class Hard(FlowSpec):
        @step
        def start(self):
            print("wide 学习学习 and combining e\u0301\u0301 and \U0001f469\u200d\U0001f52c")
            print("a cursor \x1b[5A\x1b[2Jthat moves, \x1b]0;a title\x07 a bell \x07 and \x1b[31mred that does not end")
            sys.stdout.write("  0%\r 50%\r100% of a bar\n")
            print("tabs\tand\x0bmore\x08")
            print("long " * 60 + "ends")
            sys.stdout.flush()
            while not Path("go").exists():
                time.sleep(0.01)
            self.next(self.middle)

        @step
        def middle(self):
            Path("there").touch()
            while not Path("on").exists():
                time.sleep(0.01)
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Hard()
"""


def test_what_tasks_print_does_not_break_the_view(project: Path) -> None:
    screen = Screen(written(project, HARD), 60, 30)
    screen.wait_for(r"ends[\s\S]*1 running, 0 done")
    (project / "go").touch()
    screen.wait_for_file(project / "there")
    screen.wait_for(r"middle +━*─* +0/1, 1 running")
    assert len(screen.view()) == 4
    (project / "on").touch()
    assert screen.end() == 0
    assert "running" not in screen.text
    joined = "".join(screen.text.splitlines())
    assert joined.count("Workflow starting") == joined.count("Done!") == 1, "nothing above was overwritten"
    assert "a cursor that moves,  a bell  and red that does not end" in joined
    assert "] 100% of a bar" in joined, "of a bar the last state is left"
    assert "long long ends" in joined


def test_an_interrupt_leaves_a_clean_terminal(project: Path, waiting: list[str]) -> None:
    screen = Screen(waiting)
    screen.wait_for(r"2 running, 2 done")
    screen.type(b"\x03")
    assert screen.end() == 1
    assert screen.shows_cursor
    assert "━" not in screen.text and "not begun" not in screen.text
    lines = screen.text.splitlines()
    assert any(line.endswith("Interrupted: stopping 2 running tasks. Again to kill.") for line in lines)
    assert lines[-1].startswith("Resume: ") and lines[-1].endswith("flow.py resume")
    assert screen.cursor == (len("\n".join(screen.shown).rstrip().split("\n")), 0), "the prompt has a line of its own"


def test_a_driver_that_is_killed_leaves_the_cursor_below_its_view(project: Path, waiting: list[str]) -> None:
    screen = Screen(waiting)
    screen.wait_for(r"2 running, 2 done")
    screen.kill()
    assert screen.end() == -9
    assert screen.shows_cursor
    assert screen.cursor[1] == 0
    assert screen.shown[screen.cursor[0]] == "" and "2 running, 2 done" in screen.shown[screen.cursor[0] - 1]


def test_painting_costs_little(project: Path) -> None:
    command = written(
        project,
        """
        import time
        from metaflow import FlowSpec, step

        class Chatty(FlowSpec):
            @step
            def start(self):
                for i in range(1000):
                    print("line", i, flush=True)
                    time.sleep(0.001)
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Chatty()
        """,
    )
    screen = Screen(command)
    assert screen.end() == 0
    seconds = time.monotonic() - screen.began
    assert screen.received.count(b"\x1b[J") <= 10 * seconds + 5
    printed = re.findall(r"\] line (\d+)$", screen.text, re.MULTILINE)
    assert printed == [str(i) for i in range(1000)], "each line is there, once and in order"


def test_the_table_tells_retries_and_failures_and_what_was_taken_over(project: Path) -> None:
    command = written(
        project,
        """
        from pathlib import Path
        from metaflow import FlowSpec, retry, step

        class Fails(FlowSpec):
            @step
            def start(self):
                self.numbers = [1, 2, 3]
                self.next(self.work, foreach="numbers")

            @retry(times=2)
            @step
            def work(self):
                if self.input == 2 and not Path("good").exists():
                    raise ValueError("bad")
                self.next(self.join)

            @step
            def join(self, inputs):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Fails()
        """,
    )
    screen = Screen([*command, "--max-workers", "1"])
    assert screen.end() == 1
    assert re.search(r"(?m)^step   tasks +time  retried  failed\n", screen.text)
    assert re.search(r"(?m)^work       2  [\d.]+ s +2 +1$", screen.text)
    assert re.search(r"(?m)^Failed: 1/work/3$", screen.text)
    (project / "good").touch()
    screen = Screen([*command[:2], "resume"])
    assert screen.end() == 0, screen.text
    assert re.search(r"(?m)^step   tasks +time  taken over\nstart +1 +0.0 s +1\nwork +3 +[\d.]+ s +1$", screen.text)
    assert "Look at the run: Flow('Fails')['2']" in screen.text
