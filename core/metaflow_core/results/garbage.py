"""Garbage collection: removes what nothing refers to, and runs that a retention policy gives up."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from metaflow_core import settings
from metaflow_core.clock import now
from metaflow_core.errors import MetaflowException, MetaflowNotFound
from metaflow_core.metadata import retention, run_queries, sharing
from metaflow_core.metadata.backend import Backend
from metaflow_core.metadata.retention import GoingRun, Policy
from metaflow_core.metadata.turns import durable
from metaflow_core.metadata.unreachable import Amount, Collector, Garbage
from metaflow_core.names import check_tag, show
from metaflow_core.results import messages, provider
from metaflow_core.results.base import time_of

STATUSES = ("completed", "failed", "interrupted", "lost")
NEVER = "never"
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(h|hours?|d|days?|w|weeks?)")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class RemovedRun(NamedTuple):
    """A run that was removed, or would be: its pathspec, how it ended, and when, in UTC."""

    pathspec: str
    status: str
    ended_at: datetime


class FlowGarbage(NamedTuple):
    """What goes of a flow: how many runs and tasks, and the bytes of what no other run refers to."""

    runs: int
    tasks: int
    bytes: int


@dataclass
class GarbageReport:
    """What :func:`collect_garbage` has removed, or, when ``dry_run``, would remove.

    ``runs`` are whole runs, newest first, and ``flows`` what they amount to, by the name of the flow. ``kept`` counts
    runs that are as old and still stay, by the reason: ``tagged``, ``latest`` (of a user or a deployment), ``last``,
    ``running``, ``resumed``.

    Everything else is an amount with ``count`` and ``bytes``: ``values`` and ``texts`` (graphs and sources of flows)
    in the database, ``files`` with large values and ``logs`` in the artifact store, ``temporary`` files of writers
    that were killed. ``older`` are files in the store from before there was this database: they are never removed.
    ``database_bytes`` is the size of the database's file, None when that is unknown.
    """

    dry_run: bool
    ended_before: datetime | None
    runs: list[RemovedRun] = field(default_factory=list)
    flows: dict[str, FlowGarbage] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    values: Amount = field(default_factory=Amount)
    files: Amount = field(default_factory=Amount)
    logs: Amount = field(default_factory=Amount)
    texts: Amount = field(default_factory=Amount)
    temporary: Amount = field(default_factory=Amount)
    older: Amount = field(default_factory=Amount)
    database_bytes: int | None = None

    @property
    def bytes(self) -> int:
        """What was freed in all."""
        return sum(part.bytes for part in (self.values, self.files, self.logs, self.texts, self.temporary))

    def as_dict(self) -> dict[str, Any]:
        """The report as what JSON can hold."""
        amounts = ("values", "files", "logs", "texts", "temporary", "older")
        return {
            "dry_run": self.dry_run,
            "ended_before": self.ended_before.isoformat() if self.ended_before else None,
            "runs": [
                {"run": run.pathspec, "status": run.status, "ended_at": run.ended_at.isoformat()} for run in self.runs
            ],
            "flows": {name: part._asdict() for name, part in self.flows.items()},
            "kept": self.kept,
            **{name: vars(getattr(self, name)) for name in amounts},
            "bytes": self.bytes,
            "database_bytes": self.database_bytes,
        }

    def __str__(self) -> str:
        from metaflow_core.results.garbage_text import garbage_text

        return garbage_text(self)


def collect_garbage(
    older_than: str | timedelta | None = None,
    *,
    flow: str | None = None,
    status: str | Iterable[str] | None = None,
    keep_last: int = 0,
    keep_tags: str | Iterable[str] = (),
    ignore_tags: str | Iterable[str] = (),
    dry_run: bool = False,
) -> GarbageReport:
    """Remove what nothing refers to, and, with ``older_than``, old runs. With ``dry_run`` nothing is changed.

    Without ``older_than`` only leftovers go: values and files of tasks that were killed before they were done, and of
    runs that were removed. No run loses anything. It is safe beside running flows, and may be interrupted.

    Args:
        older_than: Remove runs that ended at least so long ago: ``"90d"``, ``"12h"``, ``"2w"`` or a ``timedelta``.
            ``"never"`` removes none, also when the setting ``METAFLOW_GC_OLDER_THAN`` gives an age.
        flow: Only runs of this flow, by its name or a ``Flow``.
        status: Only runs that ended so: ``"completed"``, ``"failed"``, ``"interrupted"``, ``"lost"``; one or several.
        keep_last: Keep at least so many of the newest runs of each flow.
        keep_tags: Keep runs with one of these tags, which may be system tags, such as ``"production:fraud-x1"``.
        ignore_tags: Tags, or patterns such as ``"ci-*"``, that do not protect a run. Every other user tag does.
        dry_run: Only tell what would go.

    Always kept: runs with a user tag, running ones, and the latest and the latest successful run of each user and
    each deployment of each flow.

    Raises ``MetaflowException`` for arguments that make no policy, and when other databases use the artifact store;
    ``MetaflowNotFound`` when there is no such flow; ``MetadataError`` or ``StorageError`` when one can't be changed.

        report = metaflow.collect_garbage("90d", status="failed", dry_run=True)
        print(report)
    """
    plan = plan_garbage(
        older_than, flow=flow, status=status, keep_last=keep_last, keep_tags=keep_tags, ignore_tags=ignore_tags
    )
    return plan.survey() if dry_run else plan.carry_out()


def plan_garbage(
    older_than: str | timedelta | None = None,
    *,
    flow: str | None = None,
    status: str | Iterable[str] | None = None,
    keep_last: int = 0,
    keep_tags: str | Iterable[str] = (),
    ignore_tags: str | Iterable[str] = (),
) -> GarbagePlan:
    """What :func:`collect_garbage` does, to be looked at first; the arguments are the same."""
    started = now()
    before = _ended_before(older_than, started)
    if before is None and (flow is not None or status or keep_last or keep_tags or ignore_tags):
        raise MetaflowException(
            "Which old runs to remove, or to keep, was told, but not from which age on: give older_than as well, "
            'such as "90d". Nothing was removed.'
        )
    name = None if flow is None else str(getattr(flow, "id", flow))
    backend = provider.backend()
    if name is not None and run_queries.flow_by_name(backend.db, name) is None:
        raise MetaflowNotFound(messages.no_flow(name, run_queries.flow_names(backend.db)))
    policy = Policy(
        before,
        name,
        frozenset(_checked_statuses(status)),
        _checked_count(keep_last),
        frozenset(check_tag(tag) for tag in _several(keep_tags)),
        tuple(check_tag(tag) for tag in _several(ignore_tags)),
    )
    return GarbagePlan(backend, policy, started)


class GarbagePlan:
    """A policy, and what it means at the moment."""

    def __init__(self, backend: Backend, policy: Policy, started: int) -> None:
        self._db, self._storage = backend.db, backend.storage
        self._policy = policy
        self._started = started
        self._check_store()
        self._decision = retention.decide(self._db, policy)
        self._bytes_of_flows: dict[str, int] | None = None

    def survey(self) -> GarbageReport:
        """What would go. Nothing is changed."""
        runs = self._decision.runs
        garbage = self._collector(dry_run=True).collect(run.pk for run in runs)
        self._bytes_of_flows = garbage.flows
        tasks = {run.pk: self._count_tasks(run) for run in runs}
        return self._report(True, runs, tasks, garbage)

    def carry_out(self) -> GarbageReport:
        """Remove it. Runs that are protected by now are kept."""
        if self._decision.runs and self._bytes_of_flows is None:
            self.survey()
        clones = retention.clones_of(self._db, self._decision.runs)
        removed, tasks = [], {}
        with durable(self._db):
            for run in self._decision.runs:
                count = self._count_tasks(run)
                resumed_by = clones.get((run.flow_pk, run.id), [])
                if retention.remove_run(self._db, self._storage, run, self._policy, resumed_by):
                    removed.append(run)
                    tasks[run.pk] = count
            garbage = self._collector(dry_run=False).collect()
        garbage.flows = self._bytes_of_flows or {}
        return self._report(False, removed, tasks, garbage)

    def _collector(self, dry_run: bool) -> Collector:
        grace = self._started / 1e6 - settings.get("GC_GRACE_HOURS") * 3600
        return Collector(self._db, self._storage, grace, sharing.born(self._db) / 1e6, dry_run)

    def _check_store(self) -> None:
        others = "; ".join(sharing.others(self._db, self._storage))
        if others:
            raise MetaflowException(
                f"The artifact store {self._storage.url} is used by other databases, too, and what they refer to can't "
                f"be seen from here: {others}. Nothing was removed. If one of them is gone for good, delete its mark "
                f"from the store."
            )

    def _count_tasks(self, run: GoingRun) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM tasks WHERE run_pk = ?", (run.pk,))[0][0])

    def _report(self, dry_run: bool, runs: list[GoingRun], tasks: dict[int, int], garbage: Garbage) -> GarbageReport:
        flows = {}
        for name in sorted({run.flow for run in runs}):
            pks = [run.pk for run in runs if run.flow == name]
            flows[name] = FlowGarbage(len(pks), sum(tasks[pk] for pk in pks), garbage.flows.get(name, 0))
        before = self._policy.ended_before
        return GarbageReport(
            dry_run,
            None if before is None else time_of(before),
            [RemovedRun(f"{run.flow}/{run.id}", run.status, time_of(run.ended_at)) for run in runs],
            flows,
            dict(sorted(self._decision.kept.items())),
            *(garbage.values, garbage.files, garbage.logs, garbage.texts, garbage.temporary, garbage.older),
            self._database_bytes(),
        )

    def _database_bytes(self) -> int | None:
        if self._db.dialect != "sqlite":
            return None
        pages, size = (self._db.execute(f"PRAGMA {name}")[0][0] for name in ("page_count", "page_size"))
        return int(pages * size)


def _ended_before(older_than: str | timedelta | None, started: int) -> int | None:
    source = ""
    if older_than is None:
        older_than = settings.get("GC_OLDER_THAN")
        source = f"{settings.SETTINGS['GC_OLDER_THAN'].variable}: "
    if older_than is None or older_than == NEVER:
        return None
    if isinstance(older_than, timedelta):
        age = older_than
    else:
        found = _AGE.fullmatch(older_than.strip().lower()) if isinstance(older_than, str) else None
        if found is None:
            raise MetaflowException(
                f'{source}An age is a number of hours, days or weeks, such as "12h", "90d" or "4w", or "never"; '
                f"not {show(older_than)}. Nothing was removed."
            )
        try:
            age = float(found[1]) * _UNITS[found[2][0]]
        except OverflowError:
            age = timedelta.max
    if age < timedelta(0):
        raise MetaflowException(f"{source}An age can't be negative: {show(older_than)}. Nothing was removed.")
    return max(0, started - int(age / timedelta(microseconds=1)))


def _checked_statuses(status: str | Iterable[str] | None) -> list[str]:
    wanted = [] if status is None else _several(status)
    for one in wanted:
        if one not in STATUSES:
            raise MetaflowException(
                f"A run that has ended is {', '.join(STATUSES)}; not {show(one)}. Nothing was removed."
            )
    return wanted


def _checked_count(keep_last: int) -> int:
    if isinstance(keep_last, bool) or not isinstance(keep_last, int) or keep_last < 0:
        raise MetaflowException(
            f"keep_last is a number of runs, 0 or more, not {show(keep_last)}. Nothing was removed."
        )
    return min(keep_last, run_queries.NEWEST)


def _several(values: str | Iterable[str]) -> list[str]:
    return [values] if isinstance(values, str) else list(values)
