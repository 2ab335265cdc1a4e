"""``metaflow gc``: removes what nothing refers to, and runs that a retention policy gives up."""

from __future__ import annotations

import json as encoder
import sys

import click

from metaflow_core.cli.status import has_database
from metaflow_core.errors import MetaflowUsageError
from metaflow_core.metadata.backend import open_backend
from metaflow_core.results.garbage import STATUSES, GarbageReport, plan_garbage


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would go and why, and change nothing.")
@click.option(
    "--older-than",
    metavar="AGE",
    help='Also remove runs that ended so long ago: 12h, 90d, 4w. "never": none, whatever METAFLOW_GC_OLDER_THAN says.',
)
@click.option("--flow", metavar="FLOW", help="Of the old runs only those of this flow.")
@click.option(
    "--status", multiple=True, type=click.Choice(STATUSES), help="Of the old runs only those. May be repeated."
)
@click.option(
    "--keep-last", type=click.IntRange(min=0), default=0, metavar="N", help="Keep the newest N runs of each flow."
)
@click.option("--keep-tag", "keep_tags", multiple=True, metavar="TAG", help="Keep runs with this tag of any kind.")
@click.option(
    "--ignore-tag",
    "ignore_tags",
    multiple=True,
    metavar="TAG",
    help='A user tag, or a pattern such as "ci-*", that does not protect a run. Any other does. May be repeated.',
)
@click.option("--yes", is_flag=True, help="Do not ask before runs are removed.")
@click.option("--json", is_flag=True, help="Print the report as JSON.")
def gc(
    dry_run: bool,
    older_than: str | None,
    flow: str | None,
    status: tuple[str, ...],
    keep_last: int,
    keep_tags: tuple[str, ...],
    ignore_tags: tuple[str, ...],
    yes: bool,
    json: bool,
) -> None:
    """Remove what nothing refers to, and with --older-than old runs.

    Never removed are runs with a tag that somebody gave them, running ones, and the latest and the latest successful
    run of each user and each deployment. It is safe beside running flows, and can be interrupted at any time.
    """
    if not has_database(open_backend()):
        click.echo("There are no results here yet." if not json else "null")
        return
    plan = plan_garbage(
        older_than, flow=flow, status=status, keep_last=keep_last, keep_tags=keep_tags, ignore_tags=ignore_tags
    )
    found = plan.survey()
    if dry_run:
        _show(found, json)
        return
    if found.runs and not yes:
        click.echo(str(found), err=True)
        _ask(len(found.runs))
    _show(plan.carry_out(), json)


def _show(report: GarbageReport, json: bool) -> None:
    click.echo(encoder.dumps(report.as_dict(), indent=2) if json else str(report))


def _ask(count: int) -> None:
    runs = f"{count} run{'s' * (count != 1)}"
    if not sys.stdin.isatty():
        raise MetaflowUsageError(
            f"{runs} would be removed, and nobody can be asked here: add --yes. Nothing was removed."
        )
    if not click.confirm(f"Remove {runs} for good?", err=True):
        click.echo("Nothing was removed.", err=True)
        sys.exit(1)
