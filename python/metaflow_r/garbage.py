"""Garbage collection, as R calls it."""

from __future__ import annotations

from typing import Any

from metaflow_core.results import collect_garbage
from rpy2.rinterface import NULL

from metaflow_r.client_values import frame, moments, numbers, texts, to_r
from metaflow_r.sexp import named_list, set_attribute
from metaflow_r.text import strings, text

PARTS = ("values", "files", "logs", "texts", "temporary", "older")


def collect(
    older_than: Any, flow: Any, status: Any, keep_last: Any, keep_tags: Any, ignore_tags: Any, dry_run: Any
) -> Any:
    """The report as a list, whose attribute ``text`` is what it prints."""
    report = collect_garbage(
        None if older_than is NULL else text(older_than),
        flow=None if flow is NULL else text(flow),
        status=strings(status),
        keep_last=int(keep_last[0]),
        keep_tags=strings(keep_tags),
        ignore_tags=strings(ignore_tags),
        dry_run=bool(dry_run[0]),
    )
    amounts = [getattr(report, part) for part in PARTS]
    flows = report.flows
    found = named_list(
        {
            "dry_run": to_r(report.dry_run),
            "ended_before": to_r(report.ended_before),
            "runs": frame(
                run=texts([run.pathspec for run in report.runs]),
                status=texts([run.status for run in report.runs]),
                ended_at=moments([run.ended_at for run in report.runs]),
            ),
            "flows": frame(
                flow=texts(list(flows)),
                runs=numbers([one.runs for one in flows.values()]),
                tasks=numbers([one.tasks for one in flows.values()]),
                bytes=numbers([one.bytes for one in flows.values()]),
            ),
            "kept": to_r(report.kept),
            "parts": frame(
                part=texts(PARTS),
                count=numbers([amount.count for amount in amounts]),
                bytes=numbers([amount.bytes for amount in amounts]),
            ),
            "bytes": to_r(report.bytes),
            "database_bytes": to_r(report.database_bytes),
        }
    )
    return set_attribute(found, "text", texts(str(report).splitlines()))
