"""`make demo`, and the environment that `make` prepares."""

from __future__ import annotations

import os
import re
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


def demo(checkout: Path, **more: str) -> tuple[list[str], dict[str, str]]:
    """The parts of what the demo prints, and the environment in which it ran: that of nobody."""
    (checkout / ".venv").symlink_to(sys.prefix)
    environment = {k: v for k, v in os.environ.items() if k not in ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER")}
    environment |= more
    command = [checkout / "tools/demo.sh"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (checkout / ".metaflow").is_dir()
    return result.stdout.split("\n==> ")[1:], environment


def try_all(commands: list[str], checkout: Path, environment: dict[str, str]) -> None:
    assert commands[0].strip() == "export METAFLOW_USER=demo"
    for command in commands[1:]:
        again = subprocess.run(
            ["sh", "-ec", f"{commands[0]}\n{command}"], cwd=checkout, env=environment, capture_output=True, text=True
        )
        assert again.returncode == 0, command + again.stdout + again.stderr


def test_the_demo_mixes_languages_and_says_what_to_try(checkout: Path, r_project: Path) -> None:
    (ran, read, try_next), environment = demo(checkout)
    assert "Done!" in ran
    in_python, in_r = read.split("In R:")
    for shown in (in_python, in_r):
        assert "PenguinsMixedFlow" in shown
        assert re.search(r"Gentoo +123 +217\.2 +5076(\.0)? +54\.6", shown)
    assert "lm(formula = body_mass_g ~ flipper_length_mm" in in_r
    commands = try_next.splitlines()[1:]
    assert len(commands) == 5
    try_all(commands, checkout, environment)


def test_the_demo_without_r_is_in_python_and_says_so(checkout: Path, project: Path) -> None:
    no_r = project / "bin"
    no_r.mkdir()
    (no_r / "Rscript").write_text("#!/bin/sh\nexit 127\n")
    (no_r / "Rscript").chmod(0o755)
    (ran, read, try_next), environment = demo(checkout, PATH=f"{no_r}:{os.environ['PATH']}")
    assert "R is not set up" in ran.splitlines()[0]
    assert "Done!" in ran
    assert "In R" not in read
    assert "Gentoo" in read and "g_per_mm" in read
    commands = try_next.splitlines()[1:]
    assert len(commands) == 4
    try_all(commands, checkout, environment)


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
