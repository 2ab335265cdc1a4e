"""Whatever goes wrong with a flow in Python, as its user sees it: tests/snapshots/flow_errors_python.md."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import console_document
import pytest

DOCUMENT = Path(__file__).parents[1] / "snapshots" / "flow_errors_python.md"
START = '\n\nif __name__ == "__main__":\n    TrainFlow()\n'


@pytest.mark.parametrize("section", console_document.sections(DOCUMENT), ids=lambda section: section.title)
def test_what_users_see(project: Path, section: console_document.Section) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    console_document.check(DOCUMENT, section, project, environment, START)
