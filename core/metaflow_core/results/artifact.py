"""One artifact of a task."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from metaflow_core.errors import MetaflowException, MetaflowNotFound
from metaflow_core.metadata import lineage
from metaflow_core.metadata.contents import stored
from metaflow_core.metadata.database import Row
from metaflow_core.results import html, messages
from metaflow_core.results.base import MetaflowObject

if TYPE_CHECKING:
    import pyarrow as pa

    from metaflow_core.results.task import Task
    from metaflow_core.values.encoded import Stored


class DataArtifact(MetaflowObject):
    """An artifact: ``DataArtifact("HelloFlow/5/start/1/greeting")``. Its value is loaded by ``data``, not before."""

    _depth = 5
    _task: Task
    _row: Row
    _attempt: int | None = None

    def __init__(self, pathspec: str, attempt: int | None = None, *, _namespace_check: bool = True) -> None:
        self._attempt = attempt
        super().__init__(pathspec, _namespace_check=_namespace_check)

    @classmethod
    def _of(cls, task: Task, name: str, row: Row) -> DataArtifact:
        artifact = cls._bare(task._scope, (*task._parts, name))
        artifact._task, artifact._row, artifact._attempt = task, row, task._attempt
        return artifact

    def _find(self, check: bool) -> None:
        from metaflow_core.results.task import Task

        self._task = Task._bare(self._scope, self._parts[:4])
        self._task._attempt = self._attempt
        self._task._find(check)
        found = self._task._child(self.id)
        if found is None:
            raise MetaflowNotFound(messages.no_artifact(self._task.pathspec, self.id, self._task.data))
        self._row = found._row

    def _extra(self) -> dict[str, Any]:
        return {"_attempt": self._attempt}

    def _key(self) -> tuple[Any, ...]:
        return (*super()._key(), self._attempt)

    @property
    def parent(self) -> Task:
        """The task."""
        return self._task

    @property
    def user_tags(self) -> frozenset[str]:
        """The tags that people gave to the run."""
        return self._task.user_tags

    @property
    def system_tags(self) -> frozenset[str]:
        """The tags that every run gets by itself."""
        return self._task.system_tags

    def _has_tag(self, tag: str) -> bool:
        return self._task._has_tag(tag)

    @property
    def origin_pathspec(self) -> str | None:
        """The artifact of another run from which ``resume`` took this one over; None when it was made here."""
        task = self._task.origin_pathspec
        return None if task is None else f"{task}/{self.id}"

    @property
    def created_at(self) -> datetime:
        """When its task ended and so made it visible, in UTC."""
        return self._task.finished_at or self._task.created_at

    @property
    def finished_at(self) -> datetime | None:
        """The same as ``created_at``."""
        return self.created_at

    @property
    def data(self) -> Any:
        """The value."""
        return self.load()

    def select(self, *columns: str) -> Any:
        """A table with these columns alone; the others are not read.

            prices = Task("TrainFlow/5/start/1")["sales"].select("date", "price")

        ``MetaflowNotFound`` when a column is not there, ``UnreadableArtifact`` when the artifact is no table.
        """
        return self.load(columns=columns)

    def load(self, language: str = "python", columns: Sequence[str] | None = None) -> Any:
        """The value as ``language`` has it, of a table only ``columns`` when they are given.

        ``UnreadableArtifact`` when the stored data is damaged or refused.
        """
        from metaflow_core.values import decode, losses, trust

        try:
            with losses.about(f"the artifact {self.pathspec}"), trust.written_by(self._stranger):
                value = decode(self._stored(), language=language, columns=columns)
        except MetaflowException as error:
            error.message = f"{self.pathspec}: {error.message}"
            raise
        self._note()
        return value

    def _stranger(self) -> str | None:
        from metaflow_core.metadata.strangers import stranger

        return stranger(self._scope.backend.db, self._task._row.run_pk)

    def to_arrow(self) -> pa.Array | pa.ChunkedArray | pa.Table | pa.Scalar:
        """The value as Arrow data, whichever language wrote it. Executes no code."""
        from metaflow_core.values import to_arrow

        value = to_arrow(self._stored())
        self._note()
        return value

    def _note(self) -> None:
        """A task that reads an artifact of another run is known to have done so."""
        lineage.note(self._scope.backend.metadata_url, self._task._row.run_pk, self.pathspec)

    @property
    def size(self) -> int:
        """Bytes of the stored form."""
        return self._stored().size

    @property
    def sha(self) -> str:
        """Names the stored bytes: artifacts with the same bytes have the same one."""
        key: str = self._row[1]
        return key

    @property
    def type(self) -> str:
        """The type of the value, as its language calls it."""
        return self._stored().type

    @property
    def language(self) -> str:
        """The language that wrote it: ``python`` or ``r``."""
        return self._stored().language

    def _stored(self) -> Stored:
        return stored(self._row, self._scope.backend.storage)

    def _repr_html_(self) -> str:
        pairs = [("type", self.type), ("language", self.language), ("bytes", f"{self.size:,}"), ("sha", self.sha)]
        return html.facts(repr(self), pairs)
