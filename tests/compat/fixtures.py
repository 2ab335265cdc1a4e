"""The frozen artifacts of version 1 of the format: which there are, reading and writing them."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import io
import json
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from metaflow_core.values import Encoded, Stored
from table import R, Row

FOLDER = Path(__file__).parent / "fixtures" / "v1"
INDEX: dict[str, dict[str, Any]] = {}
if (FOLDER / "index.json").exists():
    INDEX.update(json.loads((FOLDER / "index.json").read_text()))
_FACTS = ("type", "language", "encoding", "fingerprint", "key", "size", "scalar")


def stored(encoded: Encoded) -> Stored:
    """What a store gives back of a value."""
    out = Stored(encoded.type, encoded.language, encoded.encoding, encoded.fingerprint, encoded.size, encoded.scalar)
    if encoded.write is not None:
        buffer = io.BytesIO()
        encoded.write(buffer)
        out.read = lambda: memoryview(buffer.getvalue())
    return out


def frozen(name: str) -> Stored:
    """An artifact that was written long ago."""
    facts = INDEX[name]
    path = FOLDER / f"{name}.{facts['encoding']}"
    scalar = facts["scalar"]
    if facts["encoding"] == "float" and isinstance(scalar, str):
        scalar = float(scalar)
    out = Stored(facts["type"], facts["language"], facts["encoding"], facts["fingerprint"], facts["size"], scalar)
    if path.exists():
        out.read = lambda: memoryview(path.read_bytes())
    return out


def write(name: str, encode: Callable[[], Encoded], source: str = "") -> None:
    """Freeze a value, unless it is frozen already. ``source`` is the expression in R that made it."""
    if name in INDEX:
        return
    encoded = encode()
    INDEX[name] = {fact: getattr(encoded, fact) for fact in _FACTS}
    if isinstance(encoded.scalar, float) and encoded.scalar != encoded.scalar:
        INDEX[name]["scalar"] = "nan"
    if source:
        INDEX[name]["source"] = source
    if encoded.write is not None:
        file = io.BytesIO()
        encoded.write(file)
        (FOLDER / f"{name}.{encoded.encoding}").write_bytes(file.getvalue())


def save_index() -> None:
    (FOLDER / "index.json").write_text(json.dumps(INDEX, indent=1) + "\n")


def r_name(row: Row) -> str:
    """The name of the fixture of an expression in R."""
    return "r_" + re.sub(r"\W+", "_", row.source)[:48].strip("_").lower()


def r_rows() -> dict[str, Row]:
    """The rows of the table that R has frozen, by the name of their fixture."""
    return {r_name(row): row for row in R if row.frozen}


@cache
def python_values() -> dict[str, Any]:
    """The values that Python has frozen, by the name of their fixture."""
    import numpy as np
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import scipy.sparse as sp

    grid = np.arange(6.0).reshape(2, 3)
    return {
        "none": None,
        "true": True,
        "int": -5,
        "bigint": 10**30,
        "float": 0.1,
        "text": "naïve",
        "long_text": "naïve " * 1000,
        "bytes": b"\0\xff",
        "complex": 1 - 2j,
        "nest": {"a": [1, 2.5, None, {"b": (1, {2})}], "$": frozenset({"x"}), "empty": {}},
        "keys": {1: "int", (1, 2): "tuple", None: "none"},
        "ints": list(range(3000)),
        "floats": [0.5, None, float("inf")] * 1000,
        "texts": ["a", None, "é"] * 1000,
        "datetime": dt.datetime(2024, 10, 27, 2, 30, 1, 5, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"), fold=1),
        "date": dt.date(2024, 2, 29),
        "time": dt.time(1, 2, 3, 4),
        "timedelta": dt.timedelta(days=-1, microseconds=1),
        "decimal": decimal.Decimal("1.10"),
        "uuid": uuid.UUID(int=7),
        "path": pathlib.PurePosixPath("a/b"),
        "range": range(1, 10, 2),
        "ordered": collections.OrderedDict(b=1, a=2),
        "counter": collections.Counter("abca"),
        "default": collections.defaultdict(list, a=[1]),
        "deque": collections.deque([1, 2], maxlen=3),
        "numpy_float": np.float64(0.25),
        "numpy_date": np.datetime64("2020-01-01"),
        "array": grid,
        "fortran": np.asfortranarray(grid),
        "bools": np.array([True, False]),
        "complexes": np.array([1j, 2]),
        "dates": np.array(["2020-01-01", "NaT"], "M8[ns]"),
        "strings": np.array(["a", "é"]),
        "records": np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        "objects": np.array([None, "a", 1], dtype=object),
        "frame": pd.DataFrame(
            {
                "i": [1, 2],
                "f": [1.5, np.nan],
                "s": ["a", None],
                "b": [True, False],
                "c": pd.Categorical(["x", None], ordered=True),
                "t": pd.to_datetime(["2020-01-01", None]).tz_localize("Europe/Paris"),
                "n": pd.array([1, None], dtype="Int64"),
                "o": np.array([1, "a"], dtype=object),
            }
        ),
        "indexed": pd.DataFrame({"x": [1, 2]}, index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["p", "q"])),
        "series": pd.Series([1.0, 2.0], name="s", index=pd.date_range("2020", periods=2, freq="D")),
        "table": pa.table({"x": [1, None], "l": [[1], [2, 3]], "d": pa.array(["u", "v"]).dictionary_encode()}),
        "polars": pl.DataFrame({"x": [1, None], "s": ["a", "b"]}),
        "sparse": sp.csr_matrix(np.eye(3)),
        "mixed": {"frame": pd.DataFrame({"x": [1, 2]}), "weights": [grid, "a"], "name": "m"},
    }
