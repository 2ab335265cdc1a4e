"""The places where the tasks of one run execute: this machine, and those that decorators of steps name."""

from __future__ import annotations

import select
from collections.abc import Mapping
from contextlib import suppress

from metaflow_core.engine.interface import Compute, Place, RemoteCompute, TaskExited, TaskRequest, TaskStarted


class Places(Place):
    """Sends each attempt to its place, and gathers what happens there."""

    name = "all"

    def __init__(self, local: Compute, remote: Mapping[str, RemoteCompute], place_of: Mapping[str, str]) -> None:
        self._local = local
        self._remote = remote
        self._place_of = place_of  # of the steps that run elsewhere
        self._waiting = select.epoll()
        for place in (local, *remote.values()):
            self._waiting.register(place.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        return self._waiting.fileno()

    def start(self, request: TaskRequest, stdout: int, stderr: int) -> None:
        self._of(request).start(request, stdout, stderr)

    def events(self) -> list[TaskStarted | TaskExited]:
        return [event for place in (self._local, *self._remote.values()) for event in place.events()]

    def kill(self, request: TaskRequest, force: bool) -> None:
        self._of(request).kill(request, force)

    def close(self) -> None:
        for place in (*self._remote.values(), self._local):
            with suppress(OSError, ValueError):
                self._waiting.unregister(place.fileno())
            place.close()
        self._waiting.close()

    def _of(self, request: TaskRequest) -> Place:
        name = self._place_of.get(request.step)
        # What remains of an attempt whose machine is lost is done here: no code of the step's runs.
        return self._local if name is None or request.fallback else self._remote[name]
