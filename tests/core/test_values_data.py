"""Arrays, frames and tables."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import decimal
import io
import math
import mmap
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from metaflow_core.errors import UnreadableArtifact, UnserializableValue
from metaflow_core.values import Encoded, Stored, decode, encode, to_arrow


def write(encoded: Encoded) -> bytes:
    file = io.BytesIO()
    assert encoded.write is not None
    encoded.write(file)
    assert len(file.getvalue()) == encoded.size
    return file.getvalue()


def store(encoded: Encoded, data: bytes | None = None) -> Stored:
    read = None
    if encoded.write is not None:
        kept = write(encoded) if data is None else data
        read = lambda: memoryview(bytearray(kept))  # noqa: E731
    size = encoded.size if data is None else len(data)
    return Stored(encoded.type, encoded.language, encoded.encoding, encoded.fingerprint, size, encoded.scalar, read)


def roundtrip(value: Any) -> Any:
    return decode(store(encode(value)))


def same_array(a: Any, b: Any) -> None:
    assert type(a) is type(b) is np.ndarray
    assert a.dtype == b.dtype and a.dtype.isnative == b.dtype.isnative
    assert a.shape == b.shape
    if a.dtype.names:
        for name in a.dtype.names:
            same_array(np.asarray(a[name]), np.asarray(b[name]))
    elif a.dtype.kind == "O":
        assert a.tolist() == b.tolist()
        assert [type(x) for x in a.flat] == [type(x) for x in b.flat]
    elif a.dtype.kind in "fc":
        assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
    else:
        np.testing.assert_array_equal(a, b)


RNG = np.random.default_rng(0)
ARRAYS = [
    *(
        np.array([0, 1, 100], dtype=t)
        for t in [
            "?",
            "i1",
            "i2",
            "i4",
            "i8",
            "u1",
            "u2",
            "u4",
            "u8",
            "f2",
            "f4",
            "f8",
            "c8",
            "c16",
            ">i4",
            ">f8",
            ">c16",
        ]
    ),
    np.array([np.nan, -0.0, np.inf, 5e-324]),
    np.array(5),
    np.array(2.5, dtype="f4"),
    np.zeros((0, 3)),
    np.zeros((2, 0, 3), dtype="i2"),
    RNG.normal(size=(3, 4, 5)),
    np.asfortranarray(RNG.normal(size=(3, 4))),
    RNG.normal(size=(3, 4, 5)).transpose(1, 2, 0),
    np.arange(40).reshape(5, 8)[::2, ::-3],
    np.broadcast_to(np.arange(3), (2, 3)),
    *(np.array(["2020-01-01", "NaT"], dtype=f"M8[{u}]") for u in ("Y", "M", "D", "h", "s", "ms", "us", "ns", "25s")),
    *(np.array([1, "NaT"], dtype=f"m8[{u}]") for u in ("D", "s", "ns")),
    np.array(["a", "bcé", ""]),
    np.array([[b"a"], [b"bcd"]]),
    np.array(["", ""]),
    np.array([], dtype="U5"),
    np.array([b"abcdefgh"], dtype="V8"),
    np.array([(1, 2.5, "x"), (2, np.nan, "y")], dtype=[("a", "i4"), ("b", "f8"), ("c", "U3")]),
    np.array([(1, (2.0, 3.0))], dtype=[("a", "i1"), ("b", "f8", (2,))]),
    np.array([(1, (2,))], dtype=np.dtype([("a", "i1"), ("b", [("c", "i8")])], align=True)),
    np.array([None, 1, "a", 2.5], dtype=object),
    np.array([[None], [(1, 2)]], dtype=object),
    np.array([], dtype=object),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}-{a.shape}")
def test_an_array_comes_back(array: Any) -> None:
    same_array(roundtrip(array), array)
    same_array(roundtrip({"x": [array]})["x"][0], array)


def test_an_array_keeps_its_order_in_memory() -> None:
    assert roundtrip(np.asfortranarray(RNG.normal(size=(3, 4)))).flags.f_contiguous
    assert roundtrip(RNG.normal(size=(3, 4))).flags.c_contiguous


SCALARS = [
    np.float64(0.5),
    np.float32(0.1),
    np.float16(1),
    np.int64(3),
    np.int8(-1),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.longlong(3),
    np.str_("a"),
    np.bytes_(b"a"),
    np.complex64(1j),
    np.complex128(1 + 2j),
    np.datetime64("2020-01-01"),
    np.datetime64(5, "25s"),
    np.timedelta64(3, "s"),
]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
def test_a_numpy_scalar_stays_one(value: Any) -> None:
    back = roundtrip(value)
    assert type(back) is type(value)
    assert back == value and back.dtype == value.dtype
    assert encode(value).key != encode(value.item()).key
    assert type(roundtrip([value, 1])[0]) is type(value)


def test_a_numpy_scalar_equals_the_plain_one_where_the_sort_is_the_same() -> None:
    for equal in ([5, np.int8(5), np.int32(5), np.uint64(5)], [0.5, np.float64(0.5)], [True, np.True_]):
        assert prints(*equal) == 1
    assert prints(1, 1.0, True, "1", np.float32(1), np.complex128(1)) == 6


def test_numpy_scalars_are_typed_columns() -> None:
    encoded = encode(np.float64(0.9))
    assert (encoded.encoding, encoded.type, encoded.scalar) == ("float", "numpy.float64", 0.9)
    assert math.isnan(roundtrip(np.float64("nan")))


FRAME = pd.DataFrame(
    {
        "int": [1, 2, 3],
        "float": [1.5, np.nan, -0.0],
        "str": ["a", None, "c"],
        "bool": [True, False, True],
        "cat": pd.Categorical(["x", "y", "x"]),
        "ordered": pd.Categorical([3, None, 3], categories=[3, 1], ordered=True),
        "time": pd.to_datetime(["2020-01-01", None, "2021-01-01"]),
        "paris": pd.to_datetime(["2020-01-01", None, "2021-01-01"]).tz_localize("Europe/Paris"),
        "utc": pd.date_range("2020", periods=3, tz="UTC"),
        "offset": pd.date_range("2020", periods=3, tz=dt.timezone(dt.timedelta(hours=2))),
        "delta": pd.to_timedelta([1, 2, None], unit="s"),
        "Int64": pd.array([1, None, 3], dtype="Int64"),
        "Float32": pd.array([1, None, 3], dtype="Float32"),
        "boolean": pd.array([True, None, False], dtype="boolean"),
        "string": pd.array(["a", None, "b"], dtype="string"),
        "string_python": pd.array(["a", None, "b"], dtype=pd.StringDtype("python")),
        "arrow_int": pd.array([1, None, 2], dtype="int32[pyarrow]"),
        "arrow_list": pd.Series([[1], None, [2, 3]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        "object": [1, "a", None],
        "lists": [[1], {"a": 2}, (3,)],
        "texts": np.array(["a", "b", "c"], dtype=object),
        "embedding": [np.arange(3.0), np.arange(2.0), np.arange(0.0)],
        "frames": pd.Series([pd.Timestamp("2020"), decimal.Decimal(1), np.float32(1)], dtype=object),
        "period": pd.period_range("2020", periods=3, freq="M"),
        "interval": pd.interval_range(0, 3),
        "sparse": pd.arrays.SparseArray([0, 0, 1]),
        "complex": np.array([1j, 2, 3]),
        "int8": np.array([1, 2, 3], "i1"),
        "half": np.array([1, 2, 3], "f2"),
    }
)


def frames() -> dict[str, Any]:
    small = FRAME[["int", "float"]]
    made: dict[str, Any] = {name: FRAME[[name]] for name in FRAME}
    made["all"] = FRAME
    made["no rows"] = FRAME.iloc[:0]
    made["rows"] = FRAME.iloc[1:]
    made["nothing"] = pd.DataFrame()
    made["no columns"] = pd.DataFrame(index=range(3))
    made["only columns"] = pd.DataFrame(columns=["a", "b"])
    made["index"] = small.set_index("float")
    made["multiindex"] = FRAME.set_index(["int", "str"])[["float"]]
    made["dates"] = small.set_index(pd.date_range("2020", periods=3, freq="D", name="day"))
    made["range"] = small.set_index(pd.RangeIndex(5, 20, 5))
    made["duplicate names"] = small.set_axis(["a", "a"], axis=1)
    made["clashing names"] = pd.DataFrame([[1, 2, 3]], columns=["a", "a_1", "a"])
    made["other names"] = small.set_axis([1, "x"], axis=1)
    made["tuples"] = small.set_axis(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["p", None]), axis=1)
    made["numbers"] = pd.DataFrame(RNG.normal(size=(4, 3)))
    named = small.copy()
    named.columns.name = "letters"
    named.attrs = {"source": {"k": [1, 2]}}
    made["attrs"] = named
    return made


@pytest.mark.parametrize("name", frames())
def test_a_pandas_frame_comes_back(name: str) -> None:
    frame = frames()[name]
    for back in (roundtrip(frame), roundtrip([frame, 1])[0]):
        if name != "embedding":
            pd.testing.assert_frame_equal(back, frame, check_freq=True, check_exact=True)
        assert back.attrs == frame.attrs
        assert [type(label) for label in back.columns] == [type(label) for label in frame.columns]
        for column in range(frame.shape[1]):
            if frame.dtypes.iloc[column] == np.dtype(object):
                cells = zip(back.iloc[:, column], frame.iloc[:, column], strict=True)
                assert all(type(a) is type(b) for a, b in cells)


SERIES = [
    *(FRAME[name] for name in FRAME if name != "embedding"),
    pd.Series([1, 2], name=("a", 1)),
    pd.Series(dtype=object),
    pd.Series(["a", 1.5, None] * 50),
    pd.Series([None] * 3),
    pd.Series([1, 2], index=["x", "y"]).set_flags(allows_duplicate_labels=False),
]


@pytest.mark.parametrize("series", SERIES, ids=lambda s: f"{s.name}-{s.dtype}")
def test_a_pandas_series_comes_back(series: Any) -> None:
    back = roundtrip(series)
    pd.testing.assert_series_equal(back, series, check_flags=True)
    assert back.name == series.name


INDEXES = [
    pd.Index(["a", "b"]),
    pd.Index([1, 2], name="n"),
    pd.Index(["x"], dtype=object),
    pd.Index([("a", 1), ("b", 2)], tupleize_cols=False),
    pd.RangeIndex(2, 9, 3, name="q"),
    pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["p", None]),
    pd.CategoricalIndex(["a", None], categories=["b", "a"], ordered=True),
    pd.date_range("2020", periods=3, freq="MS", tz="UTC"),
    pd.timedelta_range("1s", periods=3, freq="2s"),
    pd.period_range("2020", periods=3, freq="Q"),
    pd.IntervalIndex.from_breaks([0, 1, 2], closed="left"),
]


@pytest.mark.parametrize("index", INDEXES, ids=lambda i: type(i).__name__)
def test_a_pandas_index_comes_back(index: Any) -> None:
    back = roundtrip(index)
    pd.testing.assert_index_equal(back, index, exact=True)
    assert getattr(back, "freq", None) == getattr(index, "freq", None)


def test_pandas_scalars_come_back() -> None:
    for value in (
        pd.Timestamp("2020-01-01 01:02:03.5"),
        pd.Timestamp("2020", tz="America/New_York"),
        pd.Timedelta(5, "s"),
    ):
        back = roundtrip(value)
        assert back == value and type(back) is type(value) and back.unit == value.unit
    assert roundtrip(pd.NaT) is pd.NaT
    assert roundtrip([pd.NA])[0] is pd.NA


TABLE = pa.table(
    {
        "int": [1, 2, None],
        "text": ["x", None, "z"],
        "dictionary": pa.array(["x", "y", "x"]).dictionary_encode(),
        "list": [[1], None, [2, 3]],
        "struct": [{"q": 1}, None, {"q": 2}],
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "decimal": pa.array([decimal.Decimal("1.5")] * 3),
        "time": pa.array([dt.datetime(2020, 1, 1)] * 3, pa.timestamp("us", "UTC")),
        "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
        "view": pa.array(["a", None, "long" * 10], pa.string_view()),
        "bool": [True, None, False],
        "null": pa.nulls(3),
        "runs": pc.run_end_encode(pa.array([1, 1, 2])),
    }
)
ARROW = [
    TABLE,
    pa.concat_tables([TABLE, TABLE]),
    TABLE.slice(1, 1),
    TABLE.slice(0, 0),
    TABLE.replace_schema_metadata({"k": "v"}),
    pa.table([pa.array([1])], schema=pa.schema([pa.field("x", pa.int64(), nullable=False, metadata={"unit": "m"})])),
    pa.table([[1], [2]], names=["a", "a"]),
    pa.table({}),
    TABLE.to_batches()[0],
    *TABLE.columns,
    *(column.combine_chunks() for column in TABLE.columns),
    *(column[0] for column in TABLE.columns),
    pa.chunked_array([], pa.int8()),
    pa.scalar(None),
]


@pytest.mark.parametrize("value", ARROW, ids=lambda v: f"{type(v).__name__}-{getattr(v, 'type', '')}")
def test_arrow_data_comes_back(value: Any) -> None:
    for back in (roundtrip(value), roundtrip([value])[0]):
        assert type(back) is type(value)
        tables = isinstance(value, (pa.Table, pa.RecordBatch))
        assert back.equals(value, check_metadata=True) if tables else back.equals(value)


def test_a_stream_is_stored_batch_by_batch_and_reads_as_a_table() -> None:
    table = pa.table({"a": range(1000), "b": [str(i) for i in range(1000)]})
    encoded = encode(pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=100)))
    assert decode(store(encoded)).equals(table)
    assert encoded.fingerprint == encode(table).fingerprint


POLARS = pl.DataFrame(
    {
        "int": [1, None],
        "text": ["x", None],
        "cat": pl.Series(["u", "v"], dtype=pl.Categorical),
        "enum": pl.Series(["u", "v"], dtype=pl.Enum(["u", "v"])),
        "list": [[1], [2]],
        "date": [dt.date(2020, 1, 1)] * 2,
        "time": [dt.time(1)] * 2,
        "zone": [dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)] * 2,
        "struct": [{"a": 1}, {"a": 2}],
        "array": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
    }
)


@pytest.mark.parametrize(
    "frame",
    [POLARS, POLARS.slice(0, 0), pl.concat([POLARS, POLARS], rechunk=False), pl.DataFrame()],
    ids=lambda f: str(f.shape),
)
def test_a_polars_frame_comes_back(frame: pl.DataFrame) -> None:
    pl.testing.assert_frame_equal(roundtrip(frame), frame)
    for series in frame:
        pl.testing.assert_series_equal(roundtrip(series), series)


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
def test_sparse_data_comes_back(format: str) -> None:
    matrix = sp.random(5, 6, 0.3, rng=RNG).asformat(format)
    for value in (matrix, sp.csr_array(matrix).asformat(format)):
        back = roundtrip(value)
        assert type(back) is type(value) and back.shape == value.shape and back.dtype == value.dtype
        assert (back != value).nnz == 0


# --- structure --------------------------------------------------------------------------------------------------------


class Model:
    pass


def test_only_the_untyped_part_of_a_nest_is_opaque(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode({"frame": FRAME[["int"]], "model": Model(), "name": "x", "weights": [np.arange(4.0)]})
    data = write(encoded)
    monkeypatch.setenv("METAFLOW_OPAQUE_ARTIFACTS", "refuse")
    with pytest.raises(UnreadableArtifact, match="Model"):
        decode(store(encoded, data))
    table = pa.ipc.open_file(pa.py_buffer(data)).read_all()  # the frame and the array are plain Arrow inside
    assert pa.large_list(pa.int64()) in table.schema.types and pa.large_list(pa.float64()) in table.schema.types
    monkeypatch.delenv("METAFLOW_OPAQUE_ARTIFACTS")
    back = decode(store(encoded, data))
    assert type(back["model"]) is Model and back["weights"][0].tolist() == [0, 1, 2, 3]


def test_other_tools_open_the_file_of_a_table(tmp_path: Path) -> None:
    frame = FRAME[["int", "float", "str", "cat", "time", "Int64"]]
    for value in (
        frame,
        pa.table({"int": [1, 2, 3]}),
        pl.DataFrame({"int": [1, 2, 3]}),
        frame.set_axis(list("aabbcc"), axis=1),
    ):
        path = tmp_path / "table.arrow"
        path.write_bytes(write(encode(value)))
        names = pl.read_ipc(path).columns
        assert pa.ipc.open_file(path).read_all().num_rows == 3
        assert len(names) == len(value.columns)
    assert pl.read_ipc(io.BytesIO(write(encode(frame))))["str"].to_list() == ["a", None, "c"]


def test_to_arrow_gives_the_data_of_anything() -> None:
    def arrow(value: Any) -> Any:
        return to_arrow(store(encode(value)))

    assert arrow(3) == pa.scalar(3) and arrow("a") == pa.scalar("a")
    assert arrow(np.float64(2.5)) == pa.scalar(2.5)
    assert arrow([1, None, 3]).to_pylist() == arrow([1, None, 3] * 2000).to_pylist()[:3] == [1, None, 3]
    assert arrow(np.arange(3)).equals(pa.array([0, 1, 2]))
    table = arrow(FRAME)
    assert table.column_names == list(FRAME) and table.num_rows == 3
    assert arrow(TABLE).equals(TABLE)
    assert arrow(pd.Series([1.5])).to_pylist() == [1.5]
    assert "lambda" in arrow(lambda: 1).as_py().decode("latin1") or isinstance(arrow(lambda: 1), pa.Scalar)
    assert isinstance(arrow({"a": FRAME, "b": TABLE}), pa.Table)
    assert arrow({"a": [1, "x"]}).as_py() == '{"a":[1,"x"]}'


def test_the_path_leads_into_frames_and_arrays() -> None:
    import threading

    for value, path in (
        (np.array([[1, threading.Lock()]], dtype=object), "[0, 1]"),
        ({"df": pd.DataFrame({"c": [1, threading.Lock()]})}, "['df']['c'][1]"),
    ):
        with pytest.raises(UnserializableValue) as caught:
            encode(value)
        assert caught.value.path == path


# --- fingerprints -----------------------------------------------------------------------------------------------------


def prints(*values: Any) -> int:
    return len({encode(value).fingerprint for value in values})


def test_the_layout_in_memory_is_no_part_of_the_value() -> None:
    array = RNG.normal(size=(60, 50))
    assert prints(array, np.asfortranarray(array), np.vstack([array, array])[:60], np.repeat(array, 2, 1)[:, ::2]) == 1
    numbers = np.arange(6).reshape(2, 3)
    assert prints(numbers, np.asfortranarray(numbers), numbers.astype(">i8")) == 1
    many = RNG.normal(size=(300, 400))
    assert prints(many, np.asfortranarray(many)) == 1
    assert prints(*(np.array([[True, False], [False, True]], order=o) for o in "CF")) == 1
    dates = np.array([["2020", "NaT"], ["2021", "2022"]], dtype="M8[s]")
    assert prints(dates, np.asfortranarray(dates)) == 1


def test_chunks_slices_and_offsets_are_no_part_of_the_value() -> None:
    for column in TABLE.columns:
        whole = pa.chunked_array([column.combine_chunks()])
        again = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]).column(TABLE.columns.index(column))
        assert prints(whole, again) == 1, column.type
        assert prints(pa.table({"x": whole}), pa.table({"x": again})) == 1
    text = pa.array(["skip", "a", None, "é"])
    plain = pa.array(["a", None, "é"])
    assert prints(text.slice(1), plain, plain.cast(pa.large_string()), plain.cast(pa.string_view())) == 1
    assert (
        prints(pd.DataFrame({"x": [1, 2, 3]}), pd.DataFrame({"x": [0, 1, 2, 3]}).iloc[1:].reset_index(drop=True)) == 1
    )


def test_what_stands_under_nulls_is_no_part_of_the_value_but_of_the_key() -> None:
    def hidden(number: int) -> pa.Array:
        data = np.array([1, number, 3], dtype="i8")
        return pa.Array.from_buffers(pa.int64(), 3, [pa.array([True, False, True]).buffers()[1], pa.py_buffer(data)])

    def hidden_text(text: str) -> pa.Array:
        full = pa.array(["a", text, "b"])
        return pa.Array.from_buffers(pa.string(), 3, [pa.array([True, False, True]).buffers()[1], *full.buffers()[1:]])

    for make, values in ((hidden, (7, 8)), (hidden_text, ("xx", "yy"))):
        one, two = (encode(make(v)) for v in values)  # type: ignore[operator]
        assert one.fingerprint == two.fingerprint
        assert write(one) != write(two) and one.key != two.key


def test_the_width_of_integers_and_the_storage_of_columns_do_not_count() -> None:
    for dtype in ("i1", "i2", "i4", "u1", "u8"):
        assert prints(np.arange(6).reshape(2, 3), np.arange(6, dtype=dtype).reshape(2, 3)) == 1
        assert prints(np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6, dtype=dtype).reshape(2, 3))) == 1
    big = [np.array([2**63 + 1], "u8"), np.array([-(2**63) + 1], "i8"), np.array([2**63 + 1], "u8").view("i8")]
    assert prints(*big) == 2
    numbers = pd.DataFrame({"x": [1, 2, 3]})
    kinds = ("int32", "uint8", "Int64", "Int8", "int64[pyarrow]")
    assert prints(numbers, *(numbers.astype(kind) for kind in kinds)) == 1
    missing = pd.DataFrame({"x": pd.array([1, None, 3], "Int64")})
    assert prints(missing, *(missing.astype(kind) for kind in ("UInt8", "Int32", "int16[pyarrow]"))) == 1
    assert prints(numbers, missing, numbers.astype("float64"), numbers.astype(bool), numbers.astype(object)) == 5
    assert prints(pa.array([1, None]), pa.array([1, None], pa.int8())) == 1
    under = pa.Array.from_buffers(
        pa.uint64(), 2, [pa.array([True, False]).buffers()[1], pa.py_buffer(np.array([1, 2**64 - 1], "u8"))]
    )
    assert prints(under, pa.array([1, None], pa.int32())) == 1
    texts = pd.Series(["a", None])
    assert prints(texts.astype("str"), texts.astype("string")) == 1


def test_equal_fingerprints_do_not_mean_equal_bytes() -> None:
    ways: list[list[Any]] = [
        [{str(i): i for i in range(2000)}, {str(i): i for i in reversed(range(2000))}],
        [pd.DataFrame({"o": [cell, 1] * 900}) for cell in ({"a": 1, "b": 2}, {"b": 2, "a": 1})],
        [np.arange(3000, dtype=dtype) for dtype in ("i4", "i8")],
        [5, np.int64(5)],
    ]
    for values in ways:
        assert prints(*values) == 1
        assert len({encode(value).key for value in values}) == 2
    assert list(roundtrip(ways[0][1])) == list(ways[0][1])


def test_different_values_have_different_fingerprints() -> None:
    base = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})
    values = [
        base,
        base[["y", "x"]],
        base.rename(columns={"x": "z"}),
        base.astype({"y": "category"}),
        base.astype({"y": object}),
        base.set_index("x"),
        base.iloc[::-1],
        base.iloc[:0],
        base.set_axis([5, 6]),
        np.arange(4),
        np.arange(4.0),
        np.arange(4).reshape(2, 2),
        [0, 1, 2, 3],
        pd.Series([0, 1, 2, 3]),
        pd.Index([0, 1, 2, 3]),
        pa.array([0, 1, 2, 3]),
        pl.Series([0, 1, 2, 3]),
        pa.table(base),
        pl.DataFrame({"x": [1, 2]}),
        pd.Categorical(["a", "b"]),
        pd.Categorical(["a", "b"], categories=["b", "a"]),
        pd.Categorical(["a", "b"], ordered=True),
    ]
    assert prints(*values) == len(values)


def test_the_key_names_the_bytes() -> None:
    array = RNG.normal(size=(8, 8))
    values = [
        array,
        np.asfortranarray(array),
        array.astype(">f8"),
        array.T,
        pa.chunked_array([[1, 2], [3]]),
        pa.chunked_array([[1], [2, 3]]),
        [1, None] * 3000,
        [1, 0] * 3000,
    ]
    encoded = [encode(v) for v in values]
    assert len({e.key for e in encoded}) == len({write(e) for e in encoded}) == len(values)
    assert encode(array.copy()).key == encode(array).key


# --- memory -----------------------------------------------------------------------------------------------------------


def mapped(path: Path, encoded: Encoded) -> Stored:
    with path.open("wb") as file:
        assert encoded.write is not None
        encoded.write(file)

    def read() -> memoryview:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))

    return Stored(encoded.type, "python", encoded.encoding, encoded.fingerprint, encoded.size, None, read)


def test_arrays_are_read_from_the_mapped_file_and_can_be_changed(tmp_path: Path) -> None:
    from metaflow_core.values import buffers

    stored = mapped(tmp_path / "a", encode(RNG.normal(size=(100_000, 2))))
    array = decode(stored)
    memory = array
    while not isinstance(memory, buffers._Memory):
        memory = memory.base
    assert array.flags.writeable
    array[0, 0] = 42
    assert decode(stored)[0, 0] != 42

    assert stored.read is not None
    view = stored.read().toreadonly()
    stored.read = lambda: view
    assert not decode(stored).flags.writeable

    small = store(encode(np.arange(3)))
    assert small.read is not None
    fixed = small.read().toreadonly()
    small.read = lambda: fixed
    assert decode(small).flags.writeable

    frame = decode(mapped(tmp_path / "b", encode(pd.DataFrame({"x": np.arange(1000.0)}))))
    frame.loc[0, "x"] = 7.0
    assert frame["x"][0] == 7


def test_saving_makes_no_second_copy(tmp_path: Path) -> None:
    code = (
        "import resource, sys, numpy as np, pyarrow as pa\n"
        "from metaflow_core.values import encode\n"
        "small = encode(np.arange(9.0)); f = open(sys.argv[1], 'wb'); small.write(f)\n"
        "value = np.ones(25_000_000) if sys.argv[2] == 'array' else pa.table({'x': np.ones(25_000_000)})\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "encode(value).write(f)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    for kind in ("array", "table"):
        command = [sys.executable, "-c", code, str(tmp_path / "x"), kind]
        grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        assert grown < 60, kind  # of 200 MB


def test_compression_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.zeros(100_000)
    plain = encode(array)
    for name in ("lz4", "zstd"):
        monkeypatch.setenv("METAFLOW_ARTIFACT_COMPRESSION", name)
        packed = encode(array)
        assert packed.size < plain.size / 10
        assert packed.fingerprint == plain.fingerprint and packed.key != plain.key
        same_array(decode(store(packed)), array)
    monkeypatch.setenv("METAFLOW_ARTIFACT_COMPRESSION", "rar")
    with pytest.raises(Exception, match="none, lz4, zstd"):
        encode(array)


@pytest.mark.parametrize(
    "value",
    [np.arange(100), FRAME[["str", "cat"]], {"a": ["x"] * 100, "b": np.arange(3)}],
    ids=["array", "frame", "nest"],
)
def test_damaged_files_never_crash(value: Any) -> None:
    encoded = encode(value)
    data = write(encoded)
    for end in (0, 5, len(data) // 3, len(data) - 1):
        with pytest.raises(UnreadableArtifact):
            decode(store(encoded, data[:end]))
    random = np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(data)
        for place in random.integers(0, len(data), 4):
            broken[place] ^= int(random.integers(1, 256))
        with contextlib.suppress(UnreadableArtifact):
            decode(store(encoded, bytes(broken)))


def test_a_file_that_is_no_artifact_says_so() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    with pytest.raises(UnreadableArtifact, match="not written as an artifact"):
        decode(store(encode(TABLE), sink.getvalue().to_pybytes()))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    npst.arrays(
        npst.scalar_dtypes() | npst.array_dtypes(max_size=3),
        npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_any_array_comes_back(array: Any) -> None:
    if array.dtype.kind == "U" and any("\ud800" <= c <= "\udfff" for s in array.flat for c in str(s)):
        return
    back = roundtrip(array)
    assert back.dtype == array.dtype and back.shape == array.shape
    if array.dtype.hasobject or array.dtype.names:
        assert repr(back.tolist()) == repr(array.tolist())
    else:
        same_array(back, array)
    if b"opaque" not in write(encode(array)):
        assert encode(array.copy(order="F")).fingerprint == encode(array).fingerprint


columns = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=5, max_size=5).map(
        lambda v: pd.array(v, dtype="Int64")
    ),
    st.lists(st.floats(), min_size=5, max_size=5).map(np.array),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=5, max_size=5),
    st.lists(st.none() | st.sampled_from("abc"), min_size=5, max_size=5).map(pd.Categorical),
    st.lists(st.booleans() | st.text(max_size=2) | st.none(), min_size=5, max_size=5).map(
        lambda v: np.array(v, dtype=object)
    ),
    st.lists(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)), min_size=5, max_size=5).map(
        pd.to_datetime
    ),
)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.lists(columns, max_size=4), st.lists(st.text(max_size=3) | st.integers(), min_size=4, max_size=4))
def test_any_frame_comes_back(made: list[Any], labels: list[Any]) -> None:
    frame = pd.DataFrame(dict(enumerate(made)))
    try:
        frame.columns = labels[: len(made)]
    except UnicodeEncodeError:
        return
    encoded = encode(frame)
    back = decode(store(encoded))
    pd.testing.assert_frame_equal(back, frame)
    assert encode(back).fingerprint == encoded.fingerprint


def test_typed_data_is_read_without_unpickling(monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    plain = FRAME.drop(columns=["sparse"])
    values = [*ARRAYS, *SCALARS, plain, *ARROW, POLARS, sp.random(3, 3, 0.5, format="csr"), collections.Counter("ab")]
    kept = [store(encode(value)) for value in values]

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setenv("METAFLOW_OPAQUE_ARTIFACTS", "refuse")
    for stored in kept:
        decode(stored)
