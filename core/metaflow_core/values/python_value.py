"""Trees to Python values."""

from __future__ import annotations

from typing import Any

from metaflow_core.values.node import Node, Tree


def from_tree(tree: Tree) -> Any:
    """The Python value of a tree, whichever language made it."""
    cls = type(tree)
    if cls is list:
        return [from_tree(item) for item in tree]  # type: ignore[union-attr]
    if not isinstance(tree, Node):
        return tree
    kind, value = tree.kind, tree.value
    if kind == "dict":
        return dict(zip(from_tree(tree.fields["keys"]), from_tree(value), strict=True))
    if kind in _SEQUENCES:
        if tree.data is not None:
            return _elements(tree)
        return _SEQUENCES[kind](from_tree(value))
    if kind in _SCALARS:
        if tree.data is not None:
            from metaflow_core.values.columns import to_list

            return to_list(tree.data)[0]
        return value
    if kind == "complex":
        real, imaginary = value  # type: ignore[misc, str-unpack]
        return complex(real, imaginary)  # type: ignore[arg-type]
    if kind == "bytearray":
        return bytearray(from_tree(value))
    if kind == "range":
        return range(*value)  # type: ignore[misc]
    from metaflow_core.values.registry import codec_of_kind

    return codec_of_kind(kind).from_tree(tree, from_tree)


def _elements(tree: Node) -> list[Any]:
    """The elements of a list that is held as an array."""
    assert tree.data is not None
    if tree.layout.get("cells") == "json":
        from metaflow_core.values.pack import cells

        return [from_tree(item) for item in cells(tree.data)]
    from metaflow_core.values.columns import to_list

    return to_list(tree.data)


_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_SCALARS = frozenset({"null", "bool", "int", "float", "str", "bytes"})
