"""The standard streams of this process, and those of a task's.

Stdout and stderr are two pipes, and who reads them can't know which of two texts was written first. So when a task
changes from one stream to the other, it waits until what it has written to the first was read: a moment, and the log
is in order. That holds for what Python and R write; other programs may write to both at once.
"""

from __future__ import annotations

import io
import os
import sys
import time
from typing import Any, NoReturn

WAIT_SECONDS = 0.1  # at most, should nobody read


class _OrderedPipe(io.FileIO):
    last: _OrderedPipe | None = None  # the stream that was written to last

    def write(self, data: Any, /) -> int:
        last = _OrderedPipe.last
        if last is not None and last is not self:
            wait_until_read(last.fileno())
        _OrderedPipe.last = self
        return super().write(data)


def wait_until_read(number: int) -> None:
    """Until everything that was written to the pipe ``number`` was read; no wait where it is no pipe."""
    import fcntl
    import termios

    unread = bytearray(4)  # a C int
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        try:
            fcntl.ioctl(number, termios.FIONREAD, unread)
        except OSError:
            return
        if not any(unread):
            return
        time.sleep(0.0001)


def make_streams() -> None:
    """Fresh standard streams on file descriptors 0, 1 and 2, line by line, whatever this process had before."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        raw = _OrderedPipe(number, "w", closefd=False)
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115


def flush_streams() -> None:
    """Write what waits in stdout and stderr. One that can't be written leads to /dev/null from now on."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)


def leave(code: int) -> NoReturn:
    """End this process, a fork, after its output: nothing that the program has registered for its own end runs."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
