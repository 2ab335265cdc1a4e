"""Trees as Arrow IPC files, and back.

``docs/artifact-format.md`` describes the two layouts: ``table``, where every part is a column and the file is a plain
table, and ``parts``, where every part is one list in a column of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
from blake3 import blake3

from metaflow_core.errors import UnreadableArtifact
from metaflow_core.values import compression, structure
from metaflow_core.values.columns import Residue
from metaflow_core.values.fingerprint import fingerprint
from metaflow_core.values.node import Node, Tree
from metaflow_core.values.pack import pack
from metaflow_core.values.version import VERSION, check_version

HEADER = b"metaflow"
_MAX_HEADER = 1 << 16  # bytes of structure that may stand in the header
_COPIED = 1 << 20  # bytes up to which a read-only payload is copied, so that its arrays can be changed
_CHECKED = 64 << 20  # files up to this size are checked in full before they are read


@dataclass(slots=True)
class Prepared:
    """An Arrow file that is ready to be written. ``identity`` are texts that together name its bytes."""

    fingerprint: str
    identity: list[bytes]
    size: int
    write: Callable[[IO[bytes]], None]


def prepare(tree: Tree, type: str, language: str) -> Prepared:
    """Everything of the file that will hold ``tree`` but its bytes. No large data is copied."""
    tree = pack(tree)
    residue = Residue()
    mark = fingerprint(tree, residue)
    parts = _Parts()
    text = structure.dumps(structure.ToJson(parts.put).convert(tree))
    header = {"version": VERSION, "language": language, "type": type}
    schema, batches = parts.layout(text, header)
    options = compression.options(parts.size())
    identity = [
        mark.encode(),
        residue.hasher.digest(),
        blake3(text).digest(),
        schema.serialize().to_pybytes(),
        json.dumps([parts.lengths(), options.compression]).encode(),
    ]

    def send(sink: Any) -> None:
        with pa.ipc.new_file(sink, schema, options=options) as writer:
            for batch in batches():
                writer.write_batch(batch)

    if options.compression is None:
        count = pa.MockOutputStream()
        send(count)
        size = count.size()

        def write(file: IO[bytes]) -> None:
            send(pa.PythonFile(file, mode="w"))
    else:
        whole = pa.BufferOutputStream()
        send(whole)
        buffer = whole.getvalue()
        size = buffer.size

        def write(file: IO[bytes]) -> None:
            file.write(memoryview(buffer))

    return Prepared(mark, identity, size, write)


class _Parts:
    """The typed arrays of a tree, in the order in which its structure names them."""

    def __init__(self) -> None:
        self.arrays: list[pa.ChunkedArray] = []
        self.names: list[str] = []
        self.inline = 0

    def put(self, node: Node) -> int:
        data = node.data
        assert data is not None
        chunked = data if isinstance(data, pa.ChunkedArray) else pa.chunked_array([data], type=data.type)
        if chunked.num_chunks > 1:
            chunked = _one_dictionary(chunked)
        self.arrays.append(chunked)
        self.names.append(str(node.layout.get("column", node.attrs.get("name", node.kind))))
        return len(self.arrays) - 1

    def size(self) -> int:
        return sum(array.nbytes for array in self.arrays)

    def lengths(self) -> list[list[int]]:
        return [[len(chunk) for chunk in array.chunks] for array in self.arrays]

    def layout(self, text: bytes, header: dict[str, Any]) -> tuple[pa.Schema, Callable[[], Iterator[pa.RecordBatch]]]:
        """The schema of the file, and what yields its batches."""
        if len({len(array) for array in self.arrays}) == 1 and len(text) <= _MAX_HEADER:
            header = {**header, "layout": "table", "tree": json.loads(text)}
            fields = zip(distinct(self.names), self.arrays, strict=True)
            schema = pa.schema([pa.field(name, array.type) for name, array in fields], _metadata(header))
            return schema, lambda: self._table(schema)
        header = {**header, "layout": "parts"}
        types = [pa.large_list(pa.field("item", array.type)) for array in self.arrays]
        columns = [pa.field(f"{i}:{name}", type) for i, (name, type) in enumerate(zip(self.names, types, strict=True))]
        schema = pa.schema([pa.field("tree", pa.large_binary()), *columns], _metadata(header))
        return schema, lambda: self._rows(text, schema)

    def _table(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        batches = pa.Table.from_arrays(self.arrays, schema=schema).to_batches()
        if batches:
            return iter(batches)
        # A table without rows still has dictionaries, which only a batch can bring.
        empty = [array.chunk(0) if array.num_chunks else pa.array([], array.type) for array in self.arrays]
        return iter([pa.RecordBatch.from_arrays(empty, schema=schema)])

    def _rows(self, text: bytes, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """One batch of one row per chunk; a part that has fewer chunks is null in the rest."""
        for row in range(max([1, *(array.num_chunks for array in self.arrays)])):
            columns = [pa.array([text if row == 0 else None], pa.large_binary())]
            for array, field in zip(self.arrays, list(schema)[1:], strict=True):
                if row < array.num_chunks:
                    chunk = array.chunk(row)
                    ends = pa.array([0, len(chunk)], pa.int64())
                    columns.append(pa.LargeListArray.from_arrays(ends, chunk, type=field.type))
                else:
                    columns.append(pa.nulls(1, field.type))
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _one_dictionary(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """A file can hold only one dictionary per column."""
    return array.unify_dictionaries() if pa.types.is_dictionary(array.type) else array


def _metadata(header: dict[str, Any]) -> dict[bytes, bytes]:
    return {HEADER: structure.dumps(header)}


def distinct(names: list[str]) -> list[str]:
    """The names of the file's columns: other tools do not open a file where two columns have one name."""
    taken: set[str] = set(names)
    seen: set[str] = set()
    out = []
    for name in names:
        unique, number = name, 1
        while unique in seen or (unique != name and unique in taken):
            unique, number = f"{name}_{number}", number + 1
        seen.add(unique)
        out.append(unique.encode("utf-8", "replace").decode())
    return out


