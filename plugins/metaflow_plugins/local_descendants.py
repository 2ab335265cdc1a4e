"""Finds the processes that a task has started, wherever they have gone, and ends them.

A child that calls ``setsid`` leaves the task's group, one whose parent has ended leaves its family, and one may close
all files and empty its environment. What all of them keep is a resource limit: a task gets a soft limit of real-time
CPU (``RLIMIT_RTTIME``, in microseconds) so high that it never counts, of a value that no other task of this machine
has. Without /proc, or where that limit is really limited, only the task's group is ended.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Collection
from contextlib import suppress

_BASE = 1 << 50  # 35 years
_NUMBERS = 1 << 20  # that one launcher can give


def mark(launcher: int, number: int) -> None:
    """Let this process, and all that it will start, be known as those of a task. ``number`` is the launcher's own."""
    with suppress(AttributeError, ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        resource.setrlimit(resource.RLIMIT_RTTIME, (_value(launcher, number), hard))


def unmark() -> None:
    """Let this process belong to no task: a launcher that a task has started ends by itself, after its own tasks."""
    with suppress(AttributeError, ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        resource.setrlimit(resource.RLIMIT_RTTIME, (hard, hard))


def end_marked(launcher: int, spared: Collection[int]) -> None:
    """End the processes of all tasks of a launcher but those with the ``spared`` numbers."""
    ended: set[int] = set()
    # What was started while the others were being ended is found in the next round.
    for _ in range(100):
        found = [pid for pid in _marked(launcher, spared) if pid not in ended]
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended.update(found)


def _marked(launcher: int, spared: Collection[int]) -> list[int]:
    first = _value(launcher, 0)
    own = range(first, first + _NUMBERS)
    kept = {first + number for number in spared}
    found = []
    try:
        limit, read, names = resource.RLIMIT_RTTIME, resource.prlimit, os.listdir("/proc")
    except (AttributeError, OSError):
        return []
    for name in names:
        if name.isdigit():
            try:
                value = read(int(name), limit)[0]
            except (OSError, ValueError):  # someone else's, or gone
                continue
            if value in own and value not in kept:
                found.append(int(name))
    return found


def _value(launcher: int, number: int) -> int:
    return _BASE + launcher * _NUMBERS + number % _NUMBERS
