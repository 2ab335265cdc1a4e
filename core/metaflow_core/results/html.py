"""Small tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

ROWS = 20  # of a table of runs or tasks; a notebook is no place for thousands


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]], more: str = "") -> str:
    """A table with a title. All text is escaped; None is an empty cell."""
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption>{_text(title)}</caption>" if title else ""
    after = f"<p>{_text(more)}</p>" if more else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{after}"


def facts(title: str, pairs: Iterable[tuple[str, object]]) -> str:
    """A table of two columns without a header."""
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in pairs)
    return f"<table><caption>{_text(title)}</caption><tbody>{rows}</tbody></table>"


def moment(at: object) -> str:
    """A time, to the second."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def _text(value: object) -> str:
    from html import escape

    return "" if value is None else escape(str(value))
