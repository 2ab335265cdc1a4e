"""What starts runs of local deployments: schedules and events. Of any number of agents, one starts a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import NamedTuple

from metaflow_core.clock import now
from metaflow_core.deployment.schedule import Schedule, next_times
from metaflow_core.errors import MetadataError
from metaflow_core.metadata import local_runs
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.deployments import DeploymentRow, deployment
from metaflow_core.metadata.events import (
    EventRow,
    events_after,
    events_with,
    last_event,
    oldest_events,
    remove_events,
)
from metaflow_core.metadata.local_runs import LocalRun
from metaflow_core.metadata.local_starts import (
    Starts,
    active_versions,
    before,
    is_active,
    save_starts,
    starts_of,
)
from metaflow_core.metadata.repeating import repeated

KEPT_DAYS = 90  # for which events are kept that nothing waits for any more
REMOVED_AT_ONCE = 2000


class Start(NamedTuple):
    """What is due: a run, and why; or no run, when its time was missed."""

    run: LocalRun | None
    why: str


@dataclass
class Version:
    """A version of a deployment, and what starts it."""

    row: DeploymentRow
    schedule: Schedule | None
    triggers: dict[str, list[str]]  # the names of the events, by the text under which they are remembered
    looked: int = -1  # the last event of all when this process looked for those of this deployment
    problem: str = ""  # that was told last

    @classmethod
    def of(cls, row: DeploymentRow) -> Version:
        schedule = row.plan["schedule"]
        names = [sorted(event["name"] for event in events) for events in row.plan["triggers"]]
        return cls(
            row,
            Schedule(schedule["cron"], schedule["timezone"]) if schedule else None,
            {json.dumps(some): some for some in names},
        )


@dataclass
class Watched:
    """The deployments that are in place, and which of their schedules and events are due."""

    db: Database
    grace: float  # seconds by which a scheduled time may have been missed
    _versions: dict[int, Version] = field(default_factory=dict)

    def due(self) -> Iterator[Start]:
        """Queue the runs that are due."""
        active = active_versions(self.db)
        self._versions = {pk: self._versions.get(pk) or Version.of(deployment(self.db, pk)) for pk in active}
        last = last_event(self.db)
        for version in self._versions.values():
            try:
                yield from self._due(version, last)
                version.problem = ""
            except MetadataError:
                raise
            except Exception as error:  # of one deployment: the others go on
                problem = f"{version.row.name} can't be started by itself: {error}"
                if problem != version.problem:
                    yield Start(None, problem)
                version.problem = problem

    def _due(self, version: Version, last: int) -> Iterator[Start]:
        if version.schedule is None and not version.triggers:
            return
        starts = starts_of(self.db, version.row.pk) or _first_seen(self.db, version)
        if starts is None:
            return
        if version.schedule is not None and starts.due_at is not None and starts.due_at <= now():
            yield from self._scheduled(version, version.schedule, starts.due_at)
        if version.triggers and version.looked < last:
            yield from _triggered(self.db, version)
            version.looked = last

    def _scheduled(self, version: Version, schedule: Schedule, due_at: int) -> Iterator[Start]:
        """One run for the latest time that has come, unless it was missed by too much, however many have come."""
        at = now()
        # Of a long absence only the times that may still count are gone through.
        first = max(due_at, at - round(self.grace * 1e6))
        latest: datetime | None = None
        following: datetime | None = None
        for time in next_times(schedule, _time(first - 1)):
            if _micros(time) > at:
                following = time
                break
            latest = time
        missed = latest is None or (at - _micros(latest)) > self.grace * 1e6
        found = _take_time(self.db, version, due_at, following, missed)
        if found is None:
            return  # another agent was quicker
        skipped = latest is None or _micros(latest) != due_at
        if missed:
            yield Start(
                None, f"{version.row.name}: nothing ran at {_shown(_time(due_at))}, when it was due; too late now"
            )
        else:
            assert latest is not None
            yield Start(
                found[0], f"due {_shown(latest)}" + (f"; not run since {_shown(_time(due_at))}" if skipped else "")
            )


@repeated
def _take_time(
    db: Database, version: Version, due_at: int, following: datetime | None, missed: bool
) -> list[LocalRun] | None:
    """Go on to the time that follows, with a run unless that was missed. None when it was done already."""
    with db.transaction():
        starts = starts_of(db, version.row.pk)
        if starts is None or starts.due_at != due_at or not is_active(db, version.row.pk):
            return None
        save_starts(db, version.row.pk, starts._replace(due_at=None if following is None else _micros(following)))
        return [] if missed else [local_runs.queue(db, version.row.pk, {})]


@repeated
def _triggered(db: Database, version: Version) -> list[Start]:
    """A run for each trigger whose events have all come since it last started one."""
    starts = starts_of(db, version.row.pk)
    if starts is None or not any(_new_events(db, version, starts).values()):
        return []
    found = []
    with db.transaction():
        starts = starts_of(db, version.row.pk)
        if starts is None or not is_active(db, version.row.pk):
            return []
        for trigger, new in _new_events(db, version, starts).items():
            names, state = version.triggers[trigger], starts.waiting[trigger]
            come: dict[str, int] = state["come"]
            for event in new:
                state["after"] = event.pk
                come[event.name] = event.pk  # of an event that comes twice, the later one
                if len(come) == len(names):
                    events = [one.as_json() for one in events_with(db, list(come.values()))]
                    run = local_runs.queue(db, version.row.pk, {}, events)
                    found.append(Start(run, " and ".join(one["name"] for one in events)))
                    come.clear()
        save_starts(db, version.row.pk, starts)
    return found


def _new_events(db: Database, version: Version, starts: Starts) -> dict[str, list[EventRow]]:
    return {
        trigger: events_after(db, starts.waiting[trigger]["after"], names)
        for trigger, names in version.triggers.items()
    }


@repeated
def _first_seen(db: Database, version: Version) -> Starts | None:
    """Where a version begins: with what comes after it was deployed, or where the one before was.

    None when it is not in place any more.
    """
    row = version.row
    with db.transaction():
        found = starts_of(db, row.pk)
        if found is not None or not is_active(db, row.pk):
            return found
        after = int(row.info.get("last_event", 0))
        starts = Starts(None, {trigger: {"after": after, "come": {}} for trigger in version.triggers})
        if version.schedule is not None:
            due = next(next_times(version.schedule, _time(row.created_at)), None)
            starts = starts._replace(due_at=None if due is None else _micros(due))
        earlier = before(db, row.pk, row.name)
        if earlier is not None:
            plan, known = earlier
            kept = {trigger: known.waiting.get(trigger, state) for trigger, state in starts.waiting.items()}
            is_same = plan["schedule"] == row.plan["schedule"]
            starts = Starts(known.due_at if is_same else starts.due_at, kept)
        save_starts(db, row.pk, starts)
        return starts


@repeated
def remove_old_events(db: Database) -> bool:
    """Remove events that are old, and that no deployment needs any more. Whether there may be more of them."""
    with db.transaction():
        come: set[int] = set()
        looked: dict[str, int] = {}  # by name, up to which event everybody who waits for it has looked
        for pk in active_versions(db):
            starts = starts_of(db, pk)
            if starts is None and deployment(db, pk).plan["triggers"]:
                return False  # nobody knows yet what it needs: it is new, and there is time
            if starts is None:
                continue
            for trigger, state in starts.waiting.items():
                come.update(state["come"].values())
                for name in json.loads(trigger):
                    looked[name] = min(state["after"], looked.get(name, state["after"]))
        old = oldest_events(db, now() - KEPT_DAYS * 24 * 3600 * 1_000_000, REMOVED_AT_ONCE)
        remove_events(db, [pk for pk, name in old if pk not in come and pk <= looked.get(name, pk)])
    return len(old) == REMOVED_AT_ONCE


def _time(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1e6, timezone.utc)


def _micros(time: datetime) -> int:
    return round(time.timestamp() * 1e6)


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
