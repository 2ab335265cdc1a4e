"""The values of a pandas column as a node, and back.

The Arrow type says what the column is; ``dtype`` is there only where pandas has several types for one Arrow type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from metaflow_core.values import buffers
from metaflow_core.values.columns import to_list
from metaflow_core.values.node import Node
from metaflow_core.values.python_datetime import read_zone, zone
from metaflow_core.values.registry import FromTree, ToTree

_MASKED = (pd.core.arrays.BooleanArray, pd.core.arrays.IntegerArray, pd.core.arrays.FloatingArray)


def column(array: Any, write: ToTree) -> Node:
    """The node of a column's values; what has no Arrow form inside is opaque."""
    if isinstance(array.dtype, pd.StringDtype):
        return _string(array)
    if isinstance(array, pd.arrays.NumpyExtensionArray):
        array = array.to_numpy()
    if isinstance(array, np.ndarray):
        return _numpy(array, write)
    kind = type(array)
    if kind is pd.Categorical:
        return _categorical(array, write)
    if kind in (pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray):
        return _time(array, write)
    if kind in _MASKED:
        return _masked(array)
    if isinstance(array.dtype, pd.ArrowDtype):
        return Node("column", attrs={"dtype": "arrow"}, data=array.__arrow_array__())
    if kind is pd.arrays.PeriodArray:
        data = buffers.arrow(array.asi8, pa.int64(), array.isna())
        return Node("column", attrs={"dtype": "period", "freq": array.freqstr}, data=data)
    if kind is pd.arrays.IntervalArray:
        ends = {"left": column(array.left.array, write), "right": column(array.right.array, write)}
        return Node("column", attrs={"dtype": "interval", "closed": array.closed}, fields=dict(ends))
    return _opaque(array)


def _opaque(array: Any) -> Node:
    from metaflow_core.values.opaque import to_node

    return Node("column", value=to_node(array), attrs={"dtype": "opaque"})


def _numpy(array: Any, write: ToTree) -> Node:
    dtype = array.dtype
    if dtype.kind == "O":
        ragged = _ragged(array)
        return ragged if ragged is not None else Node("column", value=write(array.tolist()), attrs={"dtype": "object"})
    if dtype.kind == "b":
        return Node("column", data=pa.array(np.ascontiguousarray(array)))
    if dtype.kind in "iuf" and dtype.itemsize <= 8 and dtype.isnative:
        return Node("column", data=buffers.arrow(np.ascontiguousarray(array), pa.from_numpy_dtype(dtype)))
    if dtype.kind == "c" and dtype.itemsize <= 16:
        node = write(np.ascontiguousarray(array))
        assert isinstance(node, Node)
        return Node("column", attrs={"dtype": dtype.name}, data=node.data)
    return _opaque(array)


def _ragged(array: Any) -> Node | None:
    """A column whose cells are vectors of one numeric type, such as embeddings, as one Arrow list column."""
    cells = array.tolist()
    if set(map(type, cells)) != {np.ndarray}:
        return None
    if len({cell.dtype for cell in cells}) != 1 or {cell.ndim for cell in cells} != {1}:
        return None
    dtype = cells[0].dtype
    if dtype.kind not in "iuf" or dtype.itemsize > 8 or not dtype.isnative:
        return None
    ends = np.zeros(len(cells) + 1, np.int64)
    np.cumsum([len(cell) for cell in cells], out=ends[1:])
    flat = buffers.arrow(np.concatenate(cells), pa.from_numpy_dtype(dtype))
    return Node("column", attrs={"dtype": "object", "cells": "ndarray"}, data=pa.LargeListArray.from_arrays(ends, flat))


def _time(array: Any, write: ToTree) -> Node:
    numbers = array.asi8
    unit = array.unit
    mask = array.isna()
    if isinstance(array, pd.arrays.TimedeltaArray):
        return Node("column", data=buffers.arrow(np.ascontiguousarray(numbers), pa.duration(unit), mask))
    if array.tz is None:
        return Node("column", data=buffers.arrow(np.ascontiguousarray(numbers), pa.timestamp(unit), mask))
    from metaflow_core.values.registry import NotTyped

    try:
        attrs, layout = zone(without_pytz(array.tz))
    except NotTyped:
        return _opaque(array)
    name = attrs.get("zone") or _offset_name(attrs["offset"])
    if type(array.tz).__module__.partition(".")[0] == "pytz":
        layout["pytz"] = True
    # The type names the zone; the attributes are there where the name does not say all.
    data = buffers.arrow(np.ascontiguousarray(numbers), pa.timestamp(unit, name), mask)
    return Node("column", attrs=attrs if "offset" in attrs else {}, layout=layout, data=data)


