"""Conditions by which runs are found, as data. Each says yes or no of a run: what it lacks fails a comparison."""

from __future__ import annotations

from typing import NamedTuple

Scalar = int | float | str


class All(NamedTuple):
    """All of these hold."""

    parts: tuple[Condition, ...]


class AnyOf(NamedTuple):
    """At least one of these holds."""

    parts: tuple[Condition, ...]


class Not(NamedTuple):
    """This does not hold."""

    part: Condition


class Tag(NamedTuple):
    """The run has this tag."""

    tag: str


class TagText(NamedTuple):
    """The run has a tag that is like this: see :class:`ValueText`."""

    match: str
    text: str


class Value(NamedTuple):
    """A parameter or a scalar artifact compares so. Numbers compare with numbers, texts with texts."""

    name: str
    operator: str  # = < <= > >=
    value: Scalar


class ValueIn(NamedTuple):
    """It is one of these, which are all numbers or all texts."""

    name: str
    values: tuple[Scalar, ...]


class ValueText(NamedTuple):
    """It is a text that is like this: ``match`` is ``like`` (``%`` any characters, ``_`` one), or ``contains``."""

    name: str
    match: str
    text: str


class Fact(NamedTuple):
    """What is known of any run: ``column`` is status, owner, created_at, finished_at or duration (microseconds)."""

    column: str
    operator: str
    value: int | str


class Lost(NamedTuple):
    """The run counts as running, but its driver is gone: no heartbeat since ``before``, or its process is dead."""

    before: int
    host: str
    dead: tuple[int, ...]  # processes


Condition = All | AnyOf | Not | Tag | TagText | Value | ValueIn | ValueText | Fact | Lost


def has_value(name: str) -> Condition:
    """The run has a value of this name, and it is not NaN."""
    return AnyOf((Value(name, ">=", float("-inf")), Value(name, ">=", "")))
