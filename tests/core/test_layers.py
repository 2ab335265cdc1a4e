"""The layers of the code hold: the contracts in pyproject.toml, checked by import-linter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINT = Path(sys.executable).parent / "lint-imports"


def lint(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT), "--no-logo", "--no-cache", "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_all_contracts_are_kept() -> None:
    result = lint(ROOT / "pyproject.toml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_no_contract_has_exceptions() -> None:
    assert "ignore_imports" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_a_plugin_that_imports_more_than_is_listed_is_found(tmp_path: Path) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = '    "metaflow_core.hookspecs",\n'
    assert text.count(listed) == 1
    config = tmp_path / "pyproject.toml"
    config.write_text(text.replace(listed, ""), encoding="utf-8")
    result = lint(config)
    assert result.returncode == 1
    printed = " ".join(result.stdout.split())
    assert "metaflow_plugins.sqlite imports metaflow_core.hookspecs, which is not in allowed_modules." in printed
