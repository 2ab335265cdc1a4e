"""A terminal of a given size, and what one sees on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyte


class Screen:
    """Runs a command on a terminal. ``shown`` are the lines in view, ``above`` those that were scrolled out of it.

    Resizing is done as xterm does it: what is on the screen is not broken anew.
    """

    def __init__(
        self, command: Sequence[str], columns: int = 110, lines: int = 24, env: Mapping[str, str] | None = None
    ) -> None:
        self.began = time.monotonic()
        self.received = b""
        self.columns = columns
        variables = {**os.environ, "TERM": "xterm", "XTERM_VERSION": "pyte", **(env or {})}
        if not (env or {}).get("NO_COLOR"):
            variables.pop("NO_COLOR", None)
        self._screen = pyte.HistoryScreen(columns, lines, history=100_000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        ready, go = os.pipe()
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.close(go)
            os.read(ready, 1)  # until the size is set
            os.execvpe(command[0], list(command), variables)
        os.close(ready)
        self._set_size()
        os.close(go)

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    @property
    def above(self) -> list[str]:
        return ["".join(line[i].data for i in range(self.columns)).rstrip() for line in self._screen.history.top]

    @property
    def text(self) -> str:
        """All lines, those that were scrolled away included."""
        return "\n".join([*self.above, *self.shown]).rstrip()

    @property
    def cursor(self) -> tuple[int, int]:
        """Line and column, from 0."""
        return self._screen.cursor.y, self._screen.cursor.x

    @property
    def shows_cursor(self) -> bool:
        return not self._screen.cursor.hidden

    def view(self) -> list[str]:
        """The lines of the live view: from the first step's down to the totals, which are the last."""
        lines = "\n".join(self.shown).rstrip().split("\n")
        first = len(lines) - 1
        while first > 0 and lines[first - 1].startswith("  "):
            first -= 1
        return lines[first:]

    def wait_for(self, pattern: str, seconds: float = 60) -> None:
        """Until what is in view matches; the test fails when that does not happen."""
        end = time.monotonic() + seconds
        while not re.search(pattern, "\n".join(self.shown)):
            assert time.monotonic() < end, f"{pattern!r} did not come:\n{self.text}"
            assert self._feed(0.1) is not None, f"{pattern!r} did not come before the end:\n{self.text}"

    def wait_for_file(self, file: Path, seconds: float = 60) -> None:
        """Until there is such a file."""
        end = time.monotonic() + seconds
        while not file.exists():
            assert time.monotonic() < end, f"{file} did not come:\n{self.text}"
            self._feed(0.02)

    def type(self, keys: bytes) -> None:
        os.write(self._file, keys)

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        self._set_size()

    def kill(self) -> None:
        """As ``kill -9`` does."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self, seconds: float = 60) -> int:
        """Wait for the command's end. Its exit code."""
        end = time.monotonic() + seconds
        while self._feed(0.1) is not None:
            assert time.monotonic() < end, f"it did not end:\n{self.text}"
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._file)
        return code

    def _feed(self, seconds: float) -> bytes | None:
        """What has come meanwhile; None at the end."""
        if not select.select([self._file], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self._file, 1 << 16)
        except OSError:  # Linux says so at the end
            return None
        self.received += data
        self._stream.feed(data)
        return data or None

    def _set_size(self) -> None:
        size = struct.pack("HHHH", self._screen.lines, self._screen.columns, 0, 0)
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, size)
