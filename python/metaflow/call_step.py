"""A step as a plain function, for tests: ``call_step(TrainFlow, "train", rows=[1, 2]).model``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from metaflow_core.errors import MetaflowUsageError
from metaflow_core.names import show

if TYPE_CHECKING:
    from metaflow_core.engine.trial import Branch, TrialState


def call_step(
    flow: type,
    step: Any,
    /,
    *,
    inputs: Iterable[Mapping[str, Any]] | Mapping[str, Mapping[str, Any]] | None = None,
    input: Any = None,
    index: int | None = None,
    **artifacts: Any,
) -> StepResult:
    """Call one step of a flow, ``"train"`` or ``TrainFlow.train``, with what it is given. Nothing is stored.

    ``artifacts`` are what the step finds on ``self``: artifacts, parameters and configs, as the step sees them.
    Parameters and configs that are not given have their defaults, None without one. In a foreach ``input`` is the
    element and ``index`` its place. ``inputs`` are those of a join: a list with a dict of artifacts for each branch,
    or a dict of such dicts by the name of the step that leads to the join; results of this function will do. In such
    a dict ``input`` and ``index`` are those of the branch.

    Decorators do not act, so an exception of the step is raised as it is. ``MetaflowUsageError``, before the step is
    called, when there is no such step or it can't be given this; ``InvalidNextException`` when it leads nowhere.

        result = call_step(TrainFlow, "train", rows=[1, 2], alpha=0.1)
        assert result.model == [0.1, 0.2]
        assert result.next == ("end",)
    """
    from metaflow_core.engine.trial import Trial, run_trial

    from metaflow.flowspec import FlowSpec
    from metaflow.source import read_flow

    if not (isinstance(flow, type) and issubclass(flow, FlowSpec)):
        raise MetaflowUsageError(
            f"call_step takes a flow's class, such as call_step(TrainFlow, ...), not {show(flow)}."
        )
    name = step if isinstance(step, str) else getattr(step, "__name__", step)  # TrainFlow.train
    branches = None if inputs is None else _branches(inputs)
    return StepResult(run_trial(read_flow(flow), name, Trial(artifacts, branches, input, index)))


def _branches(inputs: Any) -> list[Branch]:
    from metaflow_core.engine.trial import Branch

    pairs: list[tuple[Any, Any]] | None = None
    if isinstance(inputs, Mapping):
        pairs = list(inputs.items())
    elif isinstance(inputs, Iterable):
        pairs = [(getattr(one, "_from", None), one) for one in inputs]
    if pairs is None or not all(isinstance(one, Mapping) for _, one in pairs):
        raise MetaflowUsageError(f"inputs takes a dict of artifacts for each branch of the join, not {show(inputs)}.")
    found = []
    for step, one in pairs:
        values = dict(getattr(one, "_artifacts", one))
        item, index = getattr(one, "_place", (None, None))
        found.append(Branch(values, step, values.pop("input", item), values.pop("index", index)))
    return found


class StepResult(Mapping[str, Any]):
    """What a step has done: the artifacts that it has set as attributes or by name, and where it leads.

    ``next`` are the names of the steps that follow, of a switch the one that was chosen; ``foreach`` is then the name
    of an artifact, and ``num_splits`` how many tasks there would be.
    """

    def __init__(self, state: TrialState) -> None:
        self._artifacts = state.results()
        self._from = state.step.name
        self._place = state.input, state.index
        self.next = Next(state)

    def __getitem__(self, name: str) -> Any:
        return self._artifacts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._artifacts)

    def __len__(self) -> int:
        return len(self._artifacts)

    def __getattribute__(self, name: str) -> Any:
        # An artifact may be called `items` or `keys`.
        if not name.startswith("_") and name != "next" and name in self._artifacts:
            return self._artifacts[name]
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        near = difflib.get_close_matches(name, self._artifacts, 1)
        advice = f"Did you mean {near[0]!r}?" if near else f"It has set: {', '.join(self._artifacts) or 'nothing'}."
        raise AttributeError(f"The step {self._from} has not set {name!r}. {advice}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._artifacts]

    def __repr__(self) -> str:
        values = "".join(f", {name}={show(value)}" for name, value in self._artifacts.items())
        return f"<{self._from}{values}, next={tuple(self.next)}>"


class Next(tuple[str, ...]):
    """The steps that follow; of a foreach, over which artifact and with how many tasks."""

    foreach: str | None
    num_splits: int | None

    def __new__(cls, state: TrialState) -> Next:
        transition, result = state.transition, state.result() or {}
        found = super().__new__(cls, result.get("targets", ()))
        found.foreach = transition.foreach if transition else None
        found.num_splits = result.get("num_splits")
        return found
