"""``metaflow lineage``: what a run has read of other runs, and who has read what of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from metaflow_core.cli.objects import namespace_option, opened

if TYPE_CHECKING:
    from metaflow_core.results.lineage import ArtifactReads


@click.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@namespace_option
def lineage(run: str, as_json: bool, namespace: str | None) -> None:
    """Show what RUN has read of other runs, and who has read RUN.

    Told are the artifacts that tasks have loaded through the client, as in: metaflow lineage HelloFlow/5. The other
    runs are shown whatever their namespace.
    """
    from metaflow_core.results.run import Run

    with opened([run], ("run",), namespace) as (found,):
        assert isinstance(found, Run)
        parts = {"inputs": found.inputs, "consumers": found.consumers}
    if as_json:
        click.echo(json.dumps({"run": run, **{name: _data(reads) for name, reads in parts.items()}}, indent=2))
        return
    for name, reads in parts.items():
        click.echo(click.style(f"{name.title()} of {run}", bold=True) + ("" if reads else ": none"))
        for line in reads.lines() if reads else ():
            click.echo(f"  {line}")


def _data(reads: ArtifactReads) -> list[dict[str, str]]:
    return [
        {
            "artifact": read.artifact,
            "run": read.run_pathspec,
            "step": read.step,
            "task": read.task,
            "at": read.at.isoformat(),
        }
        for read in reads
    ]
