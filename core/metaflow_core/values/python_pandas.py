"""Pandas frames, series, indexes and scalars."""

from __future__ import annotations

from typing import Any

import pandas as pd

from metaflow_core.values import losses, r_attributes
from metaflow_core.values.node import Node, Tree
from metaflow_core.values.pandas_column import column, read_column
from metaflow_core.values.python_datetime import read_zone, zone
from metaflow_core.values.registry import FromTree, NotTyped, ToTree, Unstorable


def to_tree(value: Any, write: ToTree) -> Tree:
    cls = type(value)
    if cls is pd.DataFrame:
        return _frame(value, write)
    if cls is pd.Series:
        node = Node("series", value=column(value.array, write))
        _add_index(node, value.index, write)
        _add_name(node, value.name, write)
        _add_extras(node, value, write)
        return node
    if isinstance(value, pd.Index):
        return _index(value, write)
    if cls is pd.Categorical or isinstance(value, pd.api.extensions.ExtensionArray):
        node = column(value, write)
        return node if node.kind == "categorical" else Node("pandas.array", value=node)
    return _scalar(value)


def from_tree(tree: Node, read: FromTree) -> Any:
    return _READERS[tree.kind](tree, read)


def _frame(frame: pd.DataFrame, write: ToTree) -> Node:
    names = list(frame.columns)
    columns = []
    for position, name in enumerate(names):
        try:
            node = column(frame.iloc[:, position].array, write)
        except Unstorable as error:
            error.path = f"[{name!r}]{error.path}"
            raise
        columns.append(node)
    out = Node("dataframe", value=list(columns))
    plain = all(type(name) is str and _is_text(name) for name in names)
    if plain and type(frame.columns) is pd.Index and frame.columns.equals(_labels(names)):
        plain = frame.columns.dtype == _labels(names).dtype and frame.columns.name is None
    else:
        plain = False
    if plain or (not names and _is_counting(frame.columns)):
        if not names and plain:
            out.layout["columns"] = "labels"
        for node, name in zip(columns, names, strict=True):
            node.attrs["name"] = name
    else:
        out.fields["columns"] = _index(frame.columns, write)
        for node, name in zip(columns, names, strict=True):
            node.layout["column"] = str(name).encode("utf-8", "replace").decode()
    if not columns:
        out.attrs["rows"] = len(frame)
    _add_index(out, frame.index, write)
    kept = frame.attrs.get(r_attributes.KEY)
    known = kept is not None and r_attributes.write(out, columns, names, kept)
    _add_extras(out, frame, write, r_attributes.KEY if known else None)
    return out


def _labels(names: list[str]) -> pd.Index[Any]:
    return pd.Index(names)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _add_index(node: Node, index: pd.Index[Any], write: ToTree) -> None:
    """The index, unless it only counts from 0, which is what an absent one means."""
    if not _is_counting(index):
        node.fields["index"] = _index(index, write)


def _is_counting(index: pd.Index[Any]) -> bool:
    if type(index) is not pd.RangeIndex or index.name is not None:
        return False
    return bool(index.start == 0 and index.step == 1 and index.stop == len(index))


def _add_name(node: Node, name: Any, write: ToTree) -> None:
    if name is not None:
        node.fields["name"] = write(name)


def _add_extras(node: Node, value: Any, write: ToTree, skip: str | None = None) -> None:
    attrs = {name: part for name, part in value.attrs.items() if skip is None or name != skip}
    if attrs:
        node.fields["attrs"] = write(attrs)
    if not value.flags.allows_duplicate_labels:
        node.attrs["unique_labels"] = True


def _index(index: pd.Index[Any], write: ToTree) -> Tree:
    cls = type(index)
    if cls is pd.MultiIndex:
        levels = [_index(level, write) for level in index.levels]
        fields = {"codes": [write(codes) for codes in index.codes], "names": write(list(index.names))}
        return Node("multiindex", value=levels, fields=fields)
    node = Node("index")
    if cls is pd.RangeIndex:
        node.attrs["range"] = [index.start, index.stop, index.step]
    elif cls in (pd.Index, pd.CategoricalIndex, pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex, pd.IntervalIndex):
        node.value = column(index.array, write)
        freq = getattr(index, "freq", None)
        if freq is not None and cls is not pd.PeriodIndex:
            if pd.tseries.frequencies.to_offset(freq.freqstr) != freq:
                raise NotTyped
            node.attrs["freq"] = freq.freqstr
    else:
        raise NotTyped
    _add_name(node, index.name, write)
    return node


