"""A difference as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from metaflow_core.results.diff_data import graph_text
from metaflow_core.results.diff_summary import details, in_foreach, summary

if TYPE_CHECKING:
    from metaflow_core.results.diff import Diff
    from metaflow_core.results.diff_code import GraphChange
    from metaflow_core.results.diff_values import ValueChange

MAX_CODE = 100  # lines of each file's diff, unless all are wanted
_COLOURS = {"title": "1", "added": "32", "removed": "31", "changed": "33", "hunk": "36", "faint": "2"}
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), 127)}  # they would act on the terminal
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


class Line(NamedTuple):
    """``style`` is a key of the colours, or empty."""

    text: str
    style: str = ""


def text(diff: Diff, colour: bool = False, max_code: int | None = MAX_CODE) -> str:
    """The text without a line break at its end."""
    return "\n".join(_painted(line) if colour else line.text for line in lines(diff, max_code))


def _painted(line: Line) -> str:
    return f"\x1b[{_COLOURS[line.style]}m{line.text}\x1b[0m" if line.style and line.text else line.text


def lines(diff: Diff, max_code: int | None = MAX_CODE) -> Iterator[Line]:
    """What differs, by section; what does not is named in the last line."""
    yield from _head(diff)
    if diff.old == diff.new:
        yield Line("")
        yield Line("This is the same one twice.")
        return
    same = []
    for title, body in (
        ("Parameters", list(_values([*diff.parameters.values()]))),
        ("Artifacts", list(_artifacts(diff))),
        ("Tasks", [Line(f"  ~ {step}  {old:,} → {new:,}", "changed") for step, (old, new) in diff.tasks.items()]),
        ("Tags", list(_tags(diff))),
        ("Environment", list(_environment(diff))),
        ("Graph", [_graph(change) for change in diff.graph]),
        ("Code", list(_code(diff, max_code))),
    ):
        if body:
            yield Line("")
            yield Line(title, "title")
            yield from body
        elif title.lower() not in diff.unknown:
            same.append(title.lower())
    yield from _tail(diff, same)


def _head(diff: Diff) -> Iterator[Line]:
    rows = [("", diff.old.pathspec, diff.new.pathspec), *_facts(diff)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for number, (name, old, new) in enumerate(rows):
        line = f"{name:<{widths[0]}}  {old:<{widths[1]}}  {new}".rstrip()
        yield Line(line, "" if number else "title")


def _facts(diff: Diff) -> Iterator[tuple[str, str, str]]:
    for name, (old, new) in diff.facts.items():
        if name == "seconds":
            yield "took", _seconds(old), _seconds(new)
        elif name == "started":
            yield name, f"{old.astimezone():%Y-%m-%d %H:%M:%S}", f"{new.astimezone():%Y-%m-%d %H:%M:%S}"
        elif name == "status" or old != new:
            yield name, "" if old is None else str(old), "" if new is None else str(new)


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    if value < 10:
        return f"{value:.2f} s"
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _values(changes: list[ValueChange], indent: str = "  ") -> Iterator[Line]:
    width = max((len(change.name) for change in changes), default=0)
    for change in changes:
        note = " (a constant)" if change.is_constant else ""
        first = f"{indent}{_SIGNS[change.change]} {change.name:<{width}}  {summary(change)}{note}"
        yield Line(first, change.change)
        yield from (Line(f"{indent}      {detail}", _style_of(detail)) for detail in details(change))


def _style_of(detail: str) -> str:
    return "added" if detail.startswith("+ ") else "removed" if detail.startswith("- ") else ""


def _artifacts(diff: Diff) -> Iterator[Line]:
    steps = dict.fromkeys(change.step for change in diff.artifacts)
    for step in steps:
        if step is not None:
            yield Line(f"  {step}")
        yield from _values([change for change in diff.artifacts if change.step == step], "    " if step else "  ")
    for step in dict.fromkeys(change.step for change in diff.foreach):
        yield Line(f"  {step}, in a foreach")
        changes = [change for change in diff.foreach if change.step == step]
        width = max(len(change.name) for change in changes)
        yield from (Line(f"    ~ {one.name:<{width}}  {in_foreach(one)}", "changed") for one in changes)


def _tags(diff: Diff) -> Iterator[Line]:
    yield from (Line(f"  + {tag}", "added") for tag in diff.tags.added)
    yield from (Line(f"  - {tag}", "removed") for tag in diff.tags.removed)


def _environment(diff: Diff) -> Iterator[Line]:
    width = max((len(one.name) for one in diff.environment), default=0)
    for one in diff.environment:
        versions = " → ".join(version for version in (one.old, one.new) if version is not None)
        language = {"r": "  (R)", "python": ""}.get(one.language or "python", f"  ({one.language})")
        yield Line(f"  {_SIGNS[one.change]} {one.name:<{width}}  {versions}{language}", one.change)


def _graph(one: GraphChange) -> Line:
    old, new = graph_text(one.old), graph_text(one.new)
    sign = _SIGNS[one.change]
    if one.what == "step":
        targets = old or new
        return Line(f"  {sign} step {one.step}{f', leads to {targets}' if targets else ''}", one.change)
    where = one.step or "the flow"
    if one.change == "changed":
        return Line(f"  {sign} {where}: {one.what} {old or 'none'} → {new or 'none'}", one.change)
    return Line(f"  {sign} {where}: {one.what} {old or new or ''}".rstrip(), one.change)


def _code(diff: Diff, max_code: int | None) -> Iterator[Line]:
    for found in diff.code.values():
        all_lines = found.splitlines()
        for number, line in enumerate(all_lines[:max_code]):
            style = {"+": "added", "-": "removed", "@": "hunk"}.get(line[:1], "")
            yield Line(f"  {line.translate(_CONTROLS)}".rstrip(), "title" if number < 2 else style)
        if max_code is not None and len(all_lines) > max_code:
            yield Line(f"  ... and {len(all_lines) - max_code:,} more lines", "faint")


def _tail(diff: Diff, same: list[str]) -> Iterator[Line]:
    notes = []
    if diff.old._depth > 2:  # two tasks are compared by their artifacts alone
        same = [name for name in same if name == "artifacts"]
    if "artifacts" in same and diff.unchanged:
        same[same.index("artifacts")] = f"artifacts ({diff.unchanged:,})"
    elif diff.unchanged:
        same.append(f"{diff.unchanged:,} {'artifact' if diff.unchanged == 1 else 'artifacts'}")
    if same:
        notes.append(f"The same: {', '.join(same)}.")
    notes += [f"Not recorded for one of the two: {name}." for name in diff.unknown]
    if notes:
        yield Line("")
        yield from (Line(note, "faint") for note in notes)
