"""docs/teams.md, from its first command to its last, on a real database, bucket and cluster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dask_cluster import DaskCluster

PAGE = (Path(__file__).parents[2] / "docs" / "teams.md").read_text()


def test_the_page(
    r_project: Path, s3: str, team_database: str, dask_cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, code in re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.M | re.S):
        (r_project / name).write_text(code)
    dask_cluster.start_worker(2)
    bin = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
    scheduler = os.environ.pop("METAFLOW_DASK_SCHEDULER")
    places = {
        "postgresql://anne@db.example.org/metaflow": team_database,
        "s3://our-bucket/metaflow": s3,
        "tcp://scheduler.example.org:8786": scheduler,
    }
    script = "set -eu\n"
    for language, code in re.findall(r"^```(bash|python)\n(.*?)^```", PAGE, re.M | re.S):
        if language == "bash":
            script += code
        elif "class " not in code:
            (r_project / "look.py").write_text(code)
            script += "METAFLOW_USER=will METAFLOW_STORE_CACHE=$PWD/other python look.py\n"
    for address, real in places.items():
        script = script.replace(address, real)
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("best slope 0.999") == 3
    assert "TrainFlow/2 {'0.1': 0.999" in result.stdout
    assert re.search(r"3/fit/\d+ \(pid \d+\)\] Task finished successfully", result.stdout)
