"""Trees to Python values."""

from __future__ import annotations

from typing import Any

from metaflow_core.values.node import Node, Tree
from metaflow_core.values.registry import FromTree, codec_of_kind


def from_foreign_tree(tree: Tree) -> Any:
    """The Python value of a tree that another language made: its tables are of the kind that a setting chooses."""
    return _read(tree, from_foreign_tree)


def from_tree(tree: Tree) -> Any:
    """The Python value of a tree that Python made."""
    return _read(tree, from_tree)


def _read(tree: Tree, read: FromTree) -> Any:
    cls = type(tree)
    if cls is list:
        return [read(item) for item in tree]  # type: ignore[union-attr]
    if not isinstance(tree, Node):
        return tree
    kind, value = tree.kind, tree.value
    if kind == "dict":
        if "config" in tree.layout:
            return codec_of_kind("config").from_tree(tree, read)
        return dict(zip(read(tree.fields["keys"]), read(value), strict=True))
    if kind in _SEQUENCES:
        if tree.data is not None:
            return _elements(tree, read)
        return _SEQUENCES[kind](read(value))
    if kind in _SCALARS:
        if tree.data is not None:
            from metaflow_core.values.columns import to_list

            return to_list(tree.data)[0]
        return value
    if kind == "complex":
        real, imaginary = value  # type: ignore[misc, str-unpack]
        return complex(real, imaginary)  # type: ignore[arg-type]
    if kind == "bytearray":
        return bytearray(read(value))
    if kind == "range":
        return range(*value)  # type: ignore[misc]
    if read is from_foreign_tree and kind in ("dataframe", "categorical"):
        from metaflow_core.values import foreign_tables

        return foreign_tables.read(tree, read)
    return codec_of_kind(kind).from_tree(tree, read)


def _elements(tree: Node, read: FromTree) -> list[Any]:
    """The elements of a list that is held as an array."""
    assert tree.data is not None
    if tree.layout.get("cells") == "json":
        from metaflow_core.values.pack import cells

        return [read(item) for item in cells(tree.data)]
    from metaflow_core.values.columns import to_list

    return to_list(tree.data)


_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_SCALARS = frozenset({"null", "bool", "int", "float", "str", "bytes"})
