"""What a storage plugin provides."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple, Protocol

from metaflow_core.errors import StorageError
from metaflow_core.names import show

# No component starts with a dot or ends in ``.~``, which leaves such names to the stores themselves.
_COMPONENT = r"(?!\.)[^/\\]+(?<!\.~)"
_KEY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")


def check_key(key: str) -> str:
    """Return ``key``, or raise ``StorageError``: a relative POSIX path without ``..``, hidden or empty components.

    Every method of a :class:`Storage` that takes a key passes it through here first.

    >>> check_key("logs/HelloFlow/1/start/1.0.log")
    'logs/HelloFlow/1/start/1.0.log'
    """
    if _KEY.fullmatch(key) is None or not key.isprintable():
        raise StorageError(f"The artifact store has no place for {show(key)}: it is no relative path of plain names.")
    return key


class StoredObject(NamedTuple):
    """An object of a store: its size in bytes, and when it was written last, in seconds since 1970."""

    key: str
    size: int
    modified: float


class Storage(Protocol):
    """Bytes under keys such as ``data/ab/abcd...`` or ``logs/Flow/1/start/1.0.log``.

    Keys are relative POSIX paths made of checked names. An object is written once and whole: a reader sees either
    nothing or all of it, also when the writer is killed. Every method raises ``StorageError`` with a message in the
    user's terms when the store is unreachable, read-only or full.

    Logs are the objects under ``logs/``: they alone are appended to, or replaced. What an object under ``data/`` is
    called follows from its content, so a copy of it never grows old. A class that inherits from this one gets what has
    a body here.
    """

    url: str
    patient: bool = False  # set to true where the store was there before: it is waited for while it can't be reached
    append_interval: float  # seconds to leave between two appends to one object: 0 where an append costs nothing

    def put(self, key: str, write: Callable[[IO[bytes]], None], replace: bool = False) -> float | None:
        """Store what ``write`` sends, and return None.

        When the key exists already nothing happens, unless ``replace`` is true; what is returned then is when the
        object was written, in seconds since 1970.

        When ``write`` raises, nothing is stored; an ``OSError`` counts as the store's, anything else propagates.
        """

    def put_all(self, objects: Sequence[tuple[str, Callable[[IO[bytes]], None]]]) -> list[float | None]:
        """:meth:`put` for each ``(key, write)``. A store that is far away does so for many at a time."""
        return [self.put(key, write) for key, write in objects]

    def read(self, key: str, start: int = 0, end: int | None = None) -> memoryview:
        """The object's bytes, memory-mapped where possible. ``MetaflowDataMissing`` when there is none.

        The view is writable and private to the caller: what is written to it never reaches the store. With ``start``
        or ``end`` only the bytes from ``start`` on, and before ``end``, are read; what lies beyond the object is left
        out.
        """

    def prefetch(self, keys: Sequence[str]) -> None:
        """These objects will be read soon: a store that is far away gets the small ones now, many at a time."""
        return

    def distrust(self, key: str) -> None:
        """What was read of the object is damaged: a store that keeps copies of what it reads forgets that one."""
        return

    def exists(self, key: str) -> bool: ...

    def size(self, key: str) -> int:
        """Bytes of the object. ``MetaflowDataMissing`` when there is none."""

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that start with ``prefix`` (whole path components; all keys for ``""``), sorted."""

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        """The objects behind :meth:`keys`, in the same order; given a key, that object alone."""

    def delete(self, key: str) -> None:
        """Forget the object; nothing happens when there is none. What was read from it stays readable."""

    def clean(self, before: float, dry_run: bool = False) -> tuple[int, int]:
        """Remove what writers that were killed have left, unless it was written after ``before`` (seconds since 1970).

        Gives the number of files and their bytes; with ``dry_run`` nothing is removed.
        """

    def append(self, key: str, data: bytes) -> None:
        """Add to the end of an object that has one writer: a log. What was appended survives the writer's death.

        The first append makes the object. One made by :meth:`put` is never appended to.
        """

    def close(self) -> None: ...
