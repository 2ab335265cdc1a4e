"""``dump``: the artifacts of a task, or of all tasks of a step."""

from __future__ import annotations

import textwrap
from typing import Any

import click

from metaflow_core.cli.reference import FlowContext, find_tasks
from metaflow_core.errors import MetaflowException, MetaflowNotFound
from metaflow_core.results.artifact import DataArtifact
from metaflow_core.results.messages import no_artifact
from metaflow_core.results.task import Task


@click.command()
@click.argument("reference", metavar="RUN/STEP[/TASK]")
@click.option("--private/--no-private", default=False, help="Show artifacts whose names start with _ too.")
@click.option(
    "--max-value-size",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    metavar="BYTES",
    help="Show larger values as their type and size alone. 0 shows names alone.",
)
@click.option("--include", metavar="NAMES", help="Show these artifacts alone: names with commas between them.")
@click.option("--file", type=click.Path(dir_okay=False, writable=True), help="Pickle the values to this file instead.")
@click.pass_obj
def dump(
    context: FlowContext, reference: str, private: bool, max_value_size: int, include: str | None, file: str | None
) -> None:
    """Show the artifacts of a task, or of all tasks of a step.

    With --file the file gets a pickled dict: {"FLOW/RUN/STEP/TASK": {"NAME": VALUE}}.
    """
    tasks = find_tasks(context, reference)
    names = [name.strip() for name in include.split(",") if name.strip()] if include is not None else None
    chosen = {task.pathspec: _choose(task, names, private) for task in tasks}
    for name in names or ():
        if all(artifact.id != name for artifacts in chosen.values() for artifact in artifacts):
            raise MetaflowNotFound(no_artifact("/".join(tasks[0].path_components), name, tasks[0].data))
    if file is not None:
        _save(file, {task: {artifact.id: artifact.data for artifact in found} for task, found in chosen.items()})
        click.echo(f"Wrote the artifacts of {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'} to {file}.", err=True)
        return
    for task, artifacts in chosen.items():
        click.echo(task)
        for artifact in artifacts:
            value = f" = {_shown(artifact, max_value_size)}" if max_value_size else ""
            click.echo(f"    {artifact.id}{value}")


def _choose(task: Task, names: list[str] | None, private: bool) -> list[DataArtifact]:
    wanted = names if names is not None else task._names()
    found = (task._child(name) for name in wanted if private or names is not None or not name.startswith("_"))
    return [artifact for artifact in found if artifact is not None]


def _shown(artifact: DataArtifact, limit: int) -> str:
    unread = f"<{artifact.type}, {artifact.size:,} bytes>"
    if artifact.size > limit:
        return unread
    try:
        text = repr(artifact.data)
    except MetaflowException as error:
        return f"{unread} {error}"
    if len(text) > 2 * limit:
        return unread
    return text if "\n" not in text else "\n" + textwrap.indent(text, " " * 8)


def _save(file: str, values: dict[str, dict[str, Any]]) -> None:
    import cloudpickle

    content = cloudpickle.dumps(values)
    try:
        with open(file, "wb") as out:
            out.write(content)
    except OSError as error:
        raise MetaflowException(f"The file {file} can't be written: {error.strerror}.") from None
