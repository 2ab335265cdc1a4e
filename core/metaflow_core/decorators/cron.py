"""Cron expressions: the five fields that cron has, read from those, or from the six that AWS documents.

A canonical expression has numbers only, Sunday is 0, and no range goes round its end: orchestrators differ in whatever
is beyond that. ``L`` may stand for the last day of the month, ``5L`` for its last Friday, ``5#2`` for its second one.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Field(NamedTuple):
    """One field of an expression: its least and its greatest number, and names for numbers from the least on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
DAY_OF_MONTH, DAY_OF_WEEK = 2, 4
FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of the month", 1, 31),
    Field("month", 1, 12, _MONTHS),
    Field("day of the week", 0, 6, _DAYS),
)
_NTH = re.compile(r"(\w+?)(?:(L)|#([1-5]))", re.IGNORECASE)


def five_fields(text: str) -> str:
    """The canonical form of an expression. ``ValueError`` says, as the end of a sentence, what is wrong with it.

    >>> five_fields("0/15 9-17 * * mon-fri"), five_fields("0 10 ? * 2-6 *")
    ('*/15 9-17 * * 1-5', '0 10 * * 1-5')
    >>> five_fields("0 0 * * 5-7"), five_fields("30 6 ? JAN FRI#2 *")
    ('0 0 * * 0,5,6', '30 6 * 1 5#2')
    """
    words = text.split()
    if len(words) not in (5, 6):
        raise ValueError(
            f"it has {len(words)} field{'s' * (len(words) != 1)}, and needs five: minute, hour, day of the month, "
            f"month, day of the week. AWS has a sixth one, the year"
        )
    aws = len(words) == 6
    if aws:
        _check_aws(words)
    days = [words[i] for i in (DAY_OF_MONTH, DAY_OF_WEEK)]
    words = ["*" if i in (DAY_OF_MONTH, DAY_OF_WEEK) and words[i] == "?" else words[i] for i in range(5)]
    found = [_field(word, field) for word, field in zip(words[:4], FIELDS, strict=False)]
    found.append(_days_of_week(words[4], aws))
    restricted = all(found[i] != "*" for i in (DAY_OF_MONTH, DAY_OF_WEEK))
    if restricted and any(word.startswith("*") for word in days):
        raise ValueError(
            "it restricts the day of the month and the day of the week, one of them by a step: orchestrators disagree "
            "on what that means. List the days"
        )
    return " ".join(found)


def _check_aws(words: list[str]) -> None:
    if words[5] != "*":
        raise ValueError(
            f"six fields are read as AWS does, where the last one is the year. {words[5]} is none that can be used: "
            f"it must be *, because other orchestrators know no years"
        )
    if [words[DAY_OF_MONTH], words[DAY_OF_WEEK]].count("?") != 1:
        raise ValueError(
            "six fields are read as AWS does, where either the day of the month or the day of the week must be ?. "
            "Without a year it is five fields"
        )


def numbers(word: str, field: Field) -> set[int]:
    """The numbers for which a canonical field of numbers stands."""
    found: set[int] = set()
    for item in word.split(","):
        base, _, step = item.partition("/")
        first, dash, last = base.partition("-")
        low = field.low if base == "*" else int(first)
        high = field.high if base == "*" else int(last) if dash else low
        found.update(range(low, high + 1, int(step or 1)))
    return found


def runs(found: set[int]) -> list[tuple[int, int]]:
    """The first and the last number of each run of numbers, in order.

    >>> runs({0, 1, 2, 5})
    [(0, 2), (5, 5)]
    """
    ends: list[tuple[int, int]] = []
    for number in sorted(found):
        if ends and ends[-1][1] == number - 1:
            ends[-1] = (ends[-1][0], number)
        else:
            ends.append((number, number))
    return ends


def _field(word: str, field: Field) -> str:
    if field is FIELDS[DAY_OF_MONTH]:
        if word.upper() == "L":
            return "L"
        if re.search("[LW]", word.upper()):
            raise ValueError(
                f"{word} is no day of the month that all orchestrators know. The last day is L, and nothing beside it"
            )
    items = []
    for item in word.split(","):
        first, last, step = _range(item, field)
        if first > last:
            raise ValueError(f"{item} as {_article(field)} begins after its end")
        everything = (first, last) == (field.low, field.high)
        base = "*" if everything else str(first) if first == last else f"{first}-{last}"
        items.append(base if step == 1 or first == last else f"{base}/{step}")
    return "*" if "*" in items else ",".join(items)


def _days_of_week(word: str, aws: bool) -> str:
    if aws and word.upper() == "L":  # the last day of the week
        return "6"
    nth = _NTH.fullmatch(word)
    if nth:
        return f"{_day(nth[1], word, aws) % 7}{'L' if nth[2] else '#' + nth[3]}"
    found: set[int] = set()
    for item in word.split(","):
        first, last, step = _range(item, FIELDS[DAY_OF_WEEK], aws)
        if last < first:
            last += 7
        found.update(number % 7 for number in range(first, last + 1, step))
    if len(found) == 7:
        return "*"
    return ",".join(
        f"{first}-{last}" if last > first + 1 else ",".join(map(str, range(first, last + 1)))
        for first, last in runs(found)
    )


def _range(item: str, field: Field, aws: bool = False) -> tuple[int, int, int]:
    """The first number, the last one, and the step."""
    base, slash, step = item.partition("/")
    first, dash, last = base.partition("-")
    if base == "*":
        low, high = field.low, field.high
    else:
        low = _number(first, item, field, aws)
        high = _number(last, item, field, aws) if dash else field.high if slash else low
    if slash and not (re.fullmatch("[0-9]{1,4}", step) and 1 <= int(step) <= field.high - field.low):
        raise ValueError(f"the step of {item} as {_article(field)} must be from 1 to {field.high - field.low}")
    return low, high, int(step or 1)


def _number(text: str, item: str, field: Field, aws: bool) -> int:
    if field is FIELDS[DAY_OF_WEEK]:
        return _day(text, item, aws)
    if text.upper() in field.names:
        return field.low + field.names.index(text.upper())
    if not re.fullmatch("[0-9]{1,4}", text) or not field.low <= int(text) <= field.high:
        names = f", or {field.names[0]} to {field.names[-1]}" if field.names else ""
        raise ValueError(f"{item or 'nothing'} is no {field.name}: numbers are from {field.low} to {field.high}{names}")
    return int(text)


def _day(text: str, item: str, aws: bool) -> int:
    """A day of the week; Sunday at the end of a range is 7."""
    if text.upper() in _DAYS:
        return _DAYS.index(text.upper())
    low = 1 if aws else 0
    if not re.fullmatch("[0-9]", text) or not low <= int(text) <= 7:
        meaning = "1 (Sunday) to 7, because six fields are read as AWS does" if aws else "0 (Sunday) to 7 (Sunday too)"
        raise ValueError(f"{item or 'nothing'} is no day of the week: numbers are from {meaning}; names are SUN to SAT")
    return int(text) - low


def _article(field: Field) -> str:
    return f"{'an' if field.name == 'hour' else 'a'} {field.name}"
