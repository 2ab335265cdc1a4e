"""Where the steps of ``@nice`` run: each attempt is a job, a process started with nice(1).

The scheduler must never wait for this place. A thread waits for each process, and writes a byte into a pipe that the
scheduler selects on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue

from metaflow_core.engine.interface import JOB_VARIABLE, Job, JobNeeds, TaskExited, TaskRequest, TaskStarted
from metaflow_core.errors import ComputeUnavailable

GRACE_SECONDS = 3.0


class NicePlace:
    """Processes of this machine, with a lower priority."""

    name = "nice"
    shares_files = True  # the jobs see the files of this machine

    def open(self, job: Callable[[TaskRequest], Job], steps: Mapping[str, JobNeeds]) -> None:
        if shutil.which("nice") is None:
            raise ComputeUnavailable("@nice needs the program nice, which is not on PATH.")
        self._job = job
        self._by = {step: int(needs.attributes["by"]) for step, needs in steps.items()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._news: SimpleQueue[TaskStarted | TaskExited] = SimpleQueue()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)

    def fileno(self) -> int:
        return self._reader

    def start(self, request: TaskRequest, stdout: int, stderr: int) -> None:
        command = ["nice", "-n", str(self._by[request.step]), sys.executable, "-m", "metaflow_core.cli.job"]
        environment = {**os.environ, JOB_VARIABLE: json.dumps(self._job(request))}
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,  # to end it with all that it has started; and Ctrl-C is for the scheduler
            )
        except OSError as error:
            self._tell(TaskExited(request, 1, f"No process could be started: {error.strerror}."))
            return
        self._processes[request.key] = process
        self._tell(TaskStarted(request, process.pid))
        threading.Thread(target=self._wait, args=(request, process), daemon=True).start()

    def events(self) -> list[TaskStarted | TaskExited]:
        with suppress(BlockingIOError):
            os.read(self._reader, 4096)  # before the news: what comes in between wakes the scheduler again
        found = []
        with suppress(Empty):
            while True:
                found.append(self._news.get_nowait())
        for event in found:
            if isinstance(event, TaskExited):
                self._processes.pop(event.request.key, None)
        return found

    def kill(self, request: TaskRequest, force: bool) -> None:
        process = self._processes.get(request.key)
        if process is not None:
            _signal(process, signal.SIGKILL if force else signal.SIGTERM)

    def close(self) -> None:
        for process in self._processes.values():
            _signal(process, signal.SIGTERM)
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            _signal(process, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def _wait(self, request: TaskRequest, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        _signal(process, signal.SIGKILL)  # what the task has left behind
        self._tell(TaskExited(request, code))

    def _tell(self, event: TaskStarted | TaskExited) -> None:
        self._news.put(event)
        os.write(self._writer, b"x")


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
