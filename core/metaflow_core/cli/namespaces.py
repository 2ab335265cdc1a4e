"""``metaflow namespaces``: which namespaces there are, on how many runs, since when, and whose."""

from __future__ import annotations

import click

from metaflow_core.results import list_namespaces


@click.command()
@click.argument("flow", required=False)
@click.option("--all", "system", is_flag=True, help="Also the tags that every run gets by itself: dates, versions.")
def namespaces(flow: str | None, system: bool) -> None:
    """List the namespaces in which FLOW, or any flow, has runs: those of users and deployments first, then tags."""
    rows = [("NAMESPACE", "RUNS", "SINCE", "LATEST", "BY")]
    for info in list_namespaces(flow, system):
        since, latest = (f"{at.astimezone():%Y-%m-%d %H:%M}" for at in (info.since, info.latest))
        rows.append((info.namespace, str(info.runs), since, latest, ", ".join(info.owners)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        name, runs, since, latest = (cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True))
        click.echo(f"{name}  {runs.strip().rjust(widths[1])}  {since}  {latest}  {row[4]}".rstrip())
