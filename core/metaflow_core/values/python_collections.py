"""The containers of ``collections``."""

from __future__ import annotations

import collections
from typing import Any

from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, NotTyped, ToTree

# What a defaultdict's factory may be without being code of the user's.
_FACTORIES: dict[str, Any] = {f.__name__: f for f in (int, float, str, bool, bytes, list, dict, tuple, set, frozenset)}


def to_tree(value: Any, write: ToTree) -> Node:
    cls = type(value)
    if cls is collections.deque:
        attrs = {} if value.maxlen is None else {"maxlen": value.maxlen}
        return Node("deque", value=write(list(value)), attrs=attrs)
    if getattr(value, "__dict__", None):
        raise NotTyped
    if cls is collections.OrderedDict:
        return _mapping("ordereddict", value, write)
    if cls is collections.Counter:
        return _mapping("counter", value, write)
    if cls is collections.defaultdict:
        factory = value.default_factory
        name = getattr(factory, "__name__", "")
        if factory is not None and _FACTORIES.get(name) is not factory:
            raise NotTyped
        node = _mapping("defaultdict", value, write)
        if factory is not None:
            node.attrs["factory"] = name
        return node
    raise NotTyped


def _mapping(kind: str, value: Any, write: ToTree) -> Node:
    plain = write(dict(value))
    assert isinstance(plain, Node)
    return Node(kind, value=plain.value, fields=plain.fields)


def from_tree(tree: Node, read: FromTree) -> Any:
    if tree.kind == "deque":
        return collections.deque(read(tree.value), tree.attrs.get("maxlen"))
    items = dict(zip(read(tree.fields["keys"]), read(tree.value), strict=True))
    if tree.kind == "ordereddict":
        return collections.OrderedDict(items)
    if tree.kind == "counter":
        return collections.Counter(items)
    factory = tree.attrs.get("factory")
    return collections.defaultdict(None if factory is None else _FACTORIES[factory], items)
