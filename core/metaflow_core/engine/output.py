"""The lines that a run shows, and on a terminal what stands below them and is painted again and again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from metaflow_core.engine.terminal import END, harmless, wants_colour

if TYPE_CHECKING:
    from metaflow_core.engine.masking import Mask

COLOURS = {
    "stderr": "\x1b[33m",
    "failed": "\x1b[31;1m",
    "bad": "\x1b[31m",
    "good": "\x1b[32m",
    "faint": "\x1b[2m",
    "bold": "\x1b[1m",
}
FRAME_SECONDS = 0.1  # between two paintings
CLOCK_SECONDS = 1.0  # after this time it is painted again because it shows a time

# Parts of a line: text and style. Names of flows and steps are ASCII, so each character takes one column.
Row = list[tuple[str, str]]
View = Callable[[int, int], list[Row]]  # gets the columns and lines of the terminal


class Output:
    """Writes lines of the form ``2020-06-19 21:19:03.387 [198/start/1139 (pid 64853)] text`` to standard output.

    While there is a view (:meth:`show_below`) lines wait for the next frame, a tenth of a second at most, so that a
    thousand of them cost one painting. :meth:`flush` is to be called once per turn of the caller's loop, and again at
    the time :attr:`due`. With ``passed_on`` the stream is none, but another program shows on one what it gets.
    """

    def __init__(self, passed_on: bool = False) -> None:
        self._stream: IO[str] = sys.stdout
        self.is_terminal = (passed_on or self._stream.isatty()) and os.environ.get("TERM") != "dumb"
        self._tty = _open_terminal() if self.is_terminal and passed_on else -1
        self._colour = wants_colour(self.is_terminal)
        self._view: View | None = None
        self._waiting: list[str] = []
        self._below: list[int] = []  # the widths of the rows that are painted
        self._painted = ""
        self._size = (0, 0)
        self._next_frame = 0.0
        self._next_clock = 0.0
        self._broken = False
        self._second = -1
        self._second_text = ""

    def line(self, text: str, task: str | None = None, pid: int | None = None, style: str = "") -> None:
        """One line; ``task`` is ``RUN/STEP/ID``."""
        at = time.time()
        second = int(at)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        stamp = f"{self._second_text}.{int(at % 1 * 1000):03d}"
        if self.is_terminal:
            text = harmless(text)
        if self._colour:
            stamp = COLOURS["faint"] + stamp + END
            text = self._coloured(text, style)
        where = "" if task is None else f"[{task} (pid {pid})] " if pid is not None else f"[{task}] "
        self._add(f"{stamp} {where}{text}\n")

    def row(self, row: Row) -> None:
        """One line without a stamp, of any length."""
        self._add("".join(self._coloured(text, style) for text, style in row) + "\n")

    # --- what stands below -----------------------------------------------------------------------------------------

    def show_below(self, view: View | None) -> None:
        """Show these rows under the lines from now on, or none any more. On a terminal only."""
        if self.is_terminal:
            if view is None and self._view is not None:
                self._write(self._erase() + "".join(self._waiting))
                self._waiting.clear()
                self._below, self._painted = [], ""
            self._view = view
        self.flush()

    def changed(self) -> None:
        """What stands below is no longer right."""
        self._next_clock = 0.0

    @property
    def due(self) -> float:
        """When to call :meth:`flush` next, in seconds of the monotonic clock."""
        if self._view is None:
            return float("inf")
        return self._next_frame if self._waiting else max(self._next_frame, self._next_clock)

    def flush(self) -> None:
        if self._view is not None:
            at = time.monotonic()
            if at < self._next_frame or (not self._waiting and at < self._next_clock):
                return
            self._next_frame, self._next_clock = at + FRAME_SECONDS, at + CLOCK_SECONDS
            self._paint(self._view)
        if not self._broken:
            try:
                self._stream.flush()
            except OSError as error:
                self._stop(error)

    def _paint(self, view: View) -> None:
        columns, lines = size = self._terminal_size()
        rows = [_fit(row, columns - 1) for row in view(columns, lines)]
        painted = "".join("".join(self._coloured(*part) for part in row) + "\n" for row in rows)
        if not self._waiting and painted == self._painted and size == self._size:
            return
        erase = self._erase(columns)
        self._below = [sum(len(text) for text, _ in row) for row in rows]
        self._painted, self._size = painted, size
        self._write(f"{erase}{''.join(self._waiting)}{painted}")
        self._waiting.clear()

    def _erase(self, columns: int | None = None) -> str:
        """Takes away what stands below. The cursor is at the beginning of the line after it."""
        if not self._below:
            return ""
        count = len(self._below)
        columns = columns or self._terminal_size()[0]
        if columns < self._size[0] and _reflows():
            count = sum(max(1, -(-wide // columns)) for wide in self._below)
        return f"\r\x1b[{count}A\x1b[J"

    def _terminal_size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._tty if self._tty >= 0 else self._stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        return size.columns or 80, size.lines or 24

    # --- writing ---------------------------------------------------------------------------------------------------

    def _coloured(self, text: str, style: str) -> str:
        return COLOURS[style] + text + END if style and text and self._colour else text

    def _add(self, text: str) -> None:
        if self._view is None:
            self._write(text)
        else:
            self._waiting.append(text)

    def can_write(self, text: str) -> bool:
        """Whether the stream's encoding has these characters."""
        try:
            text.encode(getattr(self._stream, "encoding", None) or "ascii")
        except UnicodeEncodeError:
            return False
        return True

    def _write(self, text: str) -> None:
        if self._broken:
            return
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(self._stream, "encoding", None) or "ascii"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        # Nobody reads any more (`run | head`), or the disk with the output is full: the run goes on, its logs are kept.
        self._broken = True
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)
        if not isinstance(error, BrokenPipeError):
            text = f"The output can't be written: {error.strerror}. The run goes on; its logs are kept."
            with suppress(OSError):
                print(text, file=sys.stderr, flush=True)


def _fit(row: Row, columns: int) -> Row:
    fitting: Row = []
    for text, style in row:
        text = text[: max(0, columns)]
        columns -= len(text)
        fitting.append((text, style))
    return fitting


def _reflows() -> bool:
    """Whether the terminal breaks long lines anew when it becomes narrower. Most do, these do not."""
    return "XTERM_VERSION" not in os.environ and not os.environ.get("TERM", "").startswith(("linux", "screen", "vt"))


def _open_terminal() -> int:
    try:
        return os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return -1


class LineSplitter:
    """Cuts a stream of bytes into lines; a line longer than ``limit`` comes in pieces. ``mask`` hides secrets."""

    def __init__(self, limit: int = 1 << 16, mask: Mask | None = None) -> None:
        self._limit = limit
        self._mask = mask
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """``(text, complete)`` of each line that ``data`` ends, and of each full piece."""
        data = self._rest + data if self._rest else data
        kept = 0
        if self._mask is not None:
            data = self._mask.data(data)
            kept = self._mask.longest  # the end may be the beginning of a secret
        *lines, rest = data.split(b"\n")
        found = [(line, True) for line in lines]
        while len(rest) > self._limit + kept:
            found.append((rest[: self._limit], False))
            rest = rest[self._limit :]
        self._rest = rest
        return found

    def end(self) -> list[tuple[bytes, bool]]:
        """What is left, when the stream has ended."""
        rest, self._rest = self._rest, b""
        return [(rest, False)] if rest else []
