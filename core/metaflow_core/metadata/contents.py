"""Saves encoded values and finds them again: the row in ``contents``, and the payload where it is large."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from metaflow_core.errors import MetaflowDataMissing
from metaflow_core.metadata.database import Database, Row
from metaflow_core.store.interface import Storage
from metaflow_core.values.encoded import Encoded, Stored

INLINE_LIMIT = 4096  # bytes; a smaller payload lives in the database, so that a small task writes no file

# Garbage collection spares a payload that nothing refers to for longer than an hour. One that was written so many
# seconds ago, or less, is therefore still there.
SURE_SECONDS = 900.0

COLUMNS = "pk, key, fingerprint, type, language, encoding, size, int_value, real_value, text_value, payload"


def storage_key(key: str) -> str:
    """Where a large payload is in the store."""
    return f"data/{key[:2]}/{key}"


@contextmanager
def saved_payloads(db: Database, storage: Storage, values: Iterable[Encoded | int]) -> Iterator[None]:
    """A transaction in which the payloads that are too large for the database are in the store; see docs/retention.md.

    They are written before it. One that was found in the store is looked for again inside, and written again when
    garbage collection has removed it meanwhile: that happens in a transaction too, so never during this one.
    """
    large = [value for value in values if not isinstance(value, int) and value.write and value.size > INLINE_LIMIT]
    while True:
        began = time.time()
        objects = [(storage_key(value.key), value.write) for value in large if value.write]
        written = storage.put_all(objects) if objects else []
        doubtful = [
            value
            for value, when in zip(large, written, strict=True)
            if when is not None and abs(began - when) > SURE_SECONDS
        ]
        with db.transaction(shared=True):
            if abs(time.time() - began) > SURE_SECONDS:
                doubtful = large
            if all(storage.exists(storage_key(value.key)) for value in doubtful):
                yield
                return


def save_contents(db: Database, values: Sequence[Encoded]) -> list[int]:
    """Insert the rows that are missing, in the caller's transaction, and return the ``pk`` of each value."""
    by_key = {value.key: value for value in values}
    keys = sorted(by_key)  # in one order, so that two tasks with the same new values do not wait for each other
    found: dict[str, int] = {}
    for first in range(0, len(keys), 500):  # a foreach can have very many elements, and each payload is a copy
        some = keys[first : first + 500]
        db.executemany(
            "INSERT INTO contents (key, fingerprint, type, language, encoding, size, int_value, real_value, text_value,"
            " payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            [_row(by_key[key]) for key in some],
        )
        marks = ", ".join("?" * len(some))
        found.update((key, pk) for key, pk in db.execute(f"SELECT key, pk FROM contents WHERE key IN ({marks})", some))
    return [found[value.key] for value in values]


def _row(value: Encoded) -> tuple[object, ...]:
    payload = None
    if value.write is not None and value.size <= INLINE_LIMIT:
        buffer = io.BytesIO()
        value.write(buffer)
        payload = buffer.getvalue()
    return (
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
        value.read = (lambda: memoryview(payload)) if payload is not None else partial(_read, storage, key, size)
    return value


def _read(storage: Storage, key: str, size: int, start: int = 0, end: int | None = None) -> memoryview:
    """A payload of ``size`` bytes, or a part of it. What came with another length is asked for once more.

    Something on the way may cut an answer and make its length fit: no storage plugin can notice that.
    """
    expected = len(range(size)[start:end])
    for _ in range(2):
        found = storage.read(storage_key(key), start, end)
        if len(found) == expected:
            break
        storage.distrust(storage_key(key))
    return found


def in_store(row: Row, most: float = float("inf")) -> str | None:
    """Where in the store the payload of a row of ``COLUMNS`` is; None: not there, or larger than ``most`` bytes."""
    _, key, _, _, _, encoding, size, *_, payload = row
    if payload is not None or encoding in ("null", "bool", "int", "float", "str") or size > most:
        return None
    return storage_key(key)


def content(db: Database, pk: int) -> Row:
    """The row of ``COLUMNS`` with this ``pk``."""
    rows = db.execute(f"SELECT {COLUMNS} FROM contents WHERE pk = ?", (pk,))
    if not rows:
        raise MetaflowDataMissing(f"The stored value {pk} is missing from the metadata database {db.url}.")
    return rows[0]
