"""Tells of a run in JSON, for programs: one object per line, and nothing else on standard output."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from metaflow_core.engine.interface import TaskRequest
from metaflow_core.engine.next_commands import Commands
from metaflow_core.engine.output import Output
from metaflow_core.engine.report import Report
from metaflow_core.metadata.cloning import ClonedTask


class JsonLog(Report):
    """The events and their fields stand in ``docs/running.md``; what is there is a promise."""

    def __init__(self, flow: str, run_id: str, commands: Commands | None, output: Output) -> None:
        super().__init__(flow, run_id, commands)
        self._output = output
        self._began = time.monotonic()
        self._starts: dict[str, float] = {}

    def run_started(self, origin: str | None) -> None:
        self._event("run_started", origin_run=origin)
        self._output.flush()

    def taken_over(self, origin: str, tasks: Sequence[ClonedTask]) -> None:
        self._event("tasks_taken_over", origin_run=origin, count=len(tasks))

    def task_started(self, task: TaskRequest, pid: int) -> None:
        self._starts[task.key] = time.monotonic()
        self._of(task, pid, "task_started", fallback=task.fallback)

    def output(self, task: TaskRequest, pid: int | None, stream: str, text: str, complete: bool = True) -> None:
        super().output(task, pid, stream, text, complete)
        self._of(task, pid, "output", stream=stream, text=text, complete=complete)

    def task_note(self, task: TaskRequest, pid: int | None, text: str) -> None:
        self._of(task, pid, "message", text=text)

    def foreach(self, task: TaskRequest, pid: int | None, splits: int) -> None:
        self._of(task, pid, "foreach", splits=splits)

    def task_finished(self, task: TaskRequest, pid: int | None, caught: bool) -> None:
        super().task_finished(task, pid, caught)
        self._of(task, pid, "task_finished", seconds=self._seconds(task), caught=caught)

    def task_failed(self, task: TaskRequest, pid: int | None, error: Mapping[str, Any] | None, again: bool) -> None:
        super().task_failed(task, pid, error, again)
        facts = {f"error_{name}": (error or {}).get(name) for name in ("type", "message")}
        self._of(task, pid, "task_failed", seconds=self._seconds(task), will_retry=again, **facts)

    def note(self, text: str, style: str = "") -> None:
        self._event("message", text=text)

    def exit_hook_output(self, pid: int, stream: str, text: str) -> None:
        self._event("exit_hook_output", pid=pid, stream=stream, text=text)
        self._output.flush()

    def run_finished(self, status: str) -> None:
        seconds = round(time.monotonic() - self._began, 3)
        self._event("run_finished", status=status, seconds=seconds, done=self.done, failed=len(self.failed))
        self._output.flush()

    def flush(self) -> None:
        self._output.flush()

    def _seen(self, failed: Any) -> bool:
        return False  # JSON is nothing to read

    def _seconds(self, task: TaskRequest) -> float | None:
        began = self._starts.pop(task.key, None)
        return None if began is None else round(time.monotonic() - began, 3)

    def _of(self, task: TaskRequest, pid: int | None, event: str, **facts: Any) -> None:
        self._event(event, step=task.step, task=task.task_id, attempt=task.attempt, pid=pid, **facts)

    def _event(self, event: str, **facts: Any) -> None:
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # With escapes for all but ASCII: whatever the stream's encoding, a line is a line.
        text = json.dumps({"event": event, "time": at, "flow": self.flow, "run": self.run_id, **facts})
        self._output.row([(text, "")])
