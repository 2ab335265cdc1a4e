"""What is ready to run: fan-outs, joins and retries, without holding a task before its turn."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from metaflow_core.graph.model import FlowDef

Frames = list[list[Any]]  # [id of the splitting task, "foreach" or "split", index, number of splits], outermost first


@dataclass(slots=True)
class Work:
    """An attempt that can start. ``task_pk`` is 0 until the task is created."""

    step: str
    frames: Frames
    split_index: int | None
    parents: list[int]
    task_pk: int = 0
    task_id: str = ""
    attempt: int = 0
    fallback: bool = False


@dataclass(slots=True)
class _FanOut:
    """The children of a foreach that are not started yet."""

    step: str
    frames: Frames
    parent_pk: int
    split: str
    count: int
    next: int = 0


@dataclass(slots=True)
class _Barrier:
    """A join that waits for its inputs, by index."""

    inputs: list[int]
    missing: int


@dataclass(slots=True)
class Plan:
    """Turns finished tasks into work.

    ``taken_over`` holds the children that a resumed run has already, as ``(parent pk, step, index or -1)``: they are
    not run again. ``ended`` says whether the last step of the flow was reached.
    """

    flow: FlowDef
    taken_over: set[tuple[int, str, int]] = field(default_factory=set)
    ended: bool = False
    _ready: deque[Work | _FanOut] = field(default_factory=deque)
    _later: list[tuple[float, int, Work]] = field(default_factory=list)
    _barriers: dict[tuple[str, str], _Barrier] = field(default_factory=dict)
    _counter: int = 0

    def start(self, parameters_pk: int) -> None:
        """The flow begins."""
        self._queue(Work(self.flow.start.name, [], None, [parameters_pk]), -1)

    def finished(self, task_pk: int, task_id: str, frames: Frames, transition: dict[str, Any] | None) -> None:
        """A task has ended well: find what can run now."""
        if transition is None:
            return
        kind, targets = transition["kind"], transition["targets"]
        if kind in ("foreach", "parallel"):
            self._ready.appendleft(_FanOut(targets[0], frames, task_pk, task_id, transition["num_splits"]))
        elif kind == "split":
            # Each is put in front of the others, so the last goes first.
            for i, target in reversed(list(enumerate(targets))):
                self._lead(target, [*frames, [task_id, "split", i, len(targets)]], task_pk, i)
        else:
            self._lead(targets[0], frames, task_pk, -1)

    def retry(self, work: Work, at: float) -> None:
        """Run ``work`` again, not before the time ``at``."""
        self._counter += 1
        heapq.heappush(self._later, (at, self._counter, work))

    def next(self, now: float) -> Work | None:
        """Work that can start now, taken from the plan."""
        if self._later and self._later[0][0] <= now:
            return heapq.heappop(self._later)[2]
        while self._ready:
            first = self._ready[0]
            if isinstance(first, Work):
                self._ready.popleft()
                return first
            work = next(self._children(first), None)
            if work is not None:
                return work
            self._ready.popleft()
        return None

    @property
    def next_time(self) -> float | None:
        """When the next retry is due."""
        return self._later[0][0] if self._later else None

    @property
    def waiting(self) -> bool:
        """Whether there is work for later."""
        return bool(self._ready or self._later)

    def _children(self, fan: _FanOut) -> Iterator[Work]:
        while fan.next < fan.count:
            index, fan.next = fan.next, fan.next + 1
            if (fan.parent_pk, fan.step, index) not in self.taken_over:
                yield Work(fan.step, [*fan.frames, [fan.split, "foreach", index, fan.count]], index, [fan.parent_pk])

    def _lead(self, step: str, frames: Frames, parent_pk: int, position: int) -> None:
        if not self.flow[step].is_join:
            self._queue(Work(step, frames, _split_index(frames), [parent_pk]), position)
            return
        split, _, index, count = frames[-1]
        barrier = self._barriers.setdefault((step, split), _Barrier([0] * count, count))
        barrier.inputs[index] = parent_pk
        barrier.missing -= 1
        if barrier.missing == 0:
            del self._barriers[step, split]
            self._queue(Work(step, frames[:-1], _split_index(frames[:-1]), barrier.inputs), -1)

    def _queue(self, work: Work, position: int) -> None:
        # Deeper work first: a branch is finished before the next one is begun, so that little is ever half-done.
        if (work.parents[0], work.step, position) not in self.taken_over:
            self._ready.appendleft(work)


def _split_index(frames: Frames) -> int | None:
    return next((frame[2] for frame in reversed(frames) if frame[1] == "foreach"), None)
