"""A run from its creation to its end."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from metaflow_core import identity
from metaflow_core import settings as project_settings
from metaflow_core.decorators.resolve import flow_decorators, has_secrets
from metaflow_core.decorators.trigger import FACT, given_trigger, recorded_trigger
from metaflow_core.engine.interface import Compute, Place, TaskRequest
from metaflow_core.engine.masking import Mask, MaskChannel
from metaflow_core.engine.plan import Plan
from metaflow_core.engine.remote import open_remote, remote_steps
from metaflow_core.engine.report import Report
from metaflow_core.engine.resume import ResumePlan, take_over
from metaflow_core.engine.scheduler import Limits, Scheduler
from metaflow_core.engine.showing import Showing, open_report
from metaflow_core.engine.streams import flush_streams
from metaflow_core.engine.task import TaskSettings, run_attempt, runtime_of
from metaflow_core.engine.what_ran import environment_of, source_of, written_secrets
from metaflow_core.errors import MetaflowTaggingError, PluginError, UnserializableValue
from metaflow_core.graph.model import FlowDef
from metaflow_core.graph.render import flow_to_json
from metaflow_core.machine import here
from metaflow_core.metadata import recording
from metaflow_core.metadata.backend import Backend
from metaflow_core.metadata.cloning import latest_run_id
from metaflow_core.names import check_user_tags
from metaflow_core.plugins import broken_hint, hook, tell
from metaflow_core.values import encode

if TYPE_CHECKING:
    from metaflow_core.engine.admission import Admission
    from metaflow_core.engine.environments import StepEnvironment
    from metaflow_core.engine.exit_hooks import ExitHooks
    from metaflow_core.engine.package import Package
    from metaflow_core.metadata.database import Database


@dataclass(slots=True)
class RunOptions:
    """What the command line says about a run."""

    tags: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    namespace: str | None = None
    run_id_file: str | None = None
    attribute_file: str | None = None  # gets the names of flow and run, as JSON, for the program that started this one
    flow_options: dict[str, Any] = field(default_factory=dict)
    package_code: bool = False  # keep the whole project with the run
    program: Sequence[str] = ()  # the command that starts this program again, up to the command
    arguments: Sequence[str] = ()  # those of it that hold on another machine too
    showing: Showing = field(default_factory=Showing)
    environments: Mapping[str, StepEnvironment] = field(default_factory=dict)  # by step, of those that have their own
    production: Production | None = None  # of a run that an orchestrator drives


@dataclass(slots=True)
class Production:
    """What an orchestrator says about a run, and which one it is."""

    runtime: str  # as in the tag: airflow
    run_id: str
    trigger: str | None = None  # JSON: the events that have started it
    own_driver: bool = False  # whether one process of this machine drives the run, as `run` does
    step: str | None = None  # the only one that this process runs a task of
    own_places: Collection[str] = ()  # where the orchestrator runs steps itself: this process is there already


@dataclass(slots=True)
class Processes:
    """What was forked before anything was opened: where tasks run, and what waits for the run's end."""

    compute: Place
    masks: MaskChannel | None = None  # when the flow has secrets
    exit_hooks: ExitHooks | None = None
    admission: Admission | None = None  # when the machine is divided among tasks

    def close(self) -> None:
        """End them without a run."""
        self.compute.close()
        if self.exit_hooks is not None:
            self.exit_hooks.close()


def open_processes(flow: FlowDef, backend: Backend, options: RunOptions) -> Processes:
    """Prepare the languages of the flow, and fork the process that runs its tasks. Before anything is opened."""
    admission = None
    if project_settings.get("ENFORCE_RESOURCES"):
        from metaflow_core.engine.admission import admission_for

        admission = admission_for(flow)
    production = options.production
    one = None if production is None else production.step
    mine = flow if one is None else flow.only([one])  # what this machine must be able to run
    steps = remote_steps(mine, options.environments)
    if production is not None:
        steps = {place: needs for place, needs in steps.items() if place not in production.own_places}
    masks = MaskChannel() if any(map(has_secrets, mine)) else None
    settings = TaskSettings(options.limits.max_num_splits, options.namespace, options.flow_options, masks)
    settings.libraries = {
        step: (one.libraries, one.lock.packages) for step, one in options.environments.items() if one.libraries
    }
    # What has an interpreter of its own need not be importable here.
    here = mine.only(step.name for step in mine if not _has_interpreter(options, step.name))
    for language in sorted(mine.languages):
        runtime_of(language).prepare(here)
    compute = local_compute()

    stay_in_project(backend)
    load_codecs()

    def run_task(request: TaskRequest) -> int:
        return run_attempt(flow, backend, settings, request)

    def command(request: TaskRequest) -> list[str]:
        if masks is not None:
            masks.pass_on()
        environment = options.environments.get(request.step)
        program = options.program if environment is None else environment.program(options.program)
        return [*program, *request.as_arguments(), *settings.as_arguments()]

    flush_streams()
    exit_hooks = None if one is not None else _open_exit_hooks(flow, options)
    compute.open(run_task, command)
    place: Place = compute
    if steps:
        from metaflow_core.engine.places import Places

        try:
            remote = open_remote(flow, backend, options.arguments, settings.as_arguments(), steps)
        except BaseException:
            compute.close()
            if exit_hooks is not None:
                exit_hooks.close()
            raise
        place = Places(compute, remote, {step: name for name, there in steps.items() for step in there})
        options.package_code = True
    return Processes(place, masks, exit_hooks, admission)


