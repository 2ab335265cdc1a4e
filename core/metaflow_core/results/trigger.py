"""What has started a run: ``run.trigger`` and ``current.trigger``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from metaflow_core.decorators.trigger import recorded_trigger
from metaflow_core.metadata.database import Database
from metaflow_core.results.base import time_of

if TYPE_CHECKING:
    from metaflow_core.results.run import Run


class MetaflowEvent(NamedTuple):
    """An event that has started a run."""

    name: str
    id: str
    timestamp: datetime  # in UTC
    type: str  # "run" when it is the end of a run, else "event"
    payload: Mapping[str, Any] = {}  # what was published with it


class Trigger:
    """The events that have started a run, in the order in which they came.

    if current.trigger:
        print(current.trigger.event.name, current.trigger.event.timestamp)
        model = current.trigger.run.data.model  # with @trigger_on_finish
    """

    def __init__(self, events: list[MetaflowEvent]) -> None:
        self._events = sorted(events, key=lambda event: event.timestamp)

    @property
    def event(self) -> MetaflowEvent:
        """The event; the latest one, if there were several."""
        return self._events[-1]

    @property
    def events(self) -> list[MetaflowEvent]:
        """All events, the latest one last."""
        return list(self._events)

    @property
    def run(self) -> Run | None:
        """The run whose end was the event, in whichever namespace; the latest one. None when no event was one."""
        runs = self.runs
        return runs[-1] if runs else None

    @property
    def runs(self) -> list[Run] | None:
        """All runs whose ends were events, the latest one last. None when no event was one."""
        from metaflow_core.results.run import Run

        found = [event.payload["pathspec"] for event in self._events if event.type == "run"]
        return [Run(pathspec, _namespace_check=False) for pathspec in found] or None

    def __repr__(self) -> str:
        return f"Trigger({', '.join(event.name for event in self._events)})"


def trigger_of_run(db: Database, run_pk: int) -> Trigger | None:
    """What has started the run; None when it was a person or a schedule."""
    text = recorded_trigger(db, run_pk)
    if text is None:
        return None
    events = [
        MetaflowEvent(
            one["name"],
            str(one.get("id", "")),
            time_of(one.get("time", 0)),
            one.get("type", "event"),
            one.get("payload") or {},
        )
        for one in json.loads(text)
    ]
    return Trigger(events) if events else None
