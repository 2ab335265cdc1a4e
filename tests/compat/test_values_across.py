"""Every type of value, written by each language and read by both: the table, and the frozen artifacts in R."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import fixtures
import pytest
from table import PYTHON, R, Row

HERE = Path(__file__).parent
ROWS = [pytest.param(language, row, id=f"{language}: {row.source}") for language, rows in
        (("python", PYTHON), ("r", R)) for row in rows]  # fmt: skip


@pytest.fixture(scope="module")
def results(r_library: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "check_table.py")],
        env={**os.environ, "R_LIBS": str(r_library), "TZ": "America/New_York"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "JSON" in done.stdout, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.partition("JSON")[2])
    return found


@pytest.mark.parametrize(("language", "row"), ROWS)
def test_a_value_crosses(results: dict[str, Any], language: str, row: Row) -> None:
    found = results[language][row.source]
    if "there is no package called" in found.get("error", ""):
        pytest.skip("the R package of this value is not installed")
    assert "error" not in found, found["error"]
    assert found["home"], "the language that wrote it reads another value"
    assert found["crossed"], f"the other language reads {found['shown'][0]}, not {row.other}"
    assert found["back"], f"the value came back as {found['shown'][1]}"
    assert found["equal"] == row.equal, "fingerprints"
    if row.warns:
        assert any(re.search(row.warns, text) for text in found["warned"]), found["warned"]
    else:
        assert not found["warned"]
    if language == "python" and row.stable:  # or a task that only looks at it would store it again
        assert found["stable"], "the value that was read has another key"


@pytest.mark.parametrize("name", fixtures.INDEX)
def test_r_reads_a_frozen_artifact_as_it_was(results: dict[str, Any], name: str) -> None:
    assert results["fixtures"][name] is True, results["fixtures"][name]


def test_nothing_is_lost_in_silence(r_library: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "check_random.py")],
        env={**os.environ, "R_LIBS": str(r_library)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "all came back" in done.stdout, done.stdout + done.stderr
