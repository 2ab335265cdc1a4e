"""What two runs are compared by: the fingerprints of artifacts, of tasks outside of every foreach, and inside."""

from __future__ import annotations

import json

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


def foreach_fingerprints(db: Database, run_pk: int, step: str) -> dict[tuple[int, ...], tuple[str, dict[str, str]]]:
    """The tasks of a step inside of a foreach, by their places in it, outermost first: id, and fingerprints by name."""
    rows = db.execute(
        "SELECT t.id, t.frames, a.name, c.fingerprint FROM tasks t"
        " LEFT JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt AND a.name NOT LIKE '!_%' ESCAPE '!'"
        " LEFT JOIN contents c ON c.pk = a.content_pk"
        " WHERE t.run_pk = ? AND t.step = ? AND t.frames LIKE '%\"foreach\"%' ORDER BY t.pk, a.name",
        (run_pk, step),
    )
    found: dict[tuple[int, ...], tuple[str, dict[str, str]]] = {}
    task, places = "", ()
    for id, frames, name, fingerprint in rows:
        if id != task:
            task, places = id, tuple(frame[2] for frame in json.loads(frames) if frame[1] == "foreach")
            found[places] = id, {}  # of several, as in a loop, the latest
        if name is not None:
            found[places][1][name] = fingerprint
    return found
