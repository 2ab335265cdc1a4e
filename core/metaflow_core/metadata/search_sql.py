"""Conditions as SQL. Whatever the user has typed is a value of the statement, never a part of its text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from metaflow_core.metadata.search_terms import (
    All,
    AnyOf,
    Condition,
    Fact,
    Lost,
    Not,
    Scalar,
    Tag,
    TagText,
    Value,
    ValueIn,
    ValueText,
)

MOST_RANGES = 50  # that are read for one condition
MOST = 2**63 - 1  # a larger integer is no integer of SQL
FACTS = {column: f"r.{column}" for column in ("status", "owner", "created_at", "finished_at")}
FACTS["duration"] = "r.finished_at - r.created_at"


class Sql(NamedTuple):
    """A part of a statement, and its values."""

    text: str
    values: tuple[Any, ...] = ()


def sql(*parts: str | Sql) -> Sql:
    """These parts after each other."""
    text = " ".join(part if isinstance(part, str) else part.text for part in parts)
    return Sql(text, tuple(value for part in parts if not isinstance(part, str) for value in part.values))


def joined(word: str, parts: Iterable[Sql]) -> Sql:
    """These parts with a word between them."""
    every = list(parts)
    return Sql(f" {word} ".join(part.text for part in every), tuple(value for part in every for value in part.values))


class Scope(NamedTuple):
    """In which database, and of which flow (None: of all flows), runs are looked for."""

    dialect: str
    flow_pk: int | None

    @property
    def where(self) -> Sql:
        if self.flow_pk is None:
            return Sql("b.flow_pk IN (SELECT pk FROM flows)")  # each flow's part of the index
        return Sql("b.flow_pk = ?", (self.flow_pk,))


class Range(NamedTuple):
    """A part of an index, which is read as table ``b``. ``key`` is the ``pk`` of the run."""

    table: str
    key: str
    where: Sql
    ordered: bool  # by `key`


class Source(NamedTuple):
    """Where the runs of a condition are in indexes. Unless ``exact``, others are among them."""

    ranges: tuple[Range, ...]
    exact: bool

    @property
    def ordered(self) -> bool:
        return len(self.ranges) == 1 and self.ranges[0].ordered


def holds(condition: Condition, key: str, dialect: str) -> Sql:
    """Whether the condition holds for the run whose ``pk`` is ``key``. Its tables are called ht, hr and hv."""
    # PostgreSQL would rather look up all runs for which it holds, and then compare; with an OFFSET it can't.
    end = " LIMIT 1 OFFSET 0)" if dialect == "postgresql" else ")"
    if isinstance(condition, (All, AnyOf)):
        if not condition.parts:
            return Sql("1 = 1" if isinstance(condition, All) else "1 = 0")
        word = "AND" if isinstance(condition, All) else "OR"
        return sql("(", joined(word, (holds(part, key, dialect) for part in condition.parts)), ")")
    if isinstance(condition, Not):
        return sql("NOT", holds(condition.part, key, dialect))
    if isinstance(condition, Tag):
        return Sql(f"EXISTS (SELECT 1 FROM run_tags ht WHERE ht.run_pk = {key} AND ht.tag = ?{end}", (condition.tag,))
    if isinstance(condition, TagText):
        match = _text_match("ht.tag", condition.match, condition.text, dialect)
        return sql(f"EXISTS (SELECT 1 FROM run_tags ht WHERE ht.run_pk = {key} AND", match, end)
    if isinstance(condition, (Fact, Lost)):
        return sql(f"EXISTS (SELECT 1 FROM runs hr WHERE hr.pk = {key} AND", _fact(condition, "hr."), end)
    named = Sql(f"EXISTS (SELECT 1 FROM run_values hv WHERE hv.run_pk = {key} AND hv.name = ?", (condition.name,))
    return sql(named, "AND", _value(condition, "hv.", dialect), end)


def source(condition: Condition, scope: Scope) -> Source | None:
    """Where to look for the runs of a condition; None when no index helps."""
    if isinstance(condition, All):
        found = [one for part in condition.parts if (one := source(part, scope))]
        return found[0]._replace(exact=len(condition.parts) == 1 and found[0].exact) if found else None
    if isinstance(condition, AnyOf):
        sources = [source(part, scope) for part in condition.parts]
        if not all(sources):
            return None
        known = [one for one in sources if one]
        ranges = tuple(part for one in known for part in one.ranges)
        return Source(ranges, all(one.exact for one in known)) if len(ranges) <= MOST_RANGES else None
    place = scope.where
    is_one = scope.flow_pk is not None
    if isinstance(condition, Tag):
        where = sql(place, Sql("AND b.tag = ?", (condition.tag,)))
        return Source((Range("run_tags b", "b.run_pk", where, is_one),), True)
    if isinstance(condition, (Value, ValueIn, ValueText)):
        where = sql(place, Sql("AND b.name = ? AND", (condition.name,)), _value(condition, "b.", scope.dialect))
        equal = isinstance(condition, Value) and condition.operator == "="
        return Source((Range("run_values b", "b.run_pk", where, is_one and equal),), True)
    if isinstance(condition, Lost):
        running = source(Fact("status", "=", "running"), scope)
        return running and running._replace(exact=False)
    if isinstance(condition, Fact):
        by_equal = condition.column in ("status", "owner") and condition.operator == "="
        if by_equal or condition.column == "created_at":
            where = sql(place, "AND", _fact(condition, "b."))
            return Source((Range("runs b", "b.pk", where, is_one and by_equal),), True)
    return None


def all_runs(scope: Scope) -> Range:
    """Every run of the scope, in order."""
    return Range("runs b", "b.pk", Sql("1 = 1") if scope.flow_pk is None else scope.where, True)


def number(value: Scalar) -> Scalar:
    """A number as the database takes it."""
    return float(value) if isinstance(value, int) and not -MOST <= value <= MOST else value


def _value(condition: Value | ValueIn | ValueText, alias: str, dialect: str) -> Sql:
    if isinstance(condition, ValueText):
        return _text_match(f"{alias}text", condition.match, condition.text, dialect)
    if isinstance(condition, ValueIn):
        column = "text" if isinstance(condition.values[0], str) else "number"
        marks = ", ".join("?" * len(condition.values))
        return Sql(f"{alias}{column} IN ({marks})", tuple(map(number, condition.values)))
    column = "text" if isinstance(condition.value, str) else "number"
    return Sql(f"{alias}{column} {condition.operator} ?", (number(condition.value),))


def _fact(condition: Fact | Lost, alias: str) -> Sql:
    if isinstance(condition, Fact):
        return Sql(f"{FACTS[condition.column].replace('r.', alias)} {condition.operator} ?", (condition.value,))
    dead = condition.dead or (0,)  # no process, but an empty list is no SQL
    marks = ", ".join("?" * len(dead))
    return Sql(
        f"{alias}status = 'running' AND (({alias}pid IS NOT NULL OR {alias}heartbeat_at IS NOT NULL)"
        f" AND COALESCE({alias}heartbeat_at, {alias}created_at) < ?"
        f" OR {alias}host = ? AND {alias}pid IN ({marks}))",
        (condition.before, condition.host, *dead),
    )


def _text_match(column: str, match: str, text: str, dialect: str) -> Sql:
    """LIKE and the like, with upper and lower case told apart in every database."""
    if match == "contains":
        return Sql(f"REPLACE({column}, ?, '') <> {column}", (text,))
    if dialect == "sqlite":
        glob = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
        return Sql(f"{column} GLOB ?", ("".join(glob.get(character, character) for character in text),))
    escaped = text.replace("\\", "\\\\")
    return Sql(f"{column} LIKE ?", (escaped,))
