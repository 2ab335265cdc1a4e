"""What a storage plugin provides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Protocol


class Storage(Protocol):
    """Bytes under keys such as ``data/ab/abcd...`` or ``logs/Flow/1/start/1.0.log``.

    Keys are relative POSIX paths made of checked names. An object is written once and whole: a reader sees either
    nothing or all of it, also when the writer is killed. Every method raises ``StorageError`` with a message in the
    user's terms when the store is unreachable, read-only or full.
    """

    url: str

    def put(self, key: str, write: Callable[[IO[bytes]], None]) -> None:
        """Store what ``write`` sends, unless the key exists already."""

    def read(self, key: str) -> memoryview:
        """The object's bytes, memory-mapped where possible. ``MetaflowDataMissing`` when there is none."""

    def exists(self, key: str) -> bool: ...

    def size(self, key: str) -> int: ...

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that start with ``prefix`` (whole path components), sorted."""

    def delete(self, key: str) -> None:
        """Forget the object; nothing happens when there is none."""

    def append(self, key: str, data: bytes) -> None:
        """Add to the end of an object that has one writer: a log. What was appended survives the writer's death."""

    def close(self) -> None: ...
