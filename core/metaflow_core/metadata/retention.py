"""Which runs a retention policy gives up, and their removal.

A run whose removal has begun has the status ``removed``. Whatever was interrupted in the middle is taken up again by
the next collection, whichever policy that has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import IO, NamedTuple

from metaflow_core.clock import now
from metaflow_core.errors import MetaflowDataMissing
from metaflow_core.metadata import liveness, run_queries
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.run_queries import StoredFlow, StoredRun, Tags
from metaflow_core.metadata.turns import in_turns
from metaflow_core.store.interface import Storage
from metaflow_core.store.logs import log_key

REMOVED = "removed"
RETURN_WITHIN = 3_600_000_000  # microseconds
_RUNS_AT_A_TIME = 500
_TASKS_AT_A_TIME = 200
REFERS_TO_TASK = (
    ("artifacts", "task_pk"),
    ("split_items", "task_pk"),
    ("task_metadata", "task_pk"),
    ("attempts", "task_pk"),
    ("task_parents", "task_pk"),
    ("task_parents", "parent_pk"),
    ("artifact_reads", "reader_pk"),
)


@dataclass(frozen=True)
class Policy:
    """Which runs go: those that ended before a moment, unless something protects them.

    ``ended_before`` is in microseconds since 1970; None gives up no run. ``statuses`` empty means any. A run is
    protected by each of its user tags that matches no pattern in ``ignore_tags``, and by any tag in ``keep_tags``.
    """

    ended_before: int | None = None
    flow: str | None = None
    statuses: frozenset[str] = frozenset()
    keep_last: int = 0
    keep_tags: frozenset[str] = frozenset()
    ignore_tags: tuple[str, ...] = ()


class GoingRun(NamedTuple):
    """A run that is to be removed. ``seen_pk`` is the newest run of the flow when that was decided."""

    pk: int
    flow_pk: int
    flow: str
    id: str
    status: str
    ended_at: int
    seen_pk: int


@dataclass
class Decision:
    """The runs to be removed, newest first, and how many older ones are kept, for which reason."""

    runs: list[GoingRun] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)


def decide(db: Database, policy: Policy) -> Decision:
    """Which runs the policy gives up now."""
    decision = Decision()
    for flow in run_queries.find_flows(db, None):
        if policy.flow is None or flow.name == policy.flow:
            _decide(db, policy, flow, decision)
    decision.runs.sort(key=lambda run: -run.pk)  # a run before the one it resumes
    return decision


def _decide(db: Database, policy: Policy, flow: StoredFlow, decision: Decision) -> None:
    seen = db.execute("SELECT COALESCE(MAX(pk), 0) FROM runs WHERE flow_pk = ?", (flow.pk,))[0][0]
    for (pk,) in db.execute("SELECT pk FROM runs WHERE flow_pk = ? AND status = ?", (flow.pk, REMOVED)):
        run = run_queries.run_by_pk(db, pk)
        decision.runs.append(GoingRun(pk, flow.pk, flow.name, run.id, REMOVED, _ended_at(run), seen))
    if policy.ended_before is None:
        return
    latest = _latest(db, flow.pk)
    newest = _newest(db, flow.pk, policy.keep_last)
    resumed = _resumed(db, flow.pk)
    for run, tags in _runs_created_before(db, flow.pk, policy.ended_before):
        status = liveness.status(run)
        if status == REMOVED or _ended_at(run) >= policy.ended_before:
            continue
        if policy.statuses and status not in policy.statuses:
            continue
        if status == "running" or _may_live(run, status):
            decision.kept["running"] += 1
        elif run.pk in latest:
            decision.kept["latest"] += 1
        elif run.pk >= newest:
            decision.kept["last"] += 1
        elif run.id in resumed:
            decision.kept["resumed"] += 1
        elif is_protected(tags, policy):
            decision.kept["tagged"] += 1
        else:
            decision.runs.append(GoingRun(run.pk, flow.pk, flow.name, run.id, status, _ended_at(run), seen))


def is_protected(tags: Tags, policy: Policy) -> bool:
    """Whether a run with these tags must be kept."""
    if policy.keep_tags & (tags.user | tags.system):
        return True
    return not all(
        any(tag == pattern or fnmatchcase(tag, pattern) for pattern in policy.ignore_tags) for tag in tags.user
    )


def _ended_at(run: StoredRun) -> int:
    return run.finished_at or run.heartbeat_at or run.created_at


def _may_live(run: StoredRun, status: str) -> bool:
    """Whether a run that seems to be lost may yet come back: the network was down, its machine slept."""
    return status == "lost" and _ended_at(run) > now() - RETURN_WITHIN


def _runs_created_before(db: Database, flow_pk: int, moment: int) -> Iterator[tuple[StoredRun, Tags]]:
    last = 0
    while True:
        rows = db.execute(
            "SELECT pk, id FROM runs WHERE flow_pk = ? AND pk > ? AND created_at < ? ORDER BY pk LIMIT ?",
            (flow_pk, last, moment, _RUNS_AT_A_TIME),
        )
        tags = run_queries.tags_of(db, [pk for pk, _ in rows])
        found = run_queries.runs_by_id(db, flow_pk, [id for _, id in rows]) if rows else []
        for run in sorted(found):
            yield run, tags[run.pk]
        if len(rows) < _RUNS_AT_A_TIME:
            return
        last = rows[-1][0]


def _latest(db: Database, flow_pk: int) -> set[int]:
    """The latest run, and the latest that succeeded, of each user and each deployment."""
    found: set[int] = set()
    for source, condition in (
        ("run_tags t", ""),
        ("run_tags t CROSS JOIN runs r", " AND r.pk = t.run_pk AND r.status = 'completed'"),
    ):
        rows = db.execute(
            f"SELECT MAX(t.run_pk) FROM {source} WHERE t.flow_pk = ?"
            f" AND (t.tag LIKE 'user:%' OR t.tag LIKE 'production:%'){condition} GROUP BY t.tag",
            (flow_pk,),
        )
        found.update(row[0] for row in rows)
    return found


def _newest(db: Database, flow_pk: int, count: int) -> int:
    """The ``pk`` from which on the runs are the ``count`` newest of the flow."""
    if not count:
        return run_queries.NEWEST
    rows = db.execute("SELECT pk FROM runs WHERE flow_pk = ? ORDER BY pk DESC LIMIT 1 OFFSET ?", (flow_pk, count - 1))
    return int(rows[0][0]) if rows else 0


def _resumed(db: Database, flow_pk: int) -> set[str]:
    """The ids of runs that a running one resumes: it may be about to take tasks over."""
    rows = db.execute(
        "SELECT DISTINCT origin_run_id FROM runs WHERE flow_pk = ? AND status = 'running'"
        " AND origin_run_id IS NOT NULL",
        (flow_pk,),
    )
    return {row[0] for row in rows}


# --- removal ----------------------------------------------------------------------------------------------------------


def remove_run(db: Database, storage: Storage, run: GoingRun, policy: Policy, clones: Sequence[int]) -> bool:
    """Remove the rows of a run, unless it is protected by now. Whether it was removed.

    ``clones`` are the runs that resumed it: those that are kept get the logs of the tasks that they have taken over.
    """
    clones = [pk for pk in clones if db.execute("SELECT 1 FROM runs WHERE pk = ? AND status <> ?", (pk, REMOVED))]
    for clone in clones:
        _copy_logs(db, storage, run, clone)
    with in_turns(db):
        if not _may_go(db, run, policy):
            return False
        for clone in clones:
            db.execute(
                "UPDATE tasks SET origin_task_pk = NULL"
                " WHERE run_pk = ? AND origin_task_pk IN (SELECT pk FROM tasks WHERE run_pk = ?)",
                (clone, run.pk),
            )
        db.execute("UPDATE runs SET status = ? WHERE pk = ?", (REMOVED, run.pk))
        done = remove_tasks(db, run.pk) and _remove_row(db, run.pk)
    while not done:
        with in_turns(db):
            done = remove_tasks(db, run.pk) and _remove_row(db, run.pk)
    return True


def clones_of(db: Database, runs: Sequence[GoingRun]) -> dict[tuple[int, str], list[int]]:
    """For each run, by flow and id: the runs that have resumed it."""
    found: dict[tuple[int, str], list[int]] = {}
    for flow_pk in {run.flow_pk for run in runs}:
        rows = db.execute(
            "SELECT origin_run_id, pk FROM runs WHERE flow_pk = ? AND origin_run_id IS NOT NULL", (flow_pk,)
        )
        for origin, pk in rows:
            found.setdefault((flow_pk, origin), []).append(pk)
    return found


def _may_go(db: Database, run: GoingRun, policy: Policy) -> bool:
    """Whether, in this transaction, the run is still there and still unprotected."""
    if not db.execute("SELECT 1 FROM runs WHERE pk = ?", (run.pk,)):
        return False
    if run.status == REMOVED:
        return True
    found = run_queries.run_by_pk(db, run.pk)
    status = liveness.status(found)
    if status == "running" or _may_live(found, status):
        return False
    if db.execute(
        "SELECT 1 FROM runs WHERE flow_pk = ? AND pk > ? AND origin_run_id = ? LIMIT 1",
        (run.flow_pk, run.seen_pk, run.id),
    ):
        return False  # it is being resumed
    return not is_protected(run_queries.tags_of(db, [run.pk])[run.pk], policy)


def _copy_logs(db: Database, storage: Storage, run: GoingRun, clone: int) -> None:
    """Give a run the logs of the tasks that it took over from ``run``, wherever these tasks once ran."""
    rows = db.execute(
        "WITH RECURSIVE origins (task_pk, origin_pk) AS ("
        " SELECT n.pk, n.origin_task_pk FROM tasks n JOIN tasks o ON o.pk = n.origin_task_pk"
        " WHERE n.run_pk = ? AND o.run_pk = ?"
        " UNION ALL SELECT c.task_pk, t.origin_task_pk FROM origins c JOIN tasks t ON t.pk = c.origin_pk"
        " WHERE t.origin_task_pk IS NOT NULL)"
        " SELECT r.id, m.id, n.step, n.id, n.attempt FROM origins c JOIN tasks t ON t.pk = c.origin_pk"
        " AND t.origin_task_pk IS NULL JOIN runs r ON r.pk = t.run_pk JOIN tasks n ON n.pk = c.task_pk"
        " JOIN runs m ON m.pk = n.run_pk",
        (clone, run.pk),
    )
    there: dict[str, set[str]] = {}
    for source_id, clone_id, step, task, attempt in rows:
        if source_id not in there:
            there[source_id] = set(storage.keys(f"logs/{run.flow}/{source_id}"))
        source = log_key(run.flow, source_id, step, task, attempt)
        if source in there[source_id]:
            try:
                content = storage.read(source)
            except MetaflowDataMissing:
                continue  # another collector was quicker, with the whole run

            def write(file: IO[bytes], content: memoryview = content) -> None:
                file.write(content)

            storage.put(log_key(run.flow, clone_id, step, task, attempt), write, replace=True)


def remove_tasks(db: Database, run_pk: int) -> bool:
    """Remove some of a run's tasks, the newest first, in the caller's transaction. Whether none is left."""
    rows = db.execute("SELECT pk FROM tasks WHERE run_pk = ? ORDER BY pk DESC LIMIT ?", (run_pk, _TASKS_AT_A_TIME))
    pks = [row[0] for row in rows]
    if pks:
        marks = ", ".join("?" * len(pks))
        for table, column in (*REFERS_TO_TASK, ("tasks", "pk")):
            db.execute(f"DELETE FROM {table} WHERE {column} IN ({marks})", pks)
    return len(pks) < _TASKS_AT_A_TIME


def _remove_row(db: Database, run_pk: int) -> bool:
    db.execute(
        "DELETE FROM watched_events WHERE watcher_pk IN (SELECT pk FROM watchers)"
        " AND event_pk IN (SELECT pk FROM tag_events WHERE run_pk = ?)",
        (run_pk,),
    )
    for table in ("run_values", "run_tags", "tag_events"):
        db.execute(f"DELETE FROM {table} WHERE run_pk = ?", (run_pk,))
    db.execute("DELETE FROM runs WHERE pk = ?", (run_pk,))
    return True
