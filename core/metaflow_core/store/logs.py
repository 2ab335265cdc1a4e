"""The log of an attempt: one object with what it wrote to both streams, in order.

A line of the object is ``<microseconds since 1970> <flag> <the bytes that were written>``. The flag is ``o`` for
stdout, ``e`` for stderr and ``n`` for a notice of ours. In upper case it says that no line break followed the bytes:
a last line without one, or a part of a long line. So what a task wrote comes back byte for byte.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import IO, Literal, NamedTuple

from metaflow_core.errors import MetaflowDataMissing
from metaflow_core.store.interface import Storage

Stream = Literal["stdout", "stderr", "notice"]

BUFFER_BYTES = 64 * 1024  # this much waits at most in memory, where appends cost nothing

_FLAGS: dict[Stream, bytes] = {"stdout": b"o", "stderr": b"e", "notice": b"n"}
_STREAMS: dict[bytes, Stream] = {flag: stream for stream, flag in _FLAGS.items()}
_LINE = re.compile(rb"[^\n]*\n?")
_STORED = re.compile(rb"(\d{1,18}) ([oenOEN]) ([^\n]*)(\n?)")


class LogLine(NamedTuple):
    """A line, or a part of one, that a task wrote to ``stdout`` or ``stderr``; or a ``notice`` about the log itself.

    ``text`` is without the line break that follows it when ``complete``. ``when`` is in microseconds since 1970, UTC.
    """

    stream: Stream
    text: bytes
    when: int
    complete: bool

    @property
    def data(self) -> bytes:
        """What the task wrote."""
        return self.text + b"\n" if self.complete else self.text


def log_key(flow: str, run: str, step: str, task: str, attempt: int) -> str:
    """Where the log of an attempt is.

    >>> log_key("HelloFlow", "546", "start", "1", 0)
    'logs/HelloFlow/546/start/1.0.log'
    """
    return f"logs/{flow}/{run}/{step}/{task}.{attempt}.log"


class LogWriter:
    """Writes one log. An attempt that writes nothing makes no object.

    Lines wait in memory for :meth:`flush`, which is to be called once per turn of the caller's loop; what was not
    flushed is lost when the writer's process is killed. Where an append costs something, ``flush`` leaves a second
    between two of them; :meth:`close` does not wait. After a ``StorageError`` the lines are still there, and the next
    call tries again.

    ``max_bytes`` limits the stored log. A line that would exceed it is replaced by a notice, and the rest is dropped.
    """

    def __init__(self, storage: Storage, key: str, max_bytes: int) -> None:
        self.truncated = False
        self._storage = storage
        self._key = key
        self._max_bytes = max_bytes
        self._size = 0
        self._waiting = bytearray()
        self._next_append = 0.0

    def write(self, stream: Stream, data: bytes, when: int) -> None:
        """Add what the task wrote to ``stream`` at ``when`` (microseconds): lines, or a part of one."""
        flag = _FLAGS[stream]
        *lines, rest = data.split(b"\n")
        for text in lines:
            self._add(flag, text, when)
        if rest:
            self._add(flag.upper(), rest, when)
        if len(self._waiting) >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Store what waits, unless the last time was too short ago for this store."""
        if self._waiting and time.monotonic() >= self._next_append:
            self._append()

    def close(self) -> None:
        """Store what waits."""
        if self._waiting:
            self._append()

    def _add(self, flag: bytes, text: bytes, when: int) -> None:
        if self.truncated:
            return
        stored = b"%d %b %b\n" % (when, flag, text)
        self._size += len(stored)
        if self._size > self._max_bytes:
            self.truncated = True
            size = f"{self._max_bytes / (1 << 20):g} MB"  # as --max-log-size counts them
            notice = f"[The log was cut here at {size}. --max-log-size keeps more.]"
            stored = b"%d n %b\n" % (when, notice.encode())
        self._waiting += stored

    def _append(self) -> None:
        self._storage.append(self._key, bytes(self._waiting))
        self._waiting.clear()
        self._next_append = time.monotonic() + self._storage.append_interval


def read_log(storage: Storage, key: str, stream: Stream | None = None) -> Iterator[LogLine]:
    """The lines of a log in the order in which they were written; none when nothing was.

    With a ``stream`` only its lines, and notices. A damaged line, as a power cut may leave it, is given as a notice.
    """
    try:
        content = storage.read(key)
    except MetaflowDataMissing:
        return
    when = 0
    for match in _LINE.finditer(content):
        stored = match.group()
        parts = _STORED.fullmatch(stored)
        if parts is None:
            if not stored.endswith(b"\n"):
                return  # the end, or the beginning of a line whose writer was killed
            line = LogLine("notice", stored[:-1], when, True)
        else:
            when, flag = int(parts[1]), parts[2]
            line = LogLine(_STREAMS[flag.lower()], parts[3], when, flag.islower() and bool(parts[4]))
        if stream is None or line.stream in (stream, "notice"):
            yield line


def scrub_log(storage: Storage, key: str, when: int, stream: Stream | None = None) -> int:
    """Remove for good what a finished attempt wrote to ``stream``, or to both, and leave a notice in its place.

    ``when`` is now, in microseconds. Gives the number of lines removed.
    """
    removed = [line.stream for line in read_log(storage, key) if line.stream in _scrubbed(stream)]
    if not removed:
        return 0

    def write(file: IO[bytes]) -> None:
        noted: set[Stream] = set()
        for line in read_log(storage, key):
            if line.stream not in _scrubbed(stream):
                flag = _FLAGS[line.stream]
                file.write(b"%d %b %b\n" % (line.when, flag if line.complete else flag.upper(), line.text))
            elif line.stream not in noted:
                noted.add(line.stream)
                notice = f"[{removed.count(line.stream)} lines of {line.stream} were removed.]"
                file.write(b"%d n %b\n" % (when, notice.encode()))

    storage.put(key, write, replace=True)
    return len(removed)


def _scrubbed(stream: Stream | None) -> tuple[Stream, ...]:
    return ("stdout", "stderr") if stream is None else (stream,)
