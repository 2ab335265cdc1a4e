"""What a join step gets from the branches it joins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from metaflow_core.metadata.contents import COLUMNS, stored
from metaflow_core.names import show
from metaflow_core.values import decode, losses

if TYPE_CHECKING:
    from metaflow_core.engine.state import TaskState
    from metaflow_core.metadata.database import Row


class JoinInput:
    """One branch: its artifacts as attributes, each loaded when it is used.

    An artifact may be called ``get`` or ``names``, so only what no artifact can be called has such a name here.
    """

    def __init__(
        self, inputs: Inputs, position: int, pk: int, attempt: int, step: str, frames: list[list[Any]]
    ) -> None:
        self._inputs = inputs
        self._position = position
        self._pk = pk
        self._attempt = attempt
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
        return self._inputs._state.item_of(self._frames)

    def foreach_stack(self) -> list[tuple[int, int, Any]]:
        """``(index, num_splits, value)`` of every foreach around the branch, outermost first."""
        return self._inputs._state.stack_of(self._frames)

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
                f"The branch {self._step} (input {self._position}) of the join {self._inputs._state.step.name} has no "
                f"artifact {name!r}. It has: {', '.join(self._names())}."
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._names()]

    def __repr__(self) -> str:
        return f"<input {self._position} of {self._inputs._state.step.name}, from {self._step}>"


class Inputs(Sequence[JoinInput]):
    """The branches of a join: static ones in the order of the ``next`` call, those of a foreach by index.

    ``inputs[i]``, iteration and ``len`` work, and ``inputs.step_name`` for static branches. Loading an artifact from
    one branch loads its references for all, so that gathering from many branches is one query.
    """

    def __init__(self, state: TaskState, parents: list[tuple[int, int, str, list[list[Any]]]]) -> None:
        self._state = state
        self._inputs = [JoinInput(self, i, *parent) for i, parent in enumerate(parents)]
        # A step may be called `count` or `load`, so these come before the attributes of the class.
        steps = Counter(one._step for one in self._inputs)
        self.__dict__.update({one._step: one for one in self._inputs if steps[one._step] == 1})
        self._columns: dict[str, dict[int, Row]] = {}
        self._known: dict[int, dict[str, int]] | None = None

    @overload
    def __getitem__(self, key: int) -> JoinInput: ...

    @overload
    def __getitem__(self, key: slice) -> list[JoinInput]: ...

    def __getitem__(self, key: int | slice) -> JoinInput | list[JoinInput]:
        return self._inputs[key]

    def __len__(self) -> int:
        return len(self._inputs)

    def __iter__(self) -> Iterator[JoinInput]:
        return iter(self._inputs)

    def __getattr__(self, name: str) -> JoinInput:
        if name.startswith("__"):
            raise AttributeError(name)
        branches = ", ".join(dict.fromkeys(i._step for i in self._inputs))
        count = sum(i._step == name for i in self._inputs)
        if count:
            raise AttributeError(f"The join {self._state.step.name} has {count} inputs from {name}: use inputs[i].")
        raise AttributeError(
            f"The join {self._state.step.name} has no input {show(name)}. Its inputs come from: {branches}."
        )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(i._step for i in self._inputs)]

    def __repr__(self) -> str:
        return f"<{len(self)} inputs of {self._state.step.name}>"

    def _load(self, position: int, name: str, language: str) -> Any:
        if name in self._state.parameters:
            return self._state.get(name, language)
        if name not in self._columns:
            columns = ", ".join(f"c.{column}" for column in COLUMNS.split(", "))
            rows = self._state.backend.db.execute(
                f"SELECT p.position, {columns} FROM task_parents p JOIN tasks t ON t.pk = p.parent_pk"
                " JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt AND a.name = ?"
                " JOIN contents c ON c.pk = a.content_pk WHERE p.task_pk = ?",
                (name, self._state.task.pk),
            )
            self._columns[name] = {row[0]: row[1:] for row in rows}
        with losses.about(f"the artifact {name!r}"):
            return decode(stored(self._columns[name][position], self._state.backend.storage), language=language)

    def _references(self) -> dict[int, dict[str, int]]:
        """For each position: name -> ``pk`` of the content of each artifact that is no parameter."""
        if self._known is None:
            self._known = {i: {} for i in range(len(self))}
            for position, name, pk in self._state.backend.db.execute(
                "SELECT p.position, a.name, a.content_pk FROM task_parents p JOIN tasks t ON t.pk = p.parent_pk"
                " JOIN artifacts a ON a.task_pk = t.pk AND a.attempt = t.attempt"
                " WHERE p.task_pk = ? ORDER BY p.position, a.name",
                (self._state.task.pk,),
            ):
                self._known[position][name] = pk
        return self._known

    def _names(self, position: int) -> list[str]:
        return list(self._references()[position])

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
