"""How two stored values differ, as data that can be shown or written as JSON.

Nothing is executed: what has no typed form is never loaded.

A difference is a dict with the key ``kind``:

- ``number``: ``difference`` is new - old.
- ``value``: two small values, or values of two sorts.
- ``text``: ``length``, ``lines_added``, ``lines_removed``.
- ``array``: ``shape``, ``dtype``, ``compared``, ``changed``, ``mean_difference``, ``max_difference``.
- ``table``: ``rows``, ``columns_added``, ``columns_removed``; ``columns`` has, by name, what an array has, ``type``;
  ``columns_reordered`` and ``row_names_changed`` when they are.
- ``items``, for what has parts: ``length``, ``added``, ``removed``, ``changed`` (each with a ``path`` and a
  ``difference``), and how many ``more`` there are.
- ``opaque``: ``summary``, when it differs.
- ``large``: the values were not looked into, because one has more than ``limit`` bytes.
- ``unreadable``: ``reason``.

What is a pair is a list of old and new. Where the values are small, ``old`` and ``new`` are their texts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from metaflow_core.errors import MetaflowException
from metaflow_core.values.encoded import Stored
from metaflow_core.values.node import Node, Tree
from metaflow_core.values.shown import cut, shown

LIMIT = 64 << 20  # bytes of a value, above which only facts are compared
MAX_ITEMS = 100
_MAX_DEPTH = 50
_SEQUENCES = frozenset({"list", "tuple", "r.list", "deque"})
_MAPPINGS = frozenset({"dict", "ordereddict", "counter", "defaultdict"})
_RECORDS = frozenset({"dataclass", "namedtuple"})
_WRAPPED = frozenset({"series", "index", "pandas.array", "polars.series", "column"})


def difference(old: Stored, new: Stored, limit: int | None = LIMIT) -> dict[str, Any]:
    """How the values differ. Values of more than ``limit`` bytes are not looked into; None looks into all."""
    if limit is not None and max(old.size, new.size) > limit:
        return {"kind": "large", "limit": limit}
    from metaflow_core.values.decoder import tree_of

    try:
        return compare_trees(tree_of(old), tree_of(new), (old.language, new.language))
    except MetaflowException as error:
        return {"kind": "unreadable", "reason": str(error)}


class _Array(NamedTuple):
    data: Any
    shape: list[int]
    dtype: str
    order: str


def compare_trees(old: Tree, new: Tree, languages: tuple[str, str], depth: int = 0) -> dict[str, Any]:
    """How two trees differ that are not equal. ``languages`` are those in which small values are spelt."""
    found = _compare(old, new, languages, depth)
    for digits in (8, 15, 17):  # as few as tell them apart
        texts = [shown(tree, language, digits) for tree, language in zip((old, new), languages, strict=True)]
        if texts[0] != texts[1]:
            break
    if texts[0] == texts[1] and found["kind"] == "number":
        texts = [repr(_number(old)), repr(_number(new))]
    if None not in texts and texts[0] != texts[1]:
        found["old"], found["new"] = texts
    return found


def _compare(old: Tree, new: Tree, languages: tuple[str, str], depth: int) -> dict[str, Any]:
    numbers = [_number(old), _number(new)]
    if None not in numbers:
        return {"kind": "number", "difference": _step(*numbers)}
    texts = [_text(old), _text(new)]
    if texts[0] is not None and texts[1] is not None:
        return _compare_texts(texts[0], texts[1])
    if isinstance(old, Node) and isinstance(new, Node):
        from metaflow_core.values.compare_tables import TABLES, compare_tables

        if old.kind in TABLES and new.kind in TABLES:
            return {"kind": "table", **compare_tables(old, new)}
        if old.kind == new.kind == "opaque":
            summaries = [str(node.layout.get("summary", "")) for node in (old, new)]
            return {"kind": "opaque", "summary": summaries if summaries[0] != summaries[1] else None}
    if depth < _MAX_DEPTH:
        items = [_items(old), _items(new)]
        if items[0] is not None and items[1] is not None:
            return _compare_items(items[0], items[1], languages, depth)
    arrays = [_array(old), _array(new)]
    if arrays[0] is not None and arrays[1] is not None:
        return _compare_arrays(arrays[0], arrays[1])
    return {"kind": "value"}


def _number(tree: Tree) -> float | int | None:
    if isinstance(tree, Node):
        tree = tree.value if tree.kind == "numpy.scalar" and not isinstance(tree.value, Node) else None
    return tree if isinstance(tree, (int, float)) and not isinstance(tree, bool) else None


def _step(old: Any, new: Any) -> float | int | None:
    """The difference, without the noise of the last binary digits: 0.3 - 0.1 is 0.2."""
    import math

    try:
        step = new - old
        if isinstance(step, int):
            return step
        return float(f"{step:.12g}") if math.isfinite(step) else None
    except OverflowError:
        return None


def _text(tree: Tree) -> str | None:
    if isinstance(tree, Node) and tree.kind == "str" and tree.data is not None:
        return str(tree.data[0].as_py())
    return tree if isinstance(tree, str) else None


def _compare_texts(old: str, new: str) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "text", "length": [len(old), len(new)], "old": cut(old), "new": cut(new)}
    if "\n" in old or "\n" in new:
        from collections import Counter

        lines = Counter(old.splitlines()), Counter(new.splitlines())
        found |= {"lines_added": (lines[1] - lines[0]).total(), "lines_removed": (lines[0] - lines[1]).total()}
    return found


# --- what has parts ---------------------------------------------------------------------------------------------------


class _Items(NamedTuple):
    parts: dict[str, Tree]  # by name, or by place
    length: int
    named: bool


def _items(tree: Tree) -> _Items | None:
    """The parts of a value that has some; None for one that has none, or is better compared as an array."""
    if isinstance(tree, list):
        return None if _array(tree) is not None else _places(tree)
    if not isinstance(tree, Node):
        return None
    value = tree.value
    if tree.kind in _MAPPINGS and isinstance(value, list):
        return _named(tree.fields.get("keys"), value)
    if tree.kind in _RECORDS and isinstance(value, list):
        return _named(list(tree.attrs.get("fields", [])), value)
    if tree.kind == "r.vector" and isinstance(value, list) and "names" in tree.fields and "dim" not in tree.fields:
        return _named(tree.fields["names"], value)
    if tree.kind == "r.list" and isinstance(value, list) and "names" in tree.fields:
        return _named(tree.fields["names"], value) or _places(value)
    if tree.kind in ("set", "frozenset") and isinstance(value, list):
        texts = [shown(item, "python") or _print(item) for item in value]
        return _Items(dict.fromkeys(texts, True), len(value), True)
    if tree.kind in _SEQUENCES and _array(tree) is None:
        if tree.layout.get("cells") == "json" and tree.data is not None:
            from metaflow_core.values.pack import cells

            return _places(cells(tree.data))
        return _places(value) if isinstance(value, list) else None
    return None


def _places(parts: list[Any]) -> _Items:
    return _Items({str(place): part for place, part in enumerate(parts)}, len(parts), False)


def _named(names: Tree, parts: list[Any]) -> _Items | None:
    """The parts by name; None when names do not tell them apart."""
    if isinstance(names, Node) and names.data is not None:
        names = names.data.to_pylist()
    keys = names if isinstance(names, list) else [names]
    texts = [key if isinstance(key, str) else shown(key, "python") or _print(key) for key in keys]
    if len(set(texts)) != len(parts):
        return None
    return _Items(dict(zip(texts, parts, strict=True)), len(parts), True)


def _compare_items(old: _Items, new: _Items, languages: tuple[str, str], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "items", "length": [old.length, new.length]}
    added = [_path(name, new.named, languages[1]) for name in new.parts if name not in old.parts]
    removed = [_path(name, old.named, languages[0]) for name in old.parts if name not in new.parts]
    changed: list[dict[str, Any]] = []
    more = max(0, len(added) - MAX_ITEMS) + max(0, len(removed) - MAX_ITEMS)
    for name in new.parts:
        if name not in old.parts or _print(old.parts[name]) == _print(new.parts[name]):
            continue
        if len(changed) >= MAX_ITEMS:
            more += 1
            continue
        path = _path(name, new.named, languages[1])
        inner = compare_trees(old.parts[name], new.parts[name], languages, depth + 1)
        if inner["kind"] != "items":
            changed.append({"path": path, "difference": inner})
            continue
        added += [path + _joined(name) for name in inner["added"]]
        removed += [path + _joined(name) for name in inner["removed"]]
        changed += [{**one, "path": path + _joined(one["path"])} for one in inner["changed"]]
        more += inner["more"]
    return found | {
        "added": added[:MAX_ITEMS],
        "removed": removed[:MAX_ITEMS],
        "changed": changed[:MAX_ITEMS],
        "more": more + max(0, len(changed) - MAX_ITEMS),
    }


def _path(name: str, named: bool, language: str) -> str:
    if named:
        return name
    return f"[[{int(name) + 1}]]" if language == "r" else f"[{name}]"


def _joined(path: str) -> str:
    return path if path.startswith("[") else f".{path}"


def _print(tree: Tree) -> str:
    from metaflow_core.values.fingerprint import fingerprint

    return fingerprint(tree)


# --- arrays -----------------------------------------------------------------------------------------------------------


def _array(tree: Tree) -> _Array | None:
    """The elements of an array, a vector, a series or a list of scalars of one type."""
    if isinstance(tree, list):
        return _vector(tree)
    if not isinstance(tree, Node):
        return None
    if tree.kind in _WRAPPED and isinstance(tree.value, Node):
        return _array(tree.value)
    data = tree.data
    if data is not None and tree.kind not in ("str", "bytes", "arrow.scalar") and "cells" not in tree.layout:
        if "categories" in tree.fields:
            return None
        shape = tree.attrs.get("shape") or _dim(tree) or [len(data)]
        dtype = tree.attrs.get("dtype") or ("category" if tree.kind == "categorical" else _type(tree, data))
        return _Array(data, list(shape), str(dtype), tree.layout.get("order", "C"))
    if tree.kind == "r.vector" and isinstance(tree.value, list):
        found = _vector(tree.value)
        return None if found is None else found._replace(shape=_dim(tree) or found.shape, dtype=_type(tree, found.data))
    return _vector(tree.value) if tree.kind == "tuple" and isinstance(tree.value, list) else None


def _type(tree: Node, data: Any) -> str:
    from metaflow_core.values.compare_arrays import type_name

    return str(tree.attrs["type"]) if tree.kind == "r.vector" and "type" in tree.attrs else type_name(data.type)


def _dim(tree: Node) -> list[int] | None:
    dim = tree.fields.get("dim")
    return [int(n) for n in dim] if isinstance(dim, list) else None


def _vector(items: list[Any]) -> _Array | None:
    types = {type(item) for item in items} - {type(None)}
    if len(types) != 1 or types & {Node, list}:
        return None
    import pyarrow as pa

    try:
        data = pa.array(items)
    except (pa.ArrowException, OverflowError):
        return None
    return _Array(data, [len(items)], _type(Node("list"), data), "C")


def _compare_arrays(old: _Array, new: _Array) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "array", "shape": [old.shape, new.shape], "dtype": [old.dtype, new.dtype]}
    if old.shape != new.shape and (len(old.shape) > 1 or len(new.shape) > 1):
        return found  # no element has a counterpart
    from metaflow_core.values.compare_arrays import compare

    before, after = old.data, new.data
    if old.order != new.order and len(old.shape) > 1:
        before, after = _by_rows(old), _by_rows(new)
    return found | compare(before, after, numbers="bool" not in (old.dtype, new.dtype)).as_dict()


def _by_rows(array: _Array) -> Any:
    if array.order == "C":
        return array.data
    import numpy as np
    import pyarrow as pa

    places = np.arange(len(array.data)).reshape(array.shape[::-1]).T.ravel()
    return array.data.take(pa.array(places))
