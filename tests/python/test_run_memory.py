"""The driver holds no task before its turn and forgets it afterwards; a join holds no input that it does not use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from metaflow import Flow

FLOW = """
    import os, resource
    from metaflow import FlowSpec, Parameter, step

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    class Wide(FlowSpec):
        width = Parameter("width", default=10)

        @step
        def start(self):
            self.items = range(self.width)
            self.next(self.work, foreach="items")

        @step
        def work(self):
            self.block = os.urandom(3000)
            self.next(self.join)

        @step
        def join(self, inputs):
            assert [inputs[i].index for i in (0, 5, -1)] == [0, 5, self.width - 1]
            assert len(inputs[0].block) == 3000  # loads what any value needs
            before = peak()
            assert sum(len(i.block) for i in inputs) == 3000 * self.width
            assert len({i.block for i in inputs[10:14]}) == 4
            self.growth = peak() - before
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
    grown = Flow("Wide").latest_run["join"].task.data.growth
    assert grown < 6_000, f"{grown} KiB to read 9 MB of 3,000 inputs, one after the other"
