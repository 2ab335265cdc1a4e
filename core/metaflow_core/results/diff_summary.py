"""In a few words, how two values differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaflow_core.results.artifact import DataArtifact
    from metaflow_core.results.diff_values import ForeachChange, ValueChange

MAX_DETAILS = 10  # lines below a changed value


def shown_value(artifact: DataArtifact) -> str:
    """The value when it is small, else its type and size."""
    from metaflow_core.errors import MetaflowException
    from metaflow_core.values.decoder import tree_of
    from metaflow_core.values.shown import shown

    stored = artifact._stored()
    text = None
    if stored.encoding not in ("arrow", "opaque"):
        with suppress(MetaflowException):  # damaged, or of a newer version; there is its type still
            text = shown(tree_of(stored), stored.language)
    return text if text is not None else f"{stored.type}, {_bytes(stored.size)}"


def summary(change: ValueChange) -> str:
    """One line: old and new when they are small, else what they are and how much of them differs."""
    if change.old is None or change.new is None:
        return shown_value(change.old or change.new)  # type: ignore[arg-type]
    found = change.difference or {}
    kind = found.get("kind")
    if _is_small(found):
        text = f"{found['old']} → {found['new']}"
        if kind == "number" and found["difference"] is not None:
            return f"{text}  ({_signed(found['difference'])})"
        if "lines_added" in found:
            return f"text: {found['lines_added']:,} lines added, {found['lines_removed']:,} removed"
        return text
    types = _pair(change.old.type, change.new.type)
    sizes = _pair(_bytes(change.old.size), _bytes(change.new.size))
    if kind == "table":
        return f"{types}, {_counted(found['rows'], 'row')}"
    if kind == "array":
        return f"{types}, {_array(found).removeprefix(types).lstrip(' ,')}"
    if kind == "items":
        return f"{types}, {_counted(found['length'], 'element')}"
    if kind == "opaque":
        return f"{types}, {sizes}; not looked into"
    if kind == "large":
        return f"{types}, {sizes}; more than {_bytes(found['limit'])}, so not looked into unless `full` asks for it"
    if kind == "unreadable":
        return f"{types}, {sizes}; not readable: {found['reason']}"
    return f"{types}, {sizes}"


def in_foreach(change: ForeachChange) -> str:
    """In how many tasks of a foreach an artifact differs, and in which for example."""
    old, new = (pathspec.split("/", 1)[1] for pathspec in change.example)
    return f"differs in {change.changed:,} of {change.compared:,} tasks, as in {old} and {new}"


def details(change: ValueChange) -> list[str]:
    """Lines to stand below the summary: columns of a table, elements of a list."""
    found = change.difference or {}
    if _is_small(found):
        return []
    lines = list(_details(found))
    more = len(lines) - MAX_DETAILS + found.get("more", 0)
    return lines if more <= 0 else [*lines[:MAX_DETAILS], f"... and {more:,} more"]


def _is_small(found: dict[str, Any]) -> bool:
    """Whether old and new can stand side by side. What has names is told name by name."""
    if "old" not in found or "new" not in found:
        return False
    if found["kind"] != "items" or not all(found["length"]):
        return True
    paths = [*found["added"], *found["removed"], *(one["path"] for one in found["changed"])]
    return any(path.startswith("[") for path in paths) or not paths


def _details(found: dict[str, Any]) -> Iterator[str]:
    kind = found.get("kind")
    if kind == "table":
        for sign, part in (("+", "columns_added"), ("-", "columns_removed")):
            if found[part]:
                yield f"{sign} {'columns' if len(found[part]) > 1 else 'column'} {', '.join(found[part])}"
        for name, column in found["columns"].items():
            yield f"{name}: {_column(column)}"
        if found.get("columns_reordered"):
            yield "columns are in another order"
        if found.get("row_names_changed"):
            yield "the index, or the names of rows, differ"
    elif kind == "items":
        yield from (f"+ {path}" for path in found["added"])
        yield from (f"- {path}" for path in found["removed"])
        for one in found["changed"]:
            yield f"{one['path']}: {_inner(one['difference'])}"
    elif kind == "opaque" and found["summary"]:
        yield from (f"{sign} {text}" for sign, text in zip("-+", found["summary"], strict=True))


def _inner(found: dict[str, Any]) -> str:
    """The difference of a part of a value, which has no type and no size of its own."""
    kind = found["kind"]
    if _is_small(found):
        more = f"  ({_signed(found['difference'])})" if found.get("difference") is not None else ""
        return f"{found['old']} → {found['new']}{more}"
    if kind == "array":
        return _array(found)
    if kind == "table":
        return "; ".join([_counted(found["rows"], "row"), *_details(found)])
    return "differs" if kind != "opaque" else "differs; not looked into"


def _array(found: dict[str, Any]) -> str:
    shapes, dtypes = found["shape"], found["dtype"]
    dtype = _pair(*dtypes)
    if shapes[0] != shapes[1] and (len(shapes[0]) > 1 or len(shapes[1]) > 1):
        return f"{dtype}, shape {_shape(shapes[0])} → {_shape(shapes[1])}"
    if len(shapes[0]) > 1:
        return f"{dtype} {_shape(shapes[0])}: {_column(found)}"
    return f"{dtype}, {_counted([shape[0] for shape in shapes], 'element')}: {_column(found)}"


def _column(found: dict[str, Any]) -> str:
    parts = [f"type {' → '.join(found['type'])}"] if "type" in found else []
    if found["changed"] is None:
        return "; ".join([*parts, "differs"])
    if not found["changed"]:
        return "; ".join(parts) or ("differs in form only" if "type" not in found else "")
    text = f"{found['changed']:,} of {found['compared']:,} values changed"
    if found.get("max_difference"):
        text += f", by {found['max_difference']:.6g} at most, {_signed(found['mean_difference'])} on average"
    return "; ".join([*parts, text])


def _counted(pair: list[int], what: str) -> str:
    old, new = pair
    if old == new:
        return f"{new:,} {what}{'s' * (new != 1)}"
    return f"{old:,} → {new:,} {what}s ({_signed(new - old)})"


def _pair(old: str, new: str) -> str:
    return old if old == new else f"{old} → {new}"


def _shape(shape: list[int]) -> str:
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"


def _signed(number: float) -> str:
    return f"{number:+,}" if isinstance(number, int) else f"{number:+.6g}"


def _bytes(size: int) -> str:
    if size < 1024:
        return f"{size} bytes"
    power = min(4, (size.bit_length() - 1) // 10)
    return f"{size / 1024**power:.4g} {'BKMGT'[power]}B"
