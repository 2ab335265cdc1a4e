"""What the documentation shows works: examples in docstrings, and marked code in README.md and docs/.

In Markdown, a comment above a fenced block says what it is:

    <!-- file: hello.py -->   the block is written to this file
    <!-- run -->              the block runs, as Python, R or shell commands, and ends well
    <!-- run: anne -->        the same, by this user
    <!-- output -->           the block is what the last run printed; ... stands for anything

The blocks of one page share a fresh directory, in their order. Where R is not set up, a page is tested up to its first
block in R.
"""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARK = re.compile(
    r"^<!-- (?P<kind>file|run|output)(?:: (?P<name>\S+))? -->\n+```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S
)
MODULES = [
    ".".join(file.relative_to(ROOT / source).with_suffix("").parts).removesuffix(".__init__")
    for source in ("core", "python", "plugins")
    for file in sorted((ROOT / source).rglob("*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_marked_blocks_of_a_page_work(page: Path, project: Path, request: pytest.FixtureRequest) -> None:
    text = page.read_text(encoding="utf-8")
    marks = list(MARK.finditer(text))
    assert len(marks) == len(re.findall(r"^<!-- (?:file|run|output)\b", text, re.M)), "a mark without a block below it"
    printed = ""
    for mark in marks:
        code = mark["code"]
        if mark["language"] == "r" or "Rscript" in code:
            request.getfixturevalue("r_project")
        if mark["kind"] == "file":
            (project / mark["name"]).write_text(code, encoding="utf-8")
        elif mark["kind"] == "run":
            printed = _run(code, mark["language"], mark["name"])
        else:
            _compare(printed, code)


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_work(module: str, project: Path) -> None:
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.attempted and not results.failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken


def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "site" / "index.html").exists()


def _run(code: str, language: str, user: str | None) -> str:
    command = {"python": [sys.executable, "-c"], "bash": ["bash", "-ec"], "r": ["Rscript", "-e"]}[language]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path} | ({"METAFLOW_USER": user} if user else {})
    result = subprocess.run([*command, code], env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, f"{code}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def _compare(printed: str, expected: str) -> None:
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    same = doctest.OutputChecker().check_output(expected, printed, options)
    assert same, f"printed:\n{printed}\nexpected:\n{expected}"
