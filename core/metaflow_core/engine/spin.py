"""Tries one step on the inputs of an earlier task, and keeps its results beside the project, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from metaflow_core import identity, names
from metaflow_core.decorators.resolve import step_decorators
from metaflow_core.engine.inputs import Inputs
from metaflow_core.engine.interface import TaskRequest
from metaflow_core.engine.state import TaskState
from metaflow_core.engine.task import TaskSettings, failure_of, open_state, run_body
from metaflow_core.errors import MetaflowUsageError, UnserializableValue
from metaflow_core.graph.render import flow_to_json
from metaflow_core.graph.spelling import spelling
from metaflow_core.machine import here
from metaflow_core.metadata import recording
from metaflow_core.metadata.backend import backend_in
from metaflow_core.metadata.contents import content, stored
from metaflow_core.names import show
from metaflow_core.values import encode
from metaflow_core.values.crossing import in_language

if TYPE_CHECKING:
    from metaflow_core.graph.model import FlowDef
    from metaflow_core.metadata.backend import Backend
    from metaflow_core.metadata.recording import Content
    from metaflow_core.values.encoded import Encoded


@dataclass(slots=True)
class Trying:
    """How a step is tried: on which artifacts instead of those that it had, by name, and what is kept of it."""

    artifacts: Mapping[str, Any] = field(default_factory=dict)
    language: str = "python"  # of these artifacts
    with_decorators: bool = True
    folder: str | None = None  # gets the results
    attribute_file: str | None = None  # gets the task's names, as JSON, for the program that started this one


def spin_step(flow: FlowDef, backend: Backend, settings: TaskSettings, request: TaskRequest, trying: Trying) -> bool:
    """Run a step again on the inputs of a task and print what it sets. Whether it succeeded.

    ``MetaflowUsageError``, before it runs, for artifacts that can't be given.
    """
    state = open_state(flow, backend, settings, request, partial(SpinState, trying))
    assert isinstance(state, SpinState)
    decorators = step_decorators(state.step) if trying.with_decorators else []
    error = run_body(state, decorators, settings)
    contents: dict[str, Content] = {}
    if error is None and trying.folder is not None:
        try:
            contents = state.contents()
        except UnserializableValue as raised:
            error = raised
    if error is not None:
        state.report(error)
        contents = state.storable_contents() if trying.folder is not None else {}
    else:
        say = spelling(state.step.language)
        for name, (value, language) in state._set.items():
            seen = value if language == "python" else in_language(value, language, "python")
            print(f"{say.artifact(name)} = {show(seen)}")
    if trying.folder is not None:
        _keep(state, error, contents, trying)
    return error is None


class SpinState(TaskState):
    """The state of a task whose inputs may be others. References to what was given are negative."""

    def __init__(self, trying: Trying, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._given: list[tuple[Any, str]] = []
        leading = self.flow.parents(self.step.name) if self.step.is_join else []
        everywhere: dict[str, int] = {}
        branches: dict[str, dict[str, int]] = {}
        for name, value in trying.artifacts.items():
            if name in leading:
                if not isinstance(value, Mapping):
                    raise MetaflowUsageError(
                        f"The join {self.step.name} has inputs from {name}: give it their artifacts by name, "
                        f"not {show(value)}."
                    )
                branches[name] = {key: self._add(key, one, trying.language) for key, one in value.items()}
            elif name == "input" and self.task.frames:
                self._give_item(value, trying.language)
            else:
                everywhere[name] = self._add(name, value, trying.language)
        self.parameters.update({name: pk for name, pk in everywhere.items() if name in self.parameters})
        others = {name: pk for name, pk in everywhere.items() if name not in self.parameters}
        if self.inputs is None:
            self._inherited.update(others)
        elif others or branches:
            self.inputs = SpinInputs(self, others, branches)

    def _add(self, name: str, value: Any, language: str) -> int:
        names.check_identifier(name, "an artifact")
        if name in ("name", "next", "input", "index"):
            raise MetaflowUsageError(f"{name!r} can't be given as an artifact: it is reserved.")
        self._given.append((value, language))
        return -len(self._given)

    def _give_item(self, value: Any, language: str) -> None:
        frames = list(enumerate(self.task.frames))
        found = next(((place, frame) for place, frame in reversed(frames) if frame[1] == "foreach"), None)
        if found is not None:
            place, frame = found
            own = self.step.language
            self._items[place, frame[0], frame[2]] = value if language == own else in_language(value, language, own)

    def get(self, name: str, language: str = "python") -> Any:
        pk = 0 if name in self._set else self._inherited.get(name, self.parameters.get(name, 0))
        return self.given(pk, language) if pk < 0 else super().get(name, language)

    def given(self, pk: int, language: str) -> Any:
        """A value that was given, in ``language``."""
        value, wrote = self._given[-pk - 1]
        return value if wrote == language else in_language(value, wrote, language)

    def encoded(self, pk: int) -> Encoded:
        """The same, as it would be stored."""
        value, wrote = self._given[-pk - 1]
        return encode(value, language=wrote)

    def contents(self) -> dict[str, Content]:
        found = super().contents()
        return {name: self.encoded(pk) if isinstance(pk, int) and pk < 0 else pk for name, pk in found.items()}


class SpinInputs(Inputs):
    """The branches of a join, some of whose artifacts are others: in all of them, or in those from one step."""

    def __init__(self, state: SpinState, everywhere: Mapping[str, int], branches: Mapping[str, Mapping[str, int]]):
        self._spun, self._everywhere, self._branches = state, everywhere, branches
        super().__init__(state)

    def _others(self, position: int) -> dict[str, int]:
        return {**self._everywhere, **self._branches.get(self[position]._step, {})}

    def _load(self, position: int, name: str, language: str) -> Any:
        pk = 0 if name in self._spun.parameters else self._others(position).get(name, 0)
        return self._spun.given(pk, language) if pk < 0 else super()._load(position, name, language)

    def _artifacts(self, positions: Sequence[int]) -> Iterator[tuple[str, int]]:
        for position in positions:
            others = self._others(position)
            yield from others.items()
            yield from (pair for pair in super()._artifacts([position]) if pair[0] not in others)

    def _equal(self, references: set[int]) -> bool:
        stored_ones = {pk for pk in references if pk > 0}
        if stored_ones and not super()._equal(stored_ones):
            return False
        marks = {self._spun.encoded(pk).fingerprint for pk in references if pk < 0}
        if stored_ones:
            marks.add(content(self._spun.backend.db, min(stored_ones))[2])
        return len(marks) <= 1


def _keep(state: SpinState, error: BaseException | None, contents: Mapping[str, Content], trying: Trying) -> None:
    """Record the task in a place of its own, as the only task of a run."""
    import blake3

    from metaflow_core.values.encoded import Encoded

    assert trying.folder is not None
    os.makedirs(trying.folder, exist_ok=True)
    kept, graph = backend_in(trying.folder), flow_to_json(state.flow)

    def copied(value: Content) -> Encoded:
        """What is stored already, to be stored there too."""
        if not isinstance(value, int):
            return value
        if value < 0:
            return state.encoded(value)
        row = content(state.backend.db, value)
        found = stored(row, state.backend.storage)
        read = found.read
        write = None if read is None else lambda file: file.write(read())
        return Encoded(
            found.type, found.language, found.encoding, found.fingerprint, row[1], found.size, found.scalar, write
        )

    run = recording.create_run(
        kept.db,
        kept.storage,
        recording.NewRun(
            flow=state.flow.name,
            owner=identity.user(),
            identity=identity.identity(),
            system_tags=identity.system_tags(),
            graph=graph,
            graph_fingerprint=blake3.blake3(graph.encode()).hexdigest(),
            artifacts={name: copied(pk) for name, pk in state.parameters.items()},
            host=here(),
            pid=os.getpid(),
        ),
    )
    task = state.task
    pk = recording.create_task(kept.db, run.pk, task.step, task.id, task.frames, task.split_index, [])
    result = recording.Result("done", state.result()) if error is None else failure_of(state, error)
    items = [copied(item) for item in state.split_contents()] if error is None else []
    facts = {"origin-run-id": state.run.id, "origin-task-id": task.id}
    values = {name: copied(value) for name, value in contents.items()}
    recording.commit_attempt(kept.db, kept.storage, pk, 0, result, values, items, facts)
    recording.finish_run(kept.db, run.pk, "completed" if error is None else "failed")
    if trying.attribute_file is not None:
        import json

        names_of_task = {"flow_name": state.flow.name, "run_id": run.id, "step_name": task.step, "task_id": task.id}
        with open(trying.attribute_file, "w", encoding="utf-8") as file:
            json.dump({**names_of_task, "folder": trying.folder}, file)
    kept.close()