def without_pytz(tz: Any) -> Any:
    """A time zone of pytz, which pandas used before 3, as one of Python's own library; others as they are.

    ``NotTyped`` for one that Python's library does not have.
    """
    if type(tz).__module__.partition(".")[0] != "pytz":
        return tz
    import datetime as dt
    import zoneinfo

    from metaflow_core.values.registry import NotTyped

    if tz.zone is None:
        return dt.timezone(tz.utcoffset(None))
    try:
        return dt.timezone.utc if tz.zone == "UTC" else zoneinfo.ZoneInfo(tz.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise NotTyped from None


def _offset_name(microseconds: int) -> str:
    minutes = abs(microseconds) // 60_000_000
    return f"{'-' if microseconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _masked(array: Any) -> Node:
    return Node("column", attrs={"dtype": array.dtype.name}, data=array.__arrow_array__())


def _string(array: Any) -> Node:
    dtype = array.dtype
    layout = {"storage": dtype.storage}
    attrs = {} if dtype.na_value is np.nan else {"dtype": "string"}
    try:
        data = array.__arrow_array__(type=pa.large_string())
    except UnicodeEncodeError:
        return _opaque(array)
    return Node("column", attrs=attrs, layout=layout, data=data)


def _categorical(array: Any, write: ToTree) -> Node:
    codes = np.ascontiguousarray(array.codes)
    index = array.categories
    inner = column(index.array, write)
    indices = buffers.arrow(codes, pa.from_numpy_dtype(codes.dtype), codes < 0)
    attrs = {"ordered": True} if array.ordered else {}
    if inner.data is not None and not inner.attrs and index.name is None and type(index) is pd.Index:
        values = inner.data.combine_chunks() if isinstance(inner.data, pa.ChunkedArray) else inner.data
        return Node(
            "categorical", attrs=attrs, layout=inner.layout, data=pa.DictionaryArray.from_arrays(indices, values)
        )
    return Node("categorical", attrs=attrs, data=indices, fields={"categories": write(index)})


def read_column(tree: Node, read: FromTree) -> Any:
    """The values of a column, as an array of pandas or numpy. Other languages' columns follow their Arrow type."""
    if tree.kind == "categorical":
        return _read_categorical(tree, read)
    dtype, data = tree.attrs.get("dtype"), tree.data
    if dtype == "object" and "cells" in tree.attrs:
        return _read_ragged(tree)
    if dtype == "object":
        items = read(tree.value)
        out = np.empty(len(items), object)
        out[:] = items
        return out
    if dtype == "opaque":
        return read(tree.value)
    if dtype == "interval":
        left, right = (read_column(tree.fields[end], read) for end in ("left", "right"))  # type: ignore[arg-type]
        return pd.arrays.IntervalArray.from_arrays(left, right, closed=tree.attrs["closed"])
    if data is None:
        return np.array(read(tree.value), object)
    if dtype == "arrow":
        return pd.arrays.ArrowExtensionArray(data)
    if dtype == "period":
        numbers = _numbers(tree, np.dtype(np.int64), np.iinfo(np.int64).min)
        return pd.arrays.PeriodArray(numbers, dtype=pd.PeriodDtype(tree.attrs["freq"]))
    if dtype == "string":
        return _read_string(tree, pd.NA)
    if dtype is not None and dtype.startswith("complex"):
        return buffers.view(data, np.dtype(dtype), writable=tree.writable)
    return _read_by_type(tree, data, dtype)


def _read_by_type(tree: Node, data: Any, dtype: str | None) -> Any:
    type = data.type
    t = pa.types
    if t.is_dictionary(type):
        return _read_categorical(tree, lambda part: part)
    if t.is_string(type) or t.is_large_string(type):
        return _read_string(tree, np.nan)
    if t.is_timestamp(type) or t.is_duration(type):
        return _read_time(tree, type)
    if t.is_boolean(type):
        return _read_bools(tree, data, dtype)
    if t.is_integer(type) or t.is_floating(type):
        numbers = np.dtype(type.to_pandas_dtype())
        missing = data.null_count > 0
        if dtype is None and not missing:
            return buffers.view(data, numbers, writable=tree.writable)
        if t.is_floating(type):
            if dtype is None:
                return _numbers(tree, numbers, np.nan)
            return pd.arrays.FloatingArray(_numbers(tree, numbers, 1), _mask(data))
        return pd.arrays.IntegerArray(_numbers(tree, numbers, 1), _mask(data))
    out = np.empty(len(data), object)
    out[:] = to_list(data)
    return out


def _read_bools(tree: Node, data: Any, dtype: str | None) -> Any:
    values = np.array(data.fill_null(False).to_numpy(zero_copy_only=False) if data.null_count else _to_bools(data))
    if dtype is None and not data.null_count:
        return values
    return pd.arrays.BooleanArray(values, _mask(data))


def _to_bools(data: Any) -> Any:
    return data.to_numpy() if isinstance(data, pa.ChunkedArray) else data.to_numpy(zero_copy_only=False)


def _mask(data: Any) -> Any:
    missing = data.is_null()
    return np.array(_to_bools(missing), bool)


def _numbers(tree: Node, dtype: np.dtype[Any], missing: Any) -> Any:
    """The numbers of a column, ``missing`` in the place of nulls."""
    data = tree.data
    assert data is not None
    values = buffers.view(data, dtype, writable=tree.writable)
    if data.null_count:
        values = values.copy()
        values[_mask(data)] = missing
    return values


def _read_time(tree: Node, type: pa.DataType) -> Any:
    numbers = _numbers(tree, np.dtype(np.int64), np.iinfo(np.int64).min)
    if pa.types.is_duration(type):
        return pd.array(numbers.view(f"m8[{type.unit}]"), copy=False)
    values = numbers.view(f"M8[{type.unit}]")
    if type.tz is None:
        return pd.array(values, copy=False)
    named = Node("timezone", attrs={"zone": type.tz, **tree.attrs}, layout=tree.layout)
    if "offset" in tree.attrs:
        named.attrs.pop("zone")
    elif type.tz[:1] in "+-":
        sign, hours, minutes = type.tz[0], int(type.tz[1:3]), int(type.tz[-2:])
        named.attrs = {"offset": (1 if sign == "+" else -1) * (hours * 60 + minutes) * 60_000_000}
    # The pandas that has zones of pytz makes them of names.
    by_name = "pytz" in tree.layout and "zone" in named.attrs and int(pd.__version__.partition(".")[0]) < 3
    tz = named.attrs["zone"] if by_name else read_zone(named)
    return (
        pd.DatetimeIndex(values, copy=False).tz_localize("UTC").tz_convert(pd.DatetimeTZDtype(type.unit, tz).tz).array
    )


def _read_string(tree: Node, missing: Any) -> Any:
    data: Any = tree.data
    storage = tree.layout.get("storage", "pyarrow")
    try:
        dtype = pd.StringDtype(storage, na_value=missing)
    except TypeError:  # pandas before 2.3, in which columns of text are columns of objects
        if missing is not pd.NA:
            out = np.empty(len(data), object)
            out[:] = [missing if item is None else item for item in data.to_pylist()]
            return out
        dtype = pd.StringDtype(storage)
    if storage == "pyarrow":
        chunked = data if isinstance(data, pa.ChunkedArray) else pa.chunked_array([data])
        return dtype.construct_array_type()._from_sequence(chunked, dtype=dtype)
    return pd.array([missing if item is None else item for item in data.to_pylist()], dtype=dtype)


def _read_ragged(tree: Node) -> Any:
    data: Any = tree.data
    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks()
    flat = buffers.view(data.flatten(), np.dtype(data.type.value_type.to_pandas_dtype()), writable=tree.writable)
    ends = np.cumsum(data.value_lengths().to_numpy())[:-1]
    out = np.empty(len(data), object)
    for row, cell in enumerate(np.split(flat, ends)):
        out[row] = cell
    return out


def _read_categorical(tree: Node, read: FromTree) -> Any:
    data: Any = tree.data
    if "categories" in tree.fields:
        categories, codes = read(tree.fields["categories"]), data
    else:
        if isinstance(data, pa.ChunkedArray):
            data = data.unify_dictionaries()
            values = data.chunk(0).dictionary if data.num_chunks else pa.array([], data.type.value_type)
            codes = pa.chunked_array([chunk.indices for chunk in data.chunks], type=data.type.index_type)
        else:
            values, codes = data.dictionary, data.indices
        inner = read_column(Node("column", layout=tree.layout, data=values), read)
        categories = pd.Index(inner, dtype=inner.dtype)
    code_node = Node("column", data=codes, writable=tree.writable)
    numbers = _numbers(code_node, np.dtype(codes.type.to_pandas_dtype()), -1)
    dtype = pd.CategoricalDtype(categories, ordered=bool(tree.attrs.get("ordered")))
    return pd.Categorical.from_codes(numbers, dtype=dtype)
