"""Events that start runs: their names, and what a run that they have started gets from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from metaflow_core.decorators.trigger import Trigger, TriggerEvent, end_event, triggers_of
from metaflow_core.errors import MetaflowException
from metaflow_core.names import show
from metaflow_core.results.trigger import trigger_of_run

_LAST_TIME = 253_402_300_800_000_000  # the year 10000, in microseconds since 1970

__all__ = [
    "Trigger",
    "TriggerEvent",
    "as_recorded",
    "end_event",
    "events_of",
    "fields_of",
    "parameters_from",
    "trigger_of_run",
    "triggers_of",
]


def fields_of(payload: object) -> dict[str, Any]:
    """The fields of what is published with an event; None has none. ``MetaflowException`` when it is no dict."""
    if payload is None:
        return {}
    if not isinstance(payload, Mapping):
        raise MetaflowException(f'The payload of an event is a dict such as {{"rows": 100}}, not {show(payload)}.')
    return dict(payload)


def events_of(text: str) -> list[dict[str, Any]]:
    """The events in the JSON that an orchestrator has passed on; of an event that came twice, the last one.

    A time may be text, as ISO 8601 has it. ``MetaflowException`` for what are no events.
    """
    given: Any
    try:
        given = [_with_number(one) for one in json.loads(text)] if text else []
    except (ValueError, TypeError):
        given = None
    if not isinstance(given, list) or not all(_is_event(one) for one in given):
        raise MetaflowException(
            f"The events that started this run can't be read: {show(text)}. They are a JSON list of objects with a "
            f"name, an id, the time in microseconds since 1970, a type (event or run), and a payload, which has the "
            f"pathspec of a run."
        )
    return list({one["name"]: one for one in given}.values())


def as_recorded(text: str | None) -> str | None:
    """What a run keeps of the events that an orchestrator has passed on. None when there are none.

    >>> as_recorded('[{"name": "data", "time": "2026-11-23T00:00:00Z"}]')
    '[{"name": "data", "time": 1795392000000000}]'
    """
    events = events_of(text or "")
    return json.dumps(events) if events else None


def parameters_from(trigger_json: str, triggers: Iterable[Any]) -> dict[str, Any]:
    """The parameters that the events give to the run, by name: values of JSON, as the payloads have them.

    ``triggers`` have ``events`` with a ``name`` and ``parameters``. Fields that a payload lacks are left out, and so
    are triggers of which an event is missing.
    """
    payloads = {event["name"]: event.get("payload") or {} for event in events_of(trigger_json)}
    found: dict[str, Any] = {}
    for trigger in triggers:
        if all(event.name in payloads for event in trigger.events):
            for event in trigger.events:
                fields = payloads[event.name]
                found.update({name: fields[key] for name, key in event.parameters.items() if key in fields})
    return found


def _with_number(one: object) -> object:
    if not isinstance(one, dict) or not isinstance(one.get("time"), str):
        return one
    at = datetime.fromisoformat(one["time"].replace("Z", "+00:00"))
    return {**one, "time": round(at.timestamp() * 1e6)}


def _is_event(one: object) -> bool:
    return (
        isinstance(one, Mapping)
        and isinstance(one.get("name"), str)
        and isinstance(one.get("payload", {}) or {}, Mapping)
        and isinstance(one.get("time", 0), int)
        and 0 <= one.get("time", 0) < _LAST_TIME
        and (one.get("type", "event") == "event" or (one["type"] == "run" and _names_run(one.get("payload"))))
    )


def _names_run(payload: object) -> bool:
    """Whether it is what the end of a run publishes: its pathspec."""
    pathspec = payload.get("pathspec") if isinstance(payload, Mapping) else None
    return isinstance(pathspec, str) and pathspec.count("/") == 1 and all(pathspec.split("/"))
