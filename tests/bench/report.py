"""The measured part of docs/benchmarks.md."""

from __future__ import annotations

import statistics

from budgets import budgets
from results import Results, Row

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def markdown(results: Results, facts: list[str]) -> str:
    """Facts, budgets, and the table of ratios."""
    lines = [*facts, "", "## Budgets", "", "| budget | limit | measured | |", "|---|---:|---:|---|"]
    for budget in budgets(results):
        measured = "" if budget.measured is None else _quantity(budget.measured, budget.unit)
        sign = "at least " if budget.at_least else "at most "
        limit = sign + _quantity(budget.limit, budget.unit)
        verdict = budget.verdict if budget.met is not False else f"**{budget.verdict}**"
        lines.append(f"| {budget.text} | {limit} | {measured} | {verdict} |")
    lines += ["", "## All measurements", "", "| | ours | released | released / ours | of CPU time | repeats |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    lines += [_line(row) for row in results.rows.values() if row.ours or row.failed or row.skipped]
    return "\n".join(lines)


def replace_measured(page: str, measured: str) -> str:
    """``page`` with a new measured part; what people wrote around it stays."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{measured}\n{END}{after}"


def _line(row: Row) -> str:
    if row.failed:
        return f"| {row.title} | failed: {row.failed.replace('|', ' ')} | | | | |"
    if row.skipped:
        return f"| {row.title} | not measured: {row.skipped} | | | | |"
    ours = _quantity(row.our_median, row.unit) if row.ours else ""
    released = _quantity(statistics.median(row.released), row.unit) if row.released else ""
    ratio = f"{row.ratio:.1f}" if row.ratio is not None else ""
    repeats = f"{len(row.ours)}"
    if row.released:
        repeats += " / stored" if row.stored else f" / {len(row.released)}"
    cpu = f"{row.cpu_ratio:.1f}" if row.cpu_ratio is not None else ""
    return f"| {row.title} | {ours} | {released} | {ratio} | {cpu} | {repeats} |"


def _quantity(value: float, unit: str) -> str:
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip().replace(" x", "x")
