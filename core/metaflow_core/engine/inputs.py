"""What a join step gets from the branches it joins."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, overload
from weakref import WeakValueDictionary

from metaflow_core.metadata import recording
from metaflow_core.metadata.contents import COLUMNS, in_store, stored
from metaflow_core.names import advise, show
from metaflow_core.values import decode, losses

if TYPE_CHECKING:
    from metaflow_core.engine.state import TaskState
    from metaflow_core.metadata.database import Row

AHEAD, SMALL = 64, 1 << 20  # so many artifacts of at most so many bytes are fetched before they are used
PAGE = 256  # inputs of which one query loads what is asked of one of them

Parent = tuple[int, int, str, str]  # pk, attempt, step, frames as JSON


class _Pages:
    """What is known of each input, loaded for ``PAGE`` of them at a time; only the page that was used last is kept."""

    def __init__(self, load: Callable[[int, int], dict[int, Any]]) -> None:
        self._load = load
        self._first = -1
        self.page: dict[int, Any] = {}

    def __getitem__(self, position: int) -> Any:
        first = position - position % PAGE
        if first != self._first:
            self.page = self._load(first, first + PAGE)
            self._first = first
        return self.page[position]


class JoinInput:
    """One branch: its artifacts as attributes, each loaded when it is used.

    An artifact may be called ``get`` or ``names``, so only what no artifact can be called has such a name here.
    """

    def __init__(self, inputs: Inputs, position: int, step: str, frames: list[list[Any]]) -> None:
        self._inputs = inputs
        self._position = position
        self._step = step
        self._frames = frames
        self._values: dict[str, Any] = {}

    @property
    def index(self) -> int | None:
        """The branch's place in the foreach that is joined."""
        return self._inputs._state.index_of(self._frames)

    @property
    def input(self) -> Any:
        """The element of the foreach that the branch worked on."""
        if "_item" not in self.__dict__:
            self._item = self._inputs._state.item_of(self._step, self._frames)
        return self._item

    def foreach_stack(self) -> list[tuple[int, int, Any]]:
        """``(index, num_splits, value)`` of every foreach around the branch, outermost first."""
        return self._inputs._state.stack_of(self._step, self._frames)

    def _get(self, name: str, language: str = "python") -> Any:
        """The artifact ``name``; ``KeyError`` when the branch has none."""
        if name not in self._values:
            self._values[name] = self._inputs._load(self._position, name, language)
        return self._values[name]

    def _names(self) -> list[str]:
        """The names of the branch's artifacts, parameters and constants included."""
        return [*self._inputs._names(self._position), *self._inputs._state.parameters]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._get(name)
        except KeyError:
            raise AttributeError(
                f"The branch {self._step!r} (input {self._position}) of the join {self._inputs._state.step.name!r} "
                f"has no artifact {name!r}. {advise(name, self._names(), 'It has')}"
            ) from None

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        raise AttributeError(
            f"{name!r} can't be set on an input of the join {self._inputs._state.step.name!r}: what the branches have "
            f"stored stays as it is. Set it on `self`."
        )

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._names()]

    def __repr__(self) -> str:
        return f"<input {self._position} of {self._inputs._state.step.name}, from {self._step}>"


