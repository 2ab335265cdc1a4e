"""Finds the runs that meet conditions, a page at a time, in the order of their start or of a value.

What is looked for is mostly among the newest, or rare: first the newest runs are tried, then those of the rarest
condition. Only when it is neither, whole parts of indexes are read, and then never more than what the conditions cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from metaflow_core.metadata.database import Database
from metaflow_core.metadata.search_sql import Range, Scope, Source, Sql, all_runs, holds, joined, number, source, sql
from metaflow_core.metadata.search_terms import All, Condition, Not, Scalar, Value, has_value

LARGEST = 2**62  # larger than any `pk`
NEAR = 256  # so many runs are tried before anything else is
FEW = 2048  # a condition that fewer runs meet is rare: all of them are tried
MERGED = 8  # sources at most; further conditions are tested
PART = 500  # values that one statement takes
FAR = 1024  # so many are tried below what no run above can meet


class Order(NamedTuple):
    """By start, or by a value: runs with the same one by start, and at the end those without, the newest first."""

    by: str | None = None
    descending: bool = True


NEWEST_FIRST = Order()


class Place(NamedTuple):
    """Where a run stands in the order, so that the next page can begin after it."""

    pk: int
    part: int = 0  # of an order by a value: 0 numbers, 1 texts, 2 runs without
    value: Scalar | None = None


def find(
    db: Database,
    flow_pk: int | None,
    conditions: Sequence[Condition],
    order: Order = NEWEST_FIRST,
    after: Place | None = None,
    limit: int = 100,
    skip: int = 0,
) -> list[Place]:
    """Up to ``limit`` runs of the flow (None: of all flows) that meet all conditions, ``skip`` of them left out.

    ``after`` is the last one of the page before; runs that start meanwhile do not shift the pages.
    """
    scope = Scope(db.dialect, flow_pk)
    if order.by is None:
        found = _by_start(db, scope, conditions, order.descending, after.pk if after else None, limit, skip)
        return [Place(pk) for pk in found]
    places: list[Place] = []
    wanted = skip + limit
    for part in range(after.part if after else 0, 3):
        start = after if after and after.part == part else None
        missing = wanted - len(places)
        if part < 2:
            places += _by_value(db, scope, conditions, order, part, start, missing)
        else:
            without = [*conditions, Not(has_value(order.by))]
            pks = _by_start(db, scope, without, True, start.pk if start else None, missing, 0)
            places += [Place(pk, part) for pk in pks]
        if len(places) == wanted:
            break
    return places[skip:]


# --- in the order of the start ----------------------------------------------------------------------------------------


class _Search(NamedTuple):
    """What does not change while one page is looked for."""

    db: Database
    scope: Scope
    conditions: Sequence[Condition]
    sources: list[Source | None]  # of the conditions
    descending: bool
    limit: int
    skip: int

    @property
    def wanted(self) -> int:
        return self.limit + self.skip

    def tests(self, key: str, without: Sequence[Source] = ()) -> Sql:
        """Whether a run meets the conditions, except for those that are met by all runs of these sources."""
        rest = [
            condition
            for condition, source in zip(self.conditions, self.sources, strict=True)
            if not (source and source.exact and any(source is one for one in without))
        ]
        return holds(All(tuple(rest)), key, self.scope.dialect)

    @property
    def order(self) -> str:
        return "DESC" if self.descending else "ASC"

    @property
    def begin(self) -> int:
        """What all runs are beyond."""
        return LARGEST if self.descending else 0

    def beyond(self, key: str, start: int) -> Sql:
        return Sql(f"{key} {'<' if self.descending else '>'} ?", (start,))

    def page(self, key: str) -> Sql:
        return Sql(f"ORDER BY {key} {self.order} LIMIT ? OFFSET ?", (self.limit, self.skip))

    def ask(self, *parts: str | Sql) -> list[Any]:
        """The first column of what the statement gives."""
        statement = sql(*parts)
        return [row[0] for row in self.db.execute(statement.text, statement.values)]


def _by_start(
    db: Database,
    scope: Scope,
    conditions: Sequence[Condition],
    descending: bool,
    after: int | None,
    limit: int,
    skip: int,
) -> list[int]:
    search = _Search(db, scope, conditions, [source(one, scope) for one in conditions], descending, limit, skip)
    start = search.begin if after is None else after
    known = [one for one in search.sources if one]
    walked = next((one for one in known if one.ordered and one.exact), None)
    base = walked.ranges[0] if walked else all_runs(scope)
    if len(conditions) == (walked is not None):
        return _walk(search, base, [walked] if walked else [], start, None)
    end = _nth(search, base, start, max(NEAR, 4 * search.wanted))
    found = _walk(search, base, [walked] if walked else [], start, end)
    if end is None or len(found) == limit:
        return found
    if not known:
        return _walk(search, base, [], start, None)
    counts = [_count(db, one) for one in known]
    if min(counts) < FEW:
        return _all_of(search, known[counts.index(min(counts))], start)
    # Common conditions that rarely meet. It may be enough to begin further down, where the first run can be that all of
    # them have; else all of their ranges are walked at once, as one merges sorted lists.
    first = _first(search, known, start)
    if first is None:
        return []
    start = first + 1 if descending else first - 1
    if not all(one.ordered for one in known):
        end = _nth(search, base, start, max(FAR, 8 * search.wanted))
        found = _walk(search, base, [walked] if walked else [], start, end)
        if end is None or len(found) == limit:
            return found
    # The namespace, which comes first, is often on nearly every run: it is compared after other tags. What must be
    # sorted comes last, because nothing is when the others have no run in common.
    known.reverse()
    known.sort(key=lambda one: not one.ordered)
    return _merge(search, known[:MERGED], start)


def _walk(search: _Search, base: Range, without: Sequence[Source], start: int, end: int | None) -> list[int]:
    """The runs of ``base`` between ``start`` and ``end`` that meet the conditions."""
    until = Sql("") if end is None else Sql(f"AND {base.key} {'>=' if search.descending else '<='} ?", (end,))
    tests = search.tests(base.key, without)
    return search.ask(_rows_of(search, base, start), until, "AND", tests, search.page(base.key))


def _all_of(search: _Search, chosen: Source, start: int) -> list[int]:
    """The runs of one source that meet the conditions."""
    if len(chosen.ranges) == 1:
        return _walk(search, chosen.ranges[0], [chosen], start, None)
    tests = search.tests("k.pk", [chosen])
    return search.ask(_rows(search, chosen, start), "WHERE", tests, search.page("k.pk"))


def _merge(search: _Search, sources: Sequence[Source], start: int) -> list[int]:
    """The runs that are in all of the sources and meet the other conditions."""
    rows = [_rows(search, one, start) for one in sources]
    tests = search.tests("r.pk", sources)
    if not tests.values:
        return search.ask(joined("INTERSECT", rows), search.page("pk"))
    found: list[int] = []
    size = min(max(NEAR, 4 * search.wanted), LARGEST)
    while len(found) < search.wanted:
        # Tested by the piece, because SQLite merges only where the order is that of the whole statement.
        rows = [_rows(search, one, start) for one in sources]
        pks = search.ask(joined("INTERSECT", rows), search._replace(limit=size, skip=0).page("pk"))
        for first in range(0, len(pks), PART):
            part = tuple(pks[first : first + PART])
            runs = Sql(f"SELECT r.pk FROM runs r WHERE r.pk IN ({', '.join('?' * len(part))})", part)
            found += sorted(search.ask(runs, "AND", tests), reverse=search.descending)
        if len(pks) < size:
            break
        start = pks[-1]
    return found[search.skip : search.wanted]


def _rows(search: _Search, chosen: Source, start: int) -> Sql:
    """The statement that gives each run of a source once, without its end."""
    rows = [_rows_of(search, one, start) for one in chosen.ranges]
    return rows[0] if len(rows) == 1 else sql("SELECT k.pk AS pk FROM (", joined("UNION", rows), ") k")


def _rows_of(search: _Search, part: Range, start: int) -> Sql:
    where = sql(part.where, "AND", search.beyond(part.key, start))
    return sql(f"SELECT {part.key} AS pk FROM {part.table} WHERE", where)


def _nth(search: _Search, base: Range, start: int, nth: int) -> int | None:
    """The ``pk`` of the nth run of ``base``; None when there are not as many."""
    page = search._replace(limit=1, skip=min(nth, LARGEST) - 1).page(base.key)
    found = search.ask(_rows_of(search, base, start), page)
    return found[0] if found else None


def _count(db: Database, chosen: Source) -> int:
    """How many runs it has, counted up to :data:`FEW`; a run that several ranges have counts several times."""
    count = 0
    for one in chosen.ranges:
        most = Sql("LIMIT ?", (FEW - count,))
        some = sql(f"SELECT COUNT(*) FROM (SELECT 1 FROM {one.table} WHERE", one.where, most, ") s")
        count += db.execute(some.text, some.values)[0][0]
        if count == FEW:
            break
    return count


def _first(search: _Search, known: Sequence[Source], start: int) -> int | None:
    """The first ``pk`` that a run which all sources have can have; None when there is no such run."""
    best, last = (max, min) if search.descending else (min, max)
    firsts: list[int] = []
    for one in known:
        found = []
        for part in one.ranges:
            # Of a sum, SQLite does not look for the largest key by walking another index than the condition's.
            key = part.key if part.ordered else f"{part.key} + 0"
            where = part.where
            if start != search.begin:
                where = sql(where, "AND", search.beyond(part.key, start))
            found += search.ask(f"SELECT {best.__name__.upper()}({key}) FROM {part.table} WHERE", where)
        present = [pk for pk in found if pk is not None]
        if not present:
            return None
        firsts.append(best(present))
    return int(last(firsts))


# --- in the order of a value ------------------------------------------------------------------------------------------


def _by_value(
    db: Database,
    scope: Scope,
    conditions: Sequence[Condition],
    order: Order,
    part: int,
    after: Place | None,
    limit: int,
) -> list[Place]:
    """The runs whose value is a number (``part`` 0) or a text (1)."""
    column = ("number", "text")[part]
    kind: Any = (int, float) if part == 0 else str
    # Conditions on the value itself say where in the index to begin and to end.
    near = [
        one for one in conditions if isinstance(one, Value) and one.name == order.by and isinstance(one.value, kind)
    ]
    rest = [one for one in conditions if one not in near]
    known = [one for one in (source(condition, scope) for condition in rest) if one]
    counts = [_count(db, one) for one in known]
    if counts and min(counts) < FEW:
        # Few runs meet this condition: they are sorted.
        few = known[counts.index(min(counts))]
        search = _Search(db, scope, rest, [], False, limit, 0)
        begin = sql("(", _rows(search, few, 0), ") k CROSS JOIN run_values v WHERE v.run_pk = k.pk AND")
    else:
        begin = sql("run_values v WHERE", Sql(scope.where.text.replace("b.", "v."), scope.where.values), "AND")
    compared = [Sql(f"v.{column} {one.operator} ?", (number(one.value),)) for one in near]
    where = [Sql("v.name = ?", (order.by,)), *(compared or [Sql(f"v.{column} IS NOT NULL")])]
    beyond, direction = ("<", "DESC") if order.descending else (">", "ASC")
    if after is not None:
        where.append(Sql(f"(v.{column}, v.run_pk) {beyond} (?, ?)", (after.value, after.pk)))
    where.append(holds(All(tuple(rest)), "v.run_pk", scope.dialect))
    page = Sql(f"ORDER BY v.{column} {direction}, v.run_pk {direction} LIMIT ?", (limit,))
    statement = sql(f"SELECT v.run_pk, v.{column} FROM", begin, joined("AND", where), page)
    return [Place(pk, part, value) for pk, value in db.execute(statement.text, statement.values)]