def _scalar(value: Any) -> Node:
    if value is pd.NaT:
        return Node("pandas.scalar", attrs={"type": "NaT"})
    if value is pd.NA:
        return Node("pandas.scalar", attrs={"type": "NA"})
    if type(value) is pd.Timestamp:
        attrs, layout = ({}, {}) if value.tzinfo is None else zone(value.tzinfo)
        attrs = {"type": "Timestamp", "unit": value.unit, **attrs}
        return Node("pandas.scalar", value=_count(value), attrs=attrs, layout=layout)
    if type(value) is pd.Timedelta:
        return Node("pandas.scalar", value=_count(value), attrs={"type": "Timedelta", "unit": value.unit})
    raise NotTyped


def _count(value: Any) -> int:
    """How many of its units it is after 1970, or long."""
    return int(value.to_numpy().view("int64"))


def _read_scalar(tree: Node, read: FromTree) -> Any:
    name = tree.attrs["type"]
    if name in ("NaT", "NA"):
        return getattr(pd, name)
    import numpy as np

    count: Any = tree.value
    unit = tree.attrs["unit"]
    if name == "Timedelta":
        return pd.Timedelta(np.timedelta64(count, unit))
    stamp = pd.Timestamp(np.datetime64(count, unit))
    tz = read_zone(tree)
    return stamp if tz is None else stamp.tz_localize("UTC").tz_convert(tz)


def _read_index(tree: Node, read: FromTree) -> pd.Index[Any]:
    name = read(tree.fields.get("name"))
    if "range" in tree.attrs:
        return pd.RangeIndex(*tree.attrs["range"], name=name)
    assert isinstance(tree.value, Node)
    values = read_column(tree.value, read)
    if "freq" in tree.attrs:
        kind = pd.DatetimeIndex if values.dtype.kind == "M" else pd.TimedeltaIndex
        return kind(values, freq=tree.attrs["freq"], name=name)
    return pd.Index(values, dtype=values.dtype, name=name, copy=False, tupleize_cols=False)


def _read_multiindex(tree: Node, read: FromTree) -> pd.MultiIndex:
    levels, codes = read(tree.value), read(tree.fields["codes"])
    return pd.MultiIndex(levels, codes, names=read(tree.fields["names"]), verify_integrity=False)


def _read_series(tree: Node, read: FromTree) -> pd.Series[Any]:
    assert isinstance(tree.value, Node)
    values = read_column(tree.value, read)
    index = read(tree.fields.get("index"))
    series = pd.Series(values, dtype=values.dtype, index=index, name=read(tree.fields.get("name")), copy=False)
    return _with_extras(series, tree, read)


def _read_frame(tree: Node, read: FromTree) -> pd.DataFrame:
    nodes: Any = tree.value
    arrays = [read_column(node, read) for node in nodes]
    index = read(tree.fields.get("index"))
    if index is None:
        index = pd.RangeIndex(len(arrays[0]) if arrays else tree.attrs.get("rows", 0))
    columns = {i: pd.Series(a, dtype=a.dtype, index=index, copy=False) for i, a in enumerate(arrays)}
    frame = pd.DataFrame(columns, index=index, copy=False)
    if "columns" in tree.fields:
        frame.columns = read(tree.fields["columns"])
    elif nodes or tree.layout.get("columns") == "labels":
        frame.columns = _labels([node.attrs["name"] for node in nodes])
    _with_extras(frame, tree, read)
    r_attributes.read(frame, tree, nodes, read)
    return frame


def _with_extras(value: Any, tree: Node, read: FromTree) -> Any:
    if "attrs" in tree.fields:
        value.attrs = read(tree.fields["attrs"])
    if tree.attrs.get("unique_labels"):
        value.flags.allows_duplicate_labels = False
    return value


def _read_array(tree: Node, read: FromTree) -> Any:
    assert isinstance(tree.value, Node)
    return read_column(tree.value, read)


def _read_categorical(tree: Node, read: FromTree) -> Any:
    dropped = sorted(name.removeprefix("r:") for name in tree.fields if name.startswith("r:"))
    if dropped:
        losses.tell(f"it is an R factor with attributes that Python has no place for: {', '.join(dropped)}.")
    return read_column(tree, read)


_READERS = {
    "dataframe": _read_frame,
    "series": _read_series,
    "index": _read_index,
    "multiindex": _read_multiindex,
    "categorical": _read_categorical,
    "pandas.array": _read_array,
    "pandas.scalar": _read_scalar,
}
