"""Fingerprints: one for equal values, whichever language wrote them and whatever their layout in memory.

``docs/artifact-format.md`` defines the byte stream that is hashed, so that any language can compute it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from metaflow_core.values.node import PLAIN_KINDS, Node, Tree

if TYPE_CHECKING:
    from metaflow_core.values.columns import Residue

_PREFIX = b"metaflow-value-1\n"
_INT64 = range(-(2**63), 2**63)
_NAN = 0x7FF8000000000000
_NA = 0x7FF00000000007A2  # R's NA_real_: a NaN whose lower word is 1954
_LARGE = 1 << 16
_INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_SAME_AS_PLAIN = _INTEGERS | {"float64", "bool", "bool_", "str_"}
# What pandas calls columns that hold missing values apart, and columns that Arrow holds.
_STORAGE = frozenset(
    [f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
    + ["Float32", "Float64", "boolean", "string", "arrow"]
)
_UNORDERED = frozenset({"set", "frozenset"})
_UNORDERED_KEYS = frozenset({"dict", "defaultdict", "counter"})


def fingerprint(tree: Tree, residue: Residue | None = None) -> str:
    """64 hexadecimal digits that name the value.

    ``residue`` is told of what is stored and yet no part of the value, for the sake of the key.
    """
    sink = _Sink(residue)
    sink(_PREFIX)
    _stream(tree, sink)
    return sink.hasher.update(b"".join(sink.parts)).hexdigest()


class _Sink:
    """Hashes the pieces of a stream: small ones together, large ones without copying them."""

    def __init__(self, residue: Residue | None) -> None:
        self.residue = residue
        self.hasher = blake3()
        self.parts: list[bytes | memoryview] = []

    def __call__(self, part: bytes | memoryview) -> None:
        self.parts.append(part)
        if len(part) > _LARGE:
            self.hasher.update(b"".join(self.parts[:-1]))
            self.hasher.update(part)
            self.parts.clear()


def _stream(tree: Tree, out: _Sink) -> None:
    cls = type(tree)
    if tree is None:
        out(b"n")
    elif cls is bool:
        out(b"t" if tree else b"f")
    elif cls is str:
        _sized(b"s", tree.encode("utf-8", "surrogatepass"), out)  # type: ignore[union-attr]
    elif cls is int:
        _int(tree, out)  # type: ignore[arg-type]
    elif cls is float:
        out(b"d" + float_bits(tree).to_bytes(8, "little"))  # type: ignore[arg-type]
    elif cls is bytes:
        _sized(b"b", tree, out)  # type: ignore[arg-type]
    elif cls is list:
        _list(tree, out)  # type: ignore[arg-type]
    elif isinstance(tree, Node):
        _node(tree, out)
    else:
        raise TypeError(f"{cls.__name__} is no tree")


def _int(value: int, out: _Sink) -> None:
    if value in _INT64:
        out(b"i" + value.to_bytes(8, "little", signed=True))
    else:
        _sized(b"I", format(value, "x").encode(), out)


def float_bits(value: float) -> int:
    """The bits of ``value``, the same ones for every NaN except R's NA."""
    bits: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    if value == value:
        return bits
    return _NA if bits & 0xFFFFFFFF == 1954 else _NAN


def _sized(tag: bytes, data: bytes | memoryview, out: _Sink) -> None:
    out(tag + len(data).to_bytes(8, "little"))
    out(data)


def _list(items: list[Any], out: _Sink) -> None:
    digest = _digest_of_plain(items)
    if digest is not None:
        out(b"v" + digest)
        return
    out(b"l" + len(items).to_bytes(8, "little"))
    for item in items:
        _stream(item, out)


def _node(node: Node, out: _Sink) -> None:
    if node.kind in PLAIN_KINDS and not node.attrs and not node.fields:
        if node.data is None:
            _stream(node.value, out)
        else:
            _plain_data(node, out)
        return
    if node.kind == "numpy.scalar" and node.attrs["dtype"] in _SAME_AS_PLAIN:  # numpy's integer 5 equals 5
        _stream(node.value, out)
        return
    out(b"N")
    _sized(b"", node.kind.encode("utf-8", "surrogatepass"), out)
    _sized(b"", json.dumps(_counted(node), sort_keys=True, separators=(",", ":")).encode(), out)
    if node.kind in _UNORDERED:
        _sorted(_elements(node.value, out.residue), out)
    elif node.kind in _UNORDERED_KEYS:
        keys, values = (_elements(part, out.residue) for part in (node.fields["keys"], node.value))
        _sorted([_Pair(key, value) for key, value in zip(keys, values, strict=True)], out)
        rest = {name: part for name, part in node.fields.items() if name != "keys"}
        _fields(rest, out)
        return
    elif node.value is not None:
        out(b"=")
        _stream(node.value, out)
    if node.data is not None:
        from metaflow_core.values import columns

        if node.layout.get("order") == "F":
            out(b"@" + columns.digest_by_rows(node.data, node.attrs["shape"], out.residue))
        else:
            out(b"@" + columns.digest(node.data, out.residue))
    _fields(node.fields, out)


