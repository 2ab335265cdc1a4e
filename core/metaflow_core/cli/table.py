"""Tables for people: aligned columns, and nothing in them that could spoil a line or a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import click


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> None:
    """Print rows below a header. The columns ``right`` are aligned to the right; the last one may be of any length."""
    table = [list(header), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(_width(row[column]) for row in table) for column in range(len(header))]
    for place, row in enumerate(table):
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blank = " " * (width - _width(cell))
            cells.append(blank + cell if column in right else cell + blank)
        line = "  ".join(cells).rstrip()
        click.echo(line if place else click.style(line, bold=True))


def one_line(text: str) -> str:
    """``text`` with escapes instead of what would break the line or change the colour."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def moment(at: datetime | None) -> str:
    """A time in the local time zone, to the minute."""
    return "" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M}"


def lasting(seconds: float | None) -> str:
    """How long something took: ``0.4s``, ``12s``, ``3m 05s``, ``2h 07m``, ``3d 04h``."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f}s"
    for size, unit, part, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        whole = round(seconds) if part == 1 else int(seconds)
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // part:02}{below}"
    return f"{seconds:.0f}s"


def _width(text: str) -> int:
    """How many places a terminal gives to a text."""
    if text.isascii():
        return len(text)
    wide = (2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text if not unicodedata.combining(c))
    return sum(wide)
