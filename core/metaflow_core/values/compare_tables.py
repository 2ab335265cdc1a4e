"""How two data frames differ: rows by their place, columns by their name."""

from __future__ import annotations

from typing import Any

from metaflow_core.values.compare_arrays import Counted, compare, type_name
from metaflow_core.values.fingerprint import fingerprint
from metaflow_core.values.node import Node, Tree

TABLES = frozenset({"dataframe", "polars.frame", "arrow.table", "arrow.batch"})
_MAX_MIXED = 100_000  # cells of a column without a type, which are compared one by one


def compare_tables(old: Node, new: Node) -> dict[str, Any]:
    """The difference of two tables, as data; see :mod:`metaflow_core.values.difference`."""
    before, after = _columns(old), _columns(new)
    rows = [_rows(old, before), _rows(new, after)]
    common = [name for name in after if name in before]
    changed: dict[str, dict[str, Any]] = {}
    for name in common:
        found = _compare_columns(before[name], after[name])
        if found:
            changed[name] = found
    result: dict[str, Any] = {
        "rows": rows,
        "columns_added": [name for name in after if name not in before],
        "columns_removed": [name for name in before if name not in after],
        "columns": changed,
    }
    if [name for name in before if name in after] != common:
        result["columns_reordered"] = True
    if rows[0] == rows[1] and _print(old.fields.get("index")) != _print(new.fields.get("index")):
        result["row_names_changed"] = True
    return result


def _columns(table: Node) -> dict[str, Node]:
    """The columns by name; further ones of the same name are numbered."""
    nodes: list[Any] = table.value if isinstance(table.value, list) else []
    labels = _labels(table.fields.get("columns"), len(nodes))
    found: dict[str, Node] = {}
    for number, node in enumerate(nodes):
        name = labels[number] if labels else str(node.attrs.get("name", node.layout.get("column", number)))
        again = 1
        while name in found:
            again += 1
            name = f"{name.rpartition('#')[0] if again > 2 else name}#{again}"
        found[name] = node
    return found


def _labels(index: Tree, count: int) -> list[str] | None:
    """The names of columns that are not in the columns themselves, such as numbers."""
    if not isinstance(index, Node):
        return None
    if "range" in index.attrs:
        return [str(label) for label in range(*index.attrs["range"])]
    data = _data(index)
    labels = data.to_pylist() if data is not None else index.value
    return [str(label) for label in labels] if isinstance(labels, list) and len(labels) == count else None


def _rows(table: Node, columns: dict[str, Node]) -> int:
    for node in columns.values():
        data = _data(node)
        if data is not None:
            return len(data)
        if isinstance(node.value, list):
            return len(node.value)
    return int(table.attrs.get("rows", 0))


def _compare_columns(old: Node, new: Node) -> dict[str, Any] | None:
    if _print(old) == _print(new):
        return None
    found: dict[str, Any] = {}
    types = [_type(old), _type(new)]
    if types[0] != types[1]:
        found["type"] = types
    before, after = _data(old), _data(new)
    if before is not None and after is not None and "categories" not in {*old.fields, *new.fields}:
        counted = compare(before, after)
        # All that is in both is equal: the rows that only one has are counted already.
        return found | counted.as_dict() if found or counted.changed or len(before) == len(after) else None
    if isinstance(old.value, list) and isinstance(new.value, list):
        pairs = list(zip(old.value, new.value, strict=False))
        if len(pairs) <= _MAX_MIXED:
            return found | Counted(len(pairs), sum(_print(a) != _print(b) for a, b in pairs)).as_dict()
    return found | {"changed": None}


def _data(node: Any) -> Any:
    """The Arrow array of a column, wherever in its node it is."""
    if not isinstance(node, Node):
        return None
    return node.data if node.data is not None else _data(node.value)


def _type(node: Node) -> str:
    data = _data(node)
    if node.kind == "categorical":
        return "category"
    return str(node.attrs.get("dtype") or ("object" if data is None else type_name(data.type)))


def _print(tree: Tree) -> str:
    return fingerprint(tree)
