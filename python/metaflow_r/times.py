"""R's dates and times: POSIXct, Date, difftime and hms.

R holds them as floating-point numbers. They are stored as whole microseconds where that loses nothing, else as
nanoseconds, and as the plain numbers where both would lose something.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
from metaflow_core.values import losses
from metaflow_core.values.node import Node

from metaflow_r.memory import numbers
from metaflow_r.sexp import texts
from metaflow_r.vectors import array, missing_reals

SECONDS = {"secs": 1, "mins": 60, "hours": 3600, "days": 86400, "weeks": 604800}
_POSIXCT = ["POSIXct", "POSIXt"]
_HMS = ["hms", "difftime"]


def column(value: Any, kind: str, classes: list[str], found: dict[str, Any]) -> tuple[Node, set[str]] | None:
    """The node of a vector of dates or times, and the attributes that it covers; None when it is none, or not exact."""
    if kind not in ("double", "integer"):
        return None
    if classes == _POSIXCT:
        return _posixct(value, kind, found)
    if classes == ["Date"]:
        return _date(value, kind)
    if classes == ["difftime"] and _units(found) in SECONDS:
        return _difftime(value, kind, _units(found), "difftime", pa.duration("us"))
    if classes == _HMS and _units(found) == "secs":
        return _difftime(value, kind, "secs", "hms", pa.time64("us"))
    return None


def _units(found: dict[str, Any]) -> str:
    units = texts(found["units"]) if "units" in found else []
    return str(units[0]) if len(units) == 1 else ""


def _values(value: Any, kind: str) -> tuple[Any, Any]:
    """The numbers as doubles, and where NA is."""
    values = numbers(value, kind)
    if kind == "integer":
        missing = values == -(2**31)
        return values.astype(np.float64), missing if missing.any() else None
    return values, missing_reals(values)


def _layout(type: str, kind: str) -> dict[str, Any]:
    return {"type": type, "storage": "integer"} if kind == "integer" else {"type": type}


def _posixct(value: Any, kind: str, found: dict[str, Any]) -> tuple[Node, set[str]] | None:
    values, missing = _values(value, kind)
    whole = _whole(values, missing)
    if whole is None:
        return None
    unit, ticks = whole
    zone, layout = _zone(found)
    node = Node(
        "column", data=array(pa.timestamp(unit, zone), ticks, missing), layout={**_layout("POSIXct", kind), **layout}
    )
    return node, {"class", "tzone"}


def _zone(found: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The zone for Arrow, and R's own where that says more."""
    if "tzone" not in found:
        return "UTC", {"tzone": None}
    zones = [str(zone) for zone in texts(found["tzone"])]
    if len(zones) == 1 and _is_known(zones[0]):
        return zones[0], {}
    return zones[0] if zones and _is_known(zones[0]) else "UTC", {"tzone": zones}


def _is_known(zone: str) -> bool:
    if not zone:
        return False
    if zone == "UTC":
        return True
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _whole(values: Any, missing: Any) -> tuple[str, Any] | None:
    """Unit and whole numbers of it that give exactly these seconds, or None."""
    present = values if missing is None else values[~missing]
    if not np.isfinite(present).all() or (len(present) and np.abs(present).max() > 9e9):
        return None
    filled = values if missing is None else np.where(missing, 0.0, values)
    seconds = np.floor(filled)
    rest = filled - seconds
    for unit, per_second in (("us", 10**6), ("ns", 10**9)):
        parts = np.rint(rest * per_second)
        if (np.signbit(filled) & (filled == 0)).any():
            return None
        if np.array_equal(seconds + parts / per_second, filled):
            return unit, seconds.astype(np.int64) * per_second + parts.astype(np.int64)
    return None


