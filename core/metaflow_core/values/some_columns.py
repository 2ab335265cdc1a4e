"""Some columns of a stored table, without reading the others.

An Arrow file tells at its end where each column is
(https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format), so three small reads and one for each column do.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from metaflow_core.errors import MetaflowNotFound, UnreadableArtifact
from metaflow_core.names import advise
from metaflow_core.values import arrow_file, structure
from metaflow_core.values.as_arrow import TABLES
from metaflow_core.values.encoded import Stored
from metaflow_core.values.node import Node, Tree

WHOLE_BYTES = 1 << 20  # a smaller file is read at once
TAIL_BYTES = 1 << 16


def with_columns(stored: Stored, names: Sequence[str], whole: Callable[[], Tree]) -> Node:
    """The tree of a table with these columns alone. ``whole()`` gives all of it, where nothing is won otherwise.

    ``MetaflowNotFound`` when a column is not there, ``UnreadableArtifact`` when the value is no table.
    """
    table = _layout(stored) if stored.encoding == "arrow" and stored.size > WHOLE_BYTES else None
    tree = whole() if table is None else table[1]
    if not isinstance(tree, Node) or tree.kind not in TABLES or "columns" in tree.fields:
        raise UnreadableArtifact(f"The artifact is a {stored.type}, not a table with named columns: load it whole.")
    by_name = {str(node.attrs.get("name", node.layout.get("column"))): node for node in _columns(tree)}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise MetaflowNotFound(f"The table has no column {missing[0]!r}. {advise(missing[0], by_name, 'It has')}")
    tree.value = [by_name[name] for name in names]
    tree.layout = {key: value for key, value in tree.layout.items() if key != "schema"}
    if table is not None:
        _fill(table[0], tree)
    return tree


def _columns(tree: Node) -> list[Node]:
    nodes: Any = tree.value
    return list(nodes)


def _layout(stored: Stored) -> tuple[_Parts, Node] | None:
    """The file and its tree without data, where the file is a plain table."""
    assert stored.read is not None
    parts = _Parts(stored)
    header = arrow_file.header_of(pa.ipc.open_file(pa.PythonFile(parts, mode="r")).schema)
    if header["layout"] != "table":
        return None

    def note(place: Any, node: Node) -> None:
        node.data = place

    tree = structure.from_json(header["tree"], note)
    return (parts, tree) if isinstance(tree, Node) else None


def _fill(parts: _Parts, tree: Node) -> None:
    """Read the arrays of a tree whose nodes hold their places."""
    nodes: list[Node] = []
    _with_data(tree, nodes)
    place_of: dict[int, int] = {id(node): node.data for node in nodes}  # type: ignore[misc]
    places = sorted(set(place_of.values()))
    options = pa.ipc.IpcReadOptions(included_fields=places)
    table = pa.ipc.open_file(pa.PythonFile(parts, mode="r"), options=options).read_all()
    table.validate()
    for node in nodes:
        node.data = arrow_file.single(table.column(places.index(place_of[id(node)])))


def _with_data(item: Any, found: list[Node]) -> None:
    if isinstance(item, Node):
        if item.data is not None:
            found.append(item)
        for part in (item.value, *item.fields.values()):
            _with_data(part, found)
    elif isinstance(item, list):
        for part in item:
            _with_data(part, found)


class _Parts(io.RawIOBase):
    """A stored file, of which only what is asked for is read, and its end once."""

    def __init__(self, stored: Stored) -> None:
        assert stored.read is not None
        self._read: Callable[..., memoryview] = stored.read
        self._size = stored.size
        self._position = 0
        self._tail_at = max(0, stored.size - TAIL_BYTES)
        self._tail = self._read(self._tail_at, stored.size)

    def size(self) -> int:
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> Any:
        end = self._size if size is None or size < 0 else min(self._size, self._position + size)
        start, self._position = self._position, end
        if start >= self._tail_at:
            return bytes(self._tail[start - self._tail_at : end - self._tail_at])
        return bytes(self._read(start, end))