def _counted(node: Node) -> dict[str, Any]:
    """The attributes, without the width of integers, and without the storage of a column."""
    attrs = node.attrs
    if node.kind == "ndarray" and attrs["dtype"] in _INTEGERS:
        return {**attrs, "dtype": "int"}
    if node.kind == "column" and attrs.get("dtype") in _STORAGE:
        return {name: fact for name, fact in attrs.items() if name != "dtype"}
    return attrs


def _fields(fields: dict[str, Tree], out: _Sink) -> None:
    for name in sorted(fields):
        _sized(b".", name.encode("utf-8", "surrogatepass"), out)
        _stream(fields[name], out)
    out(b";")


class _KeepingSink(_Sink):
    """Keeps the whole stream, to sort by it."""

    def __call__(self, part: bytes | memoryview) -> None:
        self.parts.append(part)


class _Pair:
    """A key and its value, which sort by the key."""

    def __init__(self, key: Tree, value: Tree) -> None:
        self.key, self.value = key, value


def _sorted(items: list[Any], out: _Sink) -> None:
    """The items in the order of their own streams, so that the order in which they were held does not matter."""
    streams = []
    for item in items:
        key, value = (item.key, [item.value]) if isinstance(item, _Pair) else (item, [])
        sink = _KeepingSink(out.residue)
        _stream(key, sink)
        streams.append((b"".join(sink.parts), value))
    streams.sort(key=lambda pair: pair[0])
    out(b"u" + len(streams).to_bytes(8, "little"))
    for text, value in streams:
        out(text)
        for part in value:
            _stream(part, out)


def _elements(tree: Tree, residue: Residue | None) -> list[Any]:
    """The elements, whose order does not count. That of stored arrays is no part of the value, and so is residue."""
    if isinstance(tree, Node) and tree.data is not None:
        from metaflow_core.values import columns

        if residue is not None:
            residue.add_digest(columns.digest(tree.data, residue))
        return columns.to_list(tree.data)
    if isinstance(tree, list):
        return tree
    raise TypeError("a list was expected")


def _plain_data(node: Node, out: _Sink) -> None:
    """The stream of a bare list, str or bytes that is held as an Arrow array: the same as if it were not."""
    from metaflow_core.values import columns

    data = node.data
    assert data is not None
    if node.kind == "bytes":
        _sized(b"b", columns.one_bytes(data), out)
    elif node.kind != "list":
        _stream(columns.to_list(data)[0], out)
    elif node.layout.get("cells") == "json":
        from metaflow_core.values.pack import cells

        if out.residue is not None:  # the texts hold the order of dicts, and layouts
            out.residue.add_digest(columns.digest(data, out.residue))
        _list(cells(data), out)
    elif data.null_count == len(data):
        _list([None] * len(data), out)
    else:
        out(b"v" + columns.digest(data, out.residue, as_list=True))


def _digest_of_plain(items: list[Any]) -> bytes | None:
    """The digest of a list whose elements are all plain scalars of one type, None apart; else None."""
    types = set(map(type, items))
    types.discard(type(None))
    if len(types) != 1:
        return None
    cls = types.pop()
    if cls not in _PACK:
        return None
    present = [item for item in items if item is not None]
    if cls is int and not (min(present) in _INT64 and max(present) in _INT64):
        return None
    if len(present) == len(items):
        validity = b"\0"
    else:
        validity = b"\1" + blake3(bytes(item is not None for item in items)).digest()
    name, pack = _PACK[cls]
    return column_digest(name, len(items), validity, pack(items))


def column_digest(name: bytes, length: int, validity: bytes, digests: bytes) -> bytes:
    """The digest of a column from those of its parts."""
    return blake3(name + b"\0" + length.to_bytes(8, "little") + validity + digests).digest()


def _pack_ints(items: list[Any]) -> bytes:
    return blake3(struct.pack(f"<{len(items)}q", *(0 if i is None else i for i in items))).digest()


def _pack_floats(items: list[Any]) -> bytes:
    bits = (0 if i is None else float_bits(i) for i in items)
    return blake3(struct.pack(f"<{len(items)}Q", *bits)).digest()


def _pack_bools(items: list[Any]) -> bytes:
    return blake3(bytes(1 if i else 0 for i in items)).digest()


def _pack_bytes(items: list[Any]) -> bytes:
    lengths = struct.pack(f"<{len(items)}q", *(0 if i is None else len(i) for i in items))
    return blake3(lengths).digest() + blake3(b"".join(i for i in items if i is not None)).digest()


def _pack_strings(items: list[Any]) -> bytes:
    return _pack_bytes([None if i is None else i.encode("utf-8", "surrogatepass") for i in items])


_PACK: dict[type, tuple[bytes, Callable[[list[Any]], bytes]]] = {
    bool: (b"bool", _pack_bools),
    int: (b"int", _pack_ints),
    float: (b"float", _pack_floats),
    str: (b"str", _pack_strings),
    bytes: (b"bytes", _pack_bytes),
}
