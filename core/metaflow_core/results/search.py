"""Searches for runs: what is asked for, as people write it, and what is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from metaflow_core.clock import now
from metaflow_core.errors import InvalidSearch, MetaflowNotFound
from metaflow_core.metadata import liveness, run_queries
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.run_values import value_exists, value_names, values_of
from metaflow_core.metadata.search import Order, Place
from metaflow_core.metadata.search_terms import All, AnyOf, Condition, Fact, Not, Tag
from metaflow_core.names import check_tag, show
from metaflow_core.results import messages
from metaflow_core.results.base import MetaflowObject, Scope
from metaflow_core.results.runs import Query, Runs
from metaflow_core.results.search_expression import FIELDS, denied, parse
from metaflow_core.results.search_times import moment
from metaflow_core.results.search_words import complain
from metaflow_core.results.searchable import HERE, Here

if TYPE_CHECKING:
    import pandas

    from metaflow_core.metadata.run_queries import StoredFlow
    from metaflow_core.results.flow import Flow
    from metaflow_core.results.search_frame import FoundRun
    from metaflow_core.results.searchable import Moment, Texts

STATUSES = ("running", "completed", "failed", "interrupted", "lost")
EVERY = "*"  # all values


class Asked(NamedTuple):
    """What a search asks for."""

    where: str = ""
    tags: Texts = ()
    any_tags: Texts = ()
    no_tags: Texts = ()
    status: Texts | None = None
    user: Texts | None = None
    since: Moment | None = None
    until: Moment | None = None
    namespace: str | Here | None = HERE
    order_by: str = "newest"
    limit: int | None = None
    page: int = 1
    after: object = None


class RunSearch:
    """Runs that were searched for. Each iteration reads them again, page by page, in the order that was asked for.

    ``to_frame()`` gives them as a table.
    """

    def __init__(self, scope: Scope, flow: Flow | None, asked: Asked) -> None:
        namespace = scope.namespace if isinstance(asked.namespace, Here) else asked.namespace
        if namespace is not None and not (isinstance(namespace, str) and namespace):
            raise InvalidSearch(f"A namespace is a tag, or the global one, not {show(namespace)}.")
        self._scope = scope._replace(namespace=namespace)
        self._flow = flow
        builder = _Builder(self._scope, flow._row if flow else None, asked)
        self._query = builder.query()
        self._names = builder.names
        self._about = _about(flow, self._scope.namespace, asked)

    def __iter__(self) -> Runs:
        return Runs(self._scope, self._query, self._about, self._flow)

    def to_frame(self, values: Texts | None = None) -> pandas.DataFrame:
        """The runs as a pandas DataFrame, one row each, in the order of the search.

        ``values`` names parameters and scalar artifacts to have as columns, ``"*"`` is all of them. By default they
        are those that the search names. The columns before are ``flow``, ``id``, ``status``, ``user``, ``created_at``
        and ``finished_at`` (in UTC; ``NaT`` while a run goes on), ``duration`` (a timedelta), and ``tags``, the list of
        the tags that people gave. What a run lacks is missing (``NaN``, ``NA`` or ``None``).
        """
        from metaflow_core.results.search_frame import frame

        return frame(self._scope, self._query, self._columns(values))

    def _found(self, columns: list[str] | None) -> Iterator[FoundRun]:
        """The rows of the table, read page by page."""
        from metaflow_core.results.search_frame import found_runs

        return found_runs(self._scope, self._query, columns)

    def _columns(self, values: Texts | None) -> list[str] | None:
        """The names of the values to show; None is all."""
        if values is None:
            return self._names
        names = _texts(values, "values")
        if EVERY in names:
            return None
        db, flow = self._scope.backend.db, self._flow
        for name in names:
            if not value_exists(db, flow._row.pk if flow else None, name):
                _unknown(db, flow._row if flow else None, name, [])
        return names

    def __repr__(self) -> str:
        return f"<{self._about}>"

    def _repr_html_(self) -> str:
        return iter(self)._repr_html_(repr(self))


class _Builder:
    """Turns what was asked for into a query."""

    def __init__(self, scope: Scope, flow: StoredFlow | None, asked: Asked) -> None:
        self.scope = scope
        self.db = scope.backend.db
        self.flow = flow
        self.flow_pk = flow.pk if flow else None
        self.asked = asked
        self.now = now()
        self.names: list[str] = []  # of the values that the search names

    def query(self) -> Query:
        asked = self.asked
        conditions: list[Condition] = []
        if self.scope.namespace is not None:
            conditions.append(Tag(check_tag(self.scope.namespace)))
        conditions += [Tag(check_tag(tag)) for tag in _texts(asked.tags, "tags")]
        if any_tags := _texts(asked.any_tags, "any_tags"):
            conditions.append(_any([Tag(check_tag(tag)) for tag in any_tags]))
        conditions += [Not(Tag(check_tag(tag))) for tag in _texts(asked.no_tags, "no_tags")]
        if asked.status is not None:
            conditions.append(
                _any([self.argument("status", self.status, one) for one in _texts(asked.status, "status")])
            )
        if asked.user is not None:
            conditions.append(_any([Fact("owner", "=", one) for one in _texts(asked.user, "user")]))
        if asked.since is not None:
            conditions.append(Fact("created_at", ">=", self.argument("since", self.moment, asked.since)[0]))
        if asked.until is not None:
            conditions.append(Fact("created_at", "<=", self.argument("until", self.moment, asked.until)[1]))
        conditions += self.where(asked.where)
        order = self.order(asked.order_by)
        limit = None if asked.limit is None else _whole("limit", asked.limit)
        page = _whole("page", asked.page)
        if page > 1 and limit is None:
            raise InvalidSearch(f"page = {page} needs a limit: how many runs a page has.")
        after = None if asked.after is None else self.after(asked.after, order)
        unique = tuple(dict.fromkeys(_flat(conditions)))
        return Query(self.flow_pk, unique, order, limit, (page - 1) * (limit or 0), after)

    def argument(self, name: str, understand: Callable[[Any], Any], value: Any) -> Any:
        try:
            return understand(value)
        except ValueError as error:
            raise InvalidSearch(f"{name} = {show(value)}: {error}.") from None

    def moment(self, value: object) -> tuple[int, int]:
        return moment(value, self.now)

    def status(self, status: str) -> Condition:
        if status in ("completed", "failed", "interrupted"):
            return Fact("status", "=", status)
        if status == "lost":
            return liveness.lost(self.db, self.flow_pk)
        if status == "running":
            return All((Fact("status", "=", status), Not(liveness.lost(self.db, self.flow_pk))))
        raise ValueError(f"There is no such status. There are: {', '.join(STATUSES)}")

    def where(self, where: str) -> list[Condition]:
        parsed = parse(where, self.status, self.now)
        for name, at in parsed.names.items():
            if not value_exists(self.db, self.flow_pk, name):
                _unknown(self.db, self.flow, name, FIELDS, where, at)
        self.names = list(parsed.names)
        return [parsed.condition]

    def order(self, order_by: str) -> Order:
        if not isinstance(order_by, str) or not order_by:
            raise InvalidSearch(f'order_by is "newest", "oldest" or the name of a value, not {show(order_by)}.')
        if order_by in ("newest", "oldest"):
            return Order(None, order_by == "newest")
        words = order_by.split()
        descending = order_by.startswith("-")
        name = order_by.removeprefix("-").strip()
        if len(words) == 2 and words[1].lower() in ("asc", "desc") and not descending:
            name, descending = words[0], words[1].lower() == "desc"
        if name == "created_at":
            return Order(None, descending)
        if name in FIELDS:
            raise InvalidSearch(
                f'Runs can\'t be ordered by {name}: order by "newest", "oldest" or a value of the runs.'
            )
        if not value_exists(self.db, self.flow_pk, name):
            _unknown(self.db, self.flow, name, ("newest", "oldest"))
        if name not in self.names:
            self.names.append(name)
        return Order(name, descending)

    def after(self, run: object, order: Order) -> Place:
        """The place of a run, which is given as an object, an id or a pathspec."""
        text = run.pathspec if isinstance(run, MetaflowObject) else str(run)
        flow, _, id = text.rpartition("/")
        stored = run_queries.flow_by_name(self.db, flow) if flow else self.flow
        row = run_queries.run_by_id(self.db, stored.pk, id) if stored else None
        if row is None or (self.flow is not None and row.flow_pk != self.flow.pk):
            wanted = text if flow or self.flow is None else f"{self.flow.name}/{text}"
            raise MetaflowNotFound(f"after = {show(text)}: {messages.no_run(wanted)}")
        if order.by is None:
            return Place(row.pk)
        value = values_of(self.db, [row.pk], [order.by])[row.pk].get(order.by)
        if value is None or value != value:
            return Place(row.pk, 2)
        return Place(row.pk, 1, value) if isinstance(value, str) else Place(row.pk, 0, value)


def _any(parts: list[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))


def _flat(conditions: Iterable[Condition]) -> Iterable[Condition]:
    """The conditions that all must hold, one by one."""
    for one in conditions:
        if isinstance(one, All):
            yield from _flat(one.parts)
        elif isinstance(one, Not) and isinstance(one.part, AnyOf):
            yield from _flat(denied(part) for part in one.part.parts)
        else:
            yield one


def _texts(value: Texts, name: str) -> list[str]:
    """A text, or several, as a list without repetition."""
    texts = [value] if isinstance(value, str) else value
    try:
        found = list(dict.fromkeys(texts))
    except TypeError:
        found = [None]  # type: ignore[list-item]
    for text in found:
        if not isinstance(text, str) or not text or not _is_text(text):
            raise InvalidSearch(f"{name} is a text or a list of texts, not {show(value)}.")
    return found


def _is_text(text: str) -> bool:
    try:
        return "\0" not in text and bool(text.encode())
    except UnicodeEncodeError:
        return False


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise InvalidSearch(f"{name} is a whole number from 1 on, not {show(value)}.")
    return value


def _unknown(
    db: Database, flow: StoredFlow | None, name: str, more: Sequence[str], where: str = "", at: int = 0
) -> NoReturn:
    """Say that no run has a value of this name, and which one may be meant."""
    flows = [flow] if flow else run_queries.find_flows(db, None)[:100]
    known = sorted({one for each in flows for one in value_names(db, each.pk)})
    import difflib

    near = difflib.get_close_matches(name, [*known, *more], 1)
    if not near:
        lower = {one.lower(): one for one in [*known, *more]}
        near = [lower[one] for one in difflib.get_close_matches(name.lower(), lower, 1)]
    whose = f"run of {flow.name}" if flow else "run"
    text = f"No {whose} has a parameter or a scalar artifact `{name}`"
    if near:
        advice = f"Did you mean `{near[0]}`?"
    elif known:
        shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
        advice = f"There are: {shown}."
    else:
        advice = "None has any so far: artifacts can be searched once a run has ended."
    if where:
        complain(where, at, f"{text}. {advice}")
    raise InvalidSearch(f"{text}. {advice}")


def _shown(value: object) -> str:
    several = isinstance(value, (list, tuple, set, frozenset))
    return ", ".join(map(show, value)) if several else show(value)  # type: ignore[call-overload]


def _about(flow: Flow | None, namespace: str | None, asked: Asked) -> str:
    parts = [f"runs of {flow.id}" if flow else "runs of all flows"]
    parts += [f"with {show(asked.where)}"] if asked.where else []
    given = {name: getattr(asked, name) for name in ("tags", "any_tags", "no_tags", "status", "user", "since", "until")}
    parts += [f"{name} = {_shown(value)}" for name, value in given.items() if value not in ((), [], None)]
    parts += [f"in the namespace {show(namespace)}"] if namespace is not None else []
    return ", ".join(parts)
