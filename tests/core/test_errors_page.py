"""The table in docs/errors.md is that of the errors. ``UPDATE_SNAPSHOTS=1 pytest ...`` writes it."""

from __future__ import annotations

import os
from pathlib import Path

from metaflow_core.errors import table

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
MARK = "<!-- table of classes: written by tests/core/test_errors_page.py -->\n"


def test_the_page_lists_every_error() -> None:
    lines = ["| Python | R | exit status | when |", "|---|---|---|---|"]
    for cls in table():
        when = " ".join((cls.__doc__ or "").split("\n\n")[0].replace("``", "`").split())
        lines.append(f"| `{cls.__name__}` | `{cls.condition}` | {cls.exit_code} | {when} |")
    before, mark, after = PAGE.read_text(encoding="utf-8").partition(MARK)
    expected = "\n" + "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        PAGE.write_text(before + mark + expected, encoding="utf-8")
    else:
        assert mark and after == expected
