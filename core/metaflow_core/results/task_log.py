"""What a task wrote to its standard output and standard error."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal, overload

from metaflow_core.errors import MetaflowException
from metaflow_core.metadata import task_queries
from metaflow_core.names import show
from metaflow_core.results.base import time_of

if TYPE_CHECKING:
    from metaflow_core.metadata.task_queries import StoredTask
    from metaflow_core.results.base import Scope
    from metaflow_core.store.logs import LogLine, Stream


class TaskLog:
    """The part of a task that reads its log."""

    _scope: Scope
    _row: StoredTask

    @property
    def current_attempt(self) -> int:
        raise NotImplementedError

    @property
    def stdout(self) -> str:
        """All that the attempt wrote to standard output."""
        return self._text("stdout")

    @property
    def stderr(self) -> str:
        """All that the attempt wrote to standard error."""
        return self._text("stderr")

    @overload
    def loglines(
        self, stream: str, as_unicode: Literal[True] = True, meta_dict: object = None
    ) -> Iterator[tuple[datetime, str]]: ...

    @overload
    def loglines(
        self, stream: str, as_unicode: Literal[False], meta_dict: object = None
    ) -> Iterator[tuple[datetime, bytes]]: ...

    def loglines(
        self, stream: str, as_unicode: bool = True, meta_dict: object = None
    ) -> Iterator[tuple[datetime, str]] | Iterator[tuple[datetime, bytes]]:
        """The lines of ``stream``, ``"stdout"`` or ``"stderr"``, without line breaks, each with its time in UTC.

        ``as_unicode=False`` gives bytes; bytes that are no UTF-8 are replaced otherwise. ``meta_dict`` is not needed
        here; it is accepted for code written for Metaflow.
        """
        if stream not in ("stdout", "stderr"):
            raise MetaflowException(f'The streams of a task are "stdout" and "stderr", not {show(stream)}.')
        lines = _whole(self._log(stream))  # type: ignore[arg-type]
        if as_unicode:
            return ((time_of(when), text.decode("utf-8", "replace")) for when, text in lines)
        return ((time_of(when), text) for when, text in lines)

    def _text(self, stream: Stream) -> str:
        return b"".join(line.data for line in self._log(stream)).decode("utf-8", "replace")

    def _log(self, stream: Stream | None) -> Iterator[LogLine]:
        from metaflow_core.store.logs import read_log

        return read_log(self._scope.backend.storage, self._log_key(), stream)

    def _log_key(self) -> str:
        """Where the log is: for a task that was taken over, where the task that ran has left it."""
        from metaflow_core.store.logs import log_key

        db = self._scope.backend.db
        row = task_queries.task_by_pk(db, self._row.pk)  # the run that was resumed may have been removed since
        while row.origin_task_pk is not None:
            row = task_queries.task_by_pk(db, row.origin_task_pk)
        flow, run, step, task = task_queries.full_address(db, row.pk)
        return log_key(flow, run, step, task, self.current_attempt)


def _whole(parts: Iterator[LogLine]) -> Iterator[tuple[int, bytes]]:
    """Lines put together from the parts in which long ones were stored."""
    waiting: list[bytes] = []
    when = 0
    for part in parts:
        if not waiting:
            when = part.when
        waiting.append(part.text)
        if part.complete:
            yield when, b"".join(waiting)
            waiting = []
    if waiting:
        yield when, b"".join(waiting)
