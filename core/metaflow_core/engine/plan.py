"""What is ready to run: fan-outs, joins and retries, without holding a task before its turn."""

from __future__ import annotations

import heapq
import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from metaflow_core.graph.model import FlowDef

Fits = Callable[[str, int], bool]
Frames = list[list[Any]]  # [id of the splitting task, "foreach" or "split", index, number of splits], outermost first


@dataclass(slots=True)
class Work:
    """An attempt that can start. ``task_pk`` is 0 until the task is created.

    ``gang`` is the id of the task whose ``num_parallel`` led here: all of its children run at once.
    """

    step: str
    frames: Frames
    split_index: int | None
    parents: Sequence[int]
    task_pk: int = 0
    task_id: str = ""
    attempt: int = 0
    fallback: bool = False
    gang: str = ""

    def again(self, fallback: bool = False) -> Work:
        """The next attempt of the same task."""
        return replace(self, parents=[], attempt=self.attempt + 1, fallback=fallback)


@dataclass(slots=True)
class _FanOut:
    """The children of a foreach that are not started yet."""

    step: str
    frames: Frames
    parent_pk: int
    split: str
    count: int
    at_once: bool = False
    next: int = 0


@dataclass(slots=True)
class _Barrier:
    """A join that waits for its inputs, by index."""

    inputs: array[int]
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
    _begun: deque[Work] = field(default_factory=deque)  # of a gang that there is room for: nothing goes before it
    _later: list[tuple[float, int, list[Work]]] = field(default_factory=list)
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
            at_once = kind == "parallel"
            self._ready.appendleft(_FanOut(targets[0], frames, task_pk, task_id, transition["num_splits"], at_once))
        elif kind == "split":
            # Each is put in front of the others, so the last goes first.
            for i, target in reversed(list(enumerate(targets))):
                self._lead(target, [*frames, [task_id, "split", i, len(targets)]], task_pk, i)
        else:
            self._lead(targets[0], frames, task_pk, -1)

    def retry(self, works: list[Work], at: float) -> None:
        """Run ``works`` again, all of them at once, not before the time ``at``."""
        self._counter += 1
        heapq.heappush(self._later, (at, self._counter, works))

    def next(self, now: float, free: int = sys.maxsize, fits: Fits | None = None) -> Work | None:
        """Work that can start now, taken from the plan; there is room for ``free`` tasks.

        A gang starts when there is room for all of it, and what is behind it waits as well: two that have each begun
        in part would wait for each other. Work of a step for which ``fits(step, number of tasks at once)`` is false
        waits, and what is behind it goes before it.
        """
        if not self._begun:
            self._begin(now, free, fits)
        return self._begun.popleft() if self._begun else None

    def _begin(self, now: float, free: int, fits: Fits | None) -> None:
        due = [entry for entry in self._later if entry[0] <= now]
        if fits is not None:
            due = [entry for entry in due if fits(entry[2][0].step, len(entry[2]))]
        if due:
            first_due = min(due)
            if len(first_due[2]) <= free:
                self._later.remove(first_due)
                heapq.heapify(self._later)
                self._begun.extend(first_due[2])
            return
        place = 0
        while place < len(self._ready) and not self._begun:
            first = self._ready[place]
            if fits is not None and not fits(
                first.step, first.count if isinstance(first, _FanOut) and first.at_once else 1
            ):
                place += 1
                continue
            if isinstance(first, Work):
                self._begun.append(first)
            elif first.at_once and first.count > free:
                return
            else:
                children = self._children(first)
                self._begun.extend(children if first.at_once else islice(children, 1))
                if self._begun and not first.at_once:
                    return
            del self._ready[place]

    def next_time(self, after: float) -> float:
        """When the next retry is due after that time; infinity when none is."""
        return min((at for at, _, _ in self._later if at > after), default=float("inf"))

    @property
    def waiting(self) -> bool:
        """Whether there is work for later."""
        return bool(self._begun or self._ready or self._later)

    def _children(self, fan: _FanOut) -> Iterator[Work]:
        while fan.next < fan.count:
            index, fan.next = fan.next, fan.next + 1
            if (fan.parent_pk, fan.step, index) not in self.taken_over:
                frames = [*fan.frames, [fan.split, "foreach", index, fan.count]]
                yield Work(fan.step, frames, index, [fan.parent_pk], gang=fan.split if fan.at_once else "")

    def _lead(self, step: str, frames: Frames, parent_pk: int, position: int) -> None:
        if not self.flow[step].is_join:
            self._queue(Work(step, frames, split_index(frames), [parent_pk]), position)
            return
        split, _, index, count = frames[-1]
        barrier = self._barriers.get((step, split))
        if barrier is None:
            barrier = self._barriers[step, split] = _Barrier(array("q", bytes(8 * count)), count)
        barrier.inputs[index] = parent_pk
        barrier.missing -= 1
        if barrier.missing == 0:
            del self._barriers[step, split]
            self._queue(Work(step, frames[:-1], split_index(frames[:-1]), barrier.inputs), -1)

    def _queue(self, work: Work, position: int) -> None:
        # Deeper work first: a branch is finished before the next one is begun, so that little is ever half-done.
        if (work.parents[0], work.step, position) not in self.taken_over:
            self._ready.appendleft(work)


def split_index(frames: Frames) -> int | None:
    """The place of a task in the innermost foreach around it."""
    return next((frame[2] for frame in reversed(frames) if frame[1] == "foreach"), None)
