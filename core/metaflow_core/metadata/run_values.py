"""The scalars by which runs are found: see the table ``run_values``."""

from __future__ import annotations

from metaflow_core.metadata.database import Database

MAX_TEXT = 500  # characters; a longer text is no value to search by, and too long for an index


def save_run_values(db: Database, run_pk: int) -> None:
    """Note the scalars that the run has now, in the caller's transaction.

    They are its parameters and the artifacts of the last finished task outside of every split: in the end, what
    ``run.data`` has. Doing it once per run keeps the cost away from the tasks.
    """
    tasks = db.execute("SELECT pk FROM tasks WHERE run_pk = ? AND step = ?", (run_pk, "_parameters")) + db.execute(
        "SELECT pk FROM tasks WHERE run_pk = ? AND frames = '[]' AND status IN ('done', 'caught')"
        " ORDER BY pk DESC LIMIT 1",
        (run_pk,),
    )
    db.execute("DELETE FROM run_values WHERE run_pk = ?", (run_pk,))
    for task_pk in dict.fromkeys(row[0] for row in tasks):
        db.execute(
            "INSERT INTO run_values (run_pk, name, flow_pk, kind, number, text)"
            " SELECT t.run_pk, a.name, r.flow_pk, c.encoding,"
            " CASE WHEN c.encoding = 'float' THEN c.real_value WHEN c.encoding <> 'str' THEN c.int_value END,"
            " CASE WHEN c.encoding = 'str' THEN c.text_value END"
            " FROM tasks t JOIN runs r ON r.pk = t.run_pk"
            " JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt"
            " JOIN contents c ON c.pk = a.content_pk WHERE t.pk = ? AND a.name NOT LIKE '!_%' ESCAPE '!'"
            " AND (c.encoding IN ('bool', 'int', 'float') OR (c.encoding = 'str' AND length(c.text_value) <= ?))"
            " ON CONFLICT (run_pk, name) DO UPDATE"
            " SET kind = excluded.kind, number = excluded.number, text = excluded.text",
            (task_pk, MAX_TEXT),
        )
