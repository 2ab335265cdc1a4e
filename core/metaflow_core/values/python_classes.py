"""Members of enums, dataclasses and named tuples.

Their class is named, not stored. Reading must not execute code that the data chooses, and importing a module is that.
So a class is found only where it is already: in a module that this process has imported. Otherwise the value comes
back without its class, with a warning that names the module to import. Neither ``__init__`` nor ``__post_init__`` runs.
"""

from __future__ import annotations

import enum
import sys
import types
from typing import Any

from metaflow_core.values import losses
from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, NotTyped, ToTree, Unstorable
from metaflow_core.values.typename import type_name

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made by a ``class`` statement


def to_tree(value: Any, write: ToTree) -> Node:
    cls = type(value)
    module, name = cls.__module__, cls.__qualname__
    if _find(module, name) is not cls:
        raise NotTyped
    attrs = {"class": f"{module}:{name}"}
    if isinstance(value, enum.Enum):
        if cls._member_map_.get(value.name) is not value:
            raise NotTyped
        plain = value.value if isinstance(value.value, (bool, int, float, str, bytes)) else None
        return Node("enum", value=write(plain), attrs={**attrs, "name": value.name})
    if cls.__bases__ == (tuple,):
        names = list(cls._fields)
        return Node("namedtuple", value=_parts(names, list(value), write), attrs={**attrs, "fields": names})
    names = list(cls.__dataclass_fields__)
    if not _is_plain(value, cls, names):
        raise NotTyped
    parts = [getattr(value, name) for name in names]
    return Node("dataclass", value=_parts(names, parts, write), attrs={**attrs, "fields": names})


def _parts(names: list[str], values: list[Any], write: ToTree) -> list[Any]:
    trees = []
    for name, value in zip(names, values, strict=True):
        try:
            trees.append(write(value))
        except Unstorable as error:
            error.path = f".{name}{error.path}"
            raise
    return trees


def _is_plain(value: Any, cls: type, names: list[str]) -> bool:
    """Whether its fields are all there is to the instance of a dataclass."""
    heap = all(base is object or base.__flags__ & _HEAP_TYPE for base in cls.__mro__)
    if not heap or any(not isinstance(base, type) for base in cls.__mro__) or isinstance(value, (type, BaseException)):
        return False
    if any(vars(base).get("__reduce__") or vars(base).get("__reduce_ex__") for base in cls.__mro__[:-1]):
        return False
    getstate = getattr(cls, "__getstate__", None)
    if getstate not in (None, getattr(object, "__getstate__", None)) and getstate.__module__ != "dataclasses":
        return False
    return set(getattr(value, "__dict__", {})) <= set(names) and all(hasattr(value, name) for name in names)


def _find(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found


def from_tree(tree: Node, read: FromTree) -> Any:
    module, _, name = str(tree.attrs["class"]).partition(":")
    cls = _find(module, name)
    if tree.kind == "enum":
        if isinstance(cls, enum.EnumMeta) and tree.attrs["name"] in cls._member_map_:
            return cls._member_map_[tree.attrs["name"]]
        return _without_class(tree, module, name, read(tree.value))
    fields, values = list(tree.attrs["fields"]), read(tree.value)
    if len(fields) != len(values):
        raise ValueError("as many values as fields were expected")
    if tree.kind == "namedtuple":
        if isinstance(cls, type) and cls.__bases__ == (tuple,) and list(getattr(cls, "_fields", ())) == fields:
            return tuple.__new__(cls, values)
        return _without_class(tree, module, name, tuple(values))
    if not (isinstance(cls, type) and list(vars(cls).get("__dataclass_fields__", ())) == fields):
        return _without_class(tree, module, name, types.SimpleNamespace(**dict(zip(fields, values, strict=True))))
    made: Any = object.__new__(cls)
    for field, value in zip(fields, values, strict=True):
        object.__setattr__(made, field, value)
    return made


def _without_class(tree: Node, module: str, name: str, value: Any) -> Any:
    what = f"{module}.{name}"
    losses.tell(
        f"it holds a {tree.kind} {what}, but no such class is loaded here, so it reads as a "
        f"{type_name(type(value))}. Import {module!r} before you read it."
    )
    return value
