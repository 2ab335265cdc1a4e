"""A flow as data: what either language builds, and all that the rest of the system reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

NodeType = Literal["start", "linear", "split", "foreach", "split-switch", "join", "end"]
TransitionKind = Literal["linear", "split", "foreach", "parallel", "switch"]


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's source."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Transition:
    """Where a step leads.

    ``targets`` are in the order in which the user named them. ``foreach`` and ``condition`` name artifacts.
    ``cases`` maps the value of ``condition``, as text, to a target. ``num_parallel`` is None when it is known only at
    run time.
    """

    kind: TransitionKind
    targets: tuple[str, ...]
    foreach: str | None = None
    condition: str | None = None
    cases: tuple[tuple[str, str], ...] = ()
    num_parallel: int | None = None
    location: Location | None = field(default=None, compare=False)


def case_text(value: Any) -> str:
    """A value as a case of a switch has it: ``1`` is ``"1"``, a member of an enum of texts is its text."""
    return str.__str__(value) if isinstance(value, str) else str(value)


class Delayed:
    """Stands for a value that is known once the configs are, in a decorator's argument or a parameter's default.

    Its names begin with underscores because in Python every other attribute is a key of a config.
    """

    _source: str  # as the user wrote it

    def _resolve(self, configs: Mapping[str, Any]) -> Any:
        """The value, given the configs by name."""
        raise NotImplementedError

    @property
    def __name__(self) -> str:  # what shows a function by its name shows this
        return self._source


@dataclass(frozen=True, slots=True)
class DecoratorSpec:
    """A decorator as the user wrote it: its name and the arguments that were given.

    ``code`` is there when the user has defined the decorator: a ``StepCode`` or a ``Mutation`` of
    :mod:`metaflow_core.decorators.user`.
    """

    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    code: Any = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class StepDef:
    """One step. ``body`` is what the language's runtime needs to find the code; the core never looks inside.

    The body of a Python step is its flow class.
    """

    name: str
    language: str = "python"
    body: Any = None
    num_inputs: int = 1  # arguments of the body, self included: 2 makes the step a join
    transition: Transition | None = None
    problem: str | None = None  # what is wrong with the step, as a sentence, found while reading the source
    problem_location: Location | None = None
    decorators: list[DecoratorSpec] = field(default_factory=list)
    location: Location | None = None
    file: str | None = None  # that holds its code, where the step names one
    doc: str = ""
    is_start: bool = False
    is_end: bool = False

    @property
    def is_join(self) -> bool:
        return self.num_inputs > 1

    @property
    def targets(self) -> tuple[str, ...]:
        return self.transition.targets if self.transition else ()

    @property
    def node_type(self) -> NodeType:
        """The type that ``show`` and ``output-raw`` print."""
        if self.is_end:
            return "end"
        if self.is_join:
            return "join"
        if self.transition is not None:
            if self.transition.kind in ("foreach", "parallel"):
                return "foreach"
            if self.transition.kind == "switch":
                return "split-switch"
            if self.transition.kind == "split":
                return "split"
        return "start" if self.is_start else "linear"

    def decorator(self, name: str) -> DecoratorSpec | None:
        return next((d for d in self.decorators if d.name == name), None)


@dataclass(slots=True)
class ParameterDef:
    """One parameter of a flow. ``default`` may be a callable; it is called once per run with a context."""

    name: str
    type: Any = None  # str, int, float, bool, "json", "file", or a click type
    default: Any = None
    required: bool = False
    help: str | None = None
    separator: str | None = None
    show_default: bool = True
    options: dict[str, Any] = field(default_factory=dict)  # of a file: is_text, encoding, parser
    location: Location | None = None
    attribute: str | None = None  # in a language where the name in the code can differ from the name of the option

    @property
    def artifact(self) -> str:
        """The name under which tasks see the value: dashes become underscores."""
        return self.attribute or self.name.replace("-", "_")


@dataclass(slots=True)
class ConfigDef:
    """One config of a flow: a mapping that is known before anything of the flow is checked or run.

    ``default`` is the path of a file, ``default_value`` data or text. ``parser`` is a function of the text, or its
    dotted name. With ``plain`` the value need not be a mapping.
    """

    name: str
    default: Any = None
    default_value: Any = None
    required: bool = False
    help: str | None = None
    parser: Any = None
    plain: bool = False
    location: Location | None = None
    attribute: str | None = None  # in a language where the name in the code can differ from the name of the option

    @property
    def artifact(self) -> str:
        """The name under which tasks see the value: dashes become underscores."""
        return self.attribute or self.name.replace("-", "_")


@dataclass(slots=True)
class FlowDef:
    """A flow: steps in the order of the source, parameters, configs, constants and flow decorators.

    ``config_values``, by artifact, are there once the command line is known.
    """

    name: str
    steps: dict[str, StepDef] = field(default_factory=dict)
    parameters: list[ParameterDef] = field(default_factory=list)
    configs: list[ConfigDef] = field(default_factory=list)
    config_values: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    decorators: list[DecoratorSpec] = field(default_factory=list)
    mutators: list[DecoratorSpec] = field(default_factory=list)  # change the flow before it is checked
    language: str = "python"
    file: str | None = None
    doc: str = ""
    location: Location | None = None

    @property
    def given(self) -> list[ParameterDef | ConfigDef]:
        """What a run is started with."""
        return [*self.parameters, *self.configs]

    def __iter__(self) -> Iterator[StepDef]:
        return iter(self.steps.values())

    def __getitem__(self, name: str) -> StepDef:
        return self.steps[name]

    def __contains__(self, name: object) -> bool:
        return name in self.steps

    @property
    def start(self) -> StepDef:
        return next(s for s in self if s.is_start)

    @property
    def end(self) -> StepDef:
        return next(s for s in self if s.is_end)

    def only(self, names: Iterable[str]) -> FlowDef:
        """The flow with these steps alone, for what deals with each step by itself."""
        return replace(self, steps={name: self.steps[name] for name in names})

    @property
    def languages(self) -> set[str]:
        """The languages in which bodies of steps are written."""
        return {s.language for s in self}

    def downstream(self, name: str) -> set[str]:
        """The step and every step that can be reached from it."""
        return reachable(name, lambda step: self.steps[step].targets)

    def parents(self, name: str) -> list[str]:
        """The steps that lead to this one, in the order of the source."""
        return [s.name for s in self if name in s.targets]


def reachable(name: str, targets: Callable[[str], Iterable[str]]) -> set[str]:
    """The step ``name`` and every step that can be reached from it; ``targets`` says where a step leads."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting.extend(targets(step))
    return found
