"""What R has beside the columns of a data frame, in ``DataFrame.attrs["r"]``, and what pandas has beside R's, back.

    {"class": ["tbl_df", "tbl", "data.frame"],
     "attributes": {"comment": "of the frame"},
     "columns": {"age": {"label": "Age in years"}}}

The values are plain where R's are texts, numbers and truth values; others are in the JSON of the artifact format. So
they are compared and copied by pandas without harm, and R gets them back as they were.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from metaflow_core.values import losses, pack, structure
from metaflow_core.values.node import Node, Tree
from metaflow_core.values.registry import FromTree

KEY = "r"
_PREFIX = "r:"
_PANDAS = "r:pandas."
# These tell of rows, and would be wrong when pandas has changed them.
_OF_ROWS = {"groups": "its groups", "sorted": "its key", "index": "its indices"}


def read(frame: Any, tree: Node, columns: list[Node], read_part: FromTree) -> None:
    """Give a data frame what its tree has for R."""
    found = {name: part for name, part in tree.fields.items() if name.startswith(_PREFIX)}
    classes = tree.attrs.get("class") or _class(found.pop("r:class", None))
    if not found and not classes and not any(any(map(_is_of_r, node.fields)) for node in columns):
        return
    _read_pandas(frame, found, read_part)
    rows = {name: found.pop(_PREFIX + name) for name in _OF_ROWS if _PREFIX + name in found}
    if rows:
        shown = " and ".join(_OF_ROWS[name] for name in rows)
        losses.tell(f"it is an R {classes[0] if classes else 'data.frame'}, and Python has no place for {shown}.")
        classes = [name for name in classes or [] if name != "grouped_df"]
    kept: dict[str, Any] = {}
    if classes and classes != ["data.frame"]:
        kept["class"] = classes
    if found:
        kept["attributes"] = _facts(found)
    of_columns = _columns(frame, columns)
    if of_columns:
        kept["columns"] = of_columns
    if kept:
        frame.attrs = {**frame.attrs, KEY: kept}


def _is_of_r(name: str) -> bool:
    return name.startswith(_PREFIX) and name != "r:self"


def _class(tree: Tree) -> list[str]:
    classes = tree.value if isinstance(tree, Node) else tree
    return [classes] if isinstance(classes, str) else list(classes or [])  # type: ignore[arg-type]


def _facts(fields: dict[str, Tree]) -> dict[str, Any]:
    convert = structure.ToJson(pack.inline).convert
    return {name.removeprefix(_PREFIX): convert(part) for name, part in fields.items()}


def _columns(frame: Any, columns: list[Node]) -> dict[Any, Any]:
    kept = {}
    labels = list(frame.columns)
    count = Counter(labels)
    for label, node in zip(labels, columns, strict=True):
        whole = node.fields.get("r:self")
        if isinstance(whole, Node) and "class" in whole.fields:
            name = _class(whole.fields["class"])[0]
            losses.tell(f"its column {label!r} is an R {name}, of which Python has the rows.")
        fields = {name: part for name, part in node.fields.items() if _is_of_r(name)}
        if fields and count[label] > 1:
            losses.tell(f"attributes of its column {label!r} are not kept in Python, as two columns have that name.")
        elif fields:
            kept[label] = _facts(fields)
    return kept


def _read_pandas(frame: Any, found: dict[str, Tree], read_part: FromTree) -> None:
    """What was pandas' and R has kept: an index that can't be row names, its name, and ``attrs``."""
    import pandas as pd

    parts = {name.removeprefix(_PANDAS): read_part(found.pop(name)) for name in list(found) if name.startswith(_PANDAS)}
    index = parts.get("index")
    if isinstance(index, pd.DataFrame) and len(index) == len(frame):
        names = [None if name == f"level_{i}" else name for i, name in enumerate(index.columns)]
        frame.index = pd.MultiIndex.from_frame(index, names=names)
    elif index is not None and not isinstance(index, pd.DataFrame) and len(index) == len(frame):
        frame.index = pd.Index(index)
    if isinstance(parts.get("index.name"), str):
        frame.index.name = parts["index.name"]
    if isinstance(parts.get("attrs"), dict):
        frame.attrs = parts["attrs"]


def write(node: Node, columns: list[Node], labels: list[Any], kept: Any) -> bool:
    """Give the tree of a data frame what R has beside it. Whether ``kept`` is of the form that this module makes."""
    try:
        parts = {name: kept.get(name, {}) for name in ("attributes", "columns")}
        classes = list(kept.get("class", []))
        if set(kept) - {"class", *parts} or not all(isinstance(name, str) for name in classes):
            return False
        fields = _trees(parts["attributes"])
        of_columns = {label: _trees(facts) for label, facts in parts["columns"].items()}
    except (AttributeError, TypeError, ValueError):
        return False
    if classes in (["tbl_df", "tbl", "data.frame"], ["data.table", "data.frame"]):
        node.attrs["class"] = classes
    elif classes:
        fields["r:class"] = list(classes)
    node.fields.update(fields)
    for label, column in zip(labels, columns, strict=True):
        column.fields.update(of_columns.get(label, {}))
    return True


def _trees(facts: dict[str, Any]) -> dict[str, Tree]:
    return {f"{_PREFIX}{name}": structure.from_json(item, pack.outline) for name, item in facts.items()}
