"""Dates, times and time zones."""

from __future__ import annotations

import datetime as dt
from typing import Any

from metaflow_core.errors import UnreadableArtifact
from metaflow_core.values.node import Node
from metaflow_core.values.registry import FromTree, NotTyped, ToTree

_MICROSECOND = dt.timedelta(microseconds=1)


def to_tree(value: Any, write: ToTree) -> Node:
    cls = type(value)
    if cls is dt.datetime or cls is dt.time:
        node = Node(cls.__name__, value=value.replace(tzinfo=None).isoformat())
        if value.fold:
            node.attrs["fold"] = value.fold
        if value.tzinfo is not None:
            attrs, layout = zone(value.tzinfo)
            node.attrs.update(attrs)
            node.layout.update(layout)
        return node
    if cls is dt.date:
        return Node("date", value=value.isoformat())
    if cls is dt.timedelta:
        return Node("timedelta", value=value // _MICROSECOND)
    if cls is dt.timezone or cls.__module__ == "zoneinfo":
        attrs, layout = zone(value)
        return Node("timezone", attrs=attrs, layout=layout)
    raise NotTyped


def from_tree(tree: Node, read: FromTree) -> Any:
    value: Any = tree.value
    if tree.kind == "date":
        return dt.date.fromisoformat(value)
    if tree.kind == "timedelta":
        return value * _MICROSECOND
    zone = read_zone(tree)
    if tree.kind == "timezone":
        return zone
    cls = dt.datetime if tree.kind == "datetime" else dt.time
    return cls.fromisoformat(value).replace(tzinfo=zone, fold=tree.attrs.get("fold", 0))


def zone(tz: dt.tzinfo) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attributes and layout that name a time zone. ``NotTyped`` for one that is only an object."""
    if type(tz) is dt.timezone:
        if tz is dt.timezone.utc:
            return {"zone": "UTC"}, {}
        offset = tz.utcoffset(None)
        name = tz.tzname(None)
        named = name != dt.timezone(offset).tzname(None)
        if not name.isprintable():
            raise NotTyped
        return {"offset": offset // _MICROSECOND}, {"name": name} if named else {}
    key = getattr(tz, "key", None)
    if type(tz).__module__ == "zoneinfo" and isinstance(key, str):
        return {"zone": key}, {"zoneinfo": True} if key == "UTC" else {}
    raise NotTyped


def read_zone(node: Node) -> dt.tzinfo | None:
    """The time zone of a node, or None."""
    if "offset" in node.attrs:
        offset = node.attrs["offset"] * _MICROSECOND
        return dt.timezone(offset, node.layout["name"]) if "name" in node.layout else dt.timezone(offset)
    key = node.attrs.get("zone")
    if key is None:
        return None
    if key == "UTC" and not node.layout.get("zoneinfo"):
        return dt.timezone.utc
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UnreadableArtifact(
            f"The artifact is in the time zone {key!r}, which this machine does not know. Install the package tzdata."
        ) from error
