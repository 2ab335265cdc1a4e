"""Whether what the database says of a project's runs is true: for tests that kill, cut and fill disks."""

from __future__ import annotations

from metaflow_core.metadata.backend import open_backend


def problems(metadata_url: str | None = None, storage_url: str | None = None) -> list[str]:
    """What is half-visible in the database and the store of the settings, in words; empty when all is whole.

    Every value to which something refers can be read in its full length; a finished task has an attempt that is
    finished, with a transition unless it is the last one; a run that is complete has no task that is not.
    """
    backend = open_backend(metadata_url, storage_url)
    found: list[str] = []
    try:
        ask = backend.db.execute
        for pk, key, encoding, size, payload in ask(
            "SELECT pk, key, encoding, size, payload FROM contents WHERE pk IN (SELECT content_pk FROM artifacts)"
            " OR pk IN (SELECT content_pk FROM split_items)"
        ):
            if encoding in ("null", "bool", "int", "float", "str"):
                continue
            try:
                data = payload if payload is not None else backend.storage.read(f"data/{key[:2]}/{key}")
            except Exception as error:
                found.append(f"content {pk} can't be read: {error}")
                continue
            if encoding in ("json", "arrow", "opaque") and len(data) != size:  # a code package is compressed
                found.append(f"content {pk} has {len(data)} bytes of {size}")
        tasks = "FROM tasks t JOIN runs r ON r.pk = t.run_pk JOIN flows f ON f.pk = r.flow_pk"
        named = "f.name || '/' || r.id || '/' || t.step || '/' || t.id"
        for (name,) in ask(
            f"SELECT {named} {tasks} LEFT JOIN attempts a ON a.task_pk = t.pk AND a.attempt = t.attempt"
            " WHERE t.status IN ('done', 'caught') AND t.step NOT IN ('_parameters', 'end')"
            " AND (a.transition IS NULL OR a.status <> t.status OR a.finished_at IS NULL OR t.finished_at IS NULL)"
        ):
            found.append(f"{name} is finished and yet it is not known where it leads")
        for (name,) in ask(
            f"SELECT {named} {tasks} WHERE r.status = 'completed' AND t.status NOT IN ('done', 'caught')"
        ):
            found.append(f"{name} is not finished in a run that is")
        for (name,) in ask(
            "SELECT f.name || '/' || r.id FROM runs r JOIN flows f ON f.pk = r.flow_pk WHERE r.status = 'completed'"
            " AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.run_pk = r.pk AND t.step = 'end' AND t.status = 'done')"
        ):
            found.append(f"{name} is complete without its end")
        for (name,) in ask(
            f"SELECT {named} {tasks} JOIN artifacts x ON x.task_pk = t.pk"
            " LEFT JOIN attempts a ON a.task_pk = t.pk AND a.attempt = x.attempt WHERE x.attempt >= 0"
            " AND t.step <> '_parameters' AND (a.status IS NULL OR a.status = 'running')"
        ):
            found.append(f"{name} shows artifacts of an attempt that has not ended")
    finally:
        backend.close()
    return found
