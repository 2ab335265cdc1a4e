"""What the measurements gave: rows of the table, and the budgets they are held against."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Row:
    """One quantity, measured on one side or on both. ``ratio`` is released / ours: above 1 ours needs less.

    ``failed`` and ``skipped`` say why there is nothing, ``stored`` that the released side was measured at another time.
    """

    title: str
    unit: str
    ours: list[float] = field(default_factory=list)
    released: list[float] = field(default_factory=list)
    our_cpu: list[float] = field(default_factory=list)
    released_cpu: list[float] = field(default_factory=list)
    failed: str = ""
    skipped: str = ""
    stored: bool = False

    def add(self, ours: bool, value: float, cpu: float | None = None) -> None:
        (self.ours if ours else self.released).append(value)
        if cpu is not None:
            (self.our_cpu if ours else self.released_cpu).append(cpu)

    @property
    def our_median(self) -> float:
        return statistics.median(self.ours)

    @property
    def ratio(self) -> float | None:
        if not self.ours or not self.released or not self.our_median:
            return None
        return statistics.median(self.released) / self.our_median

    @property
    def cpu_ratio(self) -> float | None:
        if not self.our_cpu or not self.released_cpu:
            return None
        return statistics.median(self.released_cpu) / statistics.median(self.our_cpu)


@dataclass(slots=True)
class Budget:
    """``measured`` is to be at most ``limit``, or at least when ``at_least``. None: not measured this time."""

    text: str
    measured: float | None
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.met:
            return "met"
        # The limit is never 0 where it can be missed by a factor.
        by = self.limit / self.measured if self.at_least else self.measured / self.limit if self.limit else 0
        return f"missed, {by:.2f} times the limit" if by else f"missed, {self.measured:g} instead of 0"


class Results:
    """All rows of one run, by key."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def row(self, key: str, title: str, unit: str) -> Row:
        return self.rows.setdefault(key, Row(title, unit))

    def ours(self, key: str) -> float | None:
        """The median of our side."""
        row = self.rows.get(key)
        return row.our_median if row is not None and row.ours else None

    def ratio(self, key: str) -> float | None:
        row = self.rows.get(key)
        return row.ratio if row is not None else None

    def as_dict(self) -> dict[str, Any]:
        return {key: asdict(row) | {"ratio": row.ratio} for key, row in self.rows.items()}
