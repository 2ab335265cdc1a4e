"""An exception as data: what is kept of a failure, and readable in every language."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetaflowExceptionWrapper:
    """A failure that ``@catch`` has stored, or that ``Task.exception`` tells of.

    ``type`` is the qualified name of the exception's class, ``exception`` its message, ``stacktrace`` the frames of the
    user's code.
    """

    type: str
    exception: str
    stacktrace: str = ""

    def __str__(self) -> str:
        return self.stacktrace or f"{self.type}: {self.exception}"
