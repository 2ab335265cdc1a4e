"""A difference as tables, for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaflow_core.results import html
from metaflow_core.results.diff_data import rows
from metaflow_core.results.diff_text import MAX_CODE

if TYPE_CHECKING:
    from metaflow_core.results.diff import Diff

_COLOURS = {"+": "#22863a", "-": "#b31d28", "@": "#6f42c1"}


def as_html(diff: Diff) -> str:
    """A table of what differs, and the diffs of the code below it."""
    from html import escape

    header = ("", diff.old.pathspec, diff.new.pathspec)
    facts = [(name, _text(old), _text(new)) for name, (old, new) in diff.facts.items()]
    found = html.table("", header, facts)
    changes = [
        (row.section, row.step, row.name, row.old, row.new, row.detail) for row in rows(diff) if row.section != "code"
    ]
    if changes:
        found += html.table("", ("", "step", "name", "old", "new", "difference"), changes)
    for text in diff.code.values():
        lines = text.splitlines()
        body = "\n".join(
            f'<span style="color: {_COLOURS[line[0]]}">{escape(line)}</span>' if line[:1] in _COLOURS else escape(line)
            for line in lines[:MAX_CODE]
        )
        more = f"\n... and {len(lines) - MAX_CODE:,} more lines" if len(lines) > MAX_CODE else ""
        found += f'<pre style="text-align: left">{body}{more}</pre>'
    return found if changes or diff.code else f"{found}<p>Nothing differs.</p>"


def _text(value: object) -> str:
    return html.moment(value) if hasattr(value, "isoformat") else "" if value is None else str(value)