def local_compute() -> Compute:
    """What runs tasks on this machine, not yet open."""
    compute: Compute | None = hook().open_compute(name="local")
    if compute is None:
        raise PluginError(
            "No installed plugin runs tasks on this machine. `metaflow status --plugins` lists the plugins."
            + broken_hint()
        )
    return compute


def load_codecs() -> None:
    """What every task needs is loaded before the first one is forked."""
    for module in ("encoder", "decoder", "opaque", "python_tree", "python_value"):
        importlib.import_module(f"metaflow_core.values.{module}")


def _open_exit_hooks(flow: FlowDef, options: RunOptions) -> ExitHooks | None:
    if not any(decorator.name == "exit_hook" for decorator in flow.decorators):
        return None
    from metaflow_core.engine.exit_hooks import ExitHooks

    def command(run_id: str, status: str) -> list[str]:
        namespace = [] if options.namespace is None else ["--namespace", options.namespace]
        return [*options.program, "exit-hook", "--run-id", run_id, "--status", status, *namespace]

    fork = project_settings.get("LAUNCHER") == "fork"
    return ExitHooks(flow, options.namespace, None if fork else command)


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

    package = _package(flow, backend) if options.package_code else None
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
    production = options.production
    system_tags = identity.system_tags() if production is None else identity.system_tags(production.runtime)
    has_driver = production is None or production.own_driver
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
            id=production.run_id if production else None,
            host=here() if has_driver else None,
            pid=os.getpid() if has_driver else None,
            facts=_facts(backend.db, options, origin),
            source=_without_secrets(flow, source_of(flow, runtimes)),
            environment=environment_of(runtimes, system_tags, options.environments),
        ),
    )
    if package is not None:
        with package:
            package.record(backend, run)
    if options.run_id_file:
        with open(options.run_id_file, "w", encoding="utf-8") as file:
            file.write(run.id)
    if options.attribute_file:
        import json

        with open(options.attribute_file, "w", encoding="utf-8") as file:
            json.dump({"flow_name": flow.name, "run_id": run.id}, file)
    return run


def _facts(db: Database, options: RunOptions, origin: recording.RunRow | None) -> dict[str, str]:
    """What is kept with the parameters: the events that have started the run, or the one that it resumes."""
    trigger = options.production.trigger if options.production else None
    trigger = trigger or given_trigger(db, options.flow_options.get("trigger") or ())
    if trigger is None and origin is not None:
        trigger = recorded_trigger(db, origin.pk)
    return {FACT: trigger} if trigger else {}


def _package(flow: FlowDef, backend: Backend) -> Package:
    """The project, in the store before there is a run."""
    from metaflow_core.engine.package import Package

    package = Package(flow)
    package.store(backend)
    for path in package.files.left_out:
        print(f"Not in the code package, because it is outside of the project: {path}", file=sys.stderr)
    return package


def _without_secrets(flow: FlowDef, source: str | None) -> str | None:
    """The source, which is stored, without the secrets that are written in it as arguments of decorators."""
    import json

    secrets = written_secrets(flow)
    if source is None or not secrets:
        return source
    mask = Mask()
    mask.add(secrets)
    return json.dumps({file: text and mask.text(text) for file, text in json.loads(source).items()})


def execute(
    flow: FlowDef,
    backend: Backend,
    processes: Processes,
    options: RunOptions,
    run: recording.RunRow,
    resume: ResumePlan | None = None,
) -> str:
    """Run the tasks and record how the run ended: ``completed``, ``failed`` or ``interrupted``."""
    report = open_report(flow, run.id, options.showing)
    status = "failed"
    try:
        status = _execute(flow, backend, processes, options, run, resume, report)
    finally:
        if processes.exit_hooks is not None:
            processes.exit_hooks.call(run.id, status, report)
    report.closing(status, lambda: latest_run_id(backend.db, flow.name, identity.identity()) == run.id)
    return status


def _execute(
    flow: FlowDef,
    backend: Backend,
    processes: Processes,
    options: RunOptions,
    run: recording.RunRow,
    resume: ResumePlan | None,
    report: Report,
) -> str:
    report.run_started(None if resume is None else resume.origin.id)
    tell("run_started", "The run has started", flow_name=flow.name, run_id=run.id)
    status = "failed"
    try:
        next_id = 1
        if resume is None:
            plan = Plan(flow)
            plan.start(run.parameters_pk)
        else:
            plan, taken, next_id = take_over(backend.db, flow, resume, run)
            report.taken_over(resume.origin.id, taken)
        spawned = _spawned(flow, options)
        scheduler = Scheduler(
            flow,
            run,
            backend,
            processes.compute,
            report,
            plan,
            options.limits,
            next_id,
            processes.masks,
            spawned,
            processes.admission,
        )
        status = scheduler.execute()
    except KeyboardInterrupt:  # before the scheduler listens
        status = "interrupted"
    finally:
        processes.compute.close()
        recording.finish_run(backend.db, run.pk, status)
    tell("run_finished", f"The run has ended ({status})", flow_name=flow.name, run_id=run.id, status=status)
    report.run_finished(status)
    return status


def _has_interpreter(options: RunOptions, step: str) -> bool:
    environment = options.environments.get(step)
    return environment is not None and environment.interpreter is not None


def _spawned(flow: FlowDef, options: RunOptions) -> list[str]:
    """The steps whose tasks can't be forks of this process, because of the packages that they ask for."""
    if not options.environments:
        return []
    loaded = {language: runtime_of(language).packages() if language != "python" else {} for language in flow.languages}
    return [step for step, one in options.environments.items() if one.is_spawned(loaded[flow[step].language])]
