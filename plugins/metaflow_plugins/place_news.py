"""What threads tell the scheduler of attempts on other machines."""

from __future__ import annotations

import os
import threading

from metaflow_core.engine.interface import TaskExited, TaskStarted


class News:
    """Events that any thread adds, and a file descriptor that is readable while there are some."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._events: list[TaskStarted | TaskExited] = []
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._reader

    def tell(self, event: TaskStarted | TaskExited) -> None:
        with self._lock:
            if not self._events:
                os.write(self._writer, b"x")
            self._events.append(event)

    def take(self) -> list[TaskStarted | TaskExited]:
        """Those that were told since the last time."""
        with self._lock:
            events, self._events = self._events, []
            if events:
                os.read(self._reader, 1)
        return events
