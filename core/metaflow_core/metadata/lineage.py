"""Which artifacts of other runs a task has read through the client: the table ``artifact_reads``.

A task notes in memory what it reads, and writes it in the transaction of its result, so that reading costs no
statement, and a task that reads nothing has no cost at all.
"""

from __future__ import annotations

from collections.abc import Iterable

from metaflow_core.clock import now
from metaflow_core.metadata.database import Database

# The pathspec of an artifact of another run that this task has read, the `pk` of that run, and when it was first read.
Noted = tuple[str, int, int]


class _Reader:
    def __init__(self, metadata_url: str, run_pk: int) -> None:
        self.metadata_url = metadata_url
        self.run_pk = run_pk
        self.noted: dict[str, Noted] = {}


_reader: _Reader | None = None


def start_noting(metadata_url: str, run_pk: int) -> None:
    """From now on this process is a task of this run, and notes what it reads of others in the same database."""
    global _reader
    _reader = _Reader(metadata_url, run_pk)


def note(metadata_url: str, run_pk: int, artifact: str) -> None:
    """The artifact with this pathspec, of the run with this ``pk``, was read. From any thread."""
    reader = _reader
    if reader is not None and run_pk != reader.run_pk and metadata_url == reader.metadata_url:
        reader.noted.setdefault(artifact, (artifact, run_pk, now()))


def noted() -> list[Noted]:
    """What this task has read so far."""
    return [] if _reader is None else list(_reader.noted.values())


def save_reads(db: Database, task_pk: int, reads: Iterable[Noted]) -> None:
    """Write what a task has read, in the caller's transaction. Of several attempts the first time counts."""
    run_pk = db.execute("SELECT run_pk FROM tasks WHERE pk = ?", (task_pk,))[0][0]
    db.executemany(
        "INSERT INTO artifact_reads (reader_pk, source, reader_run_pk, source_run_pk, at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (reader_pk, source) DO NOTHING",
        [(task_pk, source, run_pk, source_run_pk, at) for source, source_run_pk, at in reads],
    )
