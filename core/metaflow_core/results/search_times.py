"""Moments and durations as people write them: ``2026-01-31``, ``2026-01-31 10:00``, ``7d``, ``2 hours ago``."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone

MICROSECONDS = 1_000_000  # of a second
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_UNITS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
    "w": 7 * 86400,
    "week": 7 * 86400,
}
_PART = r"(\d+(?:\.\d+)?)\s*([a-z]+)"
_DURATION = re.compile(rf"\s*{_PART}(?:[\s,]*{_PART})*\s*(?:ago)?\s*")
_DAYS = {"today": 0, "yesterday": -1}


def moment(value: object, now: int) -> tuple[int, int]:
    """The first and the last microsecond since 1970 of what is named: a day is all of it, other moments are one.

    Text is a date or a time in ISO 8601, or a duration, which is how long ago. Without an offset the local time zone
    counts. ``ValueError`` says what is wrong.
    """
    if isinstance(value, timedelta):
        value = datetime.fromtimestamp(now / MICROSECONDS, timezone.utc) - value
    if isinstance(value, datetime):
        at = _microseconds(value)
        return at, at
    if isinstance(value, date):
        return _day(value)
    if not isinstance(value, str):
        raise ValueError("Expected a date or a time")
    text = value.strip().lower()
    if text == "now":
        return now, now
    if text in _DAYS:
        local = datetime.fromtimestamp(now / MICROSECONDS)
        return _day(local.date() + timedelta(days=_DAYS[text]))
    if _DURATION.fullmatch(text):
        at = now - duration(text)
        return at, at
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return _day(date.fromisoformat(text))
        at = _microseconds(datetime.fromisoformat(_padded(text)))
    except ValueError:
        raise ValueError(
            "This is no time. Write 2026-01-31, '2026-01-31 10:00', 2026-01-31T10:00+02:00, or how long ago: 7d"
        ) from None
    return at, at


def duration(value: str) -> int:
    """Microseconds. ``ValueError`` says what is wrong."""
    text = value.strip().lower()
    total = 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError("This is no duration. Write 90s, 30m, 2h, 7d, 2w, or '1 hour 30 minutes'")
    for number, unit in re.findall(_PART, text.removesuffix("ago")):
        seconds = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
        if seconds is None:
            raise ValueError(f"There is no unit '{unit}' of time: s, m (minutes), h, d and w are")
        total += float(number) * seconds
    return round(min(total * MICROSECONDS, 2.0**61))


def _padded(text: str) -> str:
    """As every version of Python reads it: an offset with a colon, a fraction of six digits."""
    text = re.sub(r"z$", "+00:00", text.upper().replace("Z", "z"))
    text = re.sub(r"([+-]\d\d)(\d\d)?$", lambda found: f"{found[1]}:{found[2] or '00'}", text) if ":" in text else text
    return re.sub(r"\.(\d{1,6})\d*", lambda found: f".{found[1]:0<6}", text)


def _day(day: date) -> tuple[int, int]:
    begin = _microseconds(datetime.combine(day, time()))
    try:
        end = _microseconds(datetime.combine(day + timedelta(days=1), time())) - 1
    except OverflowError:
        end = begin + 86400 * MICROSECONDS
    return begin, end


def _microseconds(at: datetime) -> int:
    try:
        aware = at if at.tzinfo is not None else at.astimezone()
        return (aware - _EPOCH) // timedelta(microseconds=1)
    except (OverflowError, OSError):
        raise ValueError("This time is too far away") from None
