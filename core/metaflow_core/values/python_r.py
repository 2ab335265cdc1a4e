"""What R writes and Python has no type for, by reticulate's conventions. See ``docs/artifact-format.md``.

Scalars and unnamed vectors and lists without attributes are bare trees and never come here; nor do factors
(``categorical``), data frames (``dataframe``), matrices without missing values (``ndarray``), named lists with distinct
names (``dict``) and dates and times (``datetime``, ``date``): R writes the same kinds as Python.
"""

from __future__ import annotations

from typing import Any

from metaflow_core.values import columns, losses
from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, NotTyped, ToTree


def to_tree(value: Any, write: ToTree) -> Node:
    raise NotTyped


def from_tree(tree: Node, read: FromTree) -> Any:
    if tree.kind == "na":
        return None
    if tree.kind == "r.list" and "class" in tree.fields and "POSIXlt" in read(tree.fields["class"]):
        return _broken_down_times(tree, read)
    items = _items(tree, read)
    if "dim" in tree.fields:
        return _array(tree, items, read)
    kept = {"names", "dim"}
    if "names" in tree.fields:
        names = read(tree.fields["names"])
        names = names if isinstance(names, list) else [names]  # one name is a bare text
        if len(set(names)) == len(names) and all(isinstance(name, str) and name for name in names):
            _tell_dropped(tree, kept)
            return dict(zip(names, items, strict=True))
        kept = {"dim"}
    _tell_dropped(tree, kept)
    return items[0] if tree.kind == "r.vector" and len(items) == 1 else items


def _items(tree: Node, read: FromTree) -> list[Any]:
    if tree.data is None:
        return list(read(tree.value) or [])
    data = tree.data
    if str(data.type).startswith("timestamp[ns"):  # R's numbers are not exact to more than some tenths of a microsecond
        data = _in_microseconds(data)
    values = columns.to_list(data)
    if tree.attrs.get("type") == "complex":
        return [None if v is None else complex(*v) if isinstance(v, list) else complex(*v.values()) for v in values]
    return values


def _in_microseconds(data: Any) -> Any:
    """Moments in nanoseconds, rounded."""
    import pyarrow as pa

    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks()
    missing = data.is_null().to_numpy(zero_copy_only=False)
    ticks = data.cast(pa.int64()).fill_null(0).to_numpy()
    whole = pa.array((ticks + 500) // 1000, pa.int64(), mask=missing if missing.any() else None)
    return whole.cast(pa.timestamp("us", data.type.tz))


def _broken_down_times(tree: Node, read: FromTree) -> Any:
    """A POSIXlt: one moment, or a list of them, None for NA."""
    import datetime as dt
    import zoneinfo

    names = list(read(tree.fields["names"]))
    parts = dict(zip(names, (item if isinstance(item, list) else [item] for item in _items(tree, read)), strict=True))
    zones = read(tree.fields["tzone"]) if "tzone" in tree.fields else "UTC"
    zone = zones if isinstance(zones, str) else zones[0]
    try:
        tz: dt.tzinfo | None = dt.timezone.utc if zone == "UTC" else zoneinfo.ZoneInfo(zone) if zone else None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        losses.tell(f"it is in the time zone {zone!r}, which Python does not know.")
        tz = None
    found: list[dt.datetime | None] = []
    for year, month, day, hour, minute, second, summer in zip(
        *(parts[name] for name in ("year", "mon", "mday", "hour", "min", "sec", "isdst")), strict=True
    ):
        if None in (year, month, day) or second is None:
            found.append(None)
            continue
        first = dt.datetime(1900 + year + month // 12, month % 12 + 1, 1, tzinfo=tz)
        moment = first + dt.timedelta(days=day - 1, hours=hour, minutes=minute, seconds=second)
        later = moment.replace(fold=1)
        found.append(later if summer == 0 and moment.utcoffset() != later.utcoffset() and moment.dst() else moment)
    return found[0] if len(found) == 1 else found


def _array(tree: Node, items: list[Any], read: FromTree) -> Any:
    """A matrix or array. Missing numbers become NaN, so integers with NA become floating-point numbers."""
    import numpy as np

    _tell_dropped(tree, {"dim"})
    dim = read(tree.fields["dim"])
    shape = tuple(int(n) for n in (dim if isinstance(dim, list) else [dim]))
    kind = tree.attrs.get("type")
    if kind in ("integer", "double") and None in items:
        items = [float("nan") if item is None else item for item in items]
    if kind in ("character", "list") or None in items:
        flat = np.empty(len(items), object)
        flat[:] = items
    else:
        flat = np.array(items)
    return flat.reshape(shape, order="F")


def _tell_dropped(tree: Node, kept: set[str]) -> None:
    dropped = sorted(set(tree.fields) - kept)
    if dropped:
        losses.tell(
            f"it is an R {tree.attrs.get('type', 'list')} with attributes that Python has no place for: "
            f"{', '.join(dropped)}. They are kept in the artifact, and R reads them."
        )
