"""The table of steps at the end of a run on a terminal."""

from __future__ import annotations

import time

from metaflow_core.engine.output import Row
from metaflow_core.engine.progress import Progress, StepProgress, clock

MOST_STEPS = 15


def summary(progress: Progress, look: str | None) -> list[Row]:
    """Its rows; ``look`` is the code that gives the run."""
    steps = list(progress.steps.values())
    left_out = len(steps) - MOST_STEPS if len(steps) > MOST_STEPS else 0
    shown = steps if not left_out else _most_telling(steps)
    header = ["step", "tasks", "time"]
    columns = [
        [step.name for step in shown],
        [str(_tasks(step)) for step in shown],
        [_time(step.seconds) for step in shown],
    ]
    for title, values in (
        ("taken over", [step.taken for step in shown]),
        ("retried", [step.retried for step in shown]),
        ("failed", [step.failed for step in shown]),
    ):
        if any(values):
            header.append(title)
            columns.append([str(value or "") for value in values])
    widths = [max(map(len, [title, *values])) for title, values in zip(header, columns, strict=True)]
    rows: list[Row] = [[(_line(header, widths), "faint")]]
    for i, step in enumerate(shown):
        rows.append([(_line([values[i] for values in columns], widths), "bad" if step.failed else "")])
    if left_out:
        rows.append([(f"... {left_out} more steps", "faint")])
    tasks = sum(map(_tasks, steps))
    total = f"{tasks} task{'s' * (tasks != 1)} in {_time(time.monotonic() - progress.began)}."
    rows.append([(total, "bold"), (f" Look at the run: {look}" if look else "", "")])
    return rows


def _tasks(step: StepProgress) -> int:
    return step.done + step.failed


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def _most_telling(steps: list[StepProgress]) -> list[StepProgress]:
    chosen = set(sorted(steps, key=lambda step: (not step.failed, not step.retried, -step.seconds))[:MOST_STEPS])
    return [step for step in steps if step in chosen]


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "".join([f"{first[0]:{first[1]}}", *(f"  {cell:>{wide}}" for cell, wide in rest)]).rstrip()
