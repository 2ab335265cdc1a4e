"""What a run tells while it goes on. The scheduler says what happens; who reports decides how that is told."""

from __future__ import annotations

import os
import stat
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from metaflow_core.engine.interface import TaskRequest
from metaflow_core.engine.next_commands import Commands
from metaflow_core.metadata.cloning import ClonedTask

TAIL_LINES = 10  # of a failed task's log
TAIL_WIDTH = 500  # characters of each
MOST_FAILED = 3  # of which something is told


class Failed(NamedTuple):
    """A task that failed for good. ``line`` counts the lines that were shown before it had ended."""

    pathspec: str
    tail: list[str]
    line: int


class Report:
    """Tells nothing by itself but, on standard error, how to look into a failure. Its subclasses tell the rest."""

    def __init__(self, flow: str, run_id: str, commands: Commands | None = None) -> None:
        self.flow = flow
        self.run_id = run_id
        self.commands = commands
        self.lines = 0  # shown so far
        self.done = 0
        self.failed: list[Failed] = []
        self._tails: dict[str, deque[str]] = {}

    def run_started(self, origin: str | None) -> None:
        """The run begins, or goes on where the run ``origin`` has stopped."""

    def open(self) -> None:
        """Tasks are about to run."""

    def taken_over(self, origin: str, tasks: Sequence[ClonedTask]) -> None:
        """These tasks were finished in the run ``origin``."""

    def task_started(self, task: TaskRequest, pid: int) -> None:
        """An attempt runs."""

    def output(self, task: TaskRequest, pid: int | None, stream: str, text: str, complete: bool = True) -> None:
        """A task has written a line; of one that is not ``complete`` the rest follows."""
        tail = self._tails.get(task.key)
        if tail is None:
            tail = self._tails[task.key] = deque(maxlen=TAIL_LINES)
        tail.append(text)

    def task_note(self, task: TaskRequest, pid: int | None, text: str) -> None:
        """We have something to say about a task."""

    def foreach(self, task: TaskRequest, pid: int | None, splits: int) -> None:
        """A task leads to so many others, of one step."""

    def task_finished(self, task: TaskRequest, pid: int | None, caught: bool) -> None:
        """An attempt has ended well, or ``@catch`` has made the best of it."""
        self._tails.pop(task.key, None)
        self.done += 1

    def task_failed(self, task: TaskRequest, pid: int | None, error: Mapping[str, Any] | None, again: bool) -> None:
        """An attempt has failed; ``again``: it is not the last one."""
        tail = self._tails.pop(task.key, ())
        if not again:
            self.failed.append(Failed(f"{task.run_id}/{task.step}/{task.task_id}", list(tail), self.lines))

    def note(self, text: str, style: str = "") -> None:
        """We have something to say about the run."""

    def exit_hook_output(self, pid: int, stream: str, text: str) -> None:
        """A function that is called at the end has written a line."""

    def run_finished(self, status: str) -> None:
        """The run has ended: ``completed``, ``failed`` or ``interrupted``."""

    @property
    def due(self) -> float:
        """When to call :meth:`flush` next, in seconds of the monotonic clock."""
        return float("inf")

    def flush(self) -> None:
        """Show what waits. Called once per turn of the scheduler's loop."""

    def resized(self) -> None:
        """The terminal has another size."""

    def close(self) -> None:
        """All tasks have ended."""

    def closing(self, status: str, is_latest: Callable[[], bool]) -> None:
        """The last words, after exit hooks. A run that is not the latest must be named to be resumed."""
        if status == "completed":
            return
        self.flush()
        with suppress(OSError):
            for line in self._advice(is_latest):
                print(line, file=sys.stderr)
            sys.stderr.flush()

    def _advice(self, is_latest: Callable[[], bool]) -> list[str]:
        said: list[str] = []
        for failed in self.failed[:MOST_FAILED]:
            said.append(f"Failed: {failed.pathspec}")
            if not self._seen(failed):
                said += ["    " + _short(line) for line in failed.tail]
        more = len(self.failed) - MOST_FAILED
        if more > 0:
            said.append(f"... and {more} more")
        if self.commands is not None:
            if self.failed:
                said.append(f"Log:    {self.commands.logs(self.failed[0].pathspec)}")
            said.append(f"Resume: {self.commands.resume(None if is_latest() else self.run_id)}")
        return said

    def _seen(self, failed: Failed) -> bool:
        """Whether who reads standard error has just seen the end of the task's log."""
        return self.lines - failed.line <= TAIL_LINES and _same_place()


def _same_place() -> bool:
    """Whether standard output and standard error are the same terminal or file, or pipes: to one log, most often."""
    try:
        output, error = os.fstat(1), os.fstat(2)
    except OSError:
        return False
    if all(stat.S_ISFIFO(one.st_mode) or stat.S_ISSOCK(one.st_mode) for one in (output, error)):
        return True
    return (output.st_dev, output.st_ino) == (error.st_dev, error.st_ino)


def _short(text: str) -> str:
    return text if len(text) <= TAIL_WIDTH else text[: TAIL_WIDTH - 1] + "…"
