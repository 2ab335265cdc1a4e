"""One step as a function: its body runs in this process on values that are given; nothing is stored or looked up."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from metaflow_core import identity, names
from metaflow_core.engine.current import current
from metaflow_core.engine.inputs import Inputs
from metaflow_core.engine.state import TaskState
from metaflow_core.engine.task import graph_of, runtime_of
from metaflow_core.errors import InvalidNextException, MetaflowException, MetaflowUsageError, UnserializableValue
from metaflow_core.graph.parameters import RESERVED_ARTIFACTS
from metaflow_core.names import show

if TYPE_CHECKING:
    from metaflow_core.engine.interface import LanguageRuntime
    from metaflow_core.graph.model import FlowDef, StepDef

_MANY = 2**31


@dataclass(slots=True)
class Branch:
    """What a join is given from one branch; ``step`` is the one that leads to the join, where it is known."""

    artifacts: Mapping[str, Any]
    step: str | None = None
    input: Any = None
    index: int | None = None


@dataclass(slots=True)
class Trial:
    """What a step is tried on, in ``language``; ``index`` is its place in a foreach, ``input`` the element."""

    artifacts: Mapping[str, Any] = field(default_factory=dict)
    branches: Sequence[Branch] | None = None
    input: Any = None
    index: int | None = None
    language: str = "python"


def run_trial(flow: FlowDef, name: str, trial: Trial) -> TrialState:
    """Run the body of a step, without its decorators. What it raises is raised as it is.

    ``MetaflowUsageError``, before it runs, when there is no such step, or it can't be given this.
    """
    step = _step(flow, name)
    _check(flow, step, trial)
    runtime = runtime_of(step.language)
    runtime.prepare(flow)
    state = TrialState(flow, step, runtime, trial)
    step.decorators.clear()  # the flow was read for this call alone
    before = dict(current._values)
    current._values.clear()
    current._update(
        {
            "flow_name": flow.name,
            "step_name": step.name,
            "retry_count": 0,
            "namespace": identity.identity(),
            "username": identity.user(),
            "parameter_names": [p.artifact for p in flow.parameters],
            "graph": partial(graph_of, flow),
            "tempdir": os.environ.get("TMPDIR") or "/tmp",
        }
    )
    try:
        runtime.run_step(flow, step, state)
    finally:
        current._values.clear()
        current._update(before)
    if state.transition is None and not step.is_end:
        raise InvalidNextException(
            f"Step {step.name} ended without calling next. Its last statement must say where the flow goes."
        )
    return state


class TrialState(TaskState):
    """The state of a task that no run has. References are places in a list of values instead of rows."""

    def __init__(self, flow: FlowDef, step: StepDef, runtime: LanguageRuntime, trial: Trial) -> None:
        self.flow = flow
        self.step = step
        self.runtime = runtime
        self.transition = None
        self.items = None
        self.inputs = None
        self.values: list[tuple[Any, str]] = []
        self.language = trial.language
        self._max_num_splits = _MANY
        self._set = {}
        self._loaded = {}
        self._read: dict[tuple[int, str], Any] = {}
        self._items = {}
        self.task = cast(Any, SimpleNamespace(frames=self._frames(trial.input, trial.index, "")))
        self._inherited = {}
        self.parameters = {name: self._add(value, "python") for name, value in _of_run(flow, trial).items()}
        configs = {config.artifact for config in flow.configs}
        for name, value in trial.artifacts.items():
            if name in configs:
                continue
            (self.parameters if name in self.parameters else self._inherited)[name] = self._add(value)
        if trial.branches is not None:
            self.inputs = TrialInputs(self, trial.branches)

    def _add(self, value: Any, language: str | None = None) -> int:
        self.values.append((value, language or self.language))
        return len(self.values) - 1

    def _frames(self, item: Any, index: int | None, branch: str) -> list[list[Any]]:
        if item is None and index is None:
            return []
        place = index or 0
        if item is not None and self.language != self.step.language:
            item = converted(item, self.language, self.step.language)
        self._items[0, f"given{branch}", place] = item
        return [[f"given{branch}", "foreach", place, place + 1]]

    def get(self, name: str, language: str = "python") -> Any:
        if name in self._set:
            value, of = self._set[name]
            return value if of == language else converted(value, of, language)
        return self.value(self._inherited[name] if name in self._inherited else self.parameters[name], language)

    def value(self, place: int, language: str) -> Any:
        """A value that was given, the same object each time."""
        value, of = self.values[place]
        if of == language:
            return value
        if (place, language) not in self._read:
            self._read[place, language] = converted(value, of, language)
        return self._read[place, language]

    def results(self) -> dict[str, Any]:
        """What the step has set, and taken over from the inputs of a join, in the language of who has called it."""
        taken = self._inherited if self.inputs is not None else ()
        return {name: self.get(name, self.language) for name in dict.fromkeys([*taken, *self._set])}


class TrialInputs(Inputs):
    """The branches of a join as they were given."""

    def __init__(self, state: TrialState, branches: Sequence[Branch]) -> None:
        leading = _leading(state.flow, state.step)
        static = len(leading) == len(branches)
        if all(one.step is not None for one in branches):  # their order is that of a run, not that in which they came
            branches = sorted(branches, key=lambda one: leading.index(str(one.step)))
        parents = {
            i: (0, 0, one.step or leading[i if static else 0], json.dumps(state._frames(one.input, one.index, str(i))))
            for i, one in enumerate(branches)
        }
        self._trial = state
        self._known = [{name: state._add(value) for name, value in one.artifacts.items()} for one in branches]
        self._begin(state, len(branches), lambda first, end: parents)

    def _load(self, position: int, name: str, language: str) -> Any:
        if name in self._state.parameters:
            return self._state.get(name, language)
        return self._trial.value(self._known[position][name], language)

    def _artifacts(self, positions: Sequence[int]) -> Iterator[tuple[str, int]]:
        return (pair for position in positions for pair in self._known[position].items())

    def _equal(self, references: set[int]) -> bool:
        return len({_mark(*self._trial.values[place]) for place in references}) == 1


def _mark(value: Any, language: str) -> str:
    """The same for equal values. What could not be stored, such as a mock, is equal to itself."""
    from metaflow_core.values import encode

    try:
        return encode(value, language=language).fingerprint
    except UnserializableValue:
        return f"id {id(value)}"


def converted(value: Any, of: str, language: str) -> Any:
    """A value of one language as it is in another one."""
    import io

    from metaflow_core.values import Stored, decode, encode

    encoded = encode(value, language=of)
    payload = io.BytesIO()
    if encoded.write is not None:
        encoded.write(payload)
    stored = Stored(
        encoded.type, of, encoded.encoding, encoded.fingerprint, encoded.size, encoded.scalar, payload.getbuffer
    )
    return decode(stored, language=language)


def _step(flow: FlowDef, name: str) -> StepDef:
    if name not in flow:
        near = difflib.get_close_matches(str(name), flow.steps, 1)
        advice = f"Did you mean {near[0]!r}?" if near else f"Its steps: {', '.join(flow.steps)}."
        raise MetaflowUsageError(f"The flow {flow.name} has no step {show(name)}. {advice}")
    step = flow[name]
    if step.problem is not None:
        raise MetaflowException(f"Step {name!r}: {step.problem}")
    return step


def _check(flow: FlowDef, step: StepDef, trial: Trial) -> None:
    if step.is_join and trial.branches is None:
        raise MetaflowUsageError(
            f"The step {step.name} is a join: give it inputs, one for each branch, with their artifacts."
        )
    if not step.is_join and trial.branches is not None:
        raise MetaflowUsageError(f"The step {step.name} is no join, so it takes no inputs.")
    if trial.branches is not None and not trial.branches:
        raise MetaflowUsageError(f"The join {step.name} needs at least one input.")
    leading = _leading(flow, step)
    for branch in trial.branches or ():
        if branch.step is not None and branch.step not in leading:
            raise MetaflowUsageError(
                f"The join {step.name} has no input from {show(branch.step)}. "
                f"Its inputs come from: {', '.join(leading)}."
            )
    for part in (trial.artifacts, *(branch.artifacts for branch in trial.branches or ())):
        for name in part:
            names.check_identifier(name, "an artifact")
            if name in flow or name in RESERVED_ARTIFACTS or name in flow.constants:
                what = "a step" if name in flow else "a constant of the flow" if name in flow.constants else "reserved"
                raise MetaflowUsageError(f"{name!r} can't be given as an artifact: it is {what}.")


def _leading(flow: FlowDef, join: StepDef) -> list[str]:
    """The steps that lead to a join, in the order in which splits name their branches."""
    order: dict[str, None] = {}
    ahead = [*reversed(list(flow.steps)), *(step.name for step in flow if step.is_start)]
    while ahead:
        name = ahead.pop()
        if name in flow and name not in order:
            order[name] = None
            ahead += reversed(flow[name].targets)
    return [name for name in order if join.name in flow[name].targets]


def _of_run(flow: FlowDef, trial: Trial) -> dict[str, Any]:
    """What a run would start with where nothing was given: configs, defaults of parameters, constants, the name."""
    given = trial.artifacts
    found: dict[str, Any] = {"name": flow.name, **flow.constants}
    if flow.configs:
        from metaflow_core.config_value import ConfigValue
        from metaflow_core.graph.configs import read_configs, set_configs

        known = {}
        for config in flow.configs:
            if config.artifact in given:
                value = given[config.artifact]
                if trial.language != "python":
                    value = converted(value, trial.language, "python")
                known[config.artifact] = ConfigValue(value, config.name) if isinstance(value, Mapping) else value
        configs = read_configs(flow, {}, required=False, known=known)
        set_configs(flow, configs)
        found |= configs
    if flow.parameters:
        from metaflow_core.graph.parameters import Given, ParameterContext, evaluate, key

        values = {key(p): Given(given[p.artifact]) for p in flow.parameters if p.artifact in given}
        found |= evaluate(flow, values, ParameterContext.of(flow, identity.user()), required=False)
    return found
