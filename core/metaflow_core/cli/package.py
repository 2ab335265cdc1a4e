"""``package``: the code package of a flow."""

from __future__ import annotations

import json
import sys

import click

from metaflow_core.cli.flow import FlowContext
from metaflow_core.decorators.resolve import mutate
from metaflow_core.engine.package import Package, files_of_flow
from metaflow_core.errors import CommandException
from metaflow_core.store.package_archive import shown_name


@click.group()
def package() -> None:
    """Show or save the code package: the project's files that go where tasks run on other machines."""


@package.command("list")
@click.pass_obj
def list_files(context: FlowContext) -> None:
    """List the files of the package, from the project's directory on."""
    files = files_of_flow(context.flow)
    context.banner(f"The project is {files.root}")
    for name in files.paths:
        click.echo(shown_name(name))
    _tell_left_out(context, files.left_out)


@package.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.pass_obj
def save(context: FlowContext, file: str) -> None:
    """Save the package as a tar.gz file. A file of that name is replaced."""
    mutate(context.flow)  # secrets may be in what mutators add
    with Package(context.flow) as made:
        try:
            with open(file, "wb") as opened:
                made.archive.write(opened)
        except OSError as error:
            raise CommandException(f"The package can't be written to {file}: {error.strerror}.") from None
        context.banner(f"{made.archive.count} files of {made.files.root} are in {file}")
        _tell_left_out(context, made.files.left_out)


@package.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_obj
def info(context: FlowContext, as_json: bool) -> None:
    """Tell what the package would be: the project's directory, the number and the size of its files, its key."""
    mutate(context.flow)
    with Package(context.flow) as made:
        facts = {"root": made.files.root, **made.info, "key": made.archive.key, "left_out": made.files.left_out}
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    facts["suffixes"] = " ".join(facts["suffixes"])
    facts["size"] = f"{facts['size']:,} bytes"
    del facts["left_out"]
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' ') + ':':<19}{value}")
    _tell_left_out(context, made.files.left_out)


def _tell_left_out(context: FlowContext, left_out: list[str]) -> None:
    sys.stdout.flush()
    for path in left_out:
        context.banner(f"Not in the package, because it is outside of the project: {path}")
