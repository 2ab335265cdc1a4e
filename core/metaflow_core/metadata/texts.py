"""Texts of runs, such as their source: the table ``texts``, in which equal ones stand once."""

from __future__ import annotations

from metaflow_core.metadata.database import Database


def save_text(db: Database, text: str | None) -> int | None:
    """The ``pk`` of the text, in the caller's transaction; None for none."""
    if text is None:
        return None
    import blake3

    fingerprint = blake3.blake3(text.encode("utf-8", "surrogatepass")).hexdigest()
    rows = db.execute("SELECT pk FROM texts WHERE fingerprint = ?", (fingerprint,))
    if not rows:
        db.execute(
            "INSERT INTO texts (fingerprint, text) VALUES (?, ?) ON CONFLICT (fingerprint) DO NOTHING",
            (fingerprint, text),
        )
        rows = db.execute("SELECT pk FROM texts WHERE fingerprint = ?", (fingerprint,))
    return int(rows[0][0])


def texts_of(db: Database, run_pk: int) -> tuple[str | None, str | None]:
    """The source and the environment of a run as JSON; None for what was not recorded."""
    rows = db.execute(
        "SELECT s.text, e.text FROM runs r LEFT JOIN texts s ON s.pk = r.source_pk"
        " LEFT JOIN texts e ON e.pk = r.environment_pk WHERE r.pk = ?",
        (run_pk,),
    )
    source, environment = rows[0]
    return source, environment
