"""`make demo`, and the environment that `make` prepares."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INPUTS = ["Makefile", "pyproject.toml", "constraints.txt", "tools/setup.sh", "core/metaflow_core/__init__.py"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make` and the demo need, in a directory with a space in its name."""
    folder = tmp_path / "a checkout"
    for name in [*INPUTS, "tools/demo.sh"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns(".metaflow", "__pycache__"))
    return folder


def test_the_demo_runs_the_example_shows_its_result_and_what_to_try(checkout: Path, project: Path) -> None:
    (checkout / ".venv").symlink_to(sys.prefix)
    environment = {k: v for k, v in os.environ.items() if k not in ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER")}
    result = subprocess.run(
        [checkout / "tools/demo.sh"], cwd=project, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    _, ran, read, try_next = result.stdout.split("\n==> ")
    assert "Done!" in ran
    assert "Gentoo" in read and "g_per_mm" in read
    commands = try_next.splitlines()[1:]
    assert commands[0].strip() == "export METAFLOW_USER=demo"
    assert len(commands) == 4
    assert (checkout / ".metaflow").is_dir()
    for command in commands[1:]:
        again = subprocess.run(
            ["sh", "-ec", f"{commands[0]}\n{command}"], cwd=checkout, env=environment, capture_output=True, text=True
        )
        assert again.returncode == 0, command + again.stdout + again.stderr


def test_make_lists_its_targets(checkout: Path) -> None:
    result = subprocess.run(["make", "help"], cwd=checkout, capture_output=True, text=True)
    names = {line.split()[0] for line in result.stdout.splitlines()}
    assert {"setup", "demo", "test", "bench", "lint", "docs", "compat", "clean", "help"} <= names


@pytest.mark.parametrize("changed", INPUTS[1:])
def test_make_prepares_the_environment_again_only_when_an_input_changed(checkout: Path, changed: str) -> None:
    def up_to_date(stamp: str) -> bool:
        return subprocess.run(["make", "--question", stamp], cwd=checkout, capture_output=True).returncode == 0

    stamps = [checkout / ".venv/.run", checkout / ".venv/.dev"]
    assert not any(up_to_date(f".venv/{stamp.name}") for stamp in stamps)
    (checkout / ".venv").mkdir()
    for stamp in stamps:
        stamp.write_text(f"{checkout.resolve()}\n")
    assert all(up_to_date(f".venv/{stamp.name}") for stamp in stamps)
    later = stamps[0].stat().st_mtime + 10
    os.utime(checkout / changed, (later, later))
    assert not any(up_to_date(f".venv/{stamp.name}") for stamp in stamps)


def test_an_environment_that_was_moved_is_made_again(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    stamp = checkout / ".venv/.run"
    stamp.write_text("/somewhere/else\n")
    assert subprocess.run(["make", "--question", ".venv/.run"], cwd=checkout, capture_output=True).returncode == 1
    assert not stamp.exists()


def setup(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "setup"],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "HOME": str(checkout), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_python_that_is_too_old_is_refused(checkout: Path) -> None:
    old = checkout / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = setup(checkout, PYTHON=str(old))
    assert result.returncode != 0
    assert f"PYTHON={old} is not a Python of version 3.10 or newer" in result.stderr
    assert not (checkout / ".venv").exists()


def commands(folder: Path, **scripts: str) -> Path:
    """A folder for PATH with these shell scripts and the standard tools, and nothing else."""
    folder.mkdir()
    for tool in ("sh", "make", "dirname", "mktemp", "rm", "cat", "env", "head", "grep", "touch"):
        (folder / tool).symlink_to(str(shutil.which(tool)))
    for name, script in scripts.items():
        (folder / name.replace("_", "-")).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name.replace("_", "-")).chmod(0o755)
    return folder


WITHOUT_VENV = 'case "$*" in *ensurepip*) exit 1 ;; *print*) echo 3.11 ;; esac'


def test_who_may_not_install_is_told_what_is_missing(checkout: Path, tmp_path: Path) -> None:
    path = commands(tmp_path / "bin", id="echo 1000", sudo="exit 1", apt_get="exit 1", python3=WITHOUT_VENV)
    result = setup(checkout, PATH=str(path))
    assert result.returncode != 0
    assert "Python's venv module is missing, and installing it needs root" in result.stderr
    assert "sudo apt-get install -y python3.11-venv" in result.stderr


def test_who_has_sudo_gets_it_installed_and_a_failure_shows_its_log(checkout: Path, tmp_path: Path) -> None:
    apt = 'echo "apt-get $*"; exit 9'
    path = commands(tmp_path / "bin", id="echo 1000", sudo='shift; "$@"', apt_get=apt, python3=WITHOUT_VENV, true="")
    result = setup(checkout, PATH=str(path))
    assert result.returncode != 0
    assert "==> Installing Python's venv module: python3.11-venv" in result.stdout
    assert "apt-get install -y --no-install-recommends python3.11-venv" in result.stderr
    assert "this failed with status 9" in result.stderr
