"""Step decorators for tasks anywhere: retry, catch, timeout, environment, resources, parallel."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from metaflow_core.decorators.interface import Needs, StepDecorator
from metaflow_core.errors import InvalidDecoratorAttribute, MetaflowException, TimeoutException
from metaflow_core.names import is_identifier, show

if TYPE_CHECKING:
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import FlowDef, StepDef


class Retry(StepDecorator):
    """Run a failed task again, at most ``times`` more (0 to 4)."""

    name = "retry"
    defaults = {"times": 3, "minutes_between_retries": 2}

    def check(self, flow: FlowDef, step: StepDef) -> None:
        self.number("times", 0, 4, whole=True)
        self.number("minutes_between_retries")

    @property
    def retries(self) -> int:
        return int(self.number("times", 0, 4, whole=True))

    @property
    def retry_wait(self) -> float:
        return 60.0 * float(self.number("minutes_between_retries"))


class Catch(StepDecorator):
    """Go on after the last attempt has failed. The artifact ``var`` holds the exception, or None on success."""

    name = "catch"
    defaults = {"var": None, "print_exception": True}

    def check(self, flow: FlowDef, step: StepDef) -> None:
        if step.transition is not None and step.transition.kind in ("foreach", "parallel", "switch"):
            raise MetaflowException(
                f"@catch can't stand on {self.where}: after a failure it is unknown where it leads. "
                f"Move the code that may fail to a step of its own."
            )
        var = self.attributes["var"]
        if var is not None and not is_identifier(var):
            raise InvalidDecoratorAttribute(f"@catch on {self.where}: var must name an artifact, not {show(var)}.")
        if var == "name":
            raise InvalidDecoratorAttribute(
                f"@catch on {self.where}: the artifact 'name' is the name of the flow. Choose another name."
            )
        if var in {*flow.constants, *(given.artifact for given in flow.given)}:
            raise InvalidDecoratorAttribute(
                f"@catch on {self.where}: var={var!r} is a parameter, a config or a constant of the flow. "
                "Choose another name."
            )

    @property
    def handles_failure(self) -> bool:
        return True

    def after(self, state: TaskState, error: BaseException | None) -> None:
        if error is None and self.attributes["var"]:
            state.set(self.attributes["var"], None)

    def handle(self, state: TaskState, error: BaseException) -> None:
        if self.attributes["var"]:
            state.set(self.attributes["var"], state.wrap(error))
        if self.attributes["print_exception"]:
            state.report(error)
        state.print(f"@catch caught the failure of step {state.step.name}: the flow goes on.")
        state.follow_graph()


class Timeout(StepDecorator):
    """End an attempt after ``seconds + minutes + hours``."""

    name = "timeout"
    defaults = {"seconds": 0, "minutes": 0, "hours": 0}
    grace = 5.0  # seconds in which the exception may unwind before the scheduler kills

    @property
    def limit(self) -> float:
        """The time in seconds."""
        return sum(
            float(self.number(unit)) * factor for unit, factor in (("seconds", 1), ("minutes", 60), ("hours", 3600))
        )

    def check(self, flow: FlowDef, step: StepDef) -> None:
        if self.limit <= 0:
            raise InvalidDecoratorAttribute(
                f"@timeout on {self.where} needs a time: seconds, minutes or hours above 0."
            )

    @property
    def seconds(self) -> float | None:
        return self.limit + self.grace

    def before(self, state: TaskState) -> None:
        def expire(signum: int, frame: object) -> None:
            raise TimeoutException(f"Step {state.step.name} ran longer than its @timeout of {self.limit:g} seconds.")

        signal.signal(signal.SIGALRM, expire)
        signal.setitimer(signal.ITIMER_REAL, self.limit)

    def after(self, state: TaskState, error: BaseException | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


class Environment(StepDecorator):
    """Set environment variables before the step's code starts."""

    name = "environment"
    defaults: ClassVar[Mapping[str, Any]] = {"vars": {}}

    def check(self, flow: FlowDef, step: StepDef) -> None:
        variables = self.attributes["vars"]
        if not isinstance(variables, Mapping):
            raise InvalidDecoratorAttribute(
                f"@environment on {self.where}: vars must give the value of each variable by its name."
            )
        for key, value in variables.items():
            if not isinstance(key, str) or not key or "=" in key or "\0" in f"{key}{value}":
                raise InvalidDecoratorAttribute(f"@environment on {self.where}: {show(key)} can't name a variable.")

    def before(self, state: TaskState) -> None:
        os.environ.update({key: str(value) for key, value in self.attributes["vars"].items()})


class Resources(StepDecorator):
    """What a task needs. Units: ``memory``, ``disk`` and ``shared_memory`` in MB.

    A hint for plugins that run tasks elsewhere; on this machine it is enforced with ``METAFLOW_ENFORCE_RESOURCES``.
    """

    name = "resources"
    defaults = {"cpu": 1, "gpu": 0, "disk": None, "memory": 4096, "shared_memory": None}

    def __init__(self, given: Mapping[str, Any], where: str) -> None:
        super().__init__(given, where)
        self._limits_memory = given.get("memory") is not None

    def check(self, flow: FlowDef, step: StepDef) -> None:
        for key, value in self.attributes.items():
            if value is not None:
                self.number(key, whole=key == "gpu")

    @property
    def needs(self) -> Needs:
        """The memory only when the user has said it: the default is meant for machines that are made for the task."""
        cpu, gpu = self.attributes["cpu"], self.attributes["gpu"]
        disk, shared = self.attributes["disk"], self.attributes["shared_memory"]
        return Needs(
            0 if cpu is None else float(self.number("cpu")),
            float(self.number("memory")) if self._limits_memory else None,
            0 if gpu is None else int(self.number("gpu", whole=True)),
            None if disk is None else float(self.number("disk")),
            None if shared is None else float(self.number("shared_memory")),
        )


class Gang(NamedTuple):
    """What ``current.parallel`` tells a task of a gang."""

    main_ip: str
    num_nodes: int
    node_index: int


class Parallel(StepDecorator):
    """The tasks of the step are a gang: they run at once, and find each other by ``current.parallel``.

    On one machine all of them have the same address.
    """

    name = "parallel"

    def before(self, state: TaskState) -> None:
        index, count = state.task.frames[-1][2:]
        state.add_to_current({"parallel": Gang("127.0.0.1", count, index)})


STEP_DECORATORS: list[type[StepDecorator]] = [Retry, Catch, Timeout, Environment, Resources, Parallel]
