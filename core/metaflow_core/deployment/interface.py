"""What an orchestrator's plugin provides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import click

    from metaflow_core.deployment.plan import DeploymentPlan


class Execution(NamedTuple):
    """A run, as the orchestrator sees it."""

    run_id: str
    status: str  # queued, running, succeeded, failed, terminated, or timed-out
    started_at: float | None = None  # seconds since 1970
    finished_at: float | None = None
    handle: str = ""  # what the orchestrator itself calls it
    note: str = ""  # a sentence for who asks: why it has failed, or what it waits for


class Deployed(NamedTuple):
    """What was deployed. ``handle`` is what the orchestrator calls it; JSON can express ``info``, which is stored."""

    handle: str
    info: Mapping[str, Any] = {}
    notes: Sequence[str] = ()  # sentences for who has deployed


class Deployment(NamedTuple):
    """A deployment that is there, as the metadata database has it."""

    id: int
    name: str
    flow: str
    orchestrator: str
    owner: str  # who deployed it last
    created_at: int  # microseconds since 1970
    handle: str
    info: Mapping[str, Any]
    plan: Mapping[str, Any]  # parameters, schedule, triggers, as JSON


STATUSES = ("queued", "running", "succeeded", "failed", "terminated", "timed-out")


class Orchestrator(Protocol):
    """Runs deployed flows. What takes time, or needs credentials, happens in the methods from ``deploy`` on.

    Errors are ``MetaflowException``, and say what to do. ``options`` are those of :meth:`options`, by name. With the
    attribute ``has_gangs = True`` it gets flows with ``num_parallel``, whose tasks start at once; others do not.
    """

    name: str  # as on the command line: step-functions
    title: str  # for people: AWS Step Functions
    shares_files: bool  # whether its tasks run where this machine's files are: a store and a database in files will do
    places: Collection[str]  # where it runs steps itself: batch; a step elsewhere is sent on by its node

    def options(self, command: str) -> Sequence[click.Parameter]:
        """What ``create``, ``trigger``, ``list-runs``, ``terminate``, ``delete`` or ``status`` takes as well."""

    def check(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        """Refuse what this orchestrator can't do, with the reason and the way out. Without credentials."""

    def render(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> str:
        """The document that is deployed, as text; ``create --only-json`` prints it. Without credentials."""

    def prepare(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        """Fail now when the service can't be reached or the settings are incomplete, before anything is written."""

    def deploy(self, plan: DeploymentPlan, document: str, options: Mapping[str, Any]) -> Deployed:
        """Create the deployment, or replace it; all of it or nothing."""

    def trigger(self, deployment: Deployment, parameters: Mapping[str, str], options: Mapping[str, Any]) -> Execution:
        """Start a run. ``parameters`` by name, as text; they are checked."""

    def list_runs(self, deployment: Deployment, statuses: Sequence[str], options: Mapping[str, Any]) -> list[Execution]:
        """The latest runs first; those of ``statuses``, or all when it is empty."""

    def terminate(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        """End a run; what it is afterwards."""

    def status(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        """A run. ``MetaflowNotFound`` when there is none."""

    def delete(self, deployment: Deployment, options: Mapping[str, Any]) -> None:
        """Remove the deployment, with what starts it. Runs stay; nothing happens when it is gone already."""
