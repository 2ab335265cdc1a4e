"""Saves encoded values and finds them again: the row in ``contents``, and the payload where it is large."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial

from metaflow_core.errors import MetaflowDataMissing
from metaflow_core.metadata.database import Database, Row
from metaflow_core.store.interface import Storage
from metaflow_core.values.encoded import Encoded, Stored

INLINE_LIMIT = 4096  # bytes; a smaller payload lives in the database, so that a small task writes no file

COLUMNS = "pk, key, fingerprint, type, language, encoding, size, int_value, real_value, text_value, payload"


def storage_key(key: str) -> str:
    """Where a large payload is in the store."""
    return f"data/{key[:2]}/{key}"


def save_payload(storage: Storage, value: Encoded) -> None:
    """Write the payload to the store when it is too large for the database. Before, and outside, any transaction."""
    if value.write is not None and value.size > INLINE_LIMIT:
        storage.put(storage_key(value.key), value.write)


def save_contents(db: Database, values: Sequence[Encoded]) -> list[int]:
    """Insert the rows that are missing, in the caller's transaction, and return the ``pk`` of each value."""
    rows = {}
    for value in values:
        payload = None
        if value.write is not None and value.size <= INLINE_LIMIT:
            buffer = io.BytesIO()
            value.write(buffer)
            payload = buffer.getvalue()
        rows[value.key] = (
            value.key,
            value.fingerprint,
            value.type,
            value.language,
            value.encoding,
            value.size,
            int(value.scalar) if value.encoding in ("bool", "int") and value.scalar is not None else None,
            value.scalar if value.encoding == "float" else None,
            # SQLite drops the sign of a zero, so its text stands beside it.
            str(value.scalar) if value.encoding == "str" or (value.encoding == "float" and value.scalar == 0) else None,
            payload,
        )
    db.executemany(
        "INSERT INTO contents (key, fingerprint, type, language, encoding, size, int_value, real_value, text_value,"
        " payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
        rows.values(),
    )
    found: dict[str, int] = {}
    keys = list(rows)
    for first in range(0, len(keys), 500):
        some = keys[first : first + 500]
        marks = ", ".join("?" * len(some))
        found.update((key, pk) for key, pk in db.execute(f"SELECT key, pk FROM contents WHERE key IN ({marks})", some))
    return [found[value.key] for value in values]


def stored(row: Row, storage: Storage) -> Stored:
    """The value behind a row of ``COLUMNS``, ready to be decoded."""
    _, key, fingerprint, type_, language, encoding, size, int_value, real_value, text_value, payload = row
    value = Stored(type_, language, encoding, fingerprint, size)
    if encoding == "bool":
        value.scalar = bool(int_value)
    elif encoding == "int":
        value.scalar = int_value
    elif encoding == "float":
        # SQLite has no NaN: it stores NULL instead.
        value.scalar = float("nan") if real_value is None else real_value if text_value is None else float(text_value)
    elif encoding == "str":
        value.scalar = text_value
    elif encoding != "null":
        value.read = (lambda: memoryview(payload)) if payload is not None else partial(storage.read, storage_key(key))
    return value


def content(db: Database, pk: int) -> Row:
    """The row of ``COLUMNS`` with this ``pk``."""
    rows = db.execute(f"SELECT {COLUMNS} FROM contents WHERE pk = ?", (pk,))
    if not rows:
        raise MetaflowDataMissing(f"The stored value {pk} is missing from the metadata database {db.url}.")
    return rows[0]
