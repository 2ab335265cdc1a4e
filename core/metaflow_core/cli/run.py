"""``run``: start a run of the flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from metaflow_core import identity, settings
from metaflow_core.cli.attribute_file import attribute_option
from metaflow_core.cli.environments import make, wanted
from metaflow_core.cli.flow import FlowContext, with_option
from metaflow_core.cli.namespace_type import NAMESPACE
from metaflow_core.cli.showing import json_log_option, showing
from metaflow_core.decorators.attach import attach
from metaflow_core.decorators.project import project_of
from metaflow_core.decorators.resolve import check_decorators, mutate
from metaflow_core.engine.run import RunOptions, create_run, execute, open_processes
from metaflow_core.engine.scheduler import Limits
from metaflow_core.errors import CommandException
from metaflow_core.graph.lint import lint
from metaflow_core.graph.model import FlowDef
from metaflow_core.graph.parameter_options import options_for
from metaflow_core.graph.parameters import ParameterContext, evaluate

PLACES = ("--metadata", "--datastore", "--datastore-root")


def run_options() -> list[click.Parameter]:
    """Options that ``run`` and ``resume`` share."""
    count = click.IntRange(min=1)
    return [
        click.Option(["--tag", "tags"], multiple=True, help="Tag the run; may be given several times."),
        click.Option(["--max-workers"], type=count, default=16, show_default=True, help="Tasks at a time."),
        click.Option(["--max-num-splits"], type=count, default=100, show_default=True, help="Most tasks of a foreach."),
        click.Option(
            ["--max-log-size"], type=count, default=10, show_default=True, help="Most output of a task, in MB."
        ),
        with_option(),
        json_log_option(),
        click.Option(
            ["--package-code/--no-package-code"],
            default=False,
            help="Keep the code of the whole project with the run, and not only the files of the flow.",
        ),
        click.Option(["--run-id-file"], type=click.Path(dir_okay=False), help="Write the run id to this file."),
        attribute_option("runner"),
        click.Option(
            ["--namespace", "namespace"],
            type=NAMESPACE,
            help="Namespace of the client inside tasks; empty for the global one.",
        ),
    ]


def prepare(context: FlowContext, options: dict[str, Any]) -> RunOptions:
    """Check the flow, and gather what the command line says."""
    attach(context.flow, options["with_"], context.attached)
    mutate(context.flow)
    identity.user()
    settings.get("LAUNCHER")  # what is wrong with it must not be found out by a process that is to start tasks
    lint(context.flow)
    check_decorators(context.flow)
    project = project_of(context.flow, context.flow_options)
    context.banner("The graph looks good.")
    if project is not None:
        context.banner(f"Project {project.name}, branch {project.branch}.")
    if options["run_id_file"]:
        try:
            open(options["run_id_file"], "a", encoding="utf-8").close()
        except OSError as error:
            raise CommandException(
                f"--run-id-file {options['run_id_file']} can't be written: {error.strerror}."
            ) from None
    arguments = context.arguments(options["with_"])
    return RunOptions(
        tags=options["tags"],
        limits=Limits(options["max_workers"], options["max_num_splits"], options["max_log_size"]),
        namespace=options["namespace"],
        run_id_file=options["run_id_file"],
        package_code=options["package_code"],
        attribute_file=options["runner_attribute_file"],
        flow_options=context.flow_options,
        program=[*context.program, "--quiet", *arguments],
        arguments=["--quiet", *elsewhere(arguments)],
        showing=showing(context, options),
    )


def elsewhere(arguments: Sequence[str]) -> list[str]:
    """Options before the command without those that name a place, which other machines know from the settings."""
    found, skip = [], False
    for word in arguments:
        if not skip and word not in PLACES:
            found.append(word)
        skip = word in PLACES
    return found


def run_command(flow: FlowDef) -> click.Command:
    """The ``run`` command, with the flow's parameters as options."""
    shared_options = run_options()

    @click.pass_obj
    def callback(context: FlowContext, /, **options: Any) -> int:
        shared = {option.name: options.pop(str(option.name)) for option in shared_options}
        run = prepare(context, {str(name): value for name, value in shared.items()})
        run.environments = make(context, wanted(context))
        processes = open_processes(flow, context.backend, run)
        try:
            parameters = evaluate(flow, options, ParameterContext.of(flow, identity.user()))
            row = create_run(flow, context.backend, run, parameters)
        except BaseException:
            processes.close()
            raise
        return 0 if execute(flow, context.backend, processes, run, row) == "completed" else 1

    return click.Command(
        "run",
        params=[*options_for(flow), *shared_options],
        callback=callback,
        help="Run the flow on this machine.",
        # A program can't write a dash in a name: `--top_k` is `--top-k`.
        context_settings={"token_normalize_func": lambda word: word.replace("_", "-")},
    )
