"""Steps that run on other machines: what these must have, and what is sent to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from metaflow_core import identity, settings
from metaflow_core.decorators.interface import StepDecorator
from metaflow_core.decorators.resolve import step_decorators, where
from metaflow_core.engine.interface import Job, JobNeeds, RemoteCompute, TaskRequest
from metaflow_core.errors import CommandException, PluginError
from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata.backend import SQLITE, Backend
from metaflow_core.names import masked
from metaflow_core.plugins import broken_hint, hook

if TYPE_CHECKING:
    from metaflow_core.metadata.code_packages import StoredPackage

# Settings that hold for the machine on which they were made.
OF_A_MACHINE = {"LAUNCHER", "TASK_MEMORY_LIMIT", "COLOR", "ENFORCE_RESOURCES"}
OF_A_PLACE = ("BATCH_", "DASK_", "ECS_", "KUBERNETES_")  # of those that say where tasks are sent
OF_AN_ORCHESTRATOR = ("AGENT_", "AIRFLOW_", "ARGO_", "EVENTS_", "SFN_")  # of those that say where flows are deployed


def remote_steps(flow: FlowDef, with_packages: Collection[str] = ()) -> dict[str, dict[str, JobNeeds]]:
    """Place -> step -> what it needs, for the steps that have a decorator which names a place.

    Steps ``with_packages`` of their own can't be among them: their environments are made on this machine.
    """
    found: dict[str, dict[str, JobNeeds]] = {}
    for step in flow:
        decorators = step_decorators(step)
        names = [decorator for decorator in decorators if decorator.compute is not None]
        if len(names) > 1:
            both = " and ".join(f"@{decorator.name}" for decorator in names)
            raise CommandException(f"{both} stand on {where(step)}. It can run in one place only: remove one of them.")
        for decorator in names:
            _check(flow, step.name, decorator, decorators)
            if step.name in with_packages:
                raise CommandException(
                    f"@{decorator.name} and packages of its own go together on no step, and {where(step)} has both: "
                    f"install what it needs where it runs, or run it with --environment=local."
                )
            needs = [each.needs for each in decorators if each.needs is not None]
            languages = sorted({flow.language, step.language})
            found.setdefault(str(decorator.compute), {})[step.name] = JobNeeds(
                languages, needs[0] if needs else None, decorator.attributes
            )
    return found


def _check(flow: FlowDef, step: str, place: StepDecorator, decorators: Sequence[StepDecorator]) -> None:
    for other in decorators:
        if other.name == "parallel":
            raise CommandException(
                f"@{place.name} and @parallel stand on {where(flow[step])}. A gang runs on one machine: remove "
                f"@{place.name}."
            )


def open_remote(
    flow: FlowDef,
    backend: Backend,
    arguments: Sequence[str],
    task_arguments: Sequence[str],
    steps: Mapping[str, Mapping[str, JobNeeds]],
) -> dict[str, RemoteCompute]:
    """Connect to the places of ``steps``. ``arguments`` stand before a command, ``task_arguments`` after ``step``."""
    if not steps:
        return {}
    job = _describe(flow, backend, arguments, task_arguments)
    opened: dict[str, RemoteCompute] = {}
    try:
        for name, needs in steps.items():
            place: RemoteCompute | None = hook().open_remote_compute(name=name)
            if place is None:
                raise PluginError(
                    f"No installed plugin runs tasks on {name}. `metaflow status --plugins` lists the plugins."
                    + broken_hint()
                )
            if not getattr(place, "shares_files", False):
                check_reachable(backend, f"@{name} runs step {next(iter(needs))} on another machine, which")
            place.open(job, needs)
            opened[name] = place
    except BaseException:
        for place in opened.values():
            place.close()
        raise
    return opened


def check_reachable(backend: Backend, which: str) -> None:
    """Nobody else can read what is in a file of this machine. ``which`` begins the sentence that says who needs to."""
    wrong = {
        "the artifact store": ("://" not in backend.storage_url, backend.storage_url, "METAFLOW_DEFAULT_DATASTORE"),
        "the metadata database": (
            backend.metadata_url.startswith(SQLITE),
            backend.metadata_url,
            "METAFLOW_METADATA_URL",
        ),
    }
    for what, (is_local, url, setting) in wrong.items():
        if is_local:
            raise CommandException(
                f"{which} can't use {what} {url}. Set {setting} to one that both machines reach: s3://bucket/prefix as "
                f"a store, postgresql://host/database for metadata."
            )


def _describe(
    flow: FlowDef, backend: Backend, arguments: Sequence[str], task_arguments: Sequence[str]
) -> Callable[[TaskRequest], Job]:
    packages: dict[str, StoredPackage] = {}

    def job(request: TaskRequest) -> Job:
        from metaflow_core.engine.package import package_of
        from metaflow_core.metadata import recording

        if request.run_id not in packages:
            packages[request.run_id] = package_of(
                flow, backend, recording.find_run(backend.db, flow.name, request.run_id)
            )
        package = packages[request.run_id]
        return Job(
            request,
            package.key,
            package.script,
            package.working_directory,
            flow.language,
            arguments,
            task_arguments,
            elsewhere_variables(backend),
        )

    return job


def elsewhere_variables(backend: Backend, sends_on: bool = False) -> dict[str, str]:
    """The settings that hold on other machines, as environment variables. No password is among them.

    ``sends_on``: tasks there may be sent on to another place.
    """
    found = {}
    for setting in settings.SETTINGS.values():
        if setting.bootstrap or setting.type == "path" or setting.name in OF_A_MACHINE:
            continue
        if setting.name.startswith(OF_AN_ORCHESTRATOR) or (setting.name.startswith(OF_A_PLACE) and not sends_on):
            continue
        if settings.origin(setting.name) == "default":
            continue
        value = str(settings.get(setting.name))
        if masked(value) == value:  # else the other machine has an address of its own, or the password that is in it
            found[setting.variable] = value
    found["METAFLOW_USER"] = identity.user()
    found["METAFLOW_METADATA_URL"] = without_password(backend.metadata_url)
    found["METAFLOW_DEFAULT_DATASTORE"] = without_password(backend.storage_url)
    return found


def without_password(url: str) -> str:
    """
    >>> without_password("postgresql://anne:secret@host:5432/runs?sslmode=require")
    'postgresql://anne@host:5432/runs?sslmode=require'
    """
    from urllib.parse import urlsplit, urlunsplit

    if masked(url) == url:
        return url
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    query = "&".join(part for part in parts.query.split("&") if masked(f"?{part}") == f"?{part}")
    return masked(urlunsplit(parts._replace(netloc=f"{user.split(':')[0]}{at}{host}", query=query)))
