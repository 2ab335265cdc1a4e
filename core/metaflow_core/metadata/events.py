"""Events that start deployed flows, as the local orchestrator keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metaflow_core.clock import now
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.repeating import repeated

_COLUMNS = "pk, name, id, type, payload, publisher, created_at"


class EventRow(NamedTuple):
    """An event that was published."""

    pk: int
    name: str
    id: str
    type: str  # "run" when it is the end of a run, else "event"
    payload: Mapping[str, Any]
    publisher: str
    created_at: int  # microseconds since 1970

    def as_json(self) -> dict[str, Any]:
        """The event as a run that it has started knows it."""
        return {"name": self.name, "id": self.id, "time": self.created_at, "type": self.type, "payload": self.payload}


@repeated
def publish(db: Database, name: str, id: str, type: str, payload: Mapping[str, Any], publisher: str) -> bool:
    """Record an event. False when there is one of this name and id already: it is the same one."""
    # Not shared: who looks for new events must never see a later one before an earlier one.
    with db.transaction():
        return bool(
            db.execute(
                "INSERT INTO events (name, id, type, payload, publisher, created_at) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (name, id) DO NOTHING RETURNING pk",
                (name, id, type, json.dumps(payload), publisher, now()),
            )
        )


def last_event(db: Database) -> int:
    """The ``pk`` of the latest event, 0 when there is none."""
    return int(db.execute("SELECT COALESCE(MAX(pk), 0) FROM events")[0][0])


def events_after(db: Database, after: int, names: Sequence[str]) -> list[EventRow]:
    """The events of these names that came after the one with this ``pk``, in order."""
    marks = ", ".join("?" * len(names))
    rows = db.execute(f"SELECT {_COLUMNS} FROM events WHERE name IN ({marks}) AND pk > ? ORDER BY pk", (*names, after))
    return [_row(row) for row in rows]


def events_with(db: Database, pks: Sequence[int]) -> list[EventRow]:
    """These events, in the order in which they came."""
    marks = ", ".join("?" * len(pks))
    return [_row(row) for row in db.execute(f"SELECT {_COLUMNS} FROM events WHERE pk IN ({marks}) ORDER BY pk", pks)]


def latest_events(db: Database, name: str | None, count: int) -> list[EventRow]:
    """The latest events, the newest first; of one name, or all."""
    where, values = ("", []) if name is None else (" WHERE name = ?", [name])
    rows = db.execute(f"SELECT {_COLUMNS} FROM events{where} ORDER BY pk DESC LIMIT ?", (*values, count))
    return [_row(row) for row in rows]


def oldest_events(db: Database, before: int, count: int) -> list[tuple[int, str]]:
    """``(pk, name)`` of the first events, as far as they came before that moment; never the latest event of all."""
    # They are numbered as they came, so no index by time is needed.
    rows = db.execute(
        "SELECT pk, name, created_at FROM events WHERE pk < (SELECT MAX(pk) FROM events) ORDER BY pk LIMIT ?", (count,)
    )
    return [(pk, name) for pk, name, at in rows if at < before]


def remove_events(db: Database, pks: Sequence[int]) -> None:
    """Remove these events, in the caller's transaction."""
    db.executemany("DELETE FROM events WHERE pk = ?", [(pk,) for pk in pks])


def _row(row: Sequence[Any]) -> EventRow:
    pk, name, id, type, payload, publisher, created_at = row
    return EventRow(pk, name, id, type, json.loads(payload), publisher, created_at)
