"""How the one log of a container keeps its two streams apart: what writes it, and what reads it.

A line of stdout stands there as it is. Before a line of stderr stands ``[stderr]``; ``[stderr...]`` and ``[stdout...]``
are pieces of a line that goes on; ``[stdout]`` is before lines that would else be taken for something else, and before
empty ones, which some logs drop. The last line is ``[exit]`` with the exit code, negative for a signal.
"""

from __future__ import annotations

from typing import NamedTuple

STREAMS = ("stdout", "stderr")
PIECE = 8 * 1024  # bytes, the most in one line: Docker cuts lines of 16 KiB
_WORDS = ("[exit]", *(f"[{stream}{more}]" for stream in STREAMS for more in ("", "...")))
_MARKS = tuple(word.encode() for word in _WORDS)
OUT_OF_MEMORY = "out of memory"


class Exit(NamedTuple):
    """The end of a container's process. ``note`` says more about it."""

    code: int
    note: str


class Marker:
    """Makes lines of a log from the bytes of the streams.

    >>> marker = Marker()
    >>> marker.feed("stdout", b"one\\n") + marker.feed("stderr", b"two\\nthr") + marker.rest() + marker.exit(0)
    b'one\\n[stderr] two\\n[stderr...] thr\\n[exit] 0\\n'
    """

    def __init__(self) -> None:
        self._begun = dict.fromkeys(STREAMS, b"")

    def feed(self, stream: str, data: bytes) -> bytes:
        """The lines that ``data`` completes."""
        *complete, rest = (self._begun[stream] + data).split(b"\n")
        found = [piece for line in complete for piece in self._pieces(stream, line, True)]
        while len(rest) > PIECE:
            found.append(_line(stream, rest[:PIECE], False))
            rest = rest[PIECE:]
        self._begun[stream] = rest
        return b"".join(found)

    def rest(self) -> bytes:
        """What has been begun, and may go on."""
        begun, self._begun = self._begun, dict.fromkeys(STREAMS, b"")
        return b"".join(_line(stream, text, False) for stream, text in begun.items() if text)

    def exit(self, code: int, note: str = "") -> bytes:
        """The last line."""
        return f"[exit] {code} {note}".rstrip().encode() + b"\n"

    def _pieces(self, stream: str, line: bytes, complete: bool) -> list[bytes]:
        starts = range(0, max(1, len(line)), PIECE)
        return [_line(stream, line[at : at + PIECE], complete and at == starts[-1]) for at in starts]


def _line(stream: str, text: bytes, complete: bool) -> bytes:
    if complete and stream == "stdout" and text.strip() and not text.startswith(_MARKS):
        return text + b"\n"
    return f"[{stream}{'' if complete else '...'}] ".encode() + text + b"\n"


def read_line(line: bytes) -> tuple[str, bytes] | Exit:
    """The stream and the bytes that a line of the log, given without its line break, stands for.

    >>> read_line(b"one"), read_line(b"[stderr] two"), read_line(b"[stdout...] thr"), read_line(b"[exit] -9")
    (('stdout', b'one\\n'), ('stderr', b'two\\n'), ('stdout', b'thr'), Exit(code=-9, note=''))
    """
    mark = next((mark for mark in _MARKS if line.startswith(mark)), None)
    if mark is None:
        return "stdout", line + b"\n"
    text = line[len(mark) :].removeprefix(b" ")
    if mark != b"[exit]":
        stream = mark.strip(b"[.]").decode()
        return stream, text if mark.endswith(b"...]") else text + b"\n"
    code, _, note = text.decode("utf-8", "replace").partition(" ")
    return Exit(int(code), note)
