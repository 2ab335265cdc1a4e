"""R vectors with attributes: names, dimensions, factors, dates and times, integer64, and any other class."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from metaflow_core.values.node import Node, Tree

from metaflow_r import times
from metaflow_r.memory import numbers
from metaflow_r.sexp import cdata, is_null, rlib, texts
from metaflow_r.vectors import array, missing_reals, to_arrow
from metaflow_r.write import HasCode, content, write


def atomic(value: Any, kind: str, found: dict[str, Any]) -> Tree:
    """A vector with attributes, as it stands alone."""
    classes = class_of(found)
    if set(found) == {"dim"} and not classes:
        node = _ndarray(value, kind, found)
        if node is not None:
            return node
    if classes:
        if len(value) == 1:
            single = times.scalar(value, kind, classes, found)
            if single is not None:
                return single
        if _is_integer64(kind, classes) and set(found) == {"class"}:
            return _integer64(value)
        typed = column_data(value, kind, classes, found)
        if typed is not None:
            node, used = typed
            if node.kind == "column":
                node.kind = "r.vector"
                node.attrs = {"type": str(node.layout.pop("type")), **node.attrs}
            return _with_rest(node, found, used, "" if node.kind == "r.vector" else "r:")
    return generic(value, kind, found)


def generic(value: Any, kind: str, found: dict[str, Any]) -> Node:
    """A vector of R with whatever attributes it has."""
    return _with_rest(Node("r.vector", attrs={"type": kind}, **content(value, kind)), found, (), "")


def class_of(found: dict[str, Any]) -> list[str]:
    """The class attribute. That of an S4 object names its package, and such an object is no plain data."""
    if "class" not in found:
        return []
    if rlib.ATTRIB(cdata(found["class"])) != rlib.R_NilValue:
        raise HasCode
    return [str(name) for name in texts(found["class"])]


def _with_rest(node: Node, found: dict[str, Any], used: Any, prefix: str) -> Node:
    for name, part in found.items():
        if name not in used:
            node.fields[prefix + name] = write(part, strict=True)
    return node


def column(value: Any, name: str, strict: bool) -> Node:
    """A column of a data frame."""
    from metaflow_r.sexp import TYPES, ListSexpVector, attributes, has_attributes
    from metaflow_r.write_frames import nested

    kind = TYPES.get(type(value))
    found = attributes(value) if has_attributes(value) else {}
    node: Node | None = None
    used: Any = ()
    if kind is not None and "dim" not in found:
        classes = class_of(found)
        typed = column_data(value, kind, classes, found) if classes else None
        if typed is not None:
            node, used = typed
            node.layout.pop("type", None)
        elif kind == "complex":
            node = Node("column", attrs={"dtype": "complex128"}, data=to_arrow(value, kind))
        else:
            node = Node("column", data=to_arrow(value, kind), layout={"type": "raw"} if kind == "raw" else {})
    elif isinstance(value, ListSexpVector) and not found:
        from metaflow_r.read import vector_type
        from metaflow_r.write import list_items

        items = list_items(value, strict)
        node = Node("column", value=items, attrs={"dtype": "object"})
        if vector_type(items) is not None:
            node.attrs["list"] = True
    if node is None:
        return nested(value, name, strict)
    node.attrs["name"] = name
    return _with_rest(node, found, used, "r:")


def column_data(value: Any, kind: str, classes: list[str], found: dict[str, Any]) -> tuple[Node, set[str]] | None:
    """The node of a vector whose class has an Arrow type, and which attributes that covers; None when it has none."""
    if "factor" in classes:
        return _factor(value, kind, classes, found)
    if _is_integer64(kind, classes):
        whole = numbers(value, kind).view("int64")
        data = array(pa.int64(), whole, whole == -(2**63))
        return Node("column", data=data, layout={"type": "integer64"}), {"class"}
    return times.column(value, kind, classes, found)


def _factor(value: Any, kind: str, classes: list[str], found: dict[str, Any]) -> tuple[Node, set[str]] | None:
    if kind != "integer" or "levels" not in found or classes not in (["factor"], ["ordered", "factor"]):
        return None
    levels = texts(found["levels"])
    if None in levels or len(set(levels)) != len(levels) or rlib.ATTRIB(cdata(found["levels"])) != rlib.R_NilValue:
        return None
    codes = numbers(value, kind)
    missing = codes == -(2**31)
    present = codes[~missing]
    if len(present) and (present.min() < 1 or present.max() > len(levels)):
        return None
    indices = array(pa.int32(), codes - 1, missing)
    data = pa.DictionaryArray.from_arrays(indices, to_arrow(found["levels"], "character"))
    attrs = {"ordered": True} if len(classes) == 2 else {}
    return Node("categorical", attrs=attrs, layout={"type": "factor"}, data=data), {"class", "levels"}


def _is_integer64(kind: str, classes: list[str]) -> bool:
    return kind == "double" and classes == ["integer64"]


def _integer64(value: Any) -> Tree:
    whole = numbers(value, "double").view("int64")
    missing = whole == -(2**63)
    if len(whole) == 1:
        if missing[0]:
            return Node("na", attrs={"type": "integer64"})
        return Node("int", value=int(whole[0]), layout={"type": "integer64"})
    return Node("list", data=array(pa.int64(), whole, missing), layout={"type": "integer64"})


_DTYPES = {"logical": "bool", "integer": "int32", "double": "float64", "complex": "complex128"}


def _ndarray(value: Any, kind: str, found: dict[str, Any]) -> Node | None:
    """A matrix or array without dimnames and missing values is the same thing in both languages."""
    if kind not in _DTYPES:
        return None
    values = numbers(value, kind)
    if kind in ("logical", "integer"):
        if (values == -(2**31)).any():
            return None
    elif missing_reals(values) is not None:
        return None
    shape = [int(n) for n in found["dim"]]
    data = pa.array(values.astype("uint8")) if kind == "logical" else to_arrow(value, kind)
    layout = {"order": "F"} if len(shape) > 1 else {"type": "array"}
    return Node("ndarray", attrs={"dtype": _DTYPES[kind], "shape": shape}, layout=layout, data=data)


__all__ = ["atomic", "class_of", "column", "generic", "is_null"]
