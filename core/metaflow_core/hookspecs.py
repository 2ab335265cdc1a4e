"""Every hook a plugin can implement, in the order in which a run meets them.

A plugin is a module, named by an entry point in the group ``metaflow_tandem.plugins``, with functions marked by
:data:`hookimpl`:

    from metaflow_core.hookspecs import hookimpl

    @hookimpl
    def open_storage(url):
        if url.startswith("s3://"):
            return S3Storage(url)

The built-in storage, database, compute and language runtime are plugins of this kind. ``metaflow_core.testing`` has a
contract for each interface; a plugin's test file subclasses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from metaflow_core.decorators.interface import FlowDecorator, SecretsProvider, StepDecorator
    from metaflow_core.deployment.interface import Orchestrator
    from metaflow_core.engine.interface import Compute, EnvironmentProvider, LanguageRuntime, RemoteCompute
    from metaflow_core.graph.model import DecoratorSpec
    from metaflow_core.metadata.database import Database
    from metaflow_core.store.interface import Storage
    from metaflow_core.values.registry import ValueCodec

hookspec = pluggy.HookspecMarker("metaflow_tandem")
hookimpl = pluggy.HookimplMarker("metaflow_tandem")


@hookspec
def step_decorators() -> Sequence[type[StepDecorator]]:
    """Classes of the step decorators this plugin adds."""
    raise NotImplementedError


@hookspec
def flow_decorators() -> Sequence[type[FlowDecorator]]:
    """Classes of the flow decorators this plugin adds."""
    raise NotImplementedError


@hookspec(firstresult=True)
def user_decorator(name: str, where: str, folder: str | None) -> Callable[[Mapping[str, Any]], DecoratorSpec] | None:
    """Makes the decorator that users have defined as ``name`` (``module.name``) of its arguments.

    ``folder`` is that of the flow's file. None when ``name`` can be none of this plugin's. An exception begins with
    ``where``.
    """


@hookspec(firstresult=True)
def language_runtime(language: str) -> LanguageRuntime | None:
    """The runtime that executes bodies of steps written in ``language``, or None when it is not this plugin's."""


@hookspec
def environment_providers() -> Sequence[EnvironmentProvider]:
    """What makes environments for steps that ask for packages of their own: ``@pypi``, ``@conda``, ``@r_packages``.

    Asked when a flow has such steps, before its run is created.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def open_database(url: str) -> Database | None:
    """A connection to the metadata database at ``url`` (``sqlite:///path``), or None when it is not this plugin's.

    The plugin gives a bare connection; the core applies migrations.
    """


@hookspec(firstresult=True)
def open_storage(url: str) -> Storage | None:
    """The artifact store at ``url`` (a path, ``file://``, ``s3://``), or None when it is not this plugin's."""


@hookspec
def value_codecs() -> Sequence[ValueCodec]:
    """Codecs for types of values that the core does not know."""
    raise NotImplementedError


@hookspec(firstresult=True)
def open_compute(name: str) -> Compute | None:
    """The place on this machine named ``name`` (``local``) where tasks run, or None when it is not this plugin's."""


@hookspec(firstresult=True)
def open_remote_compute(name: str) -> RemoteCompute | None:
    """The place on other machines that step decorators call ``name``, or None when it is not this plugin's.

    Nothing is connected yet: ``open`` does so.
    """


@hookspec(firstresult=True)
def secrets_provider(name: str) -> SecretsProvider | None:
    """The provider ``name`` of ``@secrets(sources=["name.id"])``, or None when it is not this plugin's.

    Asked when a flow is checked, and in each task that fetches secrets.
    """


@hookspec
def secrets_provider_names() -> Sequence[str]:
    """The names of this plugin's providers of secrets, for the message about a name that nobody knows."""
    raise NotImplementedError


@hookspec(firstresult=True)
def open_orchestrator(name: str) -> Orchestrator | None:
    """The orchestrator that the command line calls ``name`` (``airflow``), or None when it is not this plugin's.

    Nothing is connected yet.
    """


@hookspec
def orchestrator_names() -> Sequence[str]:
    """The names of this plugin's orchestrators, as commands of a flow."""
    raise NotImplementedError


@hookspec(firstresult=True)
def publish_result(place: str, run_id: str, step: str, path: str, result: Mapping[str, Any]) -> bool | None:
    """Tell an orchestrator what follows a task of a deployed flow; None when ``place`` is not this plugin's.

    ``place`` is a URL that the plugin itself has put into what it deployed, such as ``dynamodb://table``. The task is
    ``step`` of the run ``run_id``, at ``path`` through its foreach steps. ``result`` has ``num_splits``, ``next`` or
    ``paths``, or is empty.
    """


@hookspec(firstresult=True)
def publish_event(orchestrator: str, event: Mapping[str, Any]) -> bool | None:
    """Tell that a run of a deployed flow has succeeded; None when ``orchestrator`` is not this plugin's.

    ``event`` has ``name``, ``id``, ``type`` and ``payload``. An error is reported, never fatal.
    """


@hookspec
def run_started(flow_name: str, run_id: str) -> None:
    """The run ``run_id`` of ``flow_name`` was created; no task has started. An error is reported, never fatal."""


@hookspec
def run_finished(flow_name: str, run_id: str, status: str) -> None:
    """The run ``run_id`` of the flow ``flow_name`` has ended.

    ``status`` is ``completed``, ``failed`` or ``interrupted``. An error here is reported, never fatal.
    """


@hookspec
def tag_changed(flow_name: str, run_id: str, tag: str, action: str, identity: str) -> None:
    """The tag ``tag`` of the run ``run_id`` of the flow ``flow_name`` was changed, and the change is permanent.

    ``action`` is ``added`` or ``removed``, ``identity`` who did it (``user:anne``). An error here is reported, never
    fatal.
    """
