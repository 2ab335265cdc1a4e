"""Python values to trees."""

from __future__ import annotations

import sys
from typing import Any

from metaflow_core.values import registry
from metaflow_core.values.node import Node, Tree
from metaflow_core.values.registry import NotTyped, Unstorable

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


def to_tree(value: Any) -> Tree:
    """The tree of any Python value. ``Unstorable`` carries the path to what can't be stored."""
    try:
        return _Writer().write(value)
    except (_Cycle, RecursionError):
        from metaflow_core.values.opaque import to_node

        return to_node(value)  # what contains itself, or is nested too deeply, is no tree


class _Cycle(Exception):
    """A container holds itself."""


class _Writer:
    """Walks one value. Remembers the containers it is inside of, to see a cycle."""

    def __init__(self) -> None:
        self.inside: set[int] = set()

    def write(self, value: Any) -> Tree:
        cls = type(value)
        if cls in _SCALARS:
            return value  # type: ignore[no-any-return]
        if cls in _CONTAINERS:
            return self._container(value, cls)
        if cls is complex:
            return Node("complex", value=[value.real, value.imag])
        if cls is bytearray:
            return Node("bytearray", value=bytes(value))
        if cls is range:
            return Node("range", value=[value.start, value.stop, value.step])
        return self._other(value, cls)

    def _container(self, value: Any, cls: type) -> Tree:
        if id(value) in self.inside:
            raise _Cycle
        self.inside.add(id(value))
        if cls is dict:
            tree: Tree = Node(
                "dict", value=self._items(value, list(value.values())), fields={"keys": self._list(value)}
            )
        elif cls is list:
            tree = self._list(value)
        else:
            tree = Node(cls.__name__, value=self._list(value))
        self.inside.discard(id(value))
        return tree

    def _list(self, values: Any) -> Tree:
        """A list of the elements' trees: the elements themselves when they are plain, without a walk in Python."""
        if set(map(type, values)) <= _SCALARS:
            return values if type(values) is list else list(values)
        return self._items(range(len(values)), list(values))

    def _items(self, keys: Any, values: list[Any]) -> Tree:
        if set(map(type, values)) <= _SCALARS:
            return values
        trees: list[Tree] = []
        for key, value in zip(keys, values, strict=True):
            try:
                trees.append(self.write(value))
            except Unstorable as error:
                error.path = f"[{key!r}]{error.path}"
                raise
        return trees

    def _other(self, value: Any, cls: type) -> Tree:
        for codec in _codecs(value, cls):
            try:
                if id(value) in self.inside:
                    raise _Cycle
                self.inside.add(id(value))
                tree: Tree = codec.to_tree(value, self.write)
                return tree
            except NotTyped:
                continue
            finally:
                self.inside.discard(id(value))
        from metaflow_core.values.opaque import to_node

        return to_node(value)


_CONTAINERS = frozenset({list, dict, tuple, set, frozenset})


def _codecs(value: Any, cls: type) -> Any:
    codec = registry.codec_of_type(cls)
    if codec is not None:
        yield codec
    enum = sys.modules.get("enum")
    if (
        (enum and isinstance(value, enum.Enum))
        or hasattr(cls, "__dataclass_fields__")
        or (cls.__bases__ == (tuple,) and hasattr(cls, "_fields"))
    ):
        from metaflow_core.values import python_classes

        yield python_classes
