"""The state of a running task: its artifacts, its inputs, and where it leads.

Both languages' ``self`` are thin views of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metaflow_core import names
from metaflow_core.engine import transition as transitions
from metaflow_core.engine.current import current
from metaflow_core.engine.inputs import Inputs
from metaflow_core.engine.memory import explained
from metaflow_core.engine.merge import merged
from metaflow_core.errors import InvalidNextException, UnserializableValue
from metaflow_core.graph.model import FlowDef, StepDef, Transition
from metaflow_core.graph.spelling import spelling
from metaflow_core.graph.splits import find_splits
from metaflow_core.metadata import recording
from metaflow_core.metadata.contents import content, stored
from metaflow_core.values import decode, encode, losses, trust
from metaflow_core.values.crossing import in_language
from metaflow_core.values.registry import is_fixed
from metaflow_core.wrapped_error import MetaflowExceptionWrapper

if TYPE_CHECKING:
    from metaflow_core.engine.interface import LanguageRuntime
    from metaflow_core.engine.masking import Mask
    from metaflow_core.metadata.backend import Backend
    from metaflow_core.metadata.recording import Content, RunRow, TaskRow
    from metaflow_core.values.encoded import Encoded

_IMMUTABLE = (bool, int, float, complex, str, bytes, type(None))


@dataclass(slots=True)
class _Loaded:
    """An artifact that was given out, and what it was then."""

    pk: int
    value: Any
    language: str
    key: str | None

    @property
    def is_fixed(self) -> bool:
        """Whether the step can't have changed it in place."""
        return self.key is None or isinstance(self.value, _IMMUTABLE)


