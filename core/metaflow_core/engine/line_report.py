"""Tells of a run in lines for people; on a terminal with a live view below them and a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metaflow_core.engine.interface import TaskRequest
from metaflow_core.engine.next_commands import Commands
from metaflow_core.engine.output import Output
from metaflow_core.engine.report import Report
from metaflow_core.metadata.cloning import ClonedTask

if TYPE_CHECKING:
    from metaflow_core.engine.progress import Progress


class LineReport(Report):
    """``progress`` is there when a view of it is to be shown, and a table of it at the end."""

    def __init__(
        self, flow: str, run_id: str, commands: Commands | None, output: Output, progress: Progress | None = None
    ) -> None:
        super().__init__(flow, run_id, commands)
        self._output = output
        self._progress = progress

    def run_started(self, origin: str | None) -> None:
        verb = "starting" if origin is None else f"resuming from run {origin}"
        self._line(f"Workflow {verb} (run-id {self.run_id}):")
        self._output.flush()

    def open(self) -> None:
        if self._progress is not None:
            self._output.show_below(self._progress.rows)

    def taken_over(self, origin: str, tasks: Sequence[ClonedTask]) -> None:
        if self._progress is not None:
            self._progress.taken_over(tasks)
        count = len(tasks)
        self._line(f"{count} finished task{'s' * (count != 1)} taken over from run {origin}.")

    def task_started(self, task: TaskRequest, pid: int) -> None:
        if task.fallback:
            text = "Task fallback is starting to handle the failure."
        else:
            text = "Task is starting (retry)." if task.attempt else "Task is starting."
        if self._progress is not None:
            self._progress.task_started(task.step)
        self._say(task, pid, text)

    def output(self, task: TaskRequest, pid: int | None, stream: str, text: str, complete: bool = True) -> None:
        super().output(task, pid, stream, text, complete)
        self._say(task, pid, text, "stderr" if stream == "stderr" else "")

    def task_note(self, task: TaskRequest, pid: int | None, text: str) -> None:
        self._say(task, pid, text)

    def foreach(self, task: TaskRequest, pid: int | None, splits: int) -> None:
        if self._progress is not None:
            self._progress.fan_out(task.step, splits)
        self._say(task, pid, f"Foreach yields {splits} child steps.")

    def task_finished(self, task: TaskRequest, pid: int | None, caught: bool) -> None:
        super().task_finished(task, pid, caught)
        if self._progress is not None:
            self._progress.task_finished(task.step)
        self._say(task, pid, "Task finished successfully.", "good")

    def task_failed(self, task: TaskRequest, pid: int | None, error: Mapping[str, Any] | None, again: bool) -> None:
        self._say(task, pid, "Task failed.", "failed")
        super().task_failed(task, pid, error, again)
        if self._progress is not None:
            self._progress.task_failed(task.step, again)

    def note(self, text: str, style: str = "") -> None:
        self._line(text, style=style)

    def exit_hook_output(self, pid: int, stream: str, text: str) -> None:
        self._line(text, f"{self.run_id}/exit_hook", pid, "stderr" if stream == "stderr" else "")
        self._output.flush()

    def run_finished(self, status: str) -> None:
        if status == "completed":
            self._line("Done!", style="good")
        else:
            self._line("Workflow failed." if status == "failed" else "Workflow interrupted.", style="failed")
        self._output.flush()

    @property
    def due(self) -> float:
        return self._output.due

    def flush(self) -> None:
        self._output.flush()

    def resized(self) -> None:
        self._output.changed()

    def close(self) -> None:
        self._output.show_below(None)

    def closing(self, status: str, is_latest: Callable[[], bool]) -> None:
        if self._progress is not None:
            from metaflow_core.engine.summary import summary

            look = None if self.commands is None else self.commands.look(f"{self.flow}/{self.run_id}")
            for row in summary(self._progress, look):
                self._output.row(row)
        super().closing(status, is_latest)

    def _say(self, task: TaskRequest, pid: int | None, text: str, style: str = "") -> None:
        self._line(text, f"{task.run_id}/{task.step}/{task.task_id}", pid, style)

    def _line(self, text: str, task: str | None = None, pid: int | None = None, style: str = "") -> None:
        self.lines += 1
        self._output.line(text, task, pid, style)
