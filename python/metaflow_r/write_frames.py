"""R data frames: plain ones, tibbles, data.tables, grouped ones, and their row names."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from metaflow_core.values.node import Node
from metaflow_core.values.registry import Unstorable

from metaflow_r.memory import numbers
from metaflow_r.sexp import IntSexpVector, texts
from metaflow_r.vectors import to_arrow
from metaflow_r.write import write
from metaflow_r.write_classes import class_of, column

# Classes that are another way to hold the same table.
_KNOWN = (["data.frame"], ["tbl_df", "tbl", "data.frame"], ["data.table", "data.frame"])


def frame(value: Any, found: dict[str, Any], strict: bool) -> Node:
    """A data frame as a node whose value is its columns."""
    found = dict(found)
    classes = class_of(found)
    names = texts(found.pop("names")) if "names" in found else []
    rows = found.pop("row.names", None)
    del found["class"]
    columns = []
    for position, part in enumerate(value):
        name = names[position] if position < len(names) else None
        try:
            columns.append(column(part, name or "", strict))
        except Unstorable as error:
            error.path = f"${name}{error.path}"
            raise
    node = Node("dataframe", value=list(columns), layout={"type": classes[0]})
    if classes in _KNOWN:
        if len(classes) > 1:
            node.attrs["class"] = classes
    else:
        node.fields["r:class"] = list(classes)
    if not columns:
        node.attrs["rows"] = _count(rows)
    _add_row_names(node, rows)
    if "data.table" in classes:
        found.pop(".internal.selfref", None)
    for name, part in found.items():
        node.fields[f"r:{name}"] = write(part, strict=True)
    return node


def _count(rows: Any) -> int:
    if rows is None:
        return 0
    return abs(int(rows[1])) if _is_compact(rows) else len(rows)


def _is_compact(rows: Any) -> bool:
    return isinstance(rows, IntSexpVector) and len(rows) == 2 and numbers(rows, "integer")[0] == -(2**31)


def _add_row_names(node: Node, rows: Any) -> None:
    """Row names that only count are left out, as an index that only counts is in Python."""
    if rows is None:
        node.layout["row_names"] = "none"
    elif _is_compact(rows):
        if int(rows[1]) > 0:
            node.layout["row_names"] = "set"
    elif isinstance(rows, IntSexpVector):
        if len(rows) == 0:
            return
        node.fields["index"] = Node("index", value=Node("column", data=to_arrow(rows, "integer")))
    else:
        node.fields["index"] = Node("index", value=Node("column", data=to_arrow(rows, "character")))


def nested(value: Any, name: str, strict: bool) -> Node:
    """A column that is a matrix, a data frame or a classed list: its rows for other languages, and itself for R."""
    from metaflow_r import session

    rows = session.helper("rows_of_column")(value)
    trees = [write(row, strict=False) for row in rows]
    return Node("column", value=trees, attrs={"dtype": "object", "name": name}, fields={"r:self": write(value, strict)})


__all__ = ["frame", "nested", "pa"]
