"""``metaflow namespaces``: which namespaces there are, on how many runs, since when, and whose."""

from __future__ import annotations

import json

import click

from metaflow_core.cli.status import has_database
from metaflow_core.cli.table import moment, print_table
from metaflow_core.metadata.backend import open_backend
from metaflow_core.results import list_namespaces


@click.command()
@click.argument("flow", required=False)
@click.option("--all", "system", is_flag=True, help="Also the tags that every run gets by itself: dates, versions.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs.")
def namespaces(flow: str | None, system: bool, as_json: bool) -> None:
    """List the namespaces in which FLOW, or any flow, has runs: those of users and deployments first, then tags."""
    found = list_namespaces(flow, system) if flow is not None or has_database(open_backend()) else []
    if as_json:
        for info in found:
            times = {"since": info.since.isoformat(), "latest": info.latest.isoformat()}
            data = {"namespace": info.namespace, "runs": info.runs, **times, "owners": info.owners}
            click.echo(json.dumps(data, ensure_ascii=False))
        return
    rows = ((i.namespace, f"{i.runs:,}", moment(i.since), moment(i.latest), ", ".join(i.owners)) for i in found)
    print_table(("NAMESPACE", "RUNS", "SINCE", "LATEST", "BY"), rows, right={1})
