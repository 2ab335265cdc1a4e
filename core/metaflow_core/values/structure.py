"""Trees as tagged JSON. ``docs/artifact-format.md`` describes the tags."""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from typing import Any

from metaflow_core.values.node import Node, Tree

MAX_JSON_INT = 2**53
_MAX_SMALL = 4096

# Puts a node's typed array somewhere and returns the JSON that finds it again; and the reverse.
PutData = Callable[[Node], Any]
GetData = Callable[[Any, Node], None]


class TooBig(Exception):
    """The tree is no small plain value."""


def small_text(tree: Tree, limit: int = _MAX_SMALL) -> bytes | None:
    """The JSON text of a tree that is plain and at most ``limit`` bytes long, else None."""
    try:
        text = dumps(ToJson(budget=limit).convert(tree))
    except (TooBig, RecursionError):
        return None
    return text if len(text) <= limit else None


def dumps(converted: Any) -> bytes:
    return json.dumps(converted, separators=(",", ":"), allow_nan=False).encode("ascii")


def loads(text: str | bytes | memoryview) -> Any:
    return json.loads(bytes(text) if isinstance(text, memoryview) else text)


class ToJson:
    """Converts trees to what ``json`` can write. Typed data goes to ``put``; without it, it raises ``TooBig``.

    ``budget`` bounds the number of bytes, roughly, so that a large value is given up at once.
    """

    def __init__(self, put: PutData | None = None, budget: int | None = None) -> None:
        self.put = put
        self.left = budget

    def convert(self, tree: Tree) -> Any:
        cls = type(tree)
        if cls is str or cls is bytes:
            self._spend(len(tree))  # type: ignore[arg-type]
            return tree if cls is str else {"$": "bytes", "v": _text(tree)}  # type: ignore[arg-type]
        self._spend(1)
        if tree is None or cls is bool:
            return tree
        if cls is int:
            return tree if -MAX_JSON_INT <= tree <= MAX_JSON_INT else {"$": "int", "v": format(tree, "x")}  # type: ignore[operator]
        if cls is float:
            finite = tree - tree == 0  # type: ignore[operator]
            return tree if finite else {"$": "float", "v": str(tree)}
        if cls is list:
            self._spend(len(tree))  # type: ignore[arg-type]
            return [self.convert(item) for item in tree]  # type: ignore[union-attr]
        if isinstance(tree, Node):
            return self._node(tree)
        raise TypeError(f"{cls.__name__} is no tree")

    def _node(self, node: Node) -> Any:
        if node.kind == "dict" and not (node.attrs or node.layout):
            keys, values = node.fields.get("keys"), node.value
            if (
                type(keys) is list
                and type(values) is list
                and all(type(key) is str and not key.startswith("$") for key in keys)
                and len(set(keys)) == len(keys)
            ):
                self._spend(len(keys) + sum(map(len, keys)))
                return {key: self.convert(value) for key, value in zip(keys, values, strict=True)}
        out: dict[str, Any] = {"$": node.kind}
        self._spend(len(node.kind) + 8)
        if node.attrs:
            out["a"] = node.attrs
        if node.layout:
            out["l"] = node.layout
        if node.value is not None:
            out["v"] = self.convert(node.value)
        if node.data is not None:
            if self.put is None:
                raise TooBig
            out["d"] = self.put(node)
        if node.fields:
            out["f"] = {name: self.convert(part) for name, part in node.fields.items()}
        return out

    def _spend(self, size: int) -> None:
        if self.left is not None:
            self.left -= size
            if self.left < 0:
                raise TooBig


def from_json(item: Any, get: GetData | None = None) -> Tree:
    """The tree that was converted. ``ValueError`` when the JSON was not made by :class:`ToJson`."""
    if isinstance(item, list):
        return [from_json(part, get) for part in item]
    if not isinstance(item, dict):
        return item  # type: ignore[no-any-return]
    if "$" not in item:
        return Node("dict", value=[from_json(part, get) for part in item.values()], fields={"keys": list(item)})
    kind, value = item["$"], item.get("v")
    if kind == "bytes" and isinstance(value, str):
        return a2b_base64(value)
    if kind == "int" and isinstance(value, str):
        return int(value, 16)
    if kind == "float" and isinstance(value, str):
        return float(value)
    if not isinstance(kind, str):
        raise ValueError("a node without a kind")
    node = Node(
        kind,
        value=from_json(value, get),
        attrs=_facts(item.get("a")),
        layout=_facts(item.get("l")),
        fields={name: from_json(part, get) for name, part in _facts(item.get("f")).items()},
    )
    if "d" in item:
        if get is None:
            raise ValueError("a node with data outside an Arrow file")
        get(item["d"], node)
    return node


def _facts(item: Any) -> dict[str, Any]:
    if item is None:
        return {}
    if not isinstance(item, dict):
        raise ValueError("an object was expected")
    return item


def _text(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")
