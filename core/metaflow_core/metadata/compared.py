"""What two runs are compared by: their tasks outside of every foreach, and the fingerprints of artifacts."""

from __future__ import annotations

from metaflow_core.metadata.database import Database


def single_tasks(db: Database, run_pk: int) -> dict[str, str]:
    """By step, the id of its latest task that is in no foreach, in the order in which the steps were reached."""
    rows = db.execute(
        "SELECT step, id FROM tasks WHERE run_pk = ? AND step NOT LIKE '!_%' ESCAPE '!'"
        " AND frames NOT LIKE '%\"foreach\"%' ORDER BY pk",
        (run_pk,),
    )
    return dict(rows)  # type: ignore[arg-type]


def fingerprints(db: Database, task_pk: int, attempt: int) -> dict[str, str]:
    """The fingerprints of an attempt's own artifacts, by name, without those that are hidden."""
    rows = db.execute(
        "SELECT a.name, c.fingerprint FROM artifacts a JOIN contents c ON c.pk = a.content_pk"
        " WHERE a.task_pk = ? AND a.attempt = ? AND a.name NOT LIKE '!_%' ESCAPE '!' ORDER BY a.name",
        (task_pk, attempt),
    )
    return dict(rows)  # type: ignore[arg-type]
