"""Gangs: the tasks to which one ``num_parallel`` leads run at once, end as one, and are repeated as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metaflow_core.engine.plan import Work


class Member(NamedTuple):
    """A task of a gang that has ended. ``can_be_caught`` says that its process died, which ``@catch`` can handle."""

    work: Work
    finished: bool
    transition: dict[str, Any] | None = None
    can_be_caught: bool = False


@dataclass(slots=True)
class Gang:
    """The members that have ended, in any order. What they lead to waits until all have."""

    size: int
    ended: list[Member] = field(default_factory=list)
    stopped: bool = False  # whether the others were told to end, because one has failed

    @property
    def finished(self) -> list[Member]:
        """The members after which the flow goes on, by their place in the gang."""
        return sorted((m for m in self.ended if m.finished), key=lambda member: member.work.frames[-1][2])

    @property
    def failed(self) -> list[Member]:
        return [member for member in self.ended if not member.finished]

    @property
    def is_complete(self) -> bool:
        return len(self.ended) == self.size


class Gangs:
    """The gangs of a run that have begun to end."""

    def __init__(self) -> None:
        self._gangs: dict[tuple[str, str], Gang] = {}

    def add(self, member: Member) -> Gang:
        """Note the end of a member; the gang that it belongs to. One that is complete is forgotten."""
        key = (member.work.step, member.work.gang)
        gang = self._gangs.get(key)
        if gang is None:
            gang = self._gangs[key] = Gang(size=member.work.frames[-1][3])
        gang.ended.append(member)
        if gang.is_complete:
            del self._gangs[key]
        return gang

    def keep(self, work: Work, gang: Gang) -> None:
        """Let the gang, of which some members run once more, go on with those of the others that have finished."""
        gang.ended = gang.finished
        self._gangs[work.step, work.gang] = gang
