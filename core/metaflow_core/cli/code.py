"""``metaflow code``: the code of runs beside the working copy."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from metaflow_core.cli.objects import namespace_option, opened
from metaflow_core.errors import CommandException, MetaflowNotFound

if TYPE_CHECKING:
    from metaflow_core.results.base import MetaflowObject
    from metaflow_core.results.code import MetaflowCode

_directory = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False),
    help="The working copy. By default the nearest directory, from here upward, that has the flow's file.",
)
_exit_code = click.option("--exit-code", is_flag=True, help="Exit with 1 when something differs.")


@click.group()
def code() -> None:
    """Look at the code of a run, get it back, or compare it with what is here.

    RUN is a run, as HelloFlow/5, or a task of one. Its code is the whole project when the run was started with
    --package-code, else the flow's file and the files that its steps name.
    """


@code.command()
@click.argument("run", metavar="RUN")
@click.option("--dir", "folder", type=click.Path(file_okay=False), help="Where to. By default ./FLOW_RUN_code.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there with another content.")
@namespace_option
def pull(run: str, folder: str | None, overwrite: bool, namespace: str | None) -> None:
    """Write the code of a run into a directory."""
    with opened([run], ("run", "task"), namespace) as (found,):
        taken = _code(found)
        target = folder or f"{'_'.join(found.path_components)}_code"
        taken.extract(target, overwrite)
        if folder is None:  # it is no part of the project around it
            with open(os.path.join(target, ".gitignore"), "w", encoding="utf-8") as file:
                file.write("*\n")
        click.echo(f"{taken.info['files']} {'file' if taken.info['files'] == 1 else 'files'} in {target}")
        if not taken.complete:
            click.echo("They are the files that were recorded, not the whole project.", err=True)


@code.command()
@click.argument("run", metavar="RUN")
@_directory
@_exit_code
@namespace_option
def diff(run: str, folder: str | None, exit_code: bool, namespace: str | None) -> None:
    """Show how the working copy differs from the code of a run, as a unified diff."""
    with opened([run], ("run", "task"), namespace) as (found,):
        taken = _code(found)
        _show(taken.contents(), _working_copy(taken, found, folder), exit_code)


@code.command("diff-runs")
@click.argument("old", metavar="RUN")
@click.argument("new", metavar="RUN")
@_exit_code
@namespace_option
def diff_runs(old: str, new: str, exit_code: bool, namespace: str | None) -> None:
    """Show how the code of the second run differs from that of the first."""
    with opened([old, new], ("run", "task"), namespace) as (one, other):
        before, after = _code(one), _code(other)
        contents = before.contents(), after.contents()
        if before.complete != after.complete:
            click.echo("One of the runs has recorded files only, so the flows' own files are compared.", err=True)
            name = after.script_name or before.script_name or ""
            texts = [(code.flowspec or "").encode() for code in (before, after)]
            contents = {name: texts[0]}, {name: texts[1]}
        _show(*contents, exit_code)


@code.command()
@click.argument("run", metavar="RUN")
@_directory
@namespace_option
def patch(run: str, folder: str | None, namespace: str | None) -> None:
    """Print the patch that makes the working copy the code of a run: metaflow code patch RUN | git apply"""
    with opened([run], ("run", "task"), namespace) as (found,):
        taken = _code(found)
        _show(_working_copy(taken, found, folder), taken.contents(), False)


def _code(found: MetaflowObject) -> MetaflowCode:
    taken: MetaflowCode | None = found.code  # type: ignore[attr-defined]
    if taken is None:
        raise MetaflowNotFound(f"Nothing of the code of {found.pathspec} was recorded.")
    return taken


def _working_copy(taken: MetaflowCode, found: MetaflowObject, folder: str | None) -> dict[str, bytes]:
    """What is here of the files of a run and, when it has the whole project, what the project has besides."""
    script = taken.script_name
    if script is None:
        raise CommandException(f"The flow of {found.pathspec} was defined in a session, so no file here belongs to it.")
    root = os.path.realpath(folder) if folder is not None else _nearest(script, found)
    names = set(taken.files)
    if taken.complete:
        from metaflow_core.store.project_files import project_files

        names.update(project_files(root, [os.path.join(root, script)], taken.info["suffixes"]).paths)
    contents = {}
    for name in names:
        path = os.path.join(root, name)
        try:
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    contents[name] = file.read()
        except OSError as error:
            raise CommandException(f"{path} can't be read: {error.strerror}.") from None
    return contents


def _nearest(script: str, found: MetaflowObject) -> str:
    folder = os.path.realpath(os.getcwd())
    while not os.path.isfile(os.path.join(folder, script)):
        above = os.path.dirname(folder)
        if above == folder:
            raise CommandException(
                f"There is no {script} here or above, where the code of {found.pathspec} could be. Name its directory: "
                f"--dir DIR"
            )
        folder = above
    return folder


def _show(old: dict[str, bytes], new: dict[str, bytes], exit_code: bool) -> None:
    from metaflow_core.results.code_patch import patch as made

    text = made(old, new)
    sys.stdout.flush()
    click.echo(text, nl=False)
    if exit_code and text:
        sys.exit(1)