def seconds_of(ticks: Any, unit: str, missing: Any = None) -> Any:
    """The seconds of whole numbers of a unit. Tells when they are not exact, as :func:`_whole` has found R's to be."""
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    seconds = (ticks // per_second) + (ticks % per_second) / per_second
    if unit in ("us", "ns"):
        whole = np.floor(seconds)
        exact = whole.astype(np.int64) * per_second + np.rint((seconds - whole) * per_second).astype(np.int64) == ticks
        _tell_unless(exact, missing)
    return seconds


def amounts_of(ticks: Any, per_unit: int, missing: Any = None) -> Any:
    """Durations of whole ticks, in a unit that has so many. Tells when they are not exact."""
    amounts = ticks / per_unit
    _tell_unless(np.rint(amounts * per_unit).astype(np.int64) == ticks, missing)
    return amounts


def _tell_unless(exact: Any, missing: Any) -> None:
    if not (exact if missing is None else exact | missing).all():
        losses.tell("times are numbers in R, which hold fewer digits than these have.")


def _date(value: Any, kind: str) -> tuple[Node, set[str]] | None:
    values, missing = _values(value, kind)
    present = values if missing is None else values[~missing]
    if not np.isfinite(present).all() or (np.rint(present) != present).any() or (np.abs(present) > 2e9).any():
        return None
    if (np.signbit(present) & (present == 0)).any():
        return None
    days = (values if missing is None else np.where(missing, 0, values)).astype(np.int32)
    return Node("column", data=array(pa.date32(), days, missing), layout=_layout("Date", kind)), {"class"}


def _difftime(value: Any, kind: str, units: str, type: str, arrow: pa.DataType) -> tuple[Node, set[str]] | None:
    values, missing = _values(value, kind)
    filled = values if missing is None else np.where(missing, 0.0, values)
    factor = SECONDS[units] * 10**6
    if not np.isfinite(filled).all() or (np.abs(filled * factor) > 2**52).any():
        return None
    ticks = np.rint(filled * factor)
    if (ticks / factor != filled).any() or (np.signbit(filled) & (filled == 0)).any():
        return None
    if type == "hms" and len(ticks) and (ticks.min() < 0 or ticks.max() >= 86_400_000_000):
        return None
    layout = _layout(type, kind)
    if type == "difftime":
        layout["units"] = units
    return Node("column", data=array(arrow, ticks.astype(np.int64), missing), layout=layout), {"class", "units"}


def scalar(value: Any, kind: str, classes: list[str], found: dict[str, Any]) -> Node | None:
    """One date or time, as Python has it; None when it is none, or more than that."""
    made = column(value, kind, classes, found)
    if made is None:
        return None
    node, used = made
    if set(found) - used:
        return None
    layout = node.layout
    type = layout["type"]
    if node.data is None or node.data.null_count:
        kept: dict[str, Any] = {name: layout[name] for name in ("storage", "units", "tzone") if name in layout}
        attrs: dict[str, Any] = {"type": type}
        if type == "POSIXct" and "tzone" not in kept:
            kept["tzone"] = [node.data.type.tz] if node.data is not None else None
        return Node("na", attrs=attrs, layout=kept)
    ticks = node.data.cast(pa.int32() if type == "Date" else pa.int64())[0].as_py()
    if type == "Date":
        try:
            day = dt.date(1970, 1, 1) + dt.timedelta(days=ticks)
        except OverflowError:
            return None
        return Node("date", value=day.isoformat(), layout=layout)
    if type == "difftime":
        return Node("timedelta", value=ticks, layout=layout)
    if type == "hms":
        return Node(
            "time", value=(dt.datetime.min + dt.timedelta(microseconds=ticks)).time().isoformat(), layout=layout
        )
    return _datetime(node, ticks, layout)


def _datetime(node: Node, ticks: int, layout: dict[str, Any]) -> Node | None:
    assert node.data is not None
    unit, zone = node.data.type.unit, node.data.type.tz
    if unit == "ns":
        layout = {**layout, "nanoseconds": ticks}
        ticks = round(ticks / 1000)
    import zoneinfo

    try:
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(microseconds=ticks)
        tz = dt.timezone.utc if zone == "UTC" else zoneinfo.ZoneInfo(zone)
        local = moment.astimezone(tz)
    except OverflowError:
        return None
    attrs: dict[str, Any] = {"fold": local.fold} if local.fold else {}
    return Node("datetime", value=local.replace(tzinfo=None).isoformat(), attrs={**attrs, "zone": zone}, layout=layout)
