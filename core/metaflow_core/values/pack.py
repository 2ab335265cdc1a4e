"""Turns what is large and plain in a tree into typed Arrow arrays, before it is written."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Any

import pyarrow as pa

from metaflow_core.values import structure
from metaflow_core.values.node import Node, Tree

_MIN_ITEMS = 64  # shorter lists are as well off as JSON
_MIN_TEXT = 4096

_TYPES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.large_string(),
    bytes: pa.large_binary(),
}


def pack(tree: Tree) -> Tree:
    """The same tree, its long lists of one type, long texts and columns of mixed values held as arrays."""
    if isinstance(tree, list):
        typed = _typed(tree) if len(tree) >= _MIN_ITEMS else None
        return Node("list", data=typed) if typed is not None else [pack(item) for item in tree]
    if isinstance(tree, Node):
        return _pack_node(tree)
    if isinstance(tree, (str, bytes)) and len(tree) >= _MIN_TEXT:
        return _pack_text(tree)
    return tree


def _pack_node(node: Node) -> Node:
    value = node.value
    return Node(
        node.kind,
        value=_column(value) if node.kind == "column" and isinstance(value, list) else pack(value),
        attrs=node.attrs,
        layout=node.layout,
        data=node.data,
        fields={name: pack(part) for name, part in node.fields.items()},
    )


def _pack_text(text: str | bytes) -> Tree:
    if isinstance(text, bytes):
        ends = pa.array([0, len(text)], pa.int64()).buffers()[1]
        array = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(text)])
        return Node("bytes", data=array)
    try:
        return Node("str", data=pa.array([text], pa.large_string()))
    except UnicodeEncodeError:
        return text  # lone surrogates are no UTF-8; they stay JSON


def _typed(items: list[Any]) -> pa.Array | None:
    """The items as an array when they are plain scalars of one type, None apart."""
    types = set(map(type, items))
    types.discard(type(None))
    if len(types) != 1:
        return None
    try:
        return pa.array(items, _TYPES[types.pop()], from_pandas=False)
    except (KeyError, pa.ArrowInvalid, UnicodeEncodeError, OverflowError):
        return None


def _column(items: list[Any]) -> Node:
    """The elements of a column, always as an array: of their own type, or of one JSON text per element."""
    typed = _typed(items)
    if typed is not None:
        return Node("list", data=typed)
    convert = structure.ToJson(inline).convert
    texts = [None if item is None else structure.dumps(convert(item)).decode() for item in items]
    return Node("list", layout={"cells": "json"}, data=pa.array(texts, pa.large_string()))


def cells(data: pa.Array | pa.ChunkedArray) -> list[Tree]:
    """The elements of a column that is held as JSON texts."""
    texts = data.to_pylist()
    return [None if text is None else structure.from_json(structure.loads(text), outline) for text in texts]


def inline(node: Node) -> str:
    """An array inside a cell: a whole Arrow file, in base64."""
    sink = pa.BufferOutputStream()
    table = pa.table([node.data], names=["item"])
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return b2a_base64(memoryview(sink.getvalue()), newline=False).decode("ascii")


def outline(text: Any, node: Node) -> None:
    column = pa.ipc.open_file(pa.py_buffer(a2b_base64(text))).read_all().column(0)
    node.data = column.chunk(0) if column.num_chunks == 1 else column
