"""The scalars by which runs are found: see the table ``run_values``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    found: dict[str, tuple[object, ...]] = {}
    for task_pk in dict.fromkeys(row[0] for row in tasks):
        # Not one statement for all: in it, PostgreSQL would make the integers floats, and the floats shorter.
        for name, flow_pk, kind, integer, real, text in db.execute(
            "SELECT a.name, r.flow_pk, c.encoding, c.int_value, c.real_value, c.text_value"
            " FROM tasks t JOIN runs r ON r.pk = t.run_pk"
            " JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt"
            " JOIN contents c ON c.pk = a.content_pk WHERE t.pk = ? AND a.name NOT LIKE '!_%' ESCAPE '!'"
            " AND (c.encoding IN ('bool', 'int', 'float') OR (c.encoding = 'str' AND LENGTH(c.text_value) <= ?))",
            (task_pk, MAX_TEXT),
        ):
            number = real if kind == "float" else integer
            found[name] = (run_pk, name, flow_pk, kind, number, text if kind == "str" else None)
    db.executemany(
        "INSERT INTO run_values (run_pk, name, flow_pk, kind, number, text) VALUES (?, ?, ?, ?, ?, ?)", found.values()
    )


def value_exists(db: Database, flow_pk: int | None, name: str) -> bool:
    """Whether any run of the flow (None: of any flow) has a scalar of this name."""
    flows = "IN (SELECT pk FROM flows)" if flow_pk is None else "= ?"
    values = (name,) if flow_pk is None else (flow_pk, name)
    return bool(db.execute(f"SELECT 1 FROM run_values WHERE flow_pk {flows} AND name = ? LIMIT 1", values))


def value_names(db: Database, flow_pk: int) -> list[str]:
    """The names of the scalars that runs of the flow have, in the order of the alphabet; at most a thousand."""
    rows = db.execute(
        # One lookup per name: to group by name would read the values of all runs.
        "WITH RECURSIVE n (name) AS (SELECT MIN(name) FROM run_values WHERE flow_pk = ? UNION ALL"
        " SELECT (SELECT MIN(v.name) FROM run_values v WHERE v.flow_pk = ? AND v.name > n.name) FROM n"
        " WHERE n.name IS NOT NULL) SELECT name FROM n WHERE name IS NOT NULL LIMIT 1000",
        (flow_pk, flow_pk),
    )
    return [row[0] for row in rows]


def values_of(
    db: Database, run_pks: Sequence[int], names: Sequence[str] | None
) -> dict[int, dict[str, bool | int | float | str]]:
    """The scalars of these runs (at most some hundred) by the run's ``pk`` and by name; ``names`` None: all."""
    found: dict[int, dict[str, bool | int | float | str]] = {pk: {} for pk in run_pks}
    if not found or (names is not None and not names):
        return found
    where = f"run_pk IN ({', '.join('?' * len(run_pks))})"
    if names is not None:
        where += f" AND name IN ({', '.join('?' * len(names))})"
    rows = db.execute(
        f"SELECT run_pk, name, kind, number, text FROM run_values WHERE {where} ORDER BY run_pk, name",
        (*run_pks, *(names or ())),
    )
    for pk, name, kind, number, text in rows:
        found[pk][name] = _value(kind, number, text)
    return found


def _value(kind: str, number: Any, text: str) -> bool | int | float | str:
    if kind == "str":
        return text
    if kind == "float":
        return float("nan") if number is None else float(number)  # SQLite has no NaN: it stores NULL instead
    return bool(number) if kind == "bool" else int(number)
