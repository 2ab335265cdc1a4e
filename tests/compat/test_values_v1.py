"""Artifacts that version 1 of the format wrote stay readable, and keep their fingerprints.

``python tests/compat/test_values_v1.py`` writes the fixtures that do not exist yet. One that exists is never written
again: it stands for artifacts that people have.
"""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import io
import json
import pathlib
import uuid
import zoneinfo
from pathlib import Path
from typing import Any

import pytest
from metaflow_core.values import Stored, decode, encode

FOLDER = Path(__file__).parent / "fixtures" / "v1"


def values() -> dict[str, Any]:
    """The values, by the name of their fixture."""
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


INDEX = json.loads((FOLDER / "index.json").read_text()) if (FOLDER / "index.json").exists() else {}
VALUES = values()


def stored(name: str) -> Stored:
    facts = INDEX[name]
    path = FOLDER / f"{name}.{facts['encoding']}"
    read = (lambda: memoryview(path.read_bytes())) if facts["scalar"] is None and name != "none" else None
    return Stored(
        facts["type"],
        facts["language"],
        facts["encoding"],
        facts["fingerprint"],
        facts["size"],
        facts["scalar"],
        read,
    )


def same(a: Any, b: Any) -> bool:
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        equal_nan = a.dtype.kind in "fcmM"
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=equal_nan)
    if isinstance(a, (pd.DataFrame, pd.Series)) or hasattr(a, "equals"):
        return bool(a.equals(b))
    if sp.issparse(a):
        return bool((a != b).nnz == 0)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_every_value_has_its_fixture() -> None:
    assert set(VALUES) == set(INDEX)


@pytest.mark.parametrize("name", INDEX)
def test_a_frozen_artifact_reads_as_it_was(name: str) -> None:
    assert same(decode(stored(name)), VALUES[name])


@pytest.mark.parametrize("name", INDEX)
def test_a_value_keeps_its_fingerprint(name: str) -> None:
    assert encode(VALUES[name]).fingerprint == INDEX[name]["fingerprint"]
    assert encode(decode(stored(name))).fingerprint == INDEX[name]["fingerprint"]


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    index = dict(INDEX)
    for name, value in VALUES.items():
        if name in index:
            continue
        encoded = encode(value)
        facts = ("type", "language", "encoding", "fingerprint", "key", "size", "scalar")
        index[name] = {fact: getattr(encoded, fact) for fact in facts}
        if encoded.write is not None:
            file = io.BytesIO()
            encoded.write(file)
            (FOLDER / f"{name}.{encoded.encoding}").write_bytes(file.getvalue())
    (FOLDER / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
