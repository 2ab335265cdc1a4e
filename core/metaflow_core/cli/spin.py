"""``spin``: try one step on the inputs that it had in an earlier run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from metaflow_core import identity
from metaflow_core.cli.attribute_file import attribute_option
from metaflow_core.cli.environments import make, wanted
from metaflow_core.cli.flow import FlowContext, with_option
from metaflow_core.cli.namespace_type import NAMESPACE
from metaflow_core.decorators.attach import attach
from metaflow_core.decorators.resolve import check_decorators, has_secrets, mutate
from metaflow_core.engine.interface import TaskRequest
from metaflow_core.engine.masking import MaskSender
from metaflow_core.engine.relay import run_masked
from metaflow_core.engine.spin import Trying, spin_step
from metaflow_core.engine.streams import flush_streams
from metaflow_core.engine.task import Libraries, TaskSettings, runtime_of
from metaflow_core.errors import CommandException
from metaflow_core.graph.lint import lint
from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata import recording
from metaflow_core.metadata.cloning import latest_run_id, latest_run_with, latest_task_id, steps_with_tasks
from metaflow_core.metadata.database import Database
from metaflow_core.names import advise, show
from metaflow_core.settings import SPIN_FOLDER, working_directory


@click.pass_obj
def _spin(context: FlowContext, /, place: str, **options: Any) -> int:
    flow, backend = context.flow, context.backend
    run_id, step, task_id = _place(flow, backend.db, place)
    if flow.configs:
        from metaflow_core.cli.configs import take_configs

        take_configs(flow, backend, run_id)
    attach(flow, options["with_"], context.attached)
    mutate(flow)
    lint(flow)
    check_decorators(flow)
    trying = _trying(flow, step, options)
    settings = TaskSettings(options["max_num_splits"], options["namespace"], context.flow_options)
    settings.libraries = {} if options["inside"] else _enter(context, step, ["spin", place, *_words(options)])
    task = f"{flow.name}/{run_id}/{step}/{task_id}"
    kept = f"What it sets is kept in {SPIN_FOLDER}." if options["persist"] else "Nothing is stored."
    context.banner(f"Trying step {step} on the inputs of {task}. {kept}")

    def work(masks: MaskSender | None = None) -> int:
        settings.masks = masks
        return 0 if spin_step(flow, backend, settings, TaskRequest(run_id, step, task_id, 0), trying) else 1

    if not trying.with_decorators or not has_secrets(flow[step]):
        return work()
    backend.close()
    return run_masked(work)


spin = click.Command(
    "spin",
    params=[
        click.Argument(["place"], metavar="STEP|RUN/STEP[/TASK]"),
        click.Option(
            ["--persist/--no-persist"],
            default=False,
            help=f"Keep the results in {SPIN_FOLDER} of this directory, where inspect_spin() finds them.",
        ),
        click.Option(
            ["--artifacts-module"],
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="A file in Python or R whose ARTIFACTS, a dict or a list, the step gets instead of its inputs.",
        ),
        click.Option(["--skip-decorators"], is_flag=True, help="Run the step without its decorators."),
        with_option(),
        click.Option(["--max-num-splits"], type=click.IntRange(min=1), default=100, show_default=True),
        click.Option(
            ["--namespace"], type=NAMESPACE, help="Namespace of the client inside the step; empty for the global one."
        ),
        attribute_option("runner"),
        click.Option(["--inside"], is_flag=True, hidden=True),  # the process has the step's packages
    ],
    callback=_spin,
    help="Run one step alone, in this process, on the inputs of an earlier run. Nothing is stored unless asked for.\n\n"
    "STEP takes its inputs from your latest run; RUN/STEP from that run; with a task, from that task.",
)


def _place(flow: FlowDef, db: Database, place: str) -> tuple[str, str, str]:
    """The run, step and task whose inputs are taken."""
    parts = place.removeprefix(f"{flow.name}/").split("/")
    if len(parts) > 3 or not all(parts):
        raise CommandException(f"{show(place)} is neither STEP nor RUN/STEP[/TASK].")
    run_id = parts[0] if len(parts) > 1 else None
    step = parts[0] if len(parts) == 1 else parts[1]
    if step not in flow:
        raise CommandException(f"There is no step {show(step)}. {advise(step, flow.steps, 'Steps')}")
    if run_id is None:
        run_id = latest_run_id(db, flow.name, identity.identity())
        if run_id is None:
            raise CommandException(
                f"You ({identity.user()}) have no run of {flow.name} to take inputs from. Run it once."
            )
    run = recording.find_run(db, flow.name, run_id)
    task_id = parts[2] if len(parts) > 2 else latest_task_id(db, flow.name, run_id, step)
    if task_id is None:
        other = latest_run_with(db, run.flow_pk, step)
        advice = (
            f"An earlier run has: spin {other}/{step}."
            if other is not None
            else f"Run the flow once, up to this step. Steps that have run: {', '.join(steps_with_tasks(db, run.pk))}."
        )
        raise CommandException(
            f"Run {flow.name}/{run_id} has no task of step {step} to take inputs from: it did not come so far. {advice}"
        )
    return run_id, step, task_id


def _trying(flow: FlowDef, step: str, options: dict[str, Any]) -> Trying:
    """What is asked for, beside the place."""
    folder = os.path.join(working_directory(), SPIN_FOLDER) if options["persist"] else None
    attribute_file: str | None = options["runner_attribute_file"]
    if folder is None and attribute_file is not None:  # the program that started this one wants to see the results
        folder = os.path.join(os.path.dirname(os.path.abspath(attribute_file)), SPIN_FOLDER)
    trying = Trying({}, flow[step].language, not options["skip_decorators"], folder, attribute_file)
    file: str | None = options["artifacts_module"]
    if file is not None:
        if not os.path.isfile(file):
            raise CommandException(f"--artifacts-module: there is no file {file!r}.")
        trying.language = "r" if file.lower().endswith(".r") else "python"
        trying.artifacts = runtime_of(trying.language).artifacts_in(file, flow.parents(step))
    return trying


def _words(options: dict[str, Any]) -> list[str]:
    """The options again, for a process that has the packages of the step."""
    words = ["--inside", "--max-num-splits", str(options["max_num_splits"])]
    for name in ("artifacts_module", "namespace", "runner_attribute_file"):
        if options[name] is not None:
            words += [f"--{name.replace('_', '-')}", options[name]]
    words += [f"--{name.replace('_', '-')}" for name in ("persist", "skip_decorators") if options[name]]
    return [*words, *(word for given in options["with_"] for word in ("--with", given))]


def _enter(context: FlowContext, step: str, words: Sequence[str]) -> dict[str, Libraries]:
    """The folders of packages that the step has asked for; one with an interpreter of its own replaces this process."""
    request = wanted(context).get(step)
    if request is None:
        return {}
    context.backend.close()
    found = make(context, {step: request})[step]
    if found.interpreter is None:
        return {step: (found.libraries, found.lock.packages)}
    quiet = ["--quiet"] if context.quiet else []
    command = [*found.program(context.program), *quiet, *context.arguments(), *words]
    flush_streams()
    os.execvp(command[0], command)
