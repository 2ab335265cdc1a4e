"""A report of garbage collection as text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metaflow_core.results.garbage import GarbageReport, RemovedRun

_SHOWN = 20  # runs of each flow
_UNITS = ("kB", "MB", "GB", "TB")
_KEPT = {
    "tagged": "with a tag",
    "latest": "the latest of a user or a deployment",
    "last": "among the newest of their flow",
    "running": "running",
    "resumed": "being resumed",
}
_PARTS = {
    "values": "value{s} in the database",
    "files": "file{s} with large values",
    "logs": "log{s}",
    "texts": "text{s} with graphs and sources of flows",
    "temporary": "temporary file{s}",
}


def garbage_text(report: GarbageReport) -> str:
    """What went, or would go, and why: for people."""
    return "\n".join(_lines(report))


def size_text(size: int) -> str:
    """A number of bytes as people read it.

    >>> size_text(123), size_text(1_234_567)
    ('123 bytes', '1.2 MB')
    """
    if size < 1000:
        return f"{size} byte{_s(size)}"
    power = 1
    while size >= 999_950 * 1000 ** (power - 1) and power < 4:
        power += 1
    return f"{size / 1000**power:.1f} {_UNITS[power - 1]}"


def _lines(report: GarbageReport) -> Iterator[str]:
    would = "to be removed" if report.dry_run else "removed"
    if report.ended_before is not None:
        count = len(report.runs) or "none"
        yield f"Runs that ended before {report.ended_before.astimezone():%Y-%m-%d %H:%M}, {would}: {count}"
    elif report.runs:
        yield f"Runs whose removal was interrupted, {would}: {len(report.runs)}"
    yield from _runs(report)
    if report.kept:
        yield "Kept although as old: " + ", ".join(f"{count} {_KEPT[why]}" for why, count in report.kept.items())
    parts = {name: getattr(report, name) for name in _PARTS}
    found = [
        f"{part.count} {_PARTS[name].format(s=_s(part.count))} ({size_text(part.bytes)})"
        for name, part in parts.items()
        if part.count
    ]
    if found:
        yield f"What nothing refers to{' then' if report.runs else ''}, {would}: {', '.join(found)}"
    if not found and not report.runs:
        yield "There is nothing to remove."
    if report.older.count:
        yield (
            f"Left alone: {report.older.count} file{_s(report.older.count)} ({size_text(report.older.bytes)}) from "
            f"before there was this database. Delete them by hand if nothing else needs them."
        )
    freed = f"{size_text(report.bytes)} {'would be ' if report.dry_run else ''}freed."
    if report.database_bytes is not None:
        freed += f" The database is a file of {size_text(report.database_bytes)}; space that is freed in it is reused."
    yield freed


def _s(count: int) -> str:
    return "s" * (count != 1)


def _runs(report: GarbageReport) -> Iterator[str]:
    for name, group in groupby(sorted(report.runs, key=_flow), key=_flow):
        flow, runs = report.flows[name], list(group)
        yield (
            f"  {name}: {flow.runs} run{_s(flow.runs)}, {flow.tasks} task{_s(flow.tasks)}, "
            f"{size_text(flow.bytes)} of values and logs that no other run uses"
        )
        for run in runs[:_SHOWN]:
            yield f"    {run.pathspec}  {run.status}  {run.ended_at.astimezone():%Y-%m-%d %H:%M}"
        if len(runs) > _SHOWN:
            yield f"    and {len(runs) - _SHOWN} more"


def _flow(run: RemovedRun) -> str:
    return run.pathspec.partition("/")[0]
