"""What runs on a Dask worker: one process per attempt, whose output is sent to the driver while it runs.

The flow is loaded once for all attempts of a run, by a process of which they are forks. The functions here are sent by
name, so a worker needs this package installed, of the same version as the driver.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from metaflow_core.engine.interface import JOB_VARIABLE, SOCKET_VARIABLE, TaskExited, TaskRequest, TaskStarted

from metaflow_plugins.local_compute import LocalCompute

CHUNK = 16 * 1024  # Dask's scheduler remembers the last thousand messages
LOOK_SECONDS = 0.2  # how often a worker looks whether its attempt is still wanted
GRACE_SECONDS = 3.0
IDLE_SECONDS = 60.0  # a flow stays loaded for so long after its last attempt


def describe(r_package: bool) -> dict[str, Any]:
    """What a worker can run. ``r_package`` asks for flows written in R, which takes a moment to find out."""
    from metaflow_core import __version__

    r = shutil.which("Rscript") is not None and importlib.util.find_spec("rpy2") is not None
    if r and r_package:
        test = ["Rscript", "--vanilla", "-e", "quit(status = !requireNamespace('metaflow', quietly = TRUE))"]
        r = subprocess.run(test, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    return {"version": __version__, "r": r, "host": os.uname().nodename}


def run_job(topic: str, key: str, job: str) -> int:
    """Run an attempt to its end, and return its exit code; negative for a signal.

    It is stopped when the driver has gone, or no longer wants it: then Dask has cancelled the task.
    """
    from distributed import get_worker

    worker = get_worker()
    task = worker.get_current_task()
    fields = json.loads(job)
    request = TaskRequest(*fields[0])
    loaded = _loaded(job, fields)
    pipes = {stream: os.pipe() for stream in ("stdout", "stderr")}
    open_pipes = {reader: stream for stream, (reader, _) in pipes.items()}
    poll = select.poll()
    for reader in open_pipes:
        poll.register(reader, select.POLLIN)
    attempt = loaded.start(request, *(writer for _, writer in pipes.values()))
    kill_at: float | None = None
    pid: int | None = None
    try:
        while True:
            if not open_pipes:
                attempt.ended.wait(LOOK_SECONDS)
            ready = poll.poll(0 if attempt.ended.is_set() else LOOK_SECONDS * 1000) if open_pipes else []
            if pid is None and attempt.pid is not None:
                pid = attempt.pid
                worker.log_event(topic, {"key": key, "pid": pid, "worker": worker.address})
            for fd, _ in ready:
                data = os.read(fd, CHUNK)
                if data:
                    worker.log_event(topic, {"key": key, "stream": open_pipes[fd], "data": data})
                else:
                    poll.unregister(fd)
                    del open_pipes[fd]
            # Something that the task has started may still hold its output.
            if attempt.code is not None and not ready:
                break
            if kill_at is None:
                known = worker.state.tasks.get(task)
                if known is None or known.state == "cancelled":
                    loaded.kill(request, force=False)
                    kill_at = time.monotonic() + GRACE_SECONDS
            elif time.monotonic() > kill_at:
                loaded.kill(request, force=True)
        if pid is None and attempt.pid is not None:
            worker.log_event(topic, {"key": key, "pid": attempt.pid, "worker": worker.address})
        if attempt.message:
            worker.log_event(topic, {"key": key, "stream": "stderr", "data": attempt.message.encode()})
    finally:
        for reader, _ in pipes.values():
            os.close(reader)
    return attempt.code


class _Attempt:
    """What is known of an attempt that was asked for."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.code: int | None = None
        self.message = ""
        self.ended = threading.Event()


class _Loaded:
    """A flow that is loaded in a process, of which its attempts are forks."""

    def __init__(self, job: str, variables: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        # Settings of the worker's own machine stay; those of the flow's owner come with the job.
        environment = {**os.environ, **variables, JOB_VARIABLE: job, SOCKET_VARIABLE: str(theirs.fileno())}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "metaflow_core.cli.job"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._compute = LocalCompute()
        self._compute.attach(ours.detach())
        self._lock = threading.Lock()
        self._attempts: dict[str, _Attempt] = {}
        self._is_over = False
        self.used = time.monotonic()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def is_usable(self) -> bool:
        return self._process.poll() is None

    @property
    def is_idle(self) -> bool:
        return not self._attempts and time.monotonic() > self.used + IDLE_SECONDS

    def start(self, request: TaskRequest, stdout: int, stderr: int) -> _Attempt:
        attempt = _Attempt()
        with self._lock:
            if self._is_over:
                raise RuntimeError("the process that had loaded the flow was killed")
            self._attempts[request.key] = attempt
            self._compute.start(request, stdout, stderr)
        os.close(stdout)
        os.close(stderr)
        return attempt

    def kill(self, request: TaskRequest, force: bool) -> None:
        with self._lock:
            self._compute.kill(request, force)

    def close(self) -> None:
        self._compute.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        self._said.close()

    def _listen(self) -> None:
        while True:
            try:
                select.select([self._compute.fileno()], [], [])
            except (OSError, ValueError):
                return  # closed
            with self._lock:
                events = self._compute.events()
                lost = not events and not self.is_usable
                for event in events:
                    self._heard(event)
                self._is_over = lost
            if lost:
                return

    def _heard(self, event: TaskStarted | TaskExited) -> None:
        attempt = self._attempts[event.request.key]
        if isinstance(event, TaskStarted):
            attempt.pid = event.pid
            return
        del self._attempts[event.request.key]
        self.used = time.monotonic()
        attempt.message = event.message
        if attempt.pid is None:  # the flow could not be loaded: why, it has said itself
            self._process.wait()
            self._said.seek(0)
            attempt.message = self._said.read().decode("utf-8", "replace")[-CHUNK:]
        attempt.code = event.code
        attempt.ended.set()


_all: dict[str, _Loaded] = {}
_lock = threading.Lock()


def _loaded(job: str, fields: list[Any]) -> _Loaded:
    """The process with the flow of a job, started when there is none. Those that nobody has used for a while end."""
    request, *rest = fields
    name = json.dumps([request[0], rest])
    with _lock:
        for other in [key for key, loaded in _all.items() if loaded.is_idle and key != name]:
            _all.pop(other).close()
        if name not in _all or not _all[name].is_usable:
            _all[name] = _Loaded(job, fields[-1])
        _all[name].used = time.monotonic()
        return _all[name]


@atexit.register
def _close_all() -> None:
    for loaded in _all.values():
        loaded.close()
