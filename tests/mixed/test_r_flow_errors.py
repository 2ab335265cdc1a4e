"""Whatever goes wrong with a flow in R, as its user sees it: tests/snapshots/flow_errors_r.md."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import console_document
import pytest

DOCUMENT = Path(__file__).parents[1] / "snapshots" / "flow_errors_r.md"


@pytest.mark.parametrize("section", console_document.sections(DOCUMENT), ids=lambda section: section.title)
def test_what_users_see(r_project: Path, section: console_document.Section) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    console_document.check(DOCUMENT, section, r_project, environment)
