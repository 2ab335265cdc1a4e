"""``metaflow tags``: which tags there are, on how many runs, since when, and who gave them."""

from __future__ import annotations

import json

import click

from metaflow_core.cli.status import has_database
from metaflow_core.cli.table import moment, print_table
from metaflow_core.metadata.backend import open_backend
from metaflow_core.results.tag_list import list_tags


@click.command()
@click.argument("flow", required=False)
@click.option("--all", "system", is_flag=True, help="Also the tags that every run gets by itself: dates, versions.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs.")
def tags(flow: str | None, system: bool, as_json: bool) -> None:
    """List the tags that runs of FLOW, or of any flow, have now."""
    found = list_tags(flow, system) if flow is not None or has_database(open_backend()) else []
    if as_json:
        for info in found:
            times = {"since": info.since.isoformat(), "latest": info.latest.isoformat()}
            click.echo(json.dumps({"tag": info.tag, "runs": info.runs, **times, "by": info.by}, ensure_ascii=False))
    elif found:
        rows = ((i.tag, f"{i.runs:,}", moment(i.since), moment(i.latest), ", ".join(i.by)) for i in found)
        print_table(("TAG", "RUNS", "SINCE", "LATEST", "BY"), rows, right={1})
    else:
        click.echo("No run has a tag that somebody gave it.")
