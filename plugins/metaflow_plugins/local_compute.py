"""Tasks as processes on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from metaflow_core import settings
from metaflow_core.engine.interface import Compute, TaskExited, TaskRequest, TaskStarted
from metaflow_core.hookspecs import hookimpl

from metaflow_plugins.local_descendants import end_marked
from metaflow_plugins.local_launcher import Launcher, signal_group


@hookimpl
def open_compute(name: str) -> Compute | None:
    return LocalCompute() if name == "local" else None


class LocalCompute:
    """The driver's side: speaks to the launcher, a fork of the driver made before anything else.

    One JSON object a line each way; the two file descriptors of a task's output travel with its request (SCM_RIGHTS).
    """

    name = "local"

    def open(self, run_task: Callable[[TaskRequest], int], command: Callable[[TaskRequest], Sequence[str]]) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            spawn = settings.get("LAUNCHER") == "spawn"
            Launcher(theirs, run_task, command, spawn, settings.get("TASK_MEMORY_LIMIT")).serve()
        theirs.close()
        self._attach(ours, pid)

    def serve(self, fd: int, run_task: Callable[[TaskRequest], int]) -> NoReturn:
        def no_command(request: TaskRequest) -> Sequence[str]:
            raise NotImplementedError("a task with an interpreter of its own is started elsewhere")

        Launcher(socket.socket(fileno=fd), run_task, no_command, False, settings.get("TASK_MEMORY_LIMIT")).serve()

    def attach(self, fd: int) -> None:
        self._attach(socket.socket(fileno=fd), None)

    def _attach(self, driver: socket.socket, pid: int | None) -> None:
        self._pid = pid
        self._socket = driver
        self._received = b""
        self._requests: dict[str, TaskRequest] = {}
        self._pids: dict[str, int] = {}

    def fileno(self) -> int:
        return self._socket.fileno()

    def start(self, request: TaskRequest, stdout: int, stderr: int) -> None:
        self._requests[request.key] = request
        message = json.dumps({"start": request}).encode() + b"\n"
        with suppress(ConnectionError):  # the launcher is gone: the next events tell
            socket.send_fds(self._socket, [message], [stdout, stderr])

    def events(self) -> list[TaskStarted | TaskExited]:
        try:
            data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        if not data:
            return self._lost()
        *lines, self._received = (self._received + data).split(b"\n")
        found: list[TaskStarted | TaskExited] = []
        for line in lines:
            event = json.loads(line)
            if "pid" in event:
                self._pids[event["key"]] = event["pid"]
                found.append(TaskStarted(self._requests[event["key"]], event["pid"]))
            else:
                self._pids.pop(event["key"], None)
                found.append(TaskExited(self._requests.pop(event["key"]), event["code"], event.get("message", "")))
        return found

    def _lost(self) -> list[TaskStarted | TaskExited]:
        """The launcher is gone, so nobody would see its tasks end: end them."""
        for pid in self._pids.values():
            signal_group(pid, signal.SIGKILL)
        if self._pid is not None:
            end_marked(self._pid, ())
        self._pids.clear()
        reason = "The process that starts tasks was killed, so the task could not go on."
        lost = [TaskExited(request, -9, reason) for request in self._requests.values()]
        self._requests.clear()
        return list(lost)

    def kill(self, request: TaskRequest, force: bool) -> None:
        with suppress(ConnectionError):
            self._socket.sendall(json.dumps({"kill": request.key, "force": force}).encode() + b"\n")

    def close(self) -> None:
        self._socket.close()  # the launcher sees it, ends what still runs, and exits
        if self._pid is not None:
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
