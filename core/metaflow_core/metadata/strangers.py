"""Whether a run is all the user's own work."""

from __future__ import annotations

from metaflow_core import identity
from metaflow_core.metadata.database import Database, Row


def stranger(db: Database, pk: int) -> str | None:
    """Who else than the user has a part in a run: its owner, or that of a run from which it took tasks over.

    None when all of it is the user's own. A run that is gone counts as another's.
    """
    me = identity.user()
    row: Row | None = db.execute("SELECT flow_pk, owner, origin_run_id FROM runs WHERE pk = ?", (pk,))[0]
    while row is not None:
        flow_pk, owner, origin = row
        if owner != me:
            return str(owner)
        if origin is None:
            return None
        rows = db.execute(
            "SELECT flow_pk, owner, origin_run_id FROM runs WHERE flow_pk = ? AND id = ?", (flow_pk, origin)
        )
        row = rows[0] if rows else None
    return "an unknown user, whose run was removed"
