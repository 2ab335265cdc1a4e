"""Stores a stream of record batches without ever holding all of it in memory."""

from __future__ import annotations

import json
import shutil
import tempfile
from typing import IO, Any

import pyarrow as pa

from metaflow_core.values import arrow_file, columns, compression, structure
from metaflow_core.values.arrow_file import Prepared
from metaflow_core.values.columns import Residue
from metaflow_core.values.fingerprint import fingerprint
from metaflow_core.values.node import Node
from metaflow_core.values.python_arrow import table_node
from metaflow_core.values.version import VERSION


def prepare(reader: pa.RecordBatchReader, type: str, language: str) -> Prepared:
    """Spool the stream to a temporary file, digesting it on the way; the file is gone once it is written or dropped."""
    schema = reader.schema
    if not len(schema) or any(_has_dictionary(field.type) for field in schema):
        # The batches of a stream may each bring a dictionary of their own, and a file can hold only one per column.
        return arrow_file.prepare(table_node("arrow.table", reader.read_all()), type, language)
    node = table_node("arrow.table", schema.empty_table())
    nodes: Any = node.value
    text, written = _layout(node, schema, type, language)
    residue = Residue()
    hashers = [columns.column_hasher(field.type, residue) for field in schema]
    spool: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as what is returned)
    options = compression.options(1 << 30)
    lengths = []
    with pa.ipc.new_file(pa.PythonFile(_Unclosed(spool), mode="w"), written, options=options) as writer:
        for batch in reader:
            for hasher, column in zip(hashers, batch.columns, strict=True):
                hasher.update(column)
            lengths.append(batch.num_rows)
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=written))
    for part, hasher in zip(nodes, hashers, strict=True):
        part.data = columns.Digested(hasher.digest())
    mark = fingerprint(node, residue)
    facts = json.dumps([lengths, options.compression]).encode()
    identity = [mark.encode(), residue.hasher.digest(), text, written.serialize().to_pybytes(), facts]

    def write(file: IO[bytes]) -> None:
        spool.seek(0)
        shutil.copyfileobj(spool, file, 1 << 20)

    return Prepared(mark, identity, spool.seek(0, 2), write)


def _layout(node: Node, schema: pa.Schema, type: str, language: str) -> tuple[bytes, pa.Schema]:
    """The text of the structure, and the schema of the file: a plain table, in the layout of any other."""
    places = iter(range(len(schema)))
    tree = structure.ToJson(lambda part: next(places)).convert(node)
    header = {"version": VERSION, "language": language, "type": type, "layout": "table", "tree": tree}
    names = arrow_file.distinct(schema.names)
    fields = [pa.field(name, field.type) for name, field in zip(names, schema, strict=True)]
    return structure.dumps(tree), pa.schema(fields, {arrow_file.HEADER: structure.dumps(header)})


def _has_dictionary(type: pa.DataType) -> bool:
    if pa.types.is_dictionary(type):
        return True
    return any(_has_dictionary(type.field(i).type) for i in range(type.num_fields))


class _Unclosed:
    """A file that Arrow may not close."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self.write, self.tell, self.flush = file.write, file.tell, file.flush

    def close(self) -> None: ...
