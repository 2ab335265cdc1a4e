"""What a run has read of other runs, and who has read what of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from metaflow_core.metadata.database import Database
from metaflow_core.metadata.lineage_queries import StoredRead, reads_by, reads_of
from metaflow_core.results import html
from metaflow_core.results.base import Scope, time_of

if TYPE_CHECKING:
    from metaflow_core.results.run import Run


@dataclass(frozen=True, slots=True)
class ArtifactRead:
    """An artifact that a task of another run has read through the client.

    ``artifact`` is its pathspec, ``run_pathspec`` the *other* run: in ``run.inputs`` the one that was read from, in
    ``run.consumers`` the one that has read. ``step`` and ``task`` (a pathspec) are who read, ``at`` when for the first
    time, in UTC. What was read is known also when it does not exist any more.
    """

    artifact: str
    run_pathspec: str
    step: str
    task: str
    at: datetime
    _seen_from: Run = field(repr=False, compare=False)

    @property
    def run(self) -> Run:
        """The other run. ``MetaflowNotFound`` when it is gone, ``MetaflowNamespaceMismatch`` when it is elsewhere."""
        from metaflow_core.results.run import Run

        return Run._at(self._seen_from._scope, tuple(self.run_pathspec.split("/")), check=True)


class ArtifactReads(list[ArtifactRead]):
    """A list of :class:`ArtifactRead`, which prints as a table: one line for the tasks of a step that read the same."""

    def lines(self) -> list[str]:
        """The table as lines of text."""
        rows = [("ARTIFACT", "READ BY", "SINCE"), *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        return [f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}" for row in rows]

    def _rows(self) -> list[tuple[str, str, str]]:
        groups: dict[tuple[str, str], list[ArtifactRead]] = {}
        for read in self:
            groups.setdefault((read.artifact, read.task.rpartition("/")[0]), []).append(read)
        return [
            (
                artifact,
                reads[0].task if len(reads) == 1 else f"{step} ({len(reads):,} tasks)",
                f"{min(read.at for read in reads).astimezone():%Y-%m-%d %H:%M:%S}",
            )
            for (artifact, step), reads in groups.items()
        ]

    def __repr__(self) -> str:
        return "\n".join(self.lines()) if self else "[]"

    def _repr_html_(self) -> str:
        rows = self._rows()
        more = f"The first {html.ROWS} of {len(rows):,} are shown." if len(rows) > html.ROWS else ""
        return html.table("", ("artifact", "read by", "since"), rows[: html.ROWS], more)


class Lineage:
    """The part of a run that tells where its data came from, and where they went."""

    _scope: Scope

    def _tagged(self) -> tuple[Database, int]:
        raise NotImplementedError

    @property
    def inputs(self) -> ArtifactReads:
        """The artifacts of other runs that its tasks have read through the client, in the order of reading.

        They are of any namespace; opening one by ``.run`` obeys the namespace in which this run was opened. A task
        that runs still is not heard of, nor is one whose process was killed.
        """
        db, run_pk = self._tagged()
        return self._reads([(read, read.source.rsplit("/", 3)[0]) for read in reads_by(db, run_pk)])

    @property
    def consumers(self) -> ArtifactReads:
        """Who has read artifacts of this run: ``{read.run_pathspec for read in run.consumers}`` are the runs."""
        db, run_pk = self._tagged()
        return self._reads([(read, f"{read.flow}/{read.run}") for read in reads_of(db, run_pk)])

    def _reads(self, found: Sequence[tuple[StoredRead, str]]) -> ArtifactReads:
        return ArtifactReads(
            ArtifactRead(
                read.source,
                other,
                read.step,
                f"{read.flow}/{read.run}/{read.step}/{read.task}",
                time_of(read.at),
                self,  # type: ignore[arg-type]
            )
            for read, other in found
        )
