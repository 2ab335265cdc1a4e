"""How far a run is, step by step, and the rows of the live view."""

from __future__ import annotations

import time
from collections.abc import Sequence

from metaflow_core.engine.output import Row
from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata.cloning import ClonedTask

WIDE = 5  # a step with fewer tasks has no rate
NAME_COLUMNS = 24
BAR_COLUMNS = 20
BARS = ("━", "─")
PLAIN_BARS = ("#", ".")


class StepProgress:
    """A step that has begun. ``taken`` of its ``done`` tasks are those of the run that is resumed."""

    __slots__ = ("began", "done", "ended", "failed", "name", "retried", "running", "taken")

    def __init__(self, name: str) -> None:
        self.name = name
        self.running = self.done = self.failed = self.retried = self.taken = 0
        self.began = self.ended = 0.0

    @property
    def seconds(self) -> float:
        """From the begin of its first task to the end of its last one so far."""
        return (time.monotonic() if self.running else self.ended) - self.began if self.began else 0.0


class Progress:
    """Counts tasks. ``bars`` are the two characters that bars are made of."""

    def __init__(self, flow: FlowDef, bars: tuple[str, str] = BARS) -> None:
        self.steps: dict[str, StepProgress] = {}  # in the order in which they have begun
        self.began = time.monotonic()
        self._bars = bars
        self._names = list(flow.steps)
        self._around, self._unsure = _foreaches(flow)
        self._splits: dict[str, int] = {}  # children so far, by the step that has the foreach

    # --- what happens ----------------------------------------------------------------------------------------------

    def taken_over(self, tasks: Sequence[ClonedTask]) -> None:
        for task in tasks:
            step = self._step(task.step)
            step.done += 1
            step.taken += 1
            splits = (task.transition or {}).get("num_splits")
            if splits is not None:
                self.fan_out(task.step, splits)

    def task_started(self, name: str) -> None:
        step = self._step(name)
        step.running += 1
        step.began = step.began or time.monotonic()

    def fan_out(self, name: str, splits: int) -> None:
        self._splits[name] = self._splits.get(name, 0) + splits

    def task_finished(self, name: str) -> None:
        self._ended(name).done += 1

    def task_failed(self, name: str, again: bool) -> None:
        step = self._ended(name)
        if again:
            step.retried += 1
        else:
            step.failed += 1

    def _step(self, name: str) -> StepProgress:
        step = self.steps.get(name)
        if step is None:
            step = self.steps[name] = StepProgress(name)
        return step

    def _ended(self, name: str) -> StepProgress:
        step = self._step(name)
        step.running = max(0, step.running - 1)  # one that could not be started has not begun
        step.ended = time.monotonic()
        return step

    def total(self, name: str) -> int | None:
        """How many tasks a step is going to have; None while that is not known."""
        if name in self._unsure:
            return None
        around = self._around[name]
        if around is None:
            return 1
        outer, known = self.total(around), self._splits.get(around)
        step = self.steps.get(around)
        return known if known is not None and step is not None and step.done == outer else None

    # --- rows ------------------------------------------------------------------------------------------------------

    def rows(self, columns: int, lines: int) -> list[Row]:
        """The rows for a terminal of this size. They take at most half of it, so that the output stays in view."""
        room = max(1, lines // 2) - 1
        steps = list(self.steps.values())
        fits = len(steps) <= room
        chosen = set(steps) if fits else set(sorted(steps, key=_rank)[: max(0, room - 1)])
        shown = [step for step in steps if step in chosen]
        rows = []
        if shown:
            names = min(NAME_COLUMNS, max(len(step.name) for step in shown), max(4, columns // 3))
            rows = [self._row(step, names, columns) for step in shown]
        if not fits and room > 0:
            rest = [step for step in steps if step not in chosen]
            active = sum(1 for step in rest if step.running)
            rows.append(
                [(f"  ... {len(rest)} more steps" + (f", {active} of them running" if active else ""), "faint")]
            )
        waiting = [name for name in self._names if name not in self.steps]
        if waiting and len(rows) < room:
            rows.append([("  not begun: " + ", ".join(waiting), "faint")])
        rows.append(self._totals())
        return rows

    def _row(self, step: StepProgress, names: int, columns: int) -> Row:
        total = self.total(step.name)
        row: Row = [(f"  {step.name[:names]:{names}}  ", "")]
        bar = min(BAR_COLUMNS, columns - names - 40)
        if bar >= 5:
            row += self._bar(step, total, bar)
        row.append((f"{step.done}/{total}" if total is not None else f"{step.done} done", ""))
        if step.running:
            row.append((f", {step.running} running", ""))
        if step.failed:
            row.append((f", {step.failed} failed", "bad"))
        if step.retried:
            row.append((f", {step.retried} retried", ""))
        row.append((_pace(step, total), "faint"))
        return row

    def _bar(self, step: StepProgress, total: int | None, columns: int) -> Row:
        full, empty = self._bars
        if total is None or not total:
            return [(" " * columns + "  ", "")]
        filled = columns * min(step.done, total) // total
        style = "bad" if step.failed else "good"
        return [(full * filled, style), (empty * (columns - filled) + "  ", "faint")]

    def _totals(self) -> Row:
        running, done, failed = (sum(getattr(s, n) for s in self.steps.values()) for n in ("running", "done", "failed"))
        counts = f"{running} running, {done} done" + (f", {failed} failed" if failed else "")
        return [(f"{clock(time.monotonic() - self.began)}  {counts}", "bold")]


def clock(seconds: float) -> str:
    """A time as ``1:05`` or ``2:00:09``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _pace(step: StepProgress, total: int | None) -> str:
    """Tasks per time and the time that is left, when there is enough to say so."""
    done, seconds = step.done - step.taken, step.seconds
    if total is None or total < WIDE or done < 2 or seconds < 1:
        return ""
    rate = done / seconds
    unit, factor = next((u for u in (("s", 1), ("min", 60)) if rate * u[1] >= 1), ("h", 3600))
    text = f"{rate * factor:.3g}/{unit}"
    left = total - step.done - step.failed
    return f"  {text}" + (f", {clock(left / rate)} left" if left > 0 and step.running else "")


def _rank(step: StepProgress) -> tuple[bool, bool, float]:
    """Which steps to show when there are too many: those that run, those that failed, those that were last at work."""
    return not step.running, not step.failed, -max(step.began, step.ended)


def _foreaches(flow: FlowDef) -> tuple[dict[str, str | None], set[str]]:
    """The foreach around each step, named by the step that has it; and the steps of which a switch decides."""
    around: dict[str, str | None] = {}
    unsure: set[str] = set()
    waiting: list[tuple[str, tuple[str | None, ...], bool]] = [(flow.start.name, (), False)]
    while waiting:
        name, frames, maybe = waiting.pop()
        if name in around and not (maybe and name not in unsure):
            continue
        around[name] = next((frame for frame in reversed(frames) if frame), None)
        if maybe:
            unsure.add(name)
        transition = flow[name].transition
        if transition is None:
            continue
        if transition.kind in ("foreach", "parallel"):
            frames = (*frames, name)
        elif transition.kind == "split":
            frames = (*frames, None)
        for target in transition.targets:
            below = frames[:-1] if flow[target].is_join else frames
            waiting.append((target, below, maybe or transition.kind == "switch"))
    return around, unsure
