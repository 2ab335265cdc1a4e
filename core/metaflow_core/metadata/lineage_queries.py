"""Finds which artifacts were read across runs."""

from __future__ import annotations

from typing import NamedTuple

from metaflow_core.metadata.database import Database


class StoredRead(NamedTuple):
    """A row of ``artifact_reads``, with the address of the task that read."""

    source: str
    at: int
    flow: str
    run: str
    step: str
    task: str


def reads_by(db: Database, run_pk: int) -> list[StoredRead]:
    """What the tasks of the run have read, in the order of reading."""
    return _reads(db, "a.reader_run_pk", run_pk)


def reads_of(db: Database, run_pk: int) -> list[StoredRead]:
    """What tasks of other runs have read of this run, in the order of reading."""
    return _reads(db, "a.source_run_pk", run_pk)


def _reads(db: Database, column: str, run_pk: int) -> list[StoredRead]:
    rows = db.execute(
        "SELECT a.source, a.at, f.name, r.id, t.step, t.id FROM artifact_reads a JOIN tasks t ON t.pk = a.reader_pk"
        " JOIN runs r ON r.pk = a.reader_run_pk JOIN flows f ON f.pk = r.flow_pk"
        f" WHERE {column} = ? ORDER BY a.at, a.source, t.pk",
        (run_pk,),
    )
    return [StoredRead(*row) for row in rows]
