"""Texts of runs, such as their source: the table ``texts``, in which equal ones stand once."""

from __future__ import annotations

from typing import NamedTuple

from metaflow_core.metadata.database import Database


class RunTexts(NamedTuple):
    """What was recorded of what ran, as JSON; None for a run of which it is not known."""

    source: str | None
    environment: str | None


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


def texts_of(db: Database, run_pk: int) -> RunTexts:
    """The source and the environment of a run."""
    rows = db.execute(
        "SELECT s.text, e.text FROM runs r LEFT JOIN texts s ON s.pk = r.source_pk"
        " LEFT JOIN texts e ON e.pk = r.environment_pk WHERE r.pk = ?",
        (run_pk,),
    )
    return RunTexts(*rows[0])
