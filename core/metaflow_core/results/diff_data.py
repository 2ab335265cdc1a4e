"""A difference as plain data, for programs, and as rows, for tables."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from metaflow_core.results.diff_summary import details, in_foreach, shown_value, summary

if TYPE_CHECKING:
    from metaflow_core.results.diff import Diff
    from metaflow_core.results.diff_values import ValueChange


def as_data(diff: Diff) -> dict[str, Any]:
    """What ``--json`` prints."""
    data: dict[str, Any] = _finite(_data(diff))
    return data


def _data(diff: Diff) -> dict[str, Any]:
    return {
        "old": diff.old.pathspec,
        "new": diff.new.pathspec,
        "differs": diff.differs,
        "facts": {name: [_plain(value) for value in pair] for name, pair in diff.facts.items()},
        "parameters": {name: _value(change) for name, change in diff.parameters.items()},
        "artifacts": [{"step": change.step, "name": change.name, **_value(change)} for change in diff.artifacts],
        "foreach": [{**asdict(change), "example": list(change.example)} for change in diff.foreach],
        "unchanged_artifacts": diff.unchanged,
        "tasks": {step: list(pair) for step, pair in diff.tasks.items()},
        "tags": diff.tags._asdict(),
        "environment": [{**change._asdict(), "change": change.change} for change in diff.environment],
        "graph": [change._asdict() for change in diff.graph],
        "code": diff.code,
        "not_recorded": diff.unknown,
    }


def _value(change: ValueChange) -> dict[str, Any]:
    facts = dict(zip(("old", "new"), change.facts(), strict=True))
    for side, artifact in (("old", change.old), ("new", change.new)):
        stored, known = artifact and artifact._stored(), facts[side]
        if stored and known and stored.encoding in ("null", "bool", "int", "float", "str"):
            known["value"] = stored.scalar
    return {"change": change.change, **facts, "difference": change.difference}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _finite(value: Any) -> Any:
    """The same with texts for NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class Row(NamedTuple):
    """One difference: what is of no use in a section is None."""

    section: str
    step: str | None
    name: str
    change: str
    old: str | None
    new: str | None
    detail: str | None


def rows(diff: Diff) -> list[Row]:
    """Every difference but those of the code's lines."""
    found: list[Row] = []
    for section, changes in (("parameters", diff.parameters.values()), ("artifacts", diff.artifacts)):
        for change in changes:
            texts = [None if one is None else shown_value(one) for one in (change.old, change.new)]
            detail = "; ".join([summary(change), *details(change)]) if change.change == "changed" else None
            found.append(Row(section, change.step, change.name, change.change, texts[0], texts[1], detail))
    found += [Row("artifacts", one.step, one.name, "changed", None, None, in_foreach(one)) for one in diff.foreach]
    found += [
        Row("tasks", step, "tasks", "changed", str(before), str(after), None)
        for step, (before, after) in diff.tasks.items()
    ]
    found += [Row("tags", None, tag, "added", None, tag, None) for tag in diff.tags.added]
    found += [Row("tags", None, tag, "removed", tag, None, None) for tag in diff.tags.removed]
    found += [
        Row("environment", None, one.name, one.change, one.old, one.new, one.language) for one in diff.environment
    ]
    found += [
        Row("graph", one.step, one.what, one.change, graph_text(one.old), graph_text(one.new), None)
        for one in diff.graph
    ]
    found += [Row("code", None, path, "changed", None, None, counted_lines(text)) for path, text in diff.code.items()]
    return found


def graph_text(value: Any) -> str | None:
    """A fact of a graph: steps by their names."""
    if value is None:
        return None
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    if isinstance(value, dict):
        return ", ".join(f"{key}={json.dumps(part)}" for key, part in value.items())
    return str(value)


def counted_lines(text: str) -> str:
    """How many lines a unified diff adds and removes."""
    lines = text.splitlines()[2:]
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    return f"+{added} -{removed} lines"
