"""Deployments to AWS Step Functions: ``python flow.py step-functions create``.

Each step is a job of AWS Batch, with ``@batch`` or without it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metaflow_core import settings
from metaflow_core.errors import CommandException
from metaflow_core.hookspecs import hookimpl

from metaflow_plugins.step_functions_names import NAME, RESULTS

if TYPE_CHECKING:
    import click
    from metaflow_core.deployment.interface import Deployed, Deployment, Execution, Orchestrator
    from metaflow_core.deployment.plan import DeploymentPlan

    from metaflow_plugins.batch_job import StepJob
    from metaflow_plugins.step_functions_machine import Machine
    from metaflow_plugins.step_functions_service import Service

MOST_CHARACTERS = 1_000_000  # of a state machine's definition, a limit of Step Functions (1 MB)
ROOM_FOR_INPUT = 1024  # characters that parameters and events can have at least


@hookimpl
def open_orchestrator(name: str) -> Orchestrator | None:
    return StepFunctions() if name == NAME else None


@hookimpl
def orchestrator_names() -> Sequence[str]:
    return [NAME]


@hookimpl
def publish_result(place: str, run_id: str, step: str, path: str, result: Mapping[str, Any]) -> bool | None:
    if not place.startswith(RESULTS):
        return None
    from metaflow_plugins.step_functions_results import write_result

    table, _, flow = place.removeprefix(RESULTS).partition("/")
    write_result(table, flow, run_id, step, path, result)
    return True


@hookimpl
def publish_event(orchestrator: str, event: Mapping[str, Any]) -> bool | None:
    if orchestrator != NAME:
        return None
    from metaflow_plugins.step_functions_results import put_event

    put_event(event)
    return True


class StepFunctions:
    """Renders without AWS; all that asks AWS is in ``step_functions_service``."""

    name = NAME
    title = "AWS Step Functions"
    shares_files = False
    places: Collection[str] = ("batch",)

    def __init__(self) -> None:
        self._on_fargate: Mapping[str, bool] = {}  # by queue, once AWS has been asked

    def options(self, command: str) -> Sequence[click.Parameter]:
        import click

        if command != "create":
            return []
        return [
            click.Option(
                ["--use-distributed-map/--no-use-distributed-map"],
                default=False,
                help="Run each foreach as a distributed map: for more than about 3000 tasks, or more than 40 at once.",
            ),
            click.Option(
                ["--log-execution-history"],
                is_flag=True,
                help="Log all that an execution does to METAFLOW_SFN_EXECUTION_LOG_GROUP_ARN.",
            ),
        ]

    def check(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        from metaflow_plugins.batch_job import MOST_OVERRIDES
        from metaflow_plugins.step_functions_rules import check_rules

        check_rules(plan)
        if options.get("log_execution_history") and not settings.get("SFN_EXECUTION_LOG_GROUP_ARN"):
            raise CommandException(
                "--log-execution-history needs a log group of CloudWatch. Set METAFLOW_SFN_EXECUTION_LOG_GROUP_ARN."
            )
        if any(node.kind in ("foreach", "switch") for node in plan) and not settings.get("SFN_DYNAMO_DB_TABLE"):
            raise CommandException(
                "A flow with a foreach or a switch needs a table of DynamoDB, from which Step Functions learns what "
                "follows. Set METAFLOW_SFN_DYNAMO_DB_TABLE; its partition key is pathspec, of the type string."
            )
        machine = self._machine(plan, options)
        longest = max(machine.length(node) for node in plan)
        if longest > MOST_OVERRIDES - ROOM_FOR_INPUT:
            raise CommandException(
                f"The description of a task takes {longest} characters, and AWS Batch takes {MOST_OVERRIDES}, of which "
                f"{ROOM_FOR_INPUT} are for parameters. What makes it long are options of the command line and "
                f"settings: put them into the image's environment, or files."
            )

    def render(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> str:
        text = json.dumps(self._machine(plan, options).document(), indent=1)
        if len(text.encode()) > MOST_CHARACTERS:
            text = json.dumps(json.loads(text), separators=(",", ":"))
        if len(text.encode()) > MOST_CHARACTERS:
            raise CommandException(
                f"The state machine of {plan.name} has {len(text)} characters, and Step Functions takes "
                f"{MOST_CHARACTERS}. Make two flows of it, of which one starts the other: @trigger_on_finish."
            )
        return text

    def prepare(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        from metaflow_plugins.batch_driver import check_queues

        service = self._service()
        service.check(plan)
        self._on_fargate = check_queues(service.batch, {step: job.queue for step, job in self._jobs(plan).items()})
        self.check(plan, options)

    def deploy(self, plan: DeploymentPlan, document: str, options: Mapping[str, Any]) -> Deployed:
        from metaflow_plugins.batch_job import MOST_OVERRIDES

        machine = self._machine(plan, options)
        info = {"room": MOST_OVERRIDES - machine.length(plan.start), "finish": machine.finish()}
        logs = bool(options.get("log_execution_history"))
        return self._service().deploy(plan, document, self._jobs(plan), logs, info)

    def trigger(self, deployment: Deployment, parameters: Mapping[str, str], options: Mapping[str, Any]) -> Execution:
        return self._service().start(deployment, parameters)

    def list_runs(self, deployment: Deployment, statuses: Sequence[str], options: Mapping[str, Any]) -> list[Execution]:
        return self._service().executions(deployment, statuses)

    def terminate(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        return self._service().stop(deployment, run_id)

    def status(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        return self._service().describe(deployment, run_id)

    def delete(self, deployment: Deployment, options: Mapping[str, Any]) -> None:
        self._service().delete(deployment)

    # --- the machine -----------------------------------------------------------------------------------------------

    def _service(self) -> Service:
        from metaflow_plugins.step_functions_service import Service

        return Service()

    def _machine(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> Machine:
        from metaflow_plugins.step_functions_machine import Machine

        return Machine(
            plan, self._jobs(plan), settings.get("SFN_DYNAMO_DB_TABLE"), bool(options.get("use_distributed_map"))
        )

    def _jobs(self, plan: DeploymentPlan) -> dict[str, StepJob]:
        from metaflow_core.engine.interface import JobNeeds

        from metaflow_plugins.batch_compute import Batch
        from metaflow_plugins.batch_job import queue_of, step_job

        found = {}
        for node in plan:
            own = node.place in (None, "batch")  # else the job only sends the step on, and waits
            given = {**Batch.defaults, **(node.place_attributes if node.place == "batch" else {})}
            needs = JobNeeds(list(node.languages), node.needs if own else None, given)
            fargate = self._on_fargate.get(queue_of(node.step, needs), False)
            found[node.step] = step_job(node.step, needs, fargate)
        return found
