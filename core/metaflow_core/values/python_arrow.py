"""Pyarrow's own arrays, scalars, batches and tables."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Any

import pyarrow as pa

from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, NotTyped, ToTree


def to_tree(value: Any, write: ToTree) -> Node:
    if isinstance(value, pa.RecordBatchReader):
        # Kept whole in memory only when it stands inside another value; see ``stream`` for one that stands alone.
        value = value.read_all()
    if isinstance(value, pa.Table):
        return table_node("arrow.table", value)
    if isinstance(value, pa.RecordBatch):
        return table_node("arrow.batch", value)
    if isinstance(value, pa.ChunkedArray):
        return Node("arrow.chunked", data=value)
    if isinstance(value, pa.Array):
        return Node("arrow.array", data=value)
    if isinstance(value, pa.Scalar):
        return Node("arrow.scalar", data=pa.repeat(value, 1))
    raise NotTyped


def table_node(kind: str, table: pa.Table | pa.RecordBatch) -> Node:
    """A table as a node whose value is its columns."""
    names = list(table.schema.names)
    columns = [Node("column", attrs={"name": n}, data=c) for n, c in zip(names, table.columns, strict=True)]
    node = Node(kind, value=list(columns))
    if not columns:
        node.attrs["rows"] = table.num_rows
    plain = pa.schema([(field.name, field.type) for field in table.schema])
    if not plain.equals(table.schema, check_metadata=True):
        node.layout["schema"] = b2a_base64(table.schema.serialize().to_pybytes(), newline=False).decode("ascii")
    return node


def from_tree(tree: Node, read: FromTree) -> Any:
    if tree.kind in ("arrow.table", "arrow.batch"):
        return read_table(tree)
    data = tree.data
    if tree.kind == "arrow.chunked":
        return data if isinstance(data, pa.ChunkedArray) else pa.chunked_array([data])
    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks()
    assert data is not None
    return data[0] if tree.kind == "arrow.scalar" else data


def read_table(tree: Node) -> pa.Table | pa.RecordBatch:
    """The table, or the batch, of a node whose value is its columns."""
    nodes: Any = tree.value
    columns = [node.data for node in nodes]
    if "schema" in tree.layout:
        schema = pa.ipc.read_schema(pa.py_buffer(a2b_base64(tree.layout["schema"])))
    else:
        schema = pa.schema([(node.attrs["name"], node.data.type) for node in nodes])
    if not columns:
        table = pa.table({"": pa.nulls(tree.attrs["rows"])}).select([]).replace_schema_metadata(schema.metadata)
    else:
        table = pa.Table.from_arrays(columns, schema=schema)
    if tree.kind != "arrow.batch":
        return table
    combined = [column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in columns]
    if not columns:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * tree.attrs["rows"], pa.struct([])))
    return pa.RecordBatch.from_arrays(combined, schema=schema)
