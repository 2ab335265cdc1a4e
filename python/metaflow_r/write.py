"""R values to trees. ``docs/artifact-format.md`` says which R type becomes which kind of node.

What Python has too gets the same kind as from Python; what only R knows of it and ``==`` does not see (that numbers are
integer64, the units of a difftime) goes into ``layout``, which does not count for equality. What is left gets a kind of
R's own.
"""

from __future__ import annotations

from typing import Any

from metaflow_core.values import losses
from metaflow_core.values.node import Node, Tree
from metaflow_core.values.registry import Unstorable

from metaflow_r.sexp import (
    NA_INTEGER,
    NULL,
    TYPES,
    ByteSexpVector,
    ListSexpVector,
    NotUtf8,
    attributes,
    cdata,
    has_attributes,
    memory,
    rlib,
    text_at,
    texts,
)

SMALL = 64  # shorter vectors are lists in the tree, and need no Arrow
PLAIN = 1024  # so are these without attributes: as from Python, their size decides whether they become Arrow


class HasCode(Exception):
    """A part of a classed object has no neutral form, so the object as a whole has none."""


def to_tree(value: Any) -> Tree:
    """The tree of an R value, or of a Python value that an R flow has, such as a parameter."""
    if not hasattr(value, "__sexp__"):
        from metaflow_core.values.python_tree import to_tree as python_tree

        return python_tree(value)
    return write(value, strict=False)


def write(value: Any, strict: bool) -> Tree:
    """The tree of ``value``. With ``strict`` an opaque part is an error, :class:`HasCode`."""
    cls = type(value)
    kind = TYPES.get(cls)
    try:
        if kind is not None:
            if not has_attributes(value):
                return scalar(value, kind) if len(value) == 1 else plain(value, kind)
            from metaflow_r.write_classes import atomic

            return atomic(value, kind, attributes(value))
        if value is NULL:
            return None
        if cls is ListSexpVector:
            return _list(value, strict)
    except (NotUtf8, HasCode):
        pass
    return opaque(value, strict)


def scalar(value: Any, kind: str) -> Tree:
    """A vector of length one without attributes."""
    where = cdata(value)
    if kind == "double":
        number: float = rlib.REAL_ELT(where, 0)
        if number != number and _is_na(value):
            return _na(kind)
        return number
    if kind == "integer":
        whole: int = rlib.INTEGER_ELT(where, 0)
        return _na(kind) if whole == NA_INTEGER else whole
    if kind == "character":
        text = text_at(value, 0)
        return _na(kind) if text is None else text
    if kind == "logical":
        flag = rlib.LOGICAL_ELT(where, 0)
        return _na(kind) if flag == NA_INTEGER else bool(flag)
    if kind == "raw":
        return memory(value, 1)
    number_of_two = value[0]
    if _is_na_complex(value):
        return _na(kind)
    return Node("complex", value=[number_of_two.real, number_of_two.imag])


def _na(kind: str) -> Node:
    return Node("na", attrs={"type": kind})


def _is_na(value: Any) -> bool:
    return int.from_bytes(memory(value, 8)[:4], "little") == 1954


def _is_na_complex(value: Any) -> bool:
    from metaflow_r.memory import numbers
    from metaflow_r.vectors import missing_reals

    found = missing_reals(numbers(value, "complex"))
    return found is not None


def plain(value: Any, kind: str) -> Tree:
    """A vector that is no scalar, without attributes."""
    count = len(value)
    if kind == "raw":
        return memory(value, 1)
    if kind == "complex":
        return Node("r.vector", attrs={"type": kind}, data=_arrow(value, kind))
    if count > PLAIN:
        data = _arrow(value, kind)
        # A list of None alone is a list of NULL in R.
        return Node("list", data=data) if data.null_count < count else Node("r.vector", attrs={"type": kind}, data=data)
    items = elements(value, kind)
    if all(item is None for item in items):
        return Node("r.vector", attrs={"type": kind}, value=items)
    return items


