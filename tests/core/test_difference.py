"""How two stored values differ: every sort of value, bounded memory, and nothing executed."""

from __future__ import annotations

import datetime
import enum
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from metaflow_core.values import Stored, encode
from metaflow_core.values.compare_arrays import compare
from metaflow_core.values.difference import difference


def stored(value: Any) -> Stored:
    encoded = encode(value)
    file = io.BytesIO()
    if encoded.write is not None:
        encoded.write(file)
    read = (lambda: memoryview(file.getvalue())) if encoded.write is not None else None
    return Stored(
        encoded.type, encoded.language, encoded.encoding, encoded.fingerprint, encoded.size, encoded.scalar, read
    )


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Model:
    """Opaque; loading it leaves a trace."""

    def __init__(self, trace: Path, number: int) -> None:
        self.trace, self.number = trace, number

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


TABLE = pd.DataFrame({"id": range(1000), "x": np.arange(1000.0), "c": pd.Categorical(["u", "v"] * 500), "t": "x"})
MOVED = TABLE.assign(x=TABLE.x + np.where(TABLE.id < 10, 2.0, 0.0))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (1, 3, {"kind": "number", "difference": 2, "old": "1", "new": "3"}),
        (0.1, 0.3, {"kind": "number", "difference": 0.2, "old": "0.1", "new": "0.3"}),
        (1, 2.5, {"kind": "number", "difference": 1.5}),
        (np.float32(1), np.float32(2), {"kind": "number", "difference": 1.0}),
        (float("nan"), 1.0, {"kind": "number", "difference": None, "old": "nan", "new": "1.0"}),
        (float("inf"), 1.0, {"kind": "number", "difference": None}),
        (10**30, 10**30 + 1, {"kind": "number", "difference": 1}),
        (1.0000000001, 1.0000000002, {"old": "1.0000000001", "new": "1.0000000002"}),
        (True, False, {"kind": "value", "old": "True", "new": "False"}),
        (None, 5, {"kind": "value", "old": "None", "new": "5"}),
        ("abc", "abd", {"kind": "text", "length": [3, 3], "old": '"abc"', "new": '"abd"'}),
        ("a\nb\n" * 3000, "a\nc\n" * 3000, {"kind": "text", "lines_added": 3000, "lines_removed": 3000}),
        (b"abc", b"abd", {"kind": "value", "old": "b'abc'", "new": "b'abd'"}),
        (Colour.RED, Colour.BLUE, {"kind": "value", "old": "Colour.RED", "new": "Colour.BLUE"}),
        (datetime.date(2026, 1, 31), datetime.date(2026, 2, 1), {"old": "2026-01-31", "new": "2026-02-01"}),
        ([1, 2, 3], [1, 2, 5], {"kind": "array", "compared": 3, "changed": 1, "max_difference": 2.0}),
        (list(range(100)), list(range(1, 110)), {"shape": [[100], [109]], "compared": 100, "changed": 100}),
        ((1, 2), (1, 3), {"old": "(1, 2)", "new": "(1, 3)"}),
        ([1, "a"], [1, "b", 3], {"kind": "items", "length": [2, 3], "added": ["[2]"]}),
        ({1, 2}, {2, 3}, {"kind": "items", "added": ["3"], "removed": ["1"]}),
        (np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3) + 1, {"changed": 6, "mean_difference": 1.0}),
        (np.ones((2, 3)), np.ones((3, 3)), {"kind": "array", "shape": [[2, 3], [3, 3]]}),
        (np.array([True, False]), np.array([True, True]), {"dtype": ["bool", "bool"], "changed": 1}),
        (np.array([1 + 2j]), np.array([1 + 3j]), {"dtype": ["complex128", "complex128"], "changed": 1}),
        (np.array([1, 2]), np.array([1.0, 2.5]), {"dtype": ["int64", "float64"], "changed": 1, "max_difference": 0.5}),
        (np.array(["a", "b"]), np.array(["a", "c"]), {"kind": "array", "changed": 1}),
        (np.array([1.0, np.nan]), np.array([2.0, np.nan]), {"changed": 1, "max_difference": 1.0}),
        (pd.Series([1.0, 2.0]), pd.Series([1.0, 3.0]), {"kind": "array", "changed": 1, "max_difference": 1.0}),
        (TABLE, 5, {"kind": "value"}),
        (
            TABLE,
            MOVED,
            {"columns": {"x": {"compared": 1000, "changed": 10, "mean_difference": 0.02, "max_difference": 2.0}}},
        ),
        (
            TABLE,
            pd.concat([TABLE, TABLE[:5]], ignore_index=True).assign(n=1).drop(columns="t"),
            {"rows": [1000, 1005], "columns_added": ["n"], "columns_removed": ["t"], "columns": {}},
        ),
        (
            TABLE,
            TABLE.assign(x="1"),
            {"columns": {"x": {"type": ["float64", "string"], "compared": 1000, "changed": 1000}}},
        ),
        (TABLE, TABLE[["x", "id", "c", "t"]], {"columns": {}, "columns_reordered": True}),
        (TABLE, TABLE.set_axis(TABLE.index + 1), {"columns": {}, "row_names_changed": True}),
        (
            TABLE,
            TABLE.assign(c=pd.Categorical(["v", "v"] * 500, ["u", "v"])),
            {"columns": {"c": {"compared": 1000, "changed": 500}}},
        ),
        (
            pd.DataFrame({"a": pd.array([1, None], "Int64")}),
            pd.DataFrame({"a": pd.array([None, None], "Int64")}),
            {"columns": {"a": {"compared": 2, "changed": 1}}},
        ),
        (
            pd.DataFrame(np.zeros((2, 2)), columns=["a", "a"]),
            pd.DataFrame([[0.0, 1.0], [0.0, 1.0]], columns=["a", "a"]),
            {"columns": {"a#2": {"compared": 2, "changed": 2, "mean_difference": 1.0, "max_difference": 1.0}}},
        ),
        (
            pd.DataFrame({"o": [[1], {"a": 1}]}),
            pd.DataFrame({"o": [[1], {"a": 2}]}),
            {"columns": {"o": {"compared": 2, "changed": 1}}},
        ),
        (pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [1, 4]}), {"kind": "table", "rows": [2, 2]}),
        (pa.table({"l": [[1], [2]]}), pa.table({"l": [[1], [3]]}), {"columns": {"l": {"compared": 2, "changed": 1}}}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_differ_so(old: Any, new: Any, expected: dict[str, Any]) -> None:
    found = difference(stored(old), stored(new))
    assert {name: found[name] for name in expected} == expected


def test_what_has_parts_is_told_part_by_part() -> None:
    old = {"rmse": 0.5, "parameters": {"depth": 3, "eta": 1}, "table": TABLE, "same": [1, "a"]}
    new = {"rmse": 0.4, "parameters": {"depth": 4, "rate": 1}, "table": MOVED, "same": [1, "a"]}
    found = difference(stored(old), stored(new))
    assert (found["added"], found["removed"], found["more"]) == (["parameters.rate"], ["parameters.eta"], 0)
    changed = {one["path"]: one["difference"] for one in found["changed"]}
    assert list(changed) == ["rmse", "parameters.depth", "table"]
    assert changed["rmse"]["difference"] == -0.1
    assert changed["table"]["columns"]["x"]["changed"] == 10
    many = difference(stored([{"a": 0}] * 500), stored([{"a": i} for i in range(1, 501)]))
    assert (len(many["changed"]), many["more"]) == (100, 400)
    assert many["changed"][0]["path"] == "[0].a"


def test_arrays_in_another_order_are_compared_by_place() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    other = array.copy()
    other[1, 2, 3] += 7
    found = difference(stored(array), stored(np.asfortranarray(other)))
    assert (found["changed"], found["max_difference"]) == (1, 7.0)


def test_opaque_values_are_never_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "loaded"
    models = [Model(trace, 1), Model(tmp_path / "other", 1)]
    assert difference(*map(stored, models))["kind"] == "opaque"
    nested = difference(*(stored({"model": model, "n": 1}) for model in models))
    assert nested["changed"] == [{"path": "model", "difference": {"kind": "opaque", "summary": None}}]
    assert difference(*(stored(pd.DataFrame({"m": [model]})) for model in models))["kind"] == "table"
    assert difference(stored(models[0]), stored(5))["kind"] == "value"
    assert list(tmp_path.iterdir()) == []


def test_large_values_are_looked_into_when_asked_and_damaged_ones_are_said_to_be() -> None:
    old, new = stored(np.zeros(2000)), stored(np.ones(2000))
    assert difference(old, new, limit=1000) == {"kind": "large", "limit": 1000}
    assert difference(old, new, limit=None)["changed"] == 2000
    new.read = lambda: memoryview(b"nothing")
    assert "damaged" in difference(old, new)["reason"]


def test_comparing_takes_little_memory() -> None:
    old = pa.chunked_array([pa.array(np.zeros(1_000_000)), pa.array(np.zeros(1_500_000))])  # 20 MB
    new = pa.array(np.full(2_500_000, 2.0))
    pool = pa.default_memory_pool()
    before, top = pool.bytes_allocated(), pool.max_memory()
    counted = compare(old, new)
    assert (counted.changed, counted.mean_difference, counted.max_difference) == (2_500_000, 2.0, 2.0)
    assert pool.max_memory() <= max(top, before + (8 << 20))
