"""Sparse matrices and arrays of scipy."""

from __future__ import annotations

from typing import Any

import scipy.sparse as sp  # type: ignore[import-untyped, unused-ignore]

from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, NotTyped, ToTree

_PARTS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "dia": ("data", "offsets"),
    "coo": ("data",),
}


def to_tree(value: Any, write: ToTree) -> Node:
    format = getattr(value, "format", None)
    if format not in _PARTS or type(value) is not _class(format, type(value).__name__.endswith("_array")):
        raise NotTyped
    attrs = {"format": format, "shape": [int(n) for n in value.shape]}
    if isinstance(value, sp.sparray):
        attrs["array"] = True
    fields = {name: write(getattr(value, name)) for name in _PARTS[format]}
    if format == "coo":
        fields["coords"] = write(list(value.coords))
    return Node("sparse", attrs=attrs, fields=fields)


def _class(format: str, array: bool) -> Any:
    return getattr(sp, f"{format}_{'array' if array else 'matrix'}", None)


def from_tree(tree: Node, read: FromTree) -> Any:
    format, shape = tree.attrs["format"], tuple(tree.attrs["shape"])
    cls = _class(format, bool(tree.attrs.get("array")))
    parts = [read(tree.fields[name]) for name in _PARTS[format]]
    if format == "coo":
        return cls((parts[0], tuple(read(tree.fields["coords"]))), shape=shape)
    return cls(tuple(parts), shape=shape)
