"""Keeps values of secrets out of logs and errors.

A task that has fetched secrets tells their values to the scheduler before any code of the user runs, and the scheduler
puts ``***`` in their place in every line that it gets from the task. The order makes that safe: what was sent before a
line was written is there when the line is read. So it does not matter who has printed the line: Python, R, native code
or a program that the step has started.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterable, Iterator

SHOWN = "***"
MIN_LENGTH = 4  # a shorter value is part of too many innocent words
PIECE = 256  # characters; a long value is masked in pieces of about this length, each of which fits into one message
_VARIABLE = "_METAFLOW_MASKS"  # tells a spawned task the file descriptor


class Mask:
    """Replaces values in texts.

    >>> mask = Mask()
    >>> mask.add(["hunter2", "no"])
    ['hunter2']
    >>> mask.text("the password is hunter2, no?")
    'the password is ***, no?'
    """

    def __init__(self) -> None:
        self.longest = 0  # bytes
        self._pieces: set[str] = set()
        self._text: re.Pattern[str] | None = None
        self._data: re.Pattern[bytes] | None = None

    def add(self, values: Iterable[str]) -> list[str]:
        """Mask these values too, and what they look like in quotes. Gives the pieces that are new."""
        return self.add_pieces(_pieces(values))

    def add_pieces(self, pieces: Iterable[str]) -> list[str]:
        """Mask what another mask's :meth:`add` gave."""
        fresh = [piece for piece in dict.fromkeys(pieces) if piece not in self._pieces]
        if fresh:
            self._pieces.update(fresh)
            ordered = sorted(self._pieces, key=len, reverse=True)
            encoded = [_bytes(piece) for piece in ordered]
            self._text = re.compile("|".join(map(re.escape, ordered)))
            self._data = re.compile(b"|".join(map(re.escape, encoded)))
            self.longest = max(map(len, encoded))
        return fresh

    def text(self, text: str) -> str:
        return text if self._text is None else self._text.sub(SHOWN, text)

    def data(self, data: bytes) -> bytes:
        return data if self._data is None else self._data.sub(SHOWN.encode(), data)


def _pieces(values: Iterable[str]) -> Iterator[str]:
    from urllib.parse import quote

    for value in values:
        forms = [value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]]
        forms.append(quote(value, safe="", errors="surrogatepass"))
        for form in forms:
            for line in form.splitlines():  # output is masked line by line
                line = line.strip()
                if len(line) < MIN_LENGTH:
                    continue
                count = -(-len(line) // PIECE)
                size = -(-len(line) // count)
                yield from (line[start : start + size] for start in range(0, len(line), size))


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")  # as the environment encodes it
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


class MaskSender:
    """The end of a channel that tasks have."""

    def __init__(self, theirs: socket.socket) -> None:
        self._theirs = theirs

    def send(self, key: str, pieces: Iterable[str]) -> None:
        """Have these pieces masked in the output of the attempt ``key``."""
        for piece in pieces:
            self._theirs.send(json.dumps([key, piece]).encode())

    def pass_on(self) -> None:
        """Let the program that replaces this process find the channel, by :func:`inherited_channel`."""
        self._theirs.set_inheritable(True)
        os.environ[_VARIABLE] = str(self._theirs.fileno())


class MaskChannel(MaskSender):
    """From all tasks of a run to its scheduler: which values to mask in the output of which attempt."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ours.setblocking(False)
        super().__init__(theirs)

    def fileno(self) -> int:
        """Readable when there is something to receive."""
        return self._ours.fileno()

    def received(self) -> Iterator[tuple[str, str]]:
        """What tasks have sent so far: the key of the attempt, and a piece to mask."""
        while True:
            try:
                message = self._ours.recv(1 << 14)
            except BlockingIOError:
                return
            key, piece = json.loads(message)
            yield key, piece


def inherited_channel() -> MaskSender | None:
    """The channel of the run that has spawned this task; None when there is none."""
    number = os.environ.pop(_VARIABLE, "")
    if not number.isdigit():
        return None
    try:
        theirs = socket.socket(fileno=int(number))
    except OSError:
        return None  # it was not passed on, as between machines
    theirs.set_inheritable(False)  # what the task starts does not get it
    return MaskSender(theirs)
