"""Small tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

ROWS = 20  # of a table of runs or tasks; a notebook is no place for thousands


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]], more: str = "") -> str:
    """A table with a title. All text is escaped; None is an empty cell."""
    head = "".join(_cell("th", name) for name in header)
    body = "".join("<tr>" + "".join(_cell("td", cell) for cell in row) + "</tr>" for row in rows)
    caption = _cell("caption", title) if title else ""
    after = f"<p>{_text(more)}</p>" if more else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{after}"


def facts(title: str, pairs: Iterable[tuple[str, object]]) -> str:
    """A table of two columns without a header; what is empty is left out."""
    rows = "".join(
        f"<tr>{_cell('th', name)}{_cell('td', value)}</tr>" for name, value in pairs if value not in (None, "")
    )
    return f"<table>{_cell('caption', title)}<tbody>{rows}</tbody></table>"


def moment(at: object) -> str:
    """A time, to the second."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def _cell(tag: str, value: object) -> str:
    # Notebooks align cells to the right by default, which suits numbers alone.
    return f'<{tag} style="text-align: left">{_text(value)}</{tag}>'


def _text(value: object) -> str:
    from html import escape

    return "" if value is None else escape(str(value))
