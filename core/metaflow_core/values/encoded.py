"""The stored form of a value, and what the store must know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO


@dataclass(slots=True)
class Encoded:
    """A value ready to be stored.

    A scalar (``encoding`` is ``null bool int float str``) has no payload: it is ``scalar`` alone, and lives in a typed
    column. Everything else has a payload of ``size`` bytes which ``write`` sends to a file, once, without a second
    copy in memory. ``key`` names the stored bytes: equal keys mean equal bytes. ``fingerprint`` names the value: equal
    fingerprints mean equal values, whichever language wrote them and whatever their layout in memory.
    """

    type: str
    language: str
    encoding: str
    fingerprint: str
    key: str
    size: int
    scalar: bool | int | float | str | None = None
    write: Callable[[IO[bytes]], None] | None = None


@dataclass(slots=True)
class Stored:
    """A stored value, ready to be decoded.

    ``read`` gives the payload, memory-mapped where the store can. Where that is in the artifact store, ``read(start,
    end)`` gives a part of it.
    """

    type: str
    language: str
    encoding: str
    fingerprint: str
    size: int
    scalar: bool | int | float | str | None = None
    read: Callable[..., memoryview] | None = None
