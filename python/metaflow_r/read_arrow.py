"""Arrow data to R vectors, matrices, factors and data frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from metaflow_core.values import buffers
from metaflow_core.values.node import Node

from metaflow_r import session, strings
from metaflow_r.bitmaps import missing_of
from metaflow_r.memory import new
from metaflow_r.read import attributes_of, from_tree, items_of, tell_decimals, vector_type, zone_of_offset
from metaflow_r.sexp import (
    NA_INTEGER,
    NULL,
    FloatSexpVector,
    IntSexpVector,
    ListSexpVector,
    StrSexpVector,
    named_list,
    set_attribute,
)
from metaflow_r.times import SECONDS, amounts_of, seconds_of
from metaflow_r.vectors import from_booleans, from_bytes, from_numbers, integer64, one


def vector(data: Any, layout: dict[str, Any], attrs: dict[str, Any] | None = None) -> Any:
    """The elements of Arrow data as an R vector; ``layout`` says what only R knows of them."""
    data = one(data)
    type, t = data.type, pa.types
    wanted = layout.get("type")
    if t.is_null(type):
        return session.helper("typed_nas")(StrSexpVector([wanted or "logical"]), IntSexpVector([len(data)]))
    if t.is_boolean(type):
        return from_booleans(data)
    if t.is_integer(type) or t.is_floating(type):
        return _numbers(data, wanted)
    if t.is_string(type) or t.is_large_string(type) or t.is_string_view(type):
        return strings.from_arrow(data)
    if t.is_dictionary(type):
        return _factor(data, False)
    if t.is_timestamp(type) or t.is_date(type) or t.is_duration(type) or t.is_time(type):
        return _moments(data, layout, attrs or {})
    if t.is_decimal(type):
        tell_decimals(data.drop_null().to_pylist())
        return from_numbers(data.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), missing_of(data))
    if t.is_fixed_size_list(type) and type.list_size == 2 and (wanted == "complex" or (attrs or {}).get("dtype")):
        return _complex(data)
    return _nested(data)


def _numbers(data: Any, wanted: str | None) -> Any:
    missing = missing_of(data)
    values = buffers.view(data, np.dtype(data.type.to_pandas_dtype()), writable=False)
    if wanted == "integer64":
        return integer64(values, missing)
    if wanted == "double" and values.dtype.kind in "iu":
        values = values.astype(np.float64)
    if wanted == "raw":
        return from_bytes(np.ascontiguousarray(values).view(np.uint8))
    return from_numbers(values, missing)


def _complex(data: Any) -> Any:
    out, view = new("complex", len(data))
    pairs = data.values.slice(data.offset * 2, len(data) * 2)
    view[:] = buffers.view(pairs, np.dtype(data.type.value_type.to_pandas_dtype()), writable=False)
    missing = missing_of(data)
    return session.helper("set_na")(out, from_numbers(missing)) if missing is not None else out


def _nested(data: Any) -> Any:
    """Lists, structs, maps and binary: a list with one element each."""
    from metaflow_core.values.python_tree import to_tree

    return ListSexpVector([from_tree(to_tree(item)) for item in data.to_pylist()])


def _moments(data: Any, layout: dict[str, Any], attrs: dict[str, Any]) -> Any:
    type, t = data.type, pa.types
    missing = missing_of(data)
    if t.is_date32(type) or t.is_time32(type):
        ticks = buffers.view(data, np.dtype(np.int32), writable=False).astype(np.int64)
    else:
        ticks = buffers.view(data, np.dtype(np.int64), writable=False)
    if t.is_date(type):
        name, numbers = "Date", (ticks if t.is_date32(type) else ticks // 86_400_000).astype(np.float64)
    elif t.is_timestamp(type):
        name, numbers = "POSIXct", seconds_of(ticks, type.unit, missing)
    elif t.is_time(type):
        name, numbers = "hms", seconds_of(ticks, type.unit, missing)
    else:
        units = str(layout.get("units", "secs"))
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[type.unit]
        name, numbers = "difftime", amounts_of(ticks, SECONDS[units] * per_second, missing)
        layout = {**layout, "units": units}
    if layout.get("storage") == "integer":
        numbers = numbers.astype(np.int32)
    elif numbers.dtype.kind == "i":
        numbers = numbers.astype(np.float64)
    zone = None
    if t.is_timestamp(type):
        zone = type.tz or "UTC"
        if zone[:1] in "+-":
            zone = zone_of_offset(int(zone[:3]) * 60 + int(zone[0] + zone[-2:]))
    return classed_time(from_numbers(numbers, missing), name, layout, zone)


_CLASSES = {
    "POSIXct": ("POSIXct", "POSIXt"),
    "Date": ("Date",),
    "difftime": ("difftime",),
    "hms": ("hms", "difftime"),
    "integer64": ("integer64",),
}


def classed_time(number: Any, type: str, layout: dict[str, Any], zone: str | None) -> Any:
    """A vector of numbers as dates or times."""
    if type == "integer64":
        return integer64(np.zeros(1, np.int64), np.array([True]))
    set_attribute(number, "class", StrSexpVector(_CLASSES[type]))
    if type == "POSIXct":
        zones = layout.get("tzone", [zone])
        if zones is not None:
            set_attribute(number, "tzone", StrSexpVector([str(name) for name in zones]))
    elif type in ("difftime", "hms"):
        set_attribute(number, "units", StrSexpVector([str(layout.get("units", "secs"))]))
    return number


# --- factors ----------------------------------------------------------------------------------------------------------


def categorical(node: Node) -> Any:
    data = node.data
    if "categories" in node.fields:
        levels = session.helper("as_levels")(from_tree(node.fields["categories"]))
        codes = one(data)
        value = _coded(codes, levels, bool(node.attrs.get("ordered")))
    else:
        if isinstance(data, pa.ChunkedArray):
            data = data.unify_dictionaries()
        value = _factor(one(data), bool(node.attrs.get("ordered")))
    return attributes_of(value, node, "r:")


def _factor(data: Any, ordered: bool) -> Any:
    if isinstance(data, pa.ChunkedArray):
        data = one(data)
    levels = session.helper("as_levels")(vector(data.dictionary, {}))
    return _coded(data.indices, levels, ordered)


def _coded(indices: Any, levels: Any, ordered: bool) -> Any:
    missing = missing_of(indices)
    values = buffers.view(indices, np.dtype(indices.type.to_pandas_dtype()), writable=False)
    codes, out = new("integer", len(indices))
    out[:] = values
    out += 1
    if missing is not None:
        out[missing] = NA_INTEGER
    if missing is None and len(out) and out.min() < 1:
        out[out < 1] = NA_INTEGER
    set_attribute(codes, "levels", levels)
    return set_attribute(codes, "class", StrSexpVector(["ordered", "factor"] if ordered else ["factor"]))


# --- arrays -----------------------------------------------------------------------------------------------------------


def ndarray(node: Node) -> Any:
    name, shape = str(node.attrs["dtype"]), [int(n) for n in node.attrs["shape"]]
    if name == "object":
        value = from_tree(node.value)
    elif name == "record":
        parts = {field: from_tree(node.fields[field]) for field in node.attrs["fields"]}
        return session.helper("as_frame")(named_list(parts))
    else:
        from metaflow_core.values.python_numpy import from_tree as numpy_value

        if name[0] in "US":
            flat = numpy_value(node, from_tree)
            if name[0] == "S":
                flat = np.char.decode(flat, "utf-8", "replace")
            value = strings.from_arrow(pa.array(flat.reshape(-1, order="F").tolist(), pa.large_string()))
        else:
            array = numpy_value(node, from_tree)
            value = numpy_array(array.reshape(-1, order="F"))
    if len(shape) != 1 or node.layout.get("type") == "array":
        if name == "object" and len(shape) > 1:
            return session.helper("by_rows")(value, IntSexpVector(shape))
        if not shape:
            return value
        value = set_attribute(value, "dim", IntSexpVector(shape))
    if "dimnames" in node.fields:
        return session.helper("with_attributes")(value, named_list({"dimnames": from_tree(node.fields["dimnames"])}))
    return value


def numpy_array(flat: Any) -> Any:
    """A numpy array of one dimension, or none, as an R vector."""
    flat = np.atleast_1d(flat)
    kind = flat.dtype.kind
    if not flat.dtype.isnative:
        flat = flat.astype(flat.dtype.newbyteorder("="))
    if kind == "c":
        out, view = new("complex", len(flat))
        view[:] = np.ascontiguousarray(flat.astype(np.complex128)).view(np.float64)
        return out
    if kind in "mM":
        missing = np.isnat(flat)
        unit, _ = np.datetime_data(flat.dtype)
        if kind == "M" and unit in ("Y", "M", "W", "D"):
            days = flat.astype("M8[D]").view(np.int64)
            return classed_time(from_numbers(days.astype(np.float64), missing), "Date", {}, None)
        better = "ns" if unit in ("ps", "fs", "as") else unit if unit in ("s", "ms", "us", "ns") else "s"
        ticks = flat.astype(f"{kind}8[{better}]").view(np.int64)
        numbers = np.asarray(seconds_of(ticks, better, missing), np.float64)
        name = "POSIXct" if kind == "M" else "difftime"
        return classed_time(from_numbers(numbers, missing if missing.any() else None), name, {}, "UTC")
    if kind == "V":
        return from_bytes(np.ascontiguousarray(flat).view(np.uint8))
    return from_numbers(np.ascontiguousarray(flat))


# --- tables -----------------------------------------------------------------------------------------------------------


def column(node: Node) -> Any:
    """A column of a data frame."""
    if node.kind == "categorical":
        return categorical(node)
    if "r:self" in node.fields:
        return from_tree(node.fields["r:self"])
    dtype = node.attrs.get("dtype")
    if node.data is None and dtype == "interval":
        return session.helper("as_frame")(named_list({end: column(node.fields[end]) for end in ("left", "right")}))  # type: ignore[arg-type]
    if node.data is None:
        value: Any = from_tree(node.value) if dtype == "opaque" else _cells(node)
    elif dtype == "period":
        value = strings.from_arrow(pa.array([str(p) for p in _pandas(node)], pa.large_string()))
    elif (
        dtype == "object" and isinstance(node.data, (pa.Array, pa.ChunkedArray)) and node.layout.get("cells") == "json"
    ):
        value = ListSexpVector([from_tree(item) for item in items_of(Node("list", data=node.data, layout=node.layout))])
    else:
        value = vector(node.data, node.layout, node.attrs)
    return attributes_of(value, node, "r:")


def _cells(node: Node) -> Any:
    """A column of objects: a vector when all of them are scalars of one type, unless it was a list in R."""
    inner = node.value
    items = items_of(inner)
    if not node.attrs.get("list") and vector_type(items) is not None:
        return from_tree(items)
    return ListSexpVector([from_tree(item) for item in items])


def _pandas(node: Node) -> Any:
    from metaflow_core.values.pandas_column import read_column

    return read_column(node, from_tree)


def dataframe(node: Node) -> Any:
    nodes: Any = node.value
    columns = [column(part) for part in nodes]
    if "columns" in node.fields:
        names = [_label(label) for label in items_of_index(node.fields["columns"])]
    else:
        names = [str(part.attrs.get("name", part.layout.get("column", ""))) for part in nodes]
    rows = len(nodes[0].data) if nodes and nodes[0].data is not None else -1
    index = node.fields.get("index")
    count = IntSexpVector([int(node.attrs.get("rows", rows))])
    classes = node.attrs.get("class", ["data.frame"])
    if "r:class" in node.fields:
        classes = items_of(node.fields["r:class"])
    return session.helper("make_frame")(
        set_attribute(ListSexpVector(columns), "names", StrSexpVector(names)),
        StrSexpVector([str(name) for name in classes]),
        count,
        NULL if index is None else _row_names(index),
        StrSexpVector([str(node.layout.get("row_names", "counted"))]),
        _rest(node),
    )


def _rest(node: Node) -> Any:
    """The attributes of a frame that only R has."""
    names = [name for name in node.fields if name.startswith("r:") and name != "r:class"]
    found = {name.removeprefix("r:"): from_tree(node.fields[name]) for name in names}
    if "attrs" in node.fields:
        found["pandas.attrs"] = from_tree(node.fields["attrs"])
    index = node.fields.get("index")
    name = index.fields.get("name") if isinstance(index, Node) else None
    if isinstance(name, str):
        found["pandas.index.name"] = StrSexpVector([name])
    return named_list(found)


def _row_names(index: Any) -> Any:
    if index.kind == "index" and "range" in index.attrs:
        start, stop, step = index.attrs["range"]
        return IntSexpVector(list(range(start, stop, step)))
    return from_tree(index)


def items_of_index(index: Any) -> list[Any]:
    """The labels of an index."""
    if "range" in index.attrs:
        return list(range(*index.attrs["range"]))
    value = from_tree(index)
    return list(session.helper("labels_of")(value))


def _label(label: Any) -> str:
    return str(label)


def series(node: Node) -> Any:
    inner: Any = node.value[0] if isinstance(node.value, list) else node.value
    value = column(inner) if isinstance(inner, Node) else from_tree(inner)
    index = node.fields.get("index")
    if index is None:
        return value
    return session.helper("with_labels")(value, _row_names(index))


def index(node: Node) -> Any:
    if "range" in node.attrs:
        start, stop, step = node.attrs["range"]
        return from_numbers(np.arange(start, stop, step))
    assert isinstance(node.value, Node)
    return column(node.value)


def multiindex(node: Node) -> Any:
    levels = [from_tree(level) for level in node.value]  # type: ignore[union-attr]
    codes = [from_tree(code) for code in items_of(node.fields["codes"])]
    names = [_label(name) if name is not None else "" for name in items_of(node.fields["names"])]
    return session.helper("as_multiindex")(ListSexpVector(levels), ListSexpVector(codes), StrSexpVector(names))


def pandas_array(node: Node) -> Any:
    assert isinstance(node.value, Node)
    return column(node.value)


def pandas_scalar(node: Node) -> Any:
    name = node.attrs["type"]
    if name in ("NaT", "NA"):
        if name == "NA":
            return session.helper("typed_na")(StrSexpVector(["logical"]))
        return classed_time(session.helper("typed_na")(StrSexpVector(["double"])), "POSIXct", {}, "UTC")
    seconds = float(seconds_of(np.int64(node.value), node.attrs["unit"]))  # type: ignore[arg-type]
    if name == "Timedelta":
        return classed_time(FloatSexpVector([seconds]), "difftime", {}, None)
    from metaflow_r.read import _zone_name

    return classed_time(FloatSexpVector([seconds]), "POSIXct", {}, _zone_name(node))


def arrow_array(node: Node) -> Any:
    return vector(node.data, node.layout)
