"""Artifacts as Arrow data, whichever language wrote them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from metaflow_core.values import structure
from metaflow_core.values.encoded import Stored
from metaflow_core.values.node import Node, Tree

TABLES = frozenset({"dataframe", "polars.frame", "arrow.table", "arrow.batch"})
_WRAPPED = frozenset({"series", "index", "pandas.array", "polars.series"})


def to_arrow(stored: Stored, tree: Tree) -> Any:
    """The Arrow data of a tree that was read from ``stored``."""
    if not isinstance(tree, (Node, list)):
        return pa.scalar(tree)
    if isinstance(tree, list):
        try:
            return pa.array(tree)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.scalar(_text(tree))
    if tree.kind == "numpy.scalar":
        return pa.scalar(tree.value) if not isinstance(tree.value, list) else pa.scalar(_text(tree))
    if tree.kind == "opaque":
        return pa.scalar(_bytes(tree), pa.large_binary())
    if tree.kind in TABLES:
        return table(tree)
    if tree.kind in _WRAPPED:
        inner = tree.value[0] if isinstance(tree.value, list) else tree.value
        data = _data(inner)
        return data if data is not None else pa.scalar(_text(tree))
    if tree.data is not None:
        return tree.data if tree.kind not in ("str", "bytes", "arrow.scalar") else tree.data[0]
    if stored.read is not None and stored.encoding == "arrow":
        return pa.ipc.open_file(pa.py_buffer(stored.read())).read_all()
    return pa.scalar(_text(tree))


def table(tree: Node) -> pa.Table:
    """The columns of a data frame of any kind, without its index."""
    nodes: Any = tree.value
    columns, names = [], []
    for number, node in enumerate(nodes):
        data = _data(node)
        if data is None:  # an opaque column has no form of its own here
            data = pa.array([_text(node)] * _rows(nodes), pa.large_string())
        columns.append(data)
        names.append(str(node.attrs.get("name", node.layout.get("column", number))))
    return pa.Table.from_arrays(columns, names=names)


def _data(node: Any) -> pa.Array | pa.ChunkedArray | None:
    if not isinstance(node, Node):
        return None
    return node.data if node.data is not None else _data(node.value)


def _rows(nodes: list[Node]) -> int:
    return next((len(data) for node in nodes if (data := _data(node)) is not None), 0)


def _bytes(tree: Node) -> bytes:
    if isinstance(tree.value, Node) and tree.value.data is not None:
        return bytes(tree.value.data[0].as_py())
    assert isinstance(tree.value, bytes)
    return tree.value


def _text(tree: Tree) -> str:
    return structure.dumps(structure.ToJson(put=lambda node: None).convert(tree)).decode()
