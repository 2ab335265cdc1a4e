"""Columns of a stored table, without the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from metaflow_core.errors import MetaflowNotFound, UnreadableArtifact
from metaflow_core.values import decode, encode
from metaflow_core.values.encoded import Stored

ROWS = 100_000
FRAME = pd.DataFrame(
    {
        "number": np.arange(ROWS),
        "text": [f"text {i % 50}" for i in range(ROWS)],
        "kind": pd.Categorical([["a", "b", "c"][i % 3] for i in range(ROWS)]),
        "when": pd.date_range("2026-01-01", periods=ROWS, freq="min", tz="Europe/Zurich"),
        "wide": np.random.default_rng(1).random(ROWS),
    }
)


def stored(value: Any) -> tuple[Stored, list[int]]:
    """A value as a store has it, and how many bytes are read of it from now on."""
    import io

    encoded = encode(value)
    file = io.BytesIO()
    assert encoded.write is not None
    encoded.write(file)
    data, reads = file.getvalue(), []

    def read(start: int = 0, end: int | None = None) -> memoryview:
        part = bytearray(data[start:end])
        reads.append(len(part))
        return memoryview(part)

    return Stored(encoded.type, encoded.language, encoded.encoding, encoded.fingerprint, encoded.size, read=read), reads


@pytest.mark.parametrize("columns", [["number"], ["when", "text"], ["kind"], list(FRAME)])
@pytest.mark.parametrize("index", [None, "text", "number"])
def test_columns_of_a_frame(columns: list[str], index: str | None) -> None:
    frame = FRAME if index is None else FRAME.assign(key=FRAME[index]).set_index("key")
    one, _ = stored(frame)
    pd.testing.assert_frame_equal(decode(one, columns=columns), frame[columns])


def test_the_others_are_not_read() -> None:
    one, reads = stored(FRAME)
    decode(one, columns=["number"])
    assert sum(reads) < 8 * ROWS + 200_000 < one.size / 2
    assert len(reads) <= 4


def test_columns_of_an_arrow_table_and_of_small_frames() -> None:
    table = pa.table({"a": np.arange(300_000), "b": np.arange(300_000.0)})
    one, reads = stored(table)
    assert decode(one, columns=["b"]).equals(table.select(["b"]))
    assert sum(reads) < one.size * 0.7
    small, _ = stored(FRAME.head(200))
    pd.testing.assert_frame_equal(decode(small, columns=["wide"]), FRAME.head(200)[["wide"]])


def test_what_can_not_be_had() -> None:
    one, _ = stored(FRAME)
    with pytest.raises(MetaflowNotFound, match=r"no column 'numbre'\. Did you mean 'number'"):
        decode(one, columns=["numbre"])
    for value in (np.arange(1_000_000), list(range(1000)), FRAME.rename(columns={"number": 5})):
        other, _ = stored(value)
        with pytest.raises(UnreadableArtifact, match="not a table with named columns"):
            decode(other, columns=["number"])
