"""Transactions of work that can wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from metaflow_core.metadata.database import Database

MOST = 0.05  # seconds that one such transaction should take


@contextmanager
def in_turns(db: Database) -> Iterator[float]:
    """A transaction, and afterwards a pause as long as it took, so that running flows get at least half of the time.

    Gives the moment, by ``time.monotonic()``, at which it should end.
    """
    began = time.monotonic()
    with db.transaction():
        yield time.monotonic() + MOST
    time.sleep(min(1.0, time.monotonic() - began))


@contextmanager
def durable(db: Database) -> Iterator[None]:
    """Commits wait for the disk, so that a power cut does not bring rows back whose files are gone."""
    if db.dialect != "sqlite":  # others always wait
        yield
        return
    db.execute("PRAGMA synchronous=FULL")
    try:
        yield
    finally:
        db.execute("PRAGMA synchronous=NORMAL")
