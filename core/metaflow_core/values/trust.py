"""Whose value is being read, for ``METAFLOW_OPAQUE_ARTIFACTS=own``, which loads no code of others.

Whoever reads says how to find out, and it is found out when an opaque value is met, which is rare. Within a task
everything is of the task's run, unless the client reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# The name of another user who wrote the value, or None: then it is one's own.
Stranger = Callable[[], str | None]


def nobody() -> None:
    return None


of_this_process: Stranger = nobody  # of what is read outside of every `written_by`
_now: ContextVar[Stranger | None] = ContextVar("stranger", default=None)


@contextmanager
def written_by(stranger: Stranger) -> Iterator[None]:
    """What is read inside is the work of ``stranger()``."""
    token = _now.set(stranger)
    try:
        yield
    finally:
        _now.reset(token)


def stranger() -> str | None:
    """Who else than the user wrote what is being read."""
    return (_now.get() or of_this_process)()
