"""A run from its creation to its end."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metaflow_core import identity
from metaflow_core import settings as project_settings
from metaflow_core.decorators.resolve import flow_decorators
from metaflow_core.engine.interface import Compute, TaskRequest
from metaflow_core.engine.output import Output
from metaflow_core.engine.plan import Plan
from metaflow_core.engine.resume import ResumePlan, take_over
from metaflow_core.engine.scheduler import Limits, Scheduler
from metaflow_core.engine.streams import flush_streams
from metaflow_core.engine.task import TaskSettings, run_attempt, runtime_of
from metaflow_core.engine.what_ran import environment_of, source_of
from metaflow_core.errors import MetaflowTaggingError, PluginError, UnserializableValue
from metaflow_core.graph.model import FlowDef
from metaflow_core.graph.render import flow_to_json
from metaflow_core.metadata import recording
from metaflow_core.metadata.backend import Backend
from metaflow_core.names import check_user_tags
from metaflow_core.plugins import hook
from metaflow_core.values import encode


@dataclass(slots=True)
class RunOptions:
    """What the command line says about a run."""

    tags: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    namespace: str | None = None
    run_id_file: str | None = None
    attribute_file: str | None = None  # gets the names of flow and run, as JSON, for the program that started this one
    flow_options: dict[str, Any] = field(default_factory=dict)
    program: Sequence[str] = ()  # the command that starts this program again, up to the command


def open_compute(flow: FlowDef, backend: Backend, options: RunOptions) -> Compute:
    """Prepare the languages of the flow, and fork the process that runs its tasks. Before anything is opened."""
    settings = TaskSettings(options.limits.max_num_splits, options.namespace, options.flow_options)
    for language in sorted(flow.languages):
        runtime_of(language).prepare(flow)
    compute: Compute | None = hook().open_compute(name="local")
    if compute is None:
        raise PluginError("No installed plugin runs tasks on this machine. `metaflow doctor` lists the plugins.")

    stay_in_project(backend)
    # What every task needs is loaded before the first one is forked.
    for module in ("encoder", "decoder", "opaque", "python_tree", "python_value"):
        importlib.import_module(f"metaflow_core.values.{module}")

    def run_task(request: TaskRequest) -> int:
        return run_attempt(flow, backend, settings, request)

    def command(request: TaskRequest) -> list[str]:
        return [*options.program, *request.as_arguments(), *settings.as_arguments()]

    flush_streams()
    compute.open(run_task, command)
    return compute


def stay_in_project(backend: Backend) -> None:
    """See to it that a step that changes its working directory still reads the project it belongs to."""
    os.environ["METAFLOW_DATASTORE_SYSROOT_LOCAL"] = project_settings.project_root()
    if project_settings.get("METADATA_URL"):
        os.environ["METAFLOW_METADATA_URL"] = backend.metadata_url
    if project_settings.get("DEFAULT_DATASTORE") != "local":
        os.environ["METAFLOW_DEFAULT_DATASTORE"] = backend.storage_url


def create_run(
    flow: FlowDef,
    backend: Backend,
    options: RunOptions,
    parameters: Mapping[str, Any],
    origin: recording.RunRow | None = None,
) -> recording.RunRow:
    """Register the run: tags, constants, parameters and configs. A resumed run takes the last two from ``origin``."""
    import blake3

    artifacts: dict[str, recording.Content] = {}
    for name, value in {**flow.constants, **parameters, **flow.config_values}.items():
        try:
            # A config is read from a file in the same way for flows of every language.
            artifacts[name] = encode(value, language="python" if name in flow.config_values else flow.language)
        except UnserializableValue as error:
            kind = "config" if name in flow.config_values else "parameter" if name in parameters else "constant"
            raise UnserializableValue(
                f"The {kind} {name!r} of {flow.name} can't be stored. {error}", error.path
            ) from None
    if origin is not None:
        inherited = recording.artifacts(backend.db, origin.parameters_pk, 0)
        known = {given.artifact for given in flow.given}
        artifacts.update({name: pk for name, pk in inherited.items() if name in known})
    artifacts["name"] = encode(flow.name)
    system_tags = identity.system_tags()
    runtimes = {language: runtime_of(language) for language in sorted(flow.languages)}
    for runtime in runtimes.values():
        system_tags += runtime.system_tags()
    for decorator in flow_decorators(flow):
        system_tags += decorator.system_tags(options.flow_options)
    try:
        user_tags = check_user_tags([tag for tag in options.tags if tag not in system_tags])
    except MetaflowTaggingError as error:
        raise MetaflowTaggingError(f"--tag: {error}") from None
    graph = flow_to_json(flow)
    run = recording.create_run(
        backend.db,
        backend.storage,
        recording.NewRun(
            flow=flow.name,
            owner=identity.user(),
            identity=identity.identity(),
            system_tags=system_tags,
            user_tags=user_tags,
            graph=graph,
            graph_fingerprint=blake3.blake3(graph.encode()).hexdigest(),
            artifacts=artifacts,
            origin_run_id=origin.id if origin else None,
            host=os.uname().nodename,
            pid=os.getpid(),
            source=source_of(flow, runtimes),
            environment=environment_of(runtimes, system_tags),
        ),
    )
    if options.run_id_file:
        with open(options.run_id_file, "w", encoding="utf-8") as file:
            file.write(run.id)
    if options.attribute_file:
        import json

        with open(options.attribute_file, "w", encoding="utf-8") as file:
            json.dump({"flow_name": flow.name, "run_id": run.id}, file)
    return run


def execute(
    flow: FlowDef,
    backend: Backend,
    compute: Compute,
    options: RunOptions,
    run: recording.RunRow,
    resume: ResumePlan | None = None,
) -> str:
    """Run the tasks and record how the run ended: ``completed``, ``failed`` or ``interrupted``."""
    output = Output()
    verb = "starting" if resume is None else f"resuming from run {resume.origin.id}"
    output.line(f"Workflow {verb} (run-id {run.id}):")
    _tell_observers(hook().run_started, flow_name=flow.name, run_id=run.id)
    status = "failed"
    try:
        next_id = 1
        if resume is None:
            plan = Plan(flow)
            plan.start(run.parameters_pk)
        else:
            plan, count, next_id = take_over(backend.db, flow, resume, run)
            output.line(f"{count} finished task{'s' * (count != 1)} taken over from run {resume.origin.id}.")
        scheduler = Scheduler(flow, run, backend, compute, output, plan, options.limits, next_id)
        status = scheduler.execute()
    except KeyboardInterrupt:  # before the scheduler listens
        status = "interrupted"
    finally:
        compute.close()
        recording.finish_run(backend.db, run.pk, status)
    _tell_observers(hook().run_finished, flow_name=flow.name, run_id=run.id, status=status)
    if status == "completed":
        output.line("Done!", style="good")
    else:
        output.line("Workflow failed." if status == "failed" else "Workflow interrupted.", style="failed")
    output.flush()
    return status


def _tell_observers(observe: Callable[..., Any], **facts: str) -> None:
    try:
        observe(**facts)
    except Exception as error:
        print(f"A plugin that observes runs failed: {type(error).__name__}: {error}", file=sys.stderr)
