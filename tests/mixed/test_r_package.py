"""The R package as a package: style, manual pages, R CMD check with its examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_package_passes_its_check(r_project):
    needed = "quit(status = !all(c('lintr', 'roxygen2', 'pkgload') %in% rownames(installed.packages())))"
    if subprocess.run(["Rscript", "-e", needed], capture_output=True, check=False).returncode:
        pytest.skip("apt-get install r-cran-lintr r-cran-roxygen2 r-cran-pkgload")
    result = subprocess.run(
        ["/usr/bin/env", f"METAFLOW_PYTHON={sys.executable}", str(ROOT / "tools" / "check_r.sh"), "--no-tests"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "Status: OK"
