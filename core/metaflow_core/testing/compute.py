"""What every compute plugin must do, as tests to run against yours.

Subclass the contract in a test file, and give it a compute that is not opened yet:

    from metaflow_core.testing.compute import ComputeContract

    class TestMyCompute(ComputeContract):
        @pytest.fixture
        def compute(self):
            return MyCompute()
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from metaflow_core.engine.interface import Compute, TaskExited, TaskRequest, TaskStarted

PATIENCE = 60.0  # seconds after which a test gives up


def run_task(request: TaskRequest) -> int:
    """Stands for a flow: what a task does is the name of its step."""
    if request.step == "succeeds":
        print("to stdout")
        print("to stderr", file=sys.stderr)
        return 0
    if request.step == "fails":
        return 1
    if request.step == "exits":
        os._exit(7)
    if request.step == "waits":
        print("waiting", flush=True)
        time.sleep(PATIENCE * 2)
    if request.step == "raises":
        raise RuntimeError("not caught")
    return 0


class Running:
    """An attempt under test: its events and its output."""

    def __init__(self, compute: Compute, request: TaskRequest) -> None:
        self.compute = compute
        self.request = request
        self.events: list[TaskStarted | TaskExited] = []
        self._readers = []
        writers = []
        for _ in range(2):
            reader, writer = os.pipe()
            self._readers.append(reader)
            writers.append(writer)
        compute.start(request, *writers)
        for writer in writers:
            os.close(writer)

    def wait_for_output(self) -> bytes:
        """The first bytes on stdout."""
        ready, _, _ = select.select([self._readers[0]], [], [], PATIENCE)
        assert ready, "the task printed nothing"
        return os.read(self._readers[0], 1024)

    def output(self) -> tuple[bytes, bytes]:
        """All of stdout and stderr, once the attempt has ended."""
        found = []
        for reader in self._readers:
            with open(reader, "rb") as file:
                found.append(file.read())
        return found[0], found[1]


def wait(compute: Compute, *running: Running) -> None:
    """Until each attempt has exited."""
    end = time.monotonic() + PATIENCE
    while not all(any(isinstance(e, TaskExited) for e in one.events) for one in running):
        left = end - time.monotonic()
        assert left > 0, "an attempt did not end, or its end was not told"
        select.select([compute.fileno()], [], [], left)
        for event in compute.events():
            next(one for one in running if one.request == event.request).events.append(event)


class ComputeContract:
    """Subclass it and give a ``compute`` fixture: a new compute that is not opened."""

    @pytest.fixture
    def compute(self) -> Compute:
        raise NotImplementedError("give a `compute` fixture")

    @pytest.fixture
    def start(self, compute: Compute) -> Iterator[Callable[[str, str], Running]]:
        compute.open(run_task, lambda request: [sys.executable, "-c", "raise SystemExit('no program')"])
        yield lambda step, task_id: Running(compute, TaskRequest("1", step, task_id, 0))
        compute.close()

    def test_output_and_exit_code_arrive(self, compute: Compute, start: Callable[[str, str], Running]) -> None:
        task = start("succeeds", "1")
        wait(compute, task)
        started, exited = task.events
        assert isinstance(started, TaskStarted)
        assert started.pid not in (0, os.getpid())
        assert isinstance(exited, TaskExited)
        assert exited.code == 0
        assert task.output() == (b"to stdout\n", b"to stderr\n")

    @pytest.mark.parametrize(("step", "code"), [("fails", 1), ("exits", 7), ("raises", 1)])
    def test_failures_are_told(
        self, compute: Compute, start: Callable[[str, str], Running], step: str, code: int
    ) -> None:
        task = start(step, "1")
        wait(compute, task)
        exited = task.events[-1]
        assert isinstance(exited, TaskExited)
        assert exited.code == code

    def test_tasks_run_side_by_side(self, compute: Compute, start: Callable[[str, str], Running]) -> None:
        tasks = [start("waits", "1"), start("waits", "2")]
        assert [task.wait_for_output() for task in tasks] == [b"waiting\n", b"waiting\n"]
        for task in tasks:
            compute.kill(task.request, force=True)
        wait(compute, *tasks)

    @pytest.mark.parametrize(("force", "signal"), [(False, -15), (True, -9)])
    def test_a_task_can_be_killed(
        self, compute: Compute, start: Callable[[str, str], Running], force: bool, signal: int
    ) -> None:
        task, other = start("waits", "1"), start("waits", "2")
        task.wait_for_output()
        other.wait_for_output()
        compute.kill(task.request, force)
        end = time.monotonic() + PATIENCE
        while not any(isinstance(event, TaskExited) for event in task.events):
            assert time.monotonic() < end, "the killed attempt did not end"
            select.select([compute.fileno()], [], [], 1.0)
            for event in compute.events():
                (task if event.request == task.request else other).events.append(event)
        assert task.events[-1] == TaskExited(task.request, signal)
        assert not any(isinstance(event, TaskExited) for event in other.events)

    def test_close_ends_what_runs(self, compute: Compute, start: Callable[[str, str], Running]) -> None:
        task = start("waits", "1")
        task.wait_for_output()
        compute.close()
        assert task.output() == (b"", b"")  # ends only when every process that could write has gone

    def test_events_does_not_wait(self, compute: Compute, start: Callable[[str, str], Running]) -> None:
        assert compute.events() == []
