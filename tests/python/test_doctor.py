"""``metaflow doctor`` finds what does not fit, says how to repair it, and never crashes."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from metaflow_core import __version__
from metaflow_core.cli import check_machine
from metaflow_core.cli.finding import Finding
from metaflow_core.metadata.backend import open_backend

Doctor = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def no_r(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search path without R: asking a real one takes longer than all the rest."""
    monkeypatch.delenv("R_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def doctor(no_r: None, doctor_of: Doctor) -> Doctor:
    return doctor_of


@pytest.fixture
def doctor_of(project: Path) -> Doctor:
    def run(**env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from metaflow_core.cli.metaflow import main; main()", "doctor"],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def lines(result: subprocess.CompletedProcess[str], level: str) -> list[str]:
    assert result.stderr == ""
    assert "Traceback" not in result.stdout
    return [line.removeprefix(level).strip() for line in result.stdout.splitlines() if line.startswith(level)]


def test_a_healthy_new_project(doctor: Doctor, project: Path) -> None:
    result = doctor()
    assert result.returncode == 0, result.stdout
    assert lines(result, "problem") == []
    text = result.stdout
    for part in (
        "Python 3.",
        "blake3 ",
        "Plugins: ",
        "You are user:tester",
        "first run makes it",
    ):
        assert part in text
    assert "R is not installed" in text or "R was not found on PATH" in text  # rpy2 may be there, and R is hidden
    assert "\x1b" not in text
    assert not (project / ".metaflow" / "metaflow.db").exists()


def test_a_project_with_results(doctor: Doctor, project: Path) -> None:
    backend = open_backend()
    assert backend.db.execute("SELECT COUNT(*) FROM runs")[0][0] == 0
    backend.close()
    result = doctor()
    assert result.returncode == 0
    assert f"Metadata: sqlite:///{project}/.metaflow/metaflow.db, schema " in result.stdout
    assert [path for path in (project / ".metaflow").rglob("*") if "doctor" in path.name] == []


def test_no_user(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER"):
        monkeypatch.delenv(variable, raising=False)
    result = doctor()
    assert result.returncode == 1
    assert len(lines(result, "problem")) == 1
    assert "-> To set it for good: metaflow configure set USER <your name>" in result.stdout


def test_wrong_settings(doctor: Doctor, project: Path) -> None:
    config = project / ".metaflow" / "config.json"
    config.write_text('{"METAFLOW_LAUNCHER": "thread", "METAFLOW_HEARTBEAT_SECONDS": -1}')
    result = doctor()
    assert result.returncode == 1
    assert lines(result, "problem") == [
        f"METAFLOW_LAUNCHER in {config} must be one of fork, spawn, not 'thread'.",
        f"METAFLOW_HEARTBEAT_SECONDS in {config} must be a number, at least 0.1, not -1.",
    ]
    config.write_text('{"METAFLOW_LAUNCHR": "fork", "USER": "anne"}')
    result = doctor()
    assert result.returncode == 0
    assert len([line for line in lines(result, "warning") if "not known" in line]) == 2
    assert "Did you mean METAFLOW_LAUNCHER?" in result.stdout


@pytest.mark.parametrize("content", ["{", "[]", "\0"])
def test_a_damaged_configuration_file(doctor: Doctor, project: Path, content: str) -> None:
    (project / ".metaflow" / "config.json").write_text(content)
    result = doctor()
    assert result.returncode == 1
    assert any("config.json" in line for line in lines(result, "problem"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("def (", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        (
            "from metaflow_core.hookspecs import hookimpl\n@hookimpl\ndef open_storage(url, nonsense): pass",
            "nonsense",
        ),
        ("from metaflow_core.hookspecs import hookimpl\n@hookimpl\ndef no_such_hook(): pass", "no_such_hook"),
    ],
)
def test_a_broken_plugin(doctor: Doctor, tmp_path: Path, source: str, words: str) -> None:
    site = tmp_path / "site"
    (site / "thirdparty-1.0.dist-info").mkdir(parents=True)
    entry = "[metaflow_tandem.plugins]\nthirdparty = thirdparty_plugin\n"
    (site / "thirdparty-1.0.dist-info" / "entry_points.txt").write_text(entry)
    (site / "thirdparty_plugin.py").write_text(source)
    result = doctor(PYTHONPATH=str(site))
    assert result.returncode == 1
    (problem,) = lines(result, "problem")
    assert problem.startswith("The plugin thirdparty (thirdparty_plugin) can't be loaded: ")
    assert words in problem
    assert "the first run makes it" in result.stdout  # all else was checked


def test_a_damaged_database(doctor: Doctor, project: Path) -> None:
    (project / ".metaflow" / "metaflow.db").write_bytes(b"no database at all" * 100)
    result = doctor()
    assert result.returncode == 1
    (problem,) = lines(result, "problem")
    assert "file is not a database" in problem


def test_a_database_of_a_newer_version(doctor: Doctor, project: Path) -> None:
    backend = open_backend()
    backend.db.execute("INSERT INTO schema_migrations VALUES (999, 0)")
    backend.close()
    (problem,) = lines(doctor(), "problem")
    assert "newer version (schema 999" in problem


def test_addresses_that_nothing_opens_show_no_password(doctor: Doctor) -> None:
    result = doctor(
        METAFLOW_METADATA_URL="nosuch://anne:geheim@host/db", METAFLOW_DEFAULT_DATASTORE="nosuch://b:geheim@h"
    )
    assert result.returncode == 1
    assert len(lines(result, "problem")) == 2
    assert "geheim" not in result.stdout


def test_a_read_only_project(doctor: Doctor, project: Path) -> None:
    folder = project / ".metaflow"
    tools = {"PATH": os.defpath}
    backend = open_backend()
    backend.db.execute("SELECT 1")  # and stays open, which hides from SQLite that it can't write
    if subprocess.run(["mount", "--bind", folder, folder], env=tools, capture_output=True).returncode:
        pytest.skip("mounting takes root")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], env=tools, check=True)
        result = doctor()
    finally:
        subprocess.run(["umount", folder], env=tools, check=True)
        backend.close()
    assert result.returncode == 1
    problems = lines(result, "problem")
    assert len(problems) == 2
    assert "metaflow.db" in problems[0]
    assert "read-only" in problems[0]
    assert "The file system is read-only" in problems[1]


# --- packages and R


def distributions(monkeypatch: pytest.MonkeyPatch, requires: list[str], **installed: str) -> list[Finding]:
    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requires)
    monkeypatch.setattr(importlib.metadata, "version", version)
    return list(check_machine.packages())


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ["click>=8.1", "blake3>=1.0", 'polars>=1.20; extra == "polars"', 'pytest>=8; extra == "dev"']
    missing, old, optional = distributions(monkeypatch, requires, click="7.9.1")
    assert (missing.level, missing.text) == ("problem", "The package click 7.9.1 is too old.")
    assert missing.fix == "pip install 'click>=8.1'"
    assert (old.level, old.text, old.fix) == ("problem", "The package blake3 is missing.", "pip install 'blake3>=1.0'")
    assert optional.level == "ok"
    assert "pip install 'metaflow-tandem[polars]'" in optional.text
    (fine,) = distributions(monkeypatch, ["click>=8.1"], click="8.10.0rc1")
    assert fine == Finding("ok", "Packages: click 8.10.0rc1")


GOOD = f"metaflow {__version__}\ncli 3.6.0\nmagrittr 2.0.3\nrlang 1.0.6"


@pytest.fixture
def fake_r(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """What the doctor says about an R of some version that has these packages, and these parts of rpy2."""

    def check(r: str, packages: str = GOOD, **bridge: str) -> list[Finding]:
        program = tmp_path / "bin" / "R"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo "R version {r} (2022-10-31)"; else echo "{packages}"; fi\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("R_HOME", str(tmp_path))
        monkeypatch.setattr(check_machine, "_version", lambda name: bridge.get(name.replace("-", "_")))
        return list(check_machine.r())

    return check


def texts(findings: list[Finding], level: str) -> list[str]:
    return [finding.text for finding in findings if finding.level == level]


PINS = "pip install rpy2==3.6.4 rpy2-rinterface==3.6.5 rpy2-robjects==3.6.4"


def test_rpy2_that_is_too_new_for_r(fake_r: Callable[..., list[Finding]]) -> None:
    findings = fake_r("4.2.2", rpy2="3.6.7", rpy2_rinterface="3.6.6")
    (problem,) = [finding for finding in findings if finding.level == "problem"]
    assert problem.text == "rpy2 3.6.7, rpy2-rinterface 3.6.6: too new for R 4.2.2."
    assert problem.fix.startswith(PINS)
    assert texts(fake_r("4.5.0", rpy2="3.6.7", rpy2_rinterface="3.6.6"), "problem") == []
    assert texts(fake_r("4.10.1", rpy2="3.7.0"), "problem") == []
    assert texts(fake_r("4.2.2", rpy2="3.6.4", rpy2_rinterface="3.6.5"), "problem") == []


def test_r_without_rpy2_or_packages(fake_r: Callable[..., list[Finding]]) -> None:
    def fixes(findings: list[Finding]) -> list[str]:
        return [finding.fix for finding in findings if finding.level == "warning" and "shared" not in finding.text]

    assert fixes(fake_r("4.2.2")) == [PINS]
    assert fixes(fake_r("4.5.1")) == ["pip install rpy2"]
    assert fixes(fake_r("4.2.2", "metaflow missing\ncli missing", rpy2="3.6.4")) == [
        f"in R: install.packages(c('cli')); in the source of metaflow-tandem {__version__}: R CMD INSTALL ."
    ]
    assert texts(fake_r("4.2.2", "Error: no library", rpy2="3.6.4"), "warning")[-1].startswith("R can't tell which")


def test_an_r_package_of_another_version(fake_r: Callable[..., list[Finding]]) -> None:
    findings = fake_r("4.2.2", GOOD.replace(__version__, "0.0.9"), rpy2="3.6.4")
    (problem,) = [finding for finding in findings if finding.level == "problem"]
    assert problem.text == f"The R package metaflow is of version 0.0.9, and metaflow-tandem of {__version__}."
    assert problem.fix == f"in the source of metaflow-tandem {__version__}: R CMD INSTALL ."


def test_rpy2_without_an_r(no_r: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(check_machine, "_version", lambda name: "3.6.4")
    (warning,) = check_machine.r()
    assert warning.level == "warning"
    assert warning.text.startswith("R was not found on PATH")
    monkeypatch.setenv("R_HOME", str(tmp_path / "nowhere"))
    (problem,) = check_machine.r()
    assert problem.level == "problem"
    assert problem.text == f"R_HOME is {tmp_path / 'nowhere'}, and there is no R in it."
    assert problem.fix.startswith("unset R_HOME")


def test_a_real_rpy2_that_is_too_new(r_library: Path, tmp_path: Path, project: Path, doctor_of: Doctor) -> None:
    """The version is read from what is installed, and every part of rpy2 counts."""
    info = tmp_path / "site" / "rpy2_rinterface-3.7.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rpy2-rinterface\nVersion: 3.7.1\n")
    result = doctor_of(PYTHONPATH=str(tmp_path / "site"), R_LIBS=str(r_library))
    too_new = [line for line in lines(result, "problem") if "too new" in line]
    if not too_new:  # an R from 4.5 on takes any
        assert "rpy2-rinterface 3.7.1" in result.stdout
        return
    assert "rpy2-rinterface 3.7.1: too new for R" in too_new[0] or "rpy2-rinterface 3.7.1" in too_new[0]
    assert PINS in result.stdout
    assert result.returncode == 1


def test_an_r_that_does_not_start(fake_r: Callable[..., list[Finding]], tmp_path: Path) -> None:
    fake_r("4.2.2")
    (tmp_path / "bin" / "R").write_text("#!/bin/sh\necho libR.so: cannot open shared object file >&2\nexit 127\n")
    (problem,) = check_machine.r()
    assert problem.level == "problem"
    assert "cannot open shared object file" in problem.text


@pytest.mark.parametrize(
    ("version", "expected"), [("3.6.4", (3, 6, 4)), ("1.0rc1", (1, 0)), ("2026.9", (2026, 9)), ("x", ())]
)
def test_numbers_of_a_version(version: str, expected: tuple[int, ...]) -> None:
    assert check_machine.numbers(version) == expected