def elements(value: Any, kind: str) -> list[Any]:
    """The elements of a short vector, None for NA."""
    where, places = cdata(value), range(len(value))
    if kind == "character":
        return list(texts(value))
    if kind == "integer":
        return [None if (i := rlib.INTEGER_ELT(where, p)) == NA_INTEGER else i for p in places]
    if kind == "logical":
        return [None if (i := rlib.LOGICAL_ELT(where, p)) == NA_INTEGER else bool(i) for p in places]
    found: list[Any] = [rlib.REAL_ELT(where, p) for p in places]
    if any(number != number for number in found):
        view = memory(value, 8)
        for p, number in enumerate(found):
            if number != number and int.from_bytes(view[8 * p : 8 * p + 4], "little") == 1954:
                found[p] = None
    return found


def _arrow(value: Any, kind: str) -> Any:
    from metaflow_r.vectors import to_arrow

    return to_arrow(value, kind)


def content(value: Any, kind: str) -> dict[str, Any]:
    """The elements of a vector as ``value`` or ``data`` of a node, whichever fits its length."""
    if kind == "raw":
        return {"value": memory(value, 1)}
    if len(value) > SMALL or kind == "complex":
        return {"data": _arrow(value, kind)}
    return {"value": elements(value, kind)}


def _list(value: Any, strict: bool) -> Tree:
    if not has_attributes(value):
        from metaflow_r.read import vector_type

        items = list_items(value, strict)
        return items if vector_type(items) is None else Node("r.list", value=items, attrs={"type": "list"})
    found = attributes(value)
    classes = texts(found["class"]) if "class" in found else []
    if "data.frame" in classes:
        from metaflow_r.write_frames import frame

        return frame(value, found, strict)
    if classes == ["metaflow_opaque"]:
        return _handle(value, found)
    names = texts(found["names"]) if "names" in found else None
    if names is not None and len(found) == 1 and all(names) and len(set(names)) == len(names):
        return Node("dict", value=list_items(value, strict, names), fields={"keys": list(names)})
    strict = strict or bool(classes)
    fields = {name: write(part, strict) for name, part in found.items()}
    return Node("r.list", value=list_items(value, strict, names), attrs={"type": "list"}, fields=fields)


def _handle(value: Any, found: dict[str, Any]) -> Node:
    """A handle of another language's object: the object's own bytes."""
    parts = dict(zip(texts(found["names"]), value, strict=True))
    facts = {name: str(text_at(parts[name], 0)) for name in ("language", "codec", "type")}
    summary = str(text_at(parts["summary"], 0))
    return Node("opaque", value=memory(parts["payload"], 1), attrs=facts, layout={"summary": summary})


def list_items(value: Any, strict: bool, names: list[str | None] | None = None) -> list[Tree]:
    """The trees of a list's elements."""
    trees: list[Tree] = []
    for position, item in enumerate(value):
        try:
            trees.append(write(item, strict))
        except Unstorable as error:
            name = names[position] if names else None
            error.path = (f"${name}" if name else f"[[{position + 1}]]") + error.path
            raise
    return trees


def opaque(value: Any, strict: bool) -> Node:
    """``value`` as R's ``serialize`` writes it."""
    if strict:
        raise HasCode
    from metaflow_r import session
    from metaflow_r.text import is_sexp, text

    sparse = _sparse(value)
    if sparse is not None:
        return sparse
    made = session.helper("serialize_value")(ListSexpVector([value]))  # a bare call would be evaluated
    payload, kind, summary, pointers = made
    if not isinstance(payload, ByteSexpVector):
        raise Unstorable(text(kind), text(payload) if is_sexp(payload) else "it can't be serialized")
    if pointers[0]:
        what = "an open connection" if "connection" in text(kind).split("/") else "an external pointer"
        losses.tell(
            f"it holds {what} ({text(kind)}), which another process can't use. "
            f"Open it in each step that uses it, or store what it gives."
        )
    return Node(
        "opaque",
        value=memory(payload, 1),
        attrs={"language": "r", "codec": "rds", "type": text(kind)},
        layout={"summary": text(summary)},
    )


def _sparse(value: Any) -> Node | None:
    if int(value.typeof) != 25:
        return None
    from metaflow_r.sparse import to_node

    return to_node(value)
