"""docs/production.md, from its first command to its last, in both languages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "production.md").read_text()


@pytest.mark.slow
def test_the_page(r_project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, code in re.findall(r"^`([\w.]+)`[^\n]*:\n\n```\w+\n(.*?)^```", PAGE, re.M | re.S):
        (r_project / name).write_text(code)
    bin = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("METAFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("METAFLOW_USER", "anne")
    script = "set -eu\n" + "".join(re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S))
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    everything = result.stdout + result.stderr
    assert result.returncode == 0, everything
    assert "demand.user.anne.ForecastFlow" in result.stdout and "demand.prod.OrderFlow" in result.stdout
    assert "will was refused" in result.stdout and "IncorrectProductionToken" not in everything
    assert "ForecastFlow/local-1 {'north': 120.0, 'south': 96.0}" in result.stdout
    assert re.search(r"north +south *\n *120 +96", result.stdout)
    assert "Traceback" not in everything
