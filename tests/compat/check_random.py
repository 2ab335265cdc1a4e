"""Random values of Python through R and back: each comes back as it was, or something was told. Prints what failed."""

from __future__ import annotations

import datetime as dt
import sys
import warnings
from typing import Any

import fixtures
import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metaflow_core.values import decode, encode
from metaflow_r import session
from same import same

session.start()

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=5)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.integers(-5, 5),
    st.floats(),
    TEXT,
    st.binary(max_size=4),
    st.complex_numbers(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.just(dt.timezone.utc)),
    st.timedeltas(),
)
WHOLE = st.lists(st.one_of(st.none(), st.integers(-(2**66), 2**66)), max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda part: st.one_of(
        st.lists(part, max_size=4), st.dictionaries(TEXT.filter(bool), part, max_size=4), WHOLE, st.lists(st.dates())
    ),
    max_leaves=10,
)


def through_r(value: Any) -> tuple[Any, bool]:
    """What comes back from R, and whether something was told."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        in_r = decode(fixtures.stored(encode(value)), language="r")
        return decode(fixtures.stored(encode(in_r, language="r"))), bool(told)


def in_convention(value: Any) -> Any:
    """R has no integers beyond 64 bits, whose values are doubles, and a list of one scalar is the scalar."""
    if type(value) is int:
        return value if abs(value) < 2**63 else float(value)
    if isinstance(value, dict):
        return {key: in_convention(part) for key, part in value.items()}
    if not isinstance(value, list):
        return value
    if all(part is None or type(part) is int for part in value) and any(abs(part or 0) >= 2**63 for part in value):
        value = [None if part is None else float(part) for part in value]
    parts = [in_convention(part) for part in value]
    is_vector = len(parts) == 1 and isinstance(parts[0], (bool, int, float, str, dt.date, dt.time, dt.timedelta))
    return parts[0] if is_vector else parts


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(VALUES)
def check_values(value: Any) -> None:
    back, told = through_r(value)
    assert told or same(in_convention(back), in_convention(value)), (value, back)


def _columns(rows: int) -> st.SearchStrategy[Any]:
    def some(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
        return st.lists(st.one_of(st.none(), items), min_size=rows, max_size=rows)

    def all_of(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
        return st.lists(items, min_size=rows, max_size=rows)

    def objects(items: list[Any]) -> Any:
        return np.array([*items, None], object)[:-1]

    long, short = st.integers(-(2**63), 2**63 - 1), st.integers(-5, 5)
    moments = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
    return st.one_of(
        all_of(long).map(lambda v: np.array(v, "i8")),
        all_of(short).map(lambda v: np.array(v, "i2")),
        all_of(st.integers(0, 2**64 - 1)).map(lambda v: np.array(v, "u8")),
        all_of(st.floats()).map(lambda v: np.array(v, "f8")),
        all_of(st.floats(width=32)).map(lambda v: np.array(v, "f4")),
        all_of(st.booleans()).map(lambda v: np.array(v, bool)),
        some(long).map(lambda v: pd.array(v, "Int64")),
        some(st.booleans()).map(lambda v: pd.array(v, "boolean")),
        some(TEXT).map(lambda v: pd.array(v, "str")),
        some(st.floats(allow_nan=False)).map(lambda v: pd.array(v, "Float64")),
        some(moments).map(lambda v: pd.Series(v, dtype="datetime64[us, UTC]").array),
        some(moments).map(lambda v: pd.Series(v, dtype="datetime64[ns, UTC]").array),
        some(st.timedeltas(dt.timedelta(-1000), dt.timedelta(1000))).map(
            lambda v: pd.Series(v, dtype="timedelta64[us]").array
        ),
        some(st.sampled_from("abc")).map(pd.Categorical),
        some(st.one_of(short, TEXT, st.booleans())).map(objects),
        some(st.dates()).map(objects),
        some(st.lists(short, max_size=3)).map(objects),
    )


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows, count = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    labels = st.lists(TEXT.filter(bool), min_size=rows, max_size=rows)
    index = range(rows) if draw(st.booleans()) else draw(labels)
    return pd.DataFrame({f"c{i}": draw(_columns(rows)) for i in range(count)}, index=index)


def cells(column: Any) -> list[Any]:
    """The cells of a column, None for what is missing."""
    found = []
    for cell in column.tolist():
        missing = cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and cell != cell)
        found.append(None if missing else cell[0] if isinstance(cell, list) and len(cell) == 1 else cell)
    return found


@settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(frames())
def check_frames(frame: pd.DataFrame) -> None:
    back, told = through_r(frame)
    if told:
        return
    assert back.shape == frame.shape and list(back.columns) == list(frame.columns)
    assert [str(label) for label in back.index] == [str(label) for label in frame.index]
    for name in frame:
        assert cells(back[name]) == cells(frame[name]), (frame[name], back[name])


if __name__ == "__main__":
    check_values()
    check_frames()
    print("all came back")
    sys.stdout.flush()