class TaskState:
    """What a step's body reads and writes.

    Artifacts come from the task's parent and are loaded when first used; the same object is given out each time, so
    that a change in place is seen, and persisted.
    """

    def __init__(
        self,
        flow: FlowDef,
        step: StepDef,
        backend: Backend,
        runtime: LanguageRuntime,
        run: RunRow,
        task: TaskRow,
        max_num_splits: int,
    ) -> None:
        self.flow = flow
        self.step = step
        self.backend = backend
        self.runtime = runtime
        self.run = run
        self.task = task
        self.parameters = recording.artifacts(backend.db, run.parameters_pk, 0)
        trust.of_this_process = self._stranger
        self.inputs: Inputs | None = None
        self.transition: Transition | None = None
        self.items: list[Any] | None = None
        self.tell_secrets: Callable[[list[str]], None] | None = None  # who shows the output masks it
        self._mask: Mask | None = None
        self._max_num_splits = max_num_splits
        self._inherited: dict[str, int] = {}
        self._loaded: dict[str, _Loaded] = {}
        self._set: dict[str, tuple[Any, str]] = {}  # value, language
        self._items: dict[tuple[int, str, int], Any] = {}
        if step.is_join:
            self.inputs = Inputs(self)
        elif parents := recording.parents(backend.db, task.pk, 0, 1):
            pk, attempt, *_ = parents[0]
            self._inherited = recording.artifacts(backend.db, pk, attempt)
            for name in self.parameters:
                self._inherited.pop(name, None)

    def _stranger(self) -> str | None:
        from metaflow_core.metadata.strangers import stranger

        return stranger(self.backend.db, self.run.pk)

    # --- artifacts -------------------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        return name in self._set or name in self._inherited or name in self.parameters

    def get(self, name: str, language: str = "python") -> Any:
        """The artifact ``name``; ``KeyError`` when the task has none."""
        if name in self._set:
            value, wrote = self._set[name]
            return value if wrote == language or language != "python" else in_language(value, wrote, language)
        loaded = self._loaded.get(name)
        if loaded is not None and loaded.language != language:  # a decorator and its step are in two languages
            if not loaded.is_fixed:
                return loaded.value if language != "python" else in_language(loaded.value, loaded.language, language)
            del self._loaded[name]
        if name not in self._loaded:
            pk = self._inherited[name] if name in self._inherited else self.parameters[name]
            row = content(self.backend.db, pk)
            found = stored(row, self.backend.storage)
            with losses.about(f"the artifact {name!r}"):
                value = decode(found, language=language)
            key: str | None = row[1]  # not the fingerprint, which does not see that a dict is in another order
            if is_fixed(value, language):
                key = None
            elif found.language != language:
                # Read in another language a value may not be quite the same; what counts is whether the step changes
                # it. An opaque one is a handle, which can't be changed.
                opaque = found.encoding == "opaque"
                key = None if opaque else encode(value, language=language).key
            self._loaded[name] = _Loaded(pk, value, language, key)
        return self._loaded[name].value

    def set(self, name: str, value: Any, language: str = "python") -> None:
        """Set an artifact. Parameters and constants can't be set: ``AttributeError``."""
        if name in self.parameters:
            kind = "a parameter, a config or a constant of the flow" if name != "name" else "the name of the flow"
            raise AttributeError(f"self.{name} can't be set in step {self.step.name}: it is {kind}.")
        names.check_identifier(name, "an artifact")
        self._loaded.pop(name, None)
        self._set[name] = value, language

    def delete(self, name: str) -> None:
        """Forget an artifact; ``KeyError`` when the task has none."""
        if name in self.parameters:
            raise AttributeError(f"self.{name} can't be deleted in step {self.step.name}: it belongs to the flow.")
        if not self.has(name):
            raise KeyError(name)
        for part in (self._set, self._loaded, self._inherited):
            part.pop(name, None)

    def names(self) -> list[str]:
        """The names of the artifacts the task has now."""
        return list(dict.fromkeys([*self.parameters, *self._inherited, *self._set]))

    def advise_on(self, name: str) -> str:
        """What to do about an artifact ``name`` that the task does not have, in the language of its step."""
        near = names.near(name.replace(".", "_"), [one for one in self.names() if not one.startswith("_")])
        say = spelling(self.step.language)
        if near is not None:
            return f"Did you mean {say.artifact(near)}?"
        if self.step.is_join:
            return f"In a join, take it from one of the inputs ({say.of_input(name)}) or call {say.merge} first."
        return f"Set {say.artifact(name)} in this step before it is used, or in a step that leads here."

    def changes(self) -> dict[str, Any]:
        """The artifacts that the step has set."""
        return {name: value for name, (value, _) in self._set.items()}

    def merge_artifacts(
        self, inputs: Any, exclude: Sequence[str] | None = None, include: Sequence[str] | None = None
    ) -> None:
        """Take over from ``inputs`` what they agree on; see :mod:`metaflow_core.engine.merge`."""
        self._inherited.update(merged(self, inputs, exclude or [], include or []))

    # --- foreach ---------------------------------------------------------------------------------------------------

    @property
    def input(self) -> Any:
        return self.item_of(self.step.name, self.task.frames)

    @property
    def index(self) -> int | None:
        return self.index_of(self.task.frames)

    def foreach_stack(self) -> list[tuple[int, int, Any]]:
        return self.stack_of(self.step.name, self.task.frames)

    @staticmethod
    def index_of(frames: list[list[Any]]) -> int | None:
        return next((frame[2] for frame in reversed(frames) if frame[1] == "foreach"), None)

    def item_of(self, step: str, frames: list[list[Any]]) -> Any:
        """The element of the innermost foreach around a task of ``step``."""
        places = (place for place in reversed(range(len(frames))) if frames[place][1] == "foreach")
        place = next(places, None)
        return None if place is None else self._item(step, frames, place)

    def stack_of(self, step: str, frames: list[list[Any]]) -> list[tuple[int, int, Any]]:
        return [
            (frame[2], frame[3], self._item(step, frames, place))
            for place, frame in enumerate(frames)
            if frame[1] == "foreach"
        ]

    def _item(self, step: str, frames: list[list[Any]], place: int) -> Any:
        split, _, index, _ = frames[place]
        key = (place, split, index)
        if key not in self._items:
            rows = self.backend.db.execute(
                "SELECT i.content_pk, t.step FROM split_items i JOIN tasks t ON t.pk = i.task_pk"
                " WHERE t.run_pk = ? AND t.id = ? AND i.split_index = ?",
                (self.run.pk, split, index),
            )
            if len(rows) > 1:  # deployed runs have the same ids in each step
                opened_by = find_splits(self.flow).around[step][place][0]
                rows = [row for row in rows if row[1] == opened_by]
            value = None
            if rows:  # a num_parallel split has no elements
                value = decode(
                    stored(content(self.backend.db, rows[0][0]), self.backend.storage), language=self.step.language
                )
            if place >= len(self.task.frames) or frames[place] != self.task.frames[place]:
                return value  # of an input of a join: there may be many, and who asks for one keeps it
            self._items[key] = value
        return self._items[key]

    # --- where the task leads --------------------------------------------------------------------------------------

    def next(
        self,
        targets: tuple[str, ...],
        *,
        foreach: object = None,
        num_parallel: object = None,
        cases: Mapping[Any, str] | None = None,
        condition: object = None,
        items: Iterable[Any] | None = None,
    ) -> None:
        """Say where the task leads. ``items`` are a foreach's elements where the language iterates differently."""
        if self.transition is not None:
            raise InvalidNextException(f"Step {self.step.name} calls next twice; a step leads on once, at its end.")
        transition = transitions.checked(self.flow, self.step, targets, foreach, num_parallel, cases, condition)
        if transition.kind == "foreach":
            name = str(transition.foreach)
            value = self._needed(name, "foreach") if items is None else items
            self.items = transitions.split_items(self.step, name, value, self._max_num_splits)
            if items is None and iter(value) is value:
                self.set(name, list(self.items))  # a generator is used up: keep what it gave
        elif transition.kind == "parallel":
            count = transition.num_parallel or 0
            if count > self._max_num_splits:
                raise InvalidNextException(
                    f"Step {self.step.name}: num_parallel={count}, and --max-num-splits allows {self._max_num_splits}."
                )
        elif transition.kind == "switch":
            value = self._needed(str(transition.condition), "condition")
            target = transitions.chosen(self.step, transition, value)
            transition = Transition("switch", (target,), condition=transition.condition)
        self.transition = transition

    def follow_graph(self) -> None:
        """Lead on as the graph says, for a step whose body has failed."""
        self.transition = self.step.transition

    def _needed(self, name: str, what: str) -> Any:
        try:
            return self.get(name, self.step.language)
        except KeyError:
            raise InvalidNextException(
                f"Step {self.step.name}: {what}={name!r} names an artifact that does not exist. {self.advise_on(name)}"
            ) from None

    # --- the end of the task ---------------------------------------------------------------------------------------

    def result(self) -> dict[str, Any] | None:
        """The transition as the metadata stores it."""
        if self.transition is None:
            return None
        count = self.transition.num_parallel if self.items is None else len(self.items)
        return {"kind": self.transition.kind, "targets": list(self.transition.targets), "num_splits": count}

    def contents(self) -> dict[str, Content]:
        """Every artifact of the task, encoded where it is new or was changed in place."""
        found: dict[str, Content] = dict(self._inherited)
        for name, loaded in self._loaded.items():
            if name in self._inherited and not loaded.is_fixed:
                encoded = self._encode(name, loaded.value, loaded.language)
                found[name] = loaded.pk if encoded.key == loaded.key else encoded
        for name, (value, language) in self._set.items():
            found[name] = self._encode(name, value, language)
        return found

    def storable_contents(self) -> dict[str, Content]:
        """The artifacts of a task that has failed: all that can be stored."""
        for name, (value, language) in list(self._set.items()):
            try:
                self._encode(name, value, language)
            except UnserializableValue:
                del self._set[name]
        for name, loaded in list(self._loaded.items()):
            try:
                if not loaded.is_fixed:
                    self._encode(name, loaded.value, loaded.language)
            except UnserializableValue:
                del self._loaded[name]
        return self.contents()

    def split_contents(self) -> list[Content]:
        """The elements of the task's foreach, encoded."""
        return [self._encode(f"{i}", item, self.step.language, "element") for i, item in enumerate(self.items or [])]

    def _encode(self, name: str, value: Any, language: str, what: str = "artifact") -> Encoded:
        place = f"the artifact {name!r}" if what == "artifact" else f"element {name} of the foreach"
        try:
            with losses.about(place):
                return encode(value, language=language)
        except UnserializableValue as error:
            raise UnserializableValue(f"Step {self.step.name}: {place} can't be stored. {error}", error.path) from error

    def add_to_current(self, fields: Mapping[str, Any]) -> None:
        """Let ``current`` tell more to the step; for decorators."""
        current._update(fields)

    def hide(self, values: Iterable[str]) -> None:
        """Show ``***`` instead of these values from now on: in the task's log, and in errors, which are stored."""
        if self._mask is None:
            from metaflow_core.engine.masking import Mask

            self._mask = Mask()
        fresh = self._mask.add(values)
        if self.tell_secrets is not None:
            self.tell_secrets(fresh)

    def _masked(self, text: str) -> str:
        return text if self._mask is None else self._mask.text(text)

    # --- failures --------------------------------------------------------------------------------------------------

    def wrap(self, error: BaseException) -> MetaflowExceptionWrapper:
        """The error as data."""
        why = explained(error, self.step)
        name, trace = self.runtime.describe_error(error)
        text = f"{error} {why}".strip() if why else str(error)
        return MetaflowExceptionWrapper(name, self._masked(text), self._masked(trace))

    def report(self, error: BaseException) -> None:
        """Print the error as the user should see it, to the task's stderr."""
        why = explained(error, self.step)
        print(self._masked(self.runtime.describe_error(error)[1].rstrip()), file=sys.stderr, flush=True)
        if why:
            print(why, file=sys.stderr, flush=True)

    def print(self, text: str) -> None:
        """Print to the task's stderr, after what :meth:`report` has printed."""
        print(text, file=sys.stderr, flush=True)
