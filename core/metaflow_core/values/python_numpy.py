"""Numpy arrays and scalars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from metaflow_core.values import buffers
from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, NotTyped, ToTree, Unstorable

_ARROW_UNITS = frozenset({"s", "ms", "us", "ns"})


def to_tree(value: Any, write: ToTree) -> Node:
    cls = type(value)
    if cls is np.ndarray or cls is np.memmap:
        return _array(np.asarray(value), write)
    if isinstance(value, np.generic) and cls.__module__ == "numpy":
        return _scalar(value)
    raise NotTyped


def from_tree(tree: Node, read: FromTree) -> Any:
    return _read_scalar(tree) if tree.kind == "numpy.scalar" else _read_array(tree, read)


def _scalar(value: np.generic) -> Node:
    kind = value.dtype.kind
    name = type(value).__name__
    if kind in "mM":
        return Node("numpy.scalar", value=[int(value.view(np.int64))], attrs={"dtype": value.dtype.name})
    if kind == "c" and value.dtype.itemsize <= 16:
        return Node("numpy.scalar", value=[float(value.real), float(value.imag)], attrs={"dtype": name})
    if kind in "biuSU" or (kind == "f" and value.dtype.itemsize <= 8):
        return Node("numpy.scalar", value=value.item(), attrs={"dtype": name})
    raise NotTyped


def _read_scalar(tree: Node) -> Any:
    dtype, value = np.dtype(tree.attrs["dtype"]), tree.value
    if dtype.kind in "mM":
        return np.array(value, np.int64).view(dtype)[0]
    if dtype.kind == "c":
        return dtype.type(complex(*value))  # type: ignore[misc]
    return dtype.type(value)


def _array(array: Any, write: ToTree) -> Node:
    dtype = array.dtype
    if dtype.metadata:
        raise NotTyped
    node = Node("ndarray", attrs={"dtype": _dtype_name(dtype), "shape": list(array.shape)})
    if dtype.kind in "OVSU" or not array.flags.f_contiguous or array.flags.c_contiguous:
        flat = np.ascontiguousarray(array).reshape(-1)
    else:
        node.layout["order"] = "F"
        flat = array.reshape(-1, order="F")
    if dtype.byteorder == ">" and dtype.kind not in "SU":
        node.layout["byteorder"] = ">"
        flat = flat.astype(dtype.newbyteorder("="))
    if dtype.kind == "O":
        node.value = _objects(array, flat, write)
    elif dtype.names is not None:
        node.attrs["fields"] = list(dtype.names)
        node.layout["descr"] = _descr(dtype)
        node.fields = {name: _array(np.ascontiguousarray(flat[name]), write) for name in dtype.names}
    else:
        node.data = _data(flat, node)
    return node


def _objects(array: Any, flat: Any, write: ToTree) -> Any:
    """The elements of an array of objects."""
    tree = []
    for position, item in enumerate(flat.tolist()):
        try:
            tree.append(write(item))
        except Unstorable as error:
            where = np.unravel_index(position, array.shape)
            error.path = f"[{', '.join(str(int(i)) for i in where)}]{error.path}"
            raise
    return tree


def _descr(dtype: np.dtype[Any]) -> Any:
    """What makes a structured type again, as JSON. ``NotTyped`` for what can't be described."""
    fields = []
    assert dtype.names is not None and dtype.fields is not None
    for name in dtype.names:
        field = dtype.fields[name]
        if len(field) > 2:
            raise NotTyped
        base, shape = field[0].subdtype or (field[0], ())
        kind = _descr(base) if base.names is not None else base.str
        if base.kind == "V" and base.names is None:
            raise NotTyped
        fields.append([name, kind, list(shape), field[1]])
    return {"fields": fields, "size": dtype.itemsize, "aligned": dtype.isalignedstruct}


def _from_descr(descr: Any) -> np.dtype[Any]:
    names, formats, offsets = [], [], []
    for name, kind, shape, offset in descr["fields"]:
        base = _from_descr(kind) if isinstance(kind, dict) else np.dtype(kind)
        names.append(name)
        formats.append((base, tuple(shape)) if shape else base)
        offsets.append(offset)
    spec = {"names": names, "formats": formats, "offsets": offsets, "itemsize": descr["size"]}
    return np.dtype(spec, align=descr["aligned"])  # type: ignore[call-overload, no-any-return]


def _dtype_name(dtype: np.dtype[Any]) -> str:
    if dtype.kind in "SU" or (dtype.kind == "V" and dtype.names is None and dtype.itemsize):
        return f"{dtype.kind}{dtype.itemsize // (4 if dtype.kind == 'U' else 1)}"
    if dtype.kind in "biufcmM" and not (dtype.kind in "fc" and dtype.name in ("longdouble", "clongdouble")):
        if (dtype.kind == "f" and dtype.itemsize > 8) or (dtype.kind == "c" and dtype.itemsize > 16):
            raise NotTyped
        return dtype.name
    if dtype.names is not None:
        return "record"
    if dtype.kind == "O":
        return "object"
    raise NotTyped


def _data(flat: Any, node: Node) -> pa.Array:
    dtype = flat.dtype
    if dtype.kind == "b":
        return buffers.arrow(flat.view(np.uint8), pa.uint8())
    if dtype.kind in "iuf":
        return buffers.arrow(flat, pa.from_numpy_dtype(dtype))
    if dtype.kind == "c":
        half = pa.float32() if dtype.itemsize == 8 else pa.float64()
        return pa.FixedSizeListArray.from_arrays(buffers.arrow(flat.view(half.to_pandas_dtype()), half), 2)
    if dtype.kind in "mM":
        unit, step = np.datetime_data(dtype)
        numbers = flat.view(np.int64)
        if unit not in _ARROW_UNITS or step != 1:
            return buffers.arrow(numbers, pa.int64())
        type = pa.timestamp(unit) if dtype.kind == "M" else pa.duration(unit)
        return buffers.arrow(numbers, type, np.isnat(flat))
    if dtype.kind == "U":
        try:
            return pa.array(flat.tolist(), pa.large_string())
        except UnicodeEncodeError:
            raise NotTyped from None
    if dtype.itemsize == 0:
        return pa.nulls(len(flat))
    return buffers.arrow(flat, pa.binary(dtype.itemsize))


def _read_array(tree: Node, read: FromTree) -> Any:
    name, shape = tree.attrs["dtype"], tuple(tree.attrs["shape"])
    order: Any = tree.layout.get("order", "C")
    if name == "object":
        items = read(tree.value)
        flat: Any = np.empty(len(items), object)
        flat[:] = items
    elif name == "record":
        flat = np.zeros(_count(shape), _from_descr(tree.layout["descr"]))
        for field in tree.attrs["fields"]:
            flat[field] = read(tree.fields[field])
    else:
        flat = _read_data(tree, np.dtype(name))
    if "byteorder" in tree.layout:
        flat = flat.astype(flat.dtype.newbyteorder(tree.layout["byteorder"]))
    return flat.reshape(shape, order=order)


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _read_data(tree: Node, dtype: np.dtype[Any]) -> Any:
    data = tree.data
    assert data is not None
    if dtype.kind == "U":
        return np.array(data.to_pylist(), dtype)
    if pa.types.is_null(data.type):
        return np.zeros(len(data), dtype)
    flat = buffers.view(data, dtype, writable=tree.writable)
    if dtype.kind in "mM" and data.null_count:
        missing = data.is_null().to_numpy(zero_copy_only=False)
        if not np.isnat(flat[missing]).all():
            flat = flat.copy()
            flat[missing] = np.array("NaT", dtype)
    return flat