class Inputs(Sequence[JoinInput]):
    """The branches of a join: static ones in the order of the ``next`` call, those of a foreach by index.

    ``inputs[i]``, iteration and ``len`` work, and ``inputs.step_name`` for static branches. However many there are,
    only what is used is loaded, and of more than ``PAGE`` only what is used now is kept: ``[i.x for i in inputs]``
    holds nothing but the values.
    """

    def __init__(self, state: TaskState) -> None:
        self._begin(state, recording.count_parents(state.backend.db, state.task.pk), self._load_parents)

    def _begin(self, state: TaskState, count: int, load: Callable[[int, int], dict[int, Any]]) -> None:
        self._state = state
        self._count = count
        self._parents = _Pages(load)
        self._columns: dict[str, _Pages] = {}
        self._last: dict[str, int] = {}  # by artifact: whose was loaded last,
        self._ahead: dict[str, int] = {}  # and the first that was not asked for ahead
        few = count <= PAGE
        self._inputs: MutableMapping[int, JoinInput] = {} if few else WeakValueDictionary()
        if few:  # of more, some come from the same step, or there are more branches than a flow has steps
            # A step may be called `count` or `load`, so these come before the attributes of the class.
            steps = Counter(one._step for one in self)
            self.__dict__.update({one._step: one for one in self if steps[one._step] == 1})

    @overload
    def __getitem__(self, key: int) -> JoinInput: ...

    @overload
    def __getitem__(self, key: slice) -> list[JoinInput]: ...

    def __getitem__(self, key: int | slice) -> JoinInput | list[JoinInput]:
        if isinstance(key, slice):
            return [self[i] for i in range(*key.indices(self._count))]
        try:
            position = range(self._count)[key]
        except IndexError:
            raise IndexError(
                f"The join {self._state.step.name!r} has no input {key!r}. It has {len(self)}, "
                f"from 0 to {len(self) - 1}."
            ) from None
        found = self._inputs.get(position)
        if found is None:
            _, _, step, frames = self._parents[position]
            found = self._inputs[position] = JoinInput(self, position, step, json.loads(frames))
        return found

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[JoinInput]:
        return (self[i] for i in range(self._count))

    def __getattr__(self, name: str) -> JoinInput:
        if name.startswith("__"):
            raise AttributeError(name)
        steps = Counter(self._steps())
        if steps[name]:
            raise AttributeError(
                f"The join {self._state.step.name!r} has {steps[name]} inputs from {name!r}: use inputs[i]."
            )
        raise AttributeError(
            f"The join {self._state.step.name!r} has no input {show(name)}. Its inputs come from: {', '.join(steps)}."
        )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *dict.fromkeys(self._steps())]

    def __repr__(self) -> str:
        return f"<{len(self)} inputs of {self._state.step.name}>"

    def _steps(self) -> Iterator[str]:
        """The step from which each input comes."""
        return (self._parents[position][2] for position in range(self._count))

    def _step_names(self) -> list[str] | None:
        """The steps from which the inputs come, when they are all different."""
        names = list(self._steps()) if self._count <= PAGE else []
        return names if len(set(names)) == self._count else None

    def _load_parents(self, first: int, end: int) -> dict[int, Parent]:
        parents = recording.parents(self._state.backend.db, self._state.task.pk, first, end)
        return dict(enumerate(parents, first))

    def _load(self, position: int, name: str, language: str) -> Any:
        if name in self._state.parameters:
            return self._state.get(name, language)
        if name not in self._columns:
            self._columns[name] = _Pages(lambda first, end: self._load_column(name, first, end))
        row = self._columns[name][position]
        if position == self._last.get(name, -2) + 1 and position >= self._ahead.get(name, 0) and in_store(row):
            # One after the other: a store that is far away gets those that come next at once.
            self._ahead[name] = position + AHEAD
            page = self._columns[name].page
            rows = [page[i] for i in range(position, position + AHEAD) if i in page]
            self._state.backend.storage.prefetch([key for row in rows if (key := in_store(row, SMALL))])
        self._last[name] = position
        with losses.about(f"the artifact {name!r}"):
            return decode(stored(row, self._state.backend.storage), language=language)

    def _load_column(self, name: str, first: int, end: int) -> dict[int, Row]:
        columns = ", ".join(f"c.{column}" for column in COLUMNS.split(", "))
        rows = self._state.backend.db.execute(
            f"SELECT p.position, {columns} FROM task_parents p JOIN tasks t ON t.pk = p.parent_pk"
            " JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt AND a.name = ?"
            " JOIN contents c ON c.pk = a.content_pk WHERE p.task_pk = ? AND p.position >= ? AND p.position < ?",
            (name, self._state.task.pk, first, end),
        )
        return {row[0]: row[1:] for row in rows}

    def _artifacts(self, positions: Sequence[int]) -> Iterator[tuple[str, int]]:
        """Names and ``pk`` of the contents of the artifacts that are no parameters, each pair about once."""
        for first in range(0, len(positions), PAGE):
            some = positions[first : first + PAGE]
            marks = ", ".join("?" * len(some))
            rows = self._state.backend.db.execute(
                "SELECT DISTINCT a.name, a.content_pk FROM task_parents p JOIN tasks t ON t.pk = p.parent_pk"
                " JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt"
                f" WHERE p.task_pk = ? AND p.position IN ({marks})",
                (self._state.task.pk, *some),
            )
            yield from ((row[0], row[1]) for row in rows)

    def _names(self, position: int) -> list[str]:
        return sorted(name for name, _ in self._artifacts([position]))

    def _equal(self, references: set[int]) -> bool:
        """Whether all of these contents are the same value."""
        fingerprints: set[str] = set()
        some = list(references)
        for first in range(0, len(some), 500):
            part = some[first : first + 500]
            marks = ", ".join("?" * len(part))
            rows = self._state.backend.db.execute(
                f"SELECT DISTINCT fingerprint FROM contents WHERE pk IN ({marks})", part
            )
            fingerprints.update(row[0] for row in rows)
            if len(fingerprints) > 1:
                return False
        return True
