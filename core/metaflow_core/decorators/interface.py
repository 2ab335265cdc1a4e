"""What a decorator of a step or a flow can do, in whichever language the step is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from metaflow_core.errors import InvalidDecoratorAttribute
from metaflow_core.names import advise, show

if TYPE_CHECKING:
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import FlowDef, StepDef


class EnvironmentRequest(NamedTuple):
    """The packages that a decorator asks for. None stands for what was not said."""

    provider: str  # the name of who makes such environments
    packages: Mapping[str, str]  # by name, the version as the user gave it; "" for any
    python: str | None = None
    disabled: bool | None = None
    options: Mapping[str, Any] = {}  # of this provider alone; JSON can express them


class Needs(NamedTuple):
    """What a task asks for of the machine on which it runs."""

    cpu: float = 0  # cores
    memory: float | None = None  # MB; None: it was not said
    gpu: int = 0
    disk: float | None = None  # MB, and so is shared memory: of machines that are made for the task
    shared_memory: float | None = None


class Decorator:
    """The arguments of a decorator, checked against its defaults.

    A subclass names itself and its arguments; ``InvalidDecoratorAttribute`` is raised for any other argument.
    """

    name: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]] = {}
    repeatable: ClassVar[bool] = False

    def __init__(self, given: Mapping[str, Any], where: str) -> None:
        self.where = where  # "step train" or "flow TrainFlow", for messages
        for key in given:
            if key not in self.defaults:
                advice = advise(key, self.defaults, "Its arguments")
                raise InvalidDecoratorAttribute(f"@{self.name} on {where} does not take {key!r}. {advice}")
        self.attributes: dict[str, Any] = {**self.defaults, **given}

    def secret_arguments(self) -> list[str]:
        """The texts among the arguments that must be stored and shown nowhere."""
        return []

    def environment(self) -> EnvironmentRequest | None:
        """The packages with which the step, or each step of the flow, is to run; None when it does not matter.

        ``InvalidDecoratorAttribute`` for arguments that say nothing sensible.
        """
        return None

    def number(self, key: str, at_least: float = 0, at_most: float = float("inf"), whole: bool = False) -> Any:
        """An argument that must be a number within limits; text is converted."""
        value = self.attributes[key]
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if isinstance(value, bool) or not at_least <= number <= at_most or (whole and number != int(number)):
            limits = f"from {at_least:g} to {at_most:g}" if at_most != float("inf") else f"of at least {at_least:g}"
            kind = "a whole number" if whole else "a number"
            shown = f"{value:g}" if isinstance(value, float) else show(value)  # a whole number of R is 9.0 here
            raise InvalidDecoratorAttribute(
                f"@{self.name} on {self.where}: {key} must be {kind} {limits}, not {shown}."
            )
        return int(number) if whole else number


class StepDecorator(Decorator):
    """A decorator on a step. Every method has a default that does nothing."""

    has_secrets: ClassVar[bool] = False  # whether ``before`` calls ``state.hide``
    compute: ClassVar[str | None] = None  # the place where tasks of the step run; None: on this machine

    def check(self, flow: FlowDef, step: StepDef) -> None:
        """Refuse a use that can't work, before the run starts."""

    @property
    def retries(self) -> int:
        """How many attempts more than one the step gets."""
        return 0

    @property
    def retry_wait(self) -> float:
        """Seconds between attempts."""
        return 0.0

    @property
    def seconds(self) -> float | None:
        """After this time the scheduler kills an attempt, whatever its code does."""
        return None

    @property
    def needs(self) -> Needs | None:
        """What a task of the step needs of its machine; None: whatever there is."""
        return None

    @property
    def handles_failure(self) -> bool:
        """Whether :meth:`handle` wants to be asked after the last attempt has failed."""
        return False

    def before(self, state: TaskState) -> None:
        """Called in the task, before the step's body."""

    def around(self, state: TaskState, body: Callable[[], None]) -> None:
        """Called in the task, between ``before`` and ``after`` of all decorators: call ``body``, or do not.

        ``body`` is the step's, with the decorators below this one. A task whose body did not run leads on as the graph
        says.
        """
        body()

    def after(self, state: TaskState, error: BaseException | None) -> None:
        """Called in the task, after the step's body, in the reverse order of ``before``."""

    def handle(self, state: TaskState, error: BaseException) -> None:
        """Called in the task when the last attempt has failed: prepare ``state`` so that the flow can go on."""


class FlowDecorator(Decorator):
    """A decorator on a flow."""

    flow_name: str = ""  # of the flow on which it stands

    def check(self, flow: FlowDef) -> None:
        """Refuse a use that can't work, before the run starts."""

    def options(self) -> list[Any]:
        """Click options that the decorator adds before the command. They do not depend on its arguments.

        A decorator that stands there several times adds them once.
        """
        return []

    def system_tags(self, options: Mapping[str, Any]) -> list[str]:
        """Tags that runs of the flow carry."""
        return []

    def current(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What tasks find in ``current`` because of this decorator."""
        return {}


class SecretsProvider(Protocol):
    """Where secrets come from. ``id`` is what follows the dot in ``"provider.id"``, and may be empty."""

    def check(self, id: str, options: Mapping[str, Any]) -> None:
        """Refuse what can't work, with an ``InvalidDecoratorAttribute``, before the run starts. Fetch nothing."""

    def fetch(self, id: str, options: Mapping[str, Any], role: str | None) -> Mapping[str, str]:
        """Variables and their values. Called in the task; an error fails the task, and must not tell a value."""
