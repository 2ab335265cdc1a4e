"""``tag add``, ``tag remove``, ``tag replace``, ``tag list``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from metaflow_core.cli.namespace_type import NAMESPACE
from metaflow_core.cli.reference import FlowContext, find_flow, find_run
from metaflow_core.errors import CommandException, MetaflowNamespaceMismatch
from metaflow_core.identity import identity
from metaflow_core.names import show
from metaflow_core.results.messages import COMMAND_LINE, run_outside
from metaflow_core.results.run import Run

Command = Callable[..., Any]


@click.group()
def tag() -> None:
    """Add, remove, replace and list the tags of runs."""


def _on_a_run(command: Command) -> Command:
    namespace = click.option(
        "--namespace",
        type=NAMESPACE,
        metavar="TAG",
        help='The run must be in this namespace. By default your own; "" is the global one.',
    )
    return click.option("--run-id", metavar="RUN", help="The run.")(namespace(command))


@tag.command()
@click.argument("tags", nargs=-1, required=True)
@_on_a_run
@click.pass_obj
def add(context: FlowContext, tags: tuple[str, ...], run_id: str | None, namespace: str | None) -> None:
    """Add TAGS to a run."""
    run = _run(context, run_id, namespace)
    run.add_tags(tags)
    _report(run)


@tag.command()
@click.argument("tags", nargs=-1, required=True)
@_on_a_run
@click.pass_obj
def remove(context: FlowContext, tags: tuple[str, ...], run_id: str | None, namespace: str | None) -> None:
    """Remove TAGS from a run."""
    run = _run(context, run_id, namespace)
    run.remove_tags(tags)
    _report(run)


@tag.command()
@click.option("--add", "adding", multiple=True, metavar="TAG", help="Add this tag. May be repeated.")
@click.option("--remove", "removing", multiple=True, metavar="TAG", help="Remove this tag. May be repeated.")
@_on_a_run
@click.pass_obj
def replace(
    context: FlowContext,
    adding: tuple[str, ...],
    removing: tuple[str, ...],
    run_id: str | None,
    namespace: str | None,
) -> None:
    """Remove some tags from a run and add others, in one change: first the removal, then the addition."""
    run = _run(context, run_id, namespace)
    run.replace_tags(removing, adding)
    _report(run)


@tag.command("list")
@click.option("--run-id", metavar="RUN", help="The tags of this run.")
@click.option("--all", "every", is_flag=True, help="The tags of all runs of the flow, in every namespace.")
@click.option("--my-runs", is_flag=True, help="The tags of your own runs of the flow.")
@click.option("--hide-system-tags", is_flag=True, help="Only tags that people gave.")
@click.option("--group-by-tag", is_flag=True, help="For each tag its runs.")
@click.option("--group-by-run", is_flag=True, help="For each run its tags.")
@click.option(
    "--history", is_flag=True, help="Who added and removed which tags of the run, and when; the oldest first."
)
@click.option("--flat", is_flag=True, help="One line each and no headings, for other programs.")
@click.pass_obj
def list_tags(
    context: FlowContext,
    run_id: str | None,
    every: bool,
    my_runs: bool,
    hide_system_tags: bool,
    group_by_tag: bool,
    group_by_run: bool,
    history: bool,
    flat: bool,
) -> None:
    """List the tags of a run, of your runs or of all runs of the flow."""
    if sum((run_id is not None, every, my_runs)) > 1:
        raise click.UsageError("--run-id, --all and --my-runs exclude each other.")
    if group_by_tag and group_by_run:
        raise click.UsageError("--group-by-tag and --group-by-run exclude each other.")
    if history:
        if every or my_runs or group_by_tag or group_by_run:
            raise click.UsageError("--history is that of one run: give it --run-id alone.")
        if run_id is None:
            raise CommandException(_which_run(context, "--run-id", identity()))
        _print_history(find_run(context, run_id), flat)
        return
    runs: Iterable[Run]
    if every or my_runs:
        runs = find_flow(context, None if every else identity()).runs()
    elif run_id is not None:
        runs = [find_run(context, run_id)]
    else:
        raise CommandException(_which_run(context, "--run-id, --all or --my-runs", identity()))
    pairs = ((run, run.user_tags if hide_system_tags else run.tags) for run in runs)
    if group_by_run:
        _print_groups(((run.pathspec, sorted(tags)) for run, tags in pairs), flat)
    elif group_by_tag:
        groups: dict[str, list[str]] = {}
        for run, tags in pairs:
            for name in tags:
                groups.setdefault(name, []).append(run.pathspec)
        _print_groups(sorted(groups.items()), flat)
    else:
        for name in sorted({name for _, tags in pairs for name in tags}):
            click.echo(_one_line(name))


def _print_groups(groups: Iterable[tuple[str, list[str]]], flat: bool) -> None:
    for title, members in groups:
        title, *members = map(_one_line, (title, *members))
        if flat:
            click.echo("\t".join((title, *members)))
        else:
            click.echo(title)
            for member in members:
                click.echo(f"    {member}")


def _print_history(run: Run, flat: bool) -> None:
    changes = run.tag_history
    width = max((len(change.identity) for change in changes), default=0)
    for tag, action, who, at in changes:
        if flat:
            click.echo("\t".join((at.isoformat(timespec="microseconds"), action, _one_line(tag), who)))
        else:
            click.echo(f"{at.astimezone():%Y-%m-%d %H:%M:%S}  {who:<{width}}  {action:<7}  {_one_line(tag)}")


def _one_line(text: str) -> str:
    """A tag may have line breaks and control characters, with which a terminal should do nothing."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _run(context: FlowContext, run_id: str | None, namespace: str | None) -> Run:
    namespace = identity() if namespace is None else namespace
    if run_id is None:
        raise CommandException(_which_run(context, "--run-id", namespace))
    run = find_run(context, run_id)
    if namespace and not run._has_tag(namespace):
        raise MetaflowNamespaceMismatch(run_outside(run.pathspec, namespace, run._home(), COMMAND_LINE))
    return run


def _which_run(context: FlowContext, options: str, namespace: str) -> str:
    run = find_flow(context, namespace or None).latest_run
    where = f"in the namespace {show(namespace)}" if namespace else "of all"
    latest = f"The latest {where} is {run.id}: --run-id {run.id}" if run else f"There is none {where}."
    return f"Say which run is meant, with {options}. {latest}"


def _report(run: Run) -> None:
    tags = [_one_line(tag) for tag in sorted(run.user_tags)]
    click.echo(f"User tags of {run.pathspec}: {', '.join(tags) or 'none'}")
