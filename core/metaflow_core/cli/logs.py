"""``logs``: what a task wrote, and ``logs scrub``, which removes it for good."""

from __future__ import annotations

import sys
import time

import click

from metaflow_core.cli.reference import FlowContext, find_tasks
from metaflow_core.clock import now
from metaflow_core.errors import CommandException
from metaflow_core.results.task import Task
from metaflow_core.store.logs import Stream, scrub_log


class _ShowByDefault(click.Group):
    """``logs 1/start`` means ``logs show 1/start``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [word for word in args if not word.startswith("-")]
        if words and words[0] not in self.commands and "--help" not in args:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ShowByDefault, invoke_without_command=False)
def logs() -> None:
    """Show what tasks wrote: logs RUN/STEP[/TASK], which is short for logs show and takes its options."""


@logs.command()
@click.argument("reference", metavar="RUN/STEP[/TASK]")
@click.option("--stdout", is_flag=True, help="Standard output alone.")
@click.option("--stderr", is_flag=True, help="Standard error alone.")
@click.option("--both", is_flag=True, help="Both, in the order in which they were written. The default.")
@click.option("--timestamps/--no-timestamps", default=False, help="Put the time before each line.")
@click.option("--attempt", type=click.IntRange(min=0), help="This attempt, 0 for the first. By default the latest.")
@click.pass_obj
def show(
    context: FlowContext, reference: str, stdout: bool, stderr: bool, both: bool, timestamps: bool, attempt: int | None
) -> None:
    """Show the log of a task, or of all tasks of a step."""
    tasks = find_tasks(context, reference, attempt)
    for task in tasks:
        if len(tasks) > 1:
            click.echo(f"--- {task.pathspec}", err=True)
        at_start = True
        for line in task._log(_stream(stdout, stderr, both)):
            if timestamps and at_start:
                moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.when // 1_000_000))
                click.echo(f"{moment}.{line.when // 1000 % 1000:03d} ", nl=False)
            click.echo(line.data, nl=False)
            at_start = line.complete
        if not at_start and sys.stdout.isatty():
            click.echo()


@logs.command()
@click.argument("reference", metavar="RUN/STEP[/TASK]")
@click.option("--stdout", is_flag=True, help="Standard output alone.")
@click.option("--stderr", is_flag=True, help="Standard error alone.")
@click.option("--both", is_flag=True, help="Both. The default.")
@click.option("--attempt", type=click.IntRange(min=0), help="This attempt, 0 for the first. By default all.")
@click.pass_obj
def scrub(context: FlowContext, reference: str, stdout: bool, stderr: bool, both: bool, attempt: int | None) -> None:
    """Remove for good what a task, or all tasks of a step, wrote: a password that was printed, for instance.

    A notice stays in its place.
    """
    tasks = find_tasks(context, reference, attempt)
    for task in tasks:
        _check_scrubbable(task)
    removed = 0
    for task in tasks:
        for number in [attempt] if attempt is not None else range(task.current_attempt + 1):
            key = task.at_attempt(number)._log_key()
            removed += scrub_log(context.backend.storage, key, now(), _stream(stdout, stderr, both))
    click.echo(f"Removed {removed} {'line' if removed == 1 else 'lines'}.")


def _check_scrubbable(task: Task) -> None:
    ran, origin = task, task.origin_pathspec
    while origin is not None:  # a run that was resumed may have been resumed again
        ran = Task._at(task._scope, tuple(origin.split("/")), check=False)
        origin = ran.origin_pathspec
    if ran is not task:
        raise CommandException(
            f"The task {task.pathspec} was taken over by resume, and its log is that of {ran.pathspec}. Remove it "
            f"there: logs scrub {ran.pathspec.partition('/')[2]}"
        )
    if task.status == "running":
        raise CommandException(f"The task {task.pathspec} is still running. Remove its log when it has ended.")


def _stream(stdout: bool, stderr: bool, both: bool) -> Stream | None:
    if both or stdout == stderr:
        return None
    return "stdout" if stdout else "stderr"