def read(payload: memoryview) -> Tree:
    """The tree of a file. Its arrays are views of ``payload``; of a small one that is read-only, views of a copy."""
    if payload.readonly and len(payload) <= _COPIED:
        payload = memoryview(bytearray(payload))
    buffer = pa.py_buffer(payload)
    try:
        reader = pa.ipc.open_file(pa.BufferReader(buffer))
        header = header_of(reader.schema)
        table = reader.read_all()
        table.validate(full=len(payload) <= _CHECKED)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise UnreadableArtifact(
            "The artifact's stored data is damaged: it is no whole Arrow file. "
            "Restore the file from a backup, or run the step again."
        ) from error
    writable = not payload.readonly
    if header["layout"] == "table":
        arrays = [single(column) for column in table.columns]
        item = header["tree"]
    elif header["layout"] == "parts":
        item = structure.loads(table.column(0)[0].as_py())
        arrays = [_part(column) for column in table.columns[1:]]
    else:
        raise UnreadableArtifact(f"The artifact's file has the unknown layout {header['layout']!r}.")

    def get(place: Any, node: Node) -> None:
        node.data = arrays[place]
        node.writable = writable

    return structure.from_json(item, get)


def header_of(schema: pa.Schema) -> dict[str, Any]:
    text = (schema.metadata or {}).get(HEADER)
    if text is None:
        raise UnreadableArtifact("The artifact's stored data is an Arrow file that was not written as an artifact.")
    header = json.loads(text)
    check_version(header["version"])
    return dict(header)


def single(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return column.chunk(0) if column.num_chunks == 1 else column


def _part(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    rows = [chunk.flatten() for chunk in column.chunks if chunk.null_count == 0]
    return single(pa.chunked_array(rows, type=column.type.value_type))
