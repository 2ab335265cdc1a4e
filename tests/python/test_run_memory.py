"""The driver holds no task before its turn and forgets it afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

FLOW = """
    from metaflow import FlowSpec, Parameter, step

    class Wide(FlowSpec):
        width = Parameter("width", default=10)

        @step
        def start(self):
            self.items = range(self.width)
            self.next(self.work, foreach="items")

        @step
        def work(self):
            self.next(self.join)

        @step
        def join(self, inputs):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Wide()
"""


def peak(width: int) -> int:
    """The driver's largest resident memory in KiB."""
    command = [sys.executable, "flow.py", "--quiet", "run", "--max-num-splits", "5000", "--width", str(width)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


@pytest.mark.slow
def test_ten_times_the_tasks_in_about_the_same_memory(project: Path) -> None:
    Path("flow.py").write_text(dedent(FLOW))
    few, many = peak(300), peak(3000)
    assert many < few + 10_000, f"{few} KiB for 300 tasks, {many} KiB for 3,000"
