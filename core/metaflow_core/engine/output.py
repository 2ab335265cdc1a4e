"""What a run shows: stamped lines, and on a terminal a live status line under them."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from metaflow_core.engine.masking import Mask

CLEAR = "\r\x1b[K"
COLOURS = {"stderr": "\x1b[33m", "failed": "\x1b[31;1m", "good": "\x1b[32m", "faint": "\x1b[2m"}
END = "\x1b[0m"


class Output:
    """Writes lines of the form ``2020-06-19 21:19:03.387 [198/start/1139 (pid 64853)] text`` to standard output.

    On a terminal the stamp is faint, and the last line tells tasks running, done and failed, and the time; in a pipe
    there are only the lines.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream: IO[str] = stream or sys.stdout
        self.is_terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self.is_terminal and "NO_COLOR" not in os.environ
        self._status = ""
        self._status_text = ""  # without colour, and not cut to the terminal's width
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
        if self._colour:
            stamp = COLOURS["faint"] + stamp + END
            text = COLOURS[style] + text + END if style else text
        where = "" if task is None else f"[{task} (pid {pid})] " if pid is not None else f"[{task}] "
        self._write(f"{CLEAR if self._status else ''}{stamp} {where}{text}\n{self._status}")

    def status(self, text: str) -> None:
        """Show ``text`` under the lines, on a terminal; empty takes it away."""
        if not self.is_terminal or text == self._status_text:
            return
        self._status_text = text
        text = text[: self._columns() - 1]
        if self._colour and text:
            text = COLOURS["faint"] + text + END
        self._write(CLEAR + text)
        self._status = text

    def flush(self) -> None:
        if not self._broken:
            try:
                self._stream.flush()
            except OSError as error:
                self._stop(error)

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

    @staticmethod
    def _columns() -> int:
        try:
            return os.get_terminal_size().columns or 80
        except OSError:
            return 80


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
