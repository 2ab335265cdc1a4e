"""Setting R up: `install_metaflow()`, `doctor()`, versions and tutorials."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINS = "rpy2==3.6.4 rpy2-rinterface==3.6.5 rpy2-robjects==3.6.4"
Doctor = Callable[..., str]
RunR = Callable[..., "subprocess.CompletedProcess[str]"]


# --- doctor()


@pytest.fixture
def doctor(run_r: RunR, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.delenv("PYTHONPATH", raising=False)

    def run(**env: str) -> str:
        return run_r("\nlibrary(metaflow); found <- doctor(); stopifnot(is.data.frame(found))\n", env=env).stdout

    return run


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A virtual environment with nothing in it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    return tmp_path / "bare" / "bin" / "python"


def site_packages(python: Path) -> Path:
    (found,) = python.parents[1].glob("lib/python*/site-packages")
    return found


def add_distribution(python: Path, name: str, version: str) -> None:
    info = site_packages(python) / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def bad(said: str) -> dict[str, tuple[str, str]]:
    """What is bad: what was found, and what to do."""
    found = re.findall(r"^BAD  (.{30}) (.*)\n     (.*)", said, re.MULTILINE)
    return {what.strip(): (text, advice) for what, text, advice in found}


def test_all_is_well(doctor: Doctor) -> None:
    said = doctor()
    assert bad(said) == {}
    assert re.search(r"^ok   bridge +R and Python work together$", said, re.MULTILINE)
    assert f" at {sys.executable}\n" in said


@pytest.mark.parametrize("variable", ["METAFLOW_PYTHON", "RETICULATE_PYTHON"])
def test_a_variable_that_names_no_python(doctor: Doctor, variable: str) -> None:
    found = bad(doctor(**{variable: "/no/such/python"}))
    assert list(found) == ["Python"]
    assert found["Python"][0] == f"{variable} is /no/such/python, which does not exist."
    assert f'Sys.unsetenv("{variable}")' in found["Python"][1]


def test_packages_that_are_missing_or_do_not_fit(doctor: Doctor, bare: Path) -> None:
    add_distribution(bare, "rpy2-rinterface", "3.7.1")
    add_distribution(bare, "metaflow-tandem", "0.0.9")
    found = bad(doctor(METAFLOW_PYTHON=str(bare)))
    pip = f"'{bare}' -m pip install "
    assert found["Python package pyarrow"] == ("not installed", f"Call install_metaflow(), or: {pip}pyarrow")
    assert found["versions"][0] == "the R package is 0.1.0, metaflow-tandem in Python is 0.0.9"
    assert f"{pip}metaflow-tandem==0.1.0" in found["versions"][1]
    if "Python package rpy2-rinterface" in found:  # an R before 4.5
        assert found["Python package rpy2-rinterface"][0].startswith("3.7.1, which does not fit R 4.")
        assert found["Python package rpy2-rinterface"][1] == pip + PINS
        assert found["Python package rpy2"][1] == f"Call install_metaflow(), or: {pip}{PINS}"


STATIC = """
import sysconfig
sysconfig.get_config_vars().update(INSTSONAME="libpython3.a", LDLIBRARY="libpython3.a")
"""


def test_a_python_that_r_can_not_load(doctor: Doctor, run_r: RunR, bare: Path) -> None:
    (site_packages(bare) / "static_build.py").write_text(STATIC)
    (site_packages(bare) / "static_build.pth").write_text("import static_build\n")
    text, advice = bad(doctor(METAFLOW_PYTHON=str(bare)))["Python"]
    assert text == str(bare)
    assert "has no shared library, so R can't load it" in advice
    result = run_r('\nmetaflow::flow_client$new("F")\n', env={"METAFLOW_PYTHON": str(bare)}, check=False)
    assert result.returncode == 1
    assert "has no shared library" in result.stderr
    assert "--enable-shared" in result.stderr


def test_no_python_at_all(run_r: RunR, r_library: Path, tmp_path: Path) -> None:
    shutil.copytree(r_library / "metaflow", tmp_path / "library" / "metaflow")
    (tmp_path / "library" / "metaflow" / "python.txt").unlink()
    code = '\nlibrary(metaflow)\nfound <- doctor()\nflow_client$new("F")\n'
    result = run_r(code, env={"R_LIBS": str(tmp_path / "library"), "WORKON_HOME": str(tmp_path)}, check=False)
    text, advice = bad(result.stdout)["Python"]
    assert text.startswith(f"none; looked for {tmp_path}/r-metaflow/bin/python (virtual environment)")
    assert advice == "Call install_metaflow(), or set METAFLOW_PYTHON."
    assert result.returncode == 1
    assert "No Python for metaflow was found." in result.stderr


def test_an_rpy2_that_was_made_for_another_r(run_r: RunR, tmp_path: Path) -> None:
    fake = tmp_path / "fake" / "rpy2"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("")
    (fake / "rinterface.py").write_text("raise ImportError('rinterface.so: undefined symbol: R_getVar')")
    path = os.pathsep.join([str(tmp_path / "fake"), os.environ.get("PYTHONPATH", "")])
    result = run_r('\nmetaflow::flow_client$new("F")\n', env={"PYTHONPATH": path}, check=False)
    assert result.returncode == 1
    said = " ".join(result.stderr.split())
    assert "undefined symbol: R_getVar" in said
    assert "`doctor()` says what does not fit" in said
    assert "Traceback" not in said


# --- install_metaflow()


@pytest.mark.slow
def test_one_who_has_never_seen_python_sets_it_up(r_library: Path, tmp_path: Path, project: Path) -> None:
    """From a library without a Python, in an environment with nothing but a home, and away again."""
    shutil.copytree(r_library / "metaflow", tmp_path / "library" / "metaflow")
    (tmp_path / "library" / "metaflow" / "python.txt").unlink()
    home = tmp_path / "home of änne"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "LANG"}
    pip_files = [Path("~/.config/pip").expanduser(), Path("/root/.config/pip")]
    for folder in pip_files:
        if folder.is_dir():
            shutil.copytree(folder, home / ".config" / "pip", dirs_exist_ok=True)
    environment = {
        **kept,
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "USER": "aenne",
        "R_LIBS": str(tmp_path / "library"),
    }

    def r(code: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        (project / "code.R").write_text(code, encoding="utf-8")
        done = subprocess.run(["Rscript", "code.R", "run"], env=environment, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    python = home / ".virtualenvs" / "r-metaflow" / "bin" / "python"
    installed = r(f'library(metaflow); cat(install_metaflow(source = "{ROOT}"))')
    assert installed.stdout == str(python)
    assert "Making a virtual environment in " in installed.stderr
    flow = """
        library(metaflow)
        start <- function(self) self$x <- data.frame(a = 1:2)
        run <- metaflow("NewFlow") |> step(step = "start", r_function = start, next_step = "end") |>
          step(step = "end") |> run()
        print(sum(run$data$x$a))
        found <- doctor()
        """
    ran = r(flow)
    assert "[1] 3\n" in ran.stdout
    assert bad(ran.stdout) == {}
    assert f" at {python}\n" in ran.stdout
    assert (
        "Call install_metaflow() in a new one"
        in r("library(metaflow); flow_client$new; set_namespace(NULL); install_metaflow()", check=False).stderr
    )
    r("metaflow::remove_metaflow_env()")
    assert not python.parents[1].exists()
    assert "No Python for metaflow was found" in r(flow, check=False).stderr


def test_only_a_virtual_environment_is_removed(run_r: RunR, r_project: Path) -> None:
    (r_project / "work").mkdir()
    (r_project / "work" / "thesis.txt").write_text("all of it")
    result = run_r('\nmetaflow::remove_metaflow_env("work")\n', check=False)
    assert result.returncode == 1
    assert "is not a virtual environment, and was left as it is" in result.stderr
    assert (r_project / "work" / "thesis.txt").exists()


def test_a_python_that_can_not_make_environments(run_r: RunR, r_project: Path) -> None:
    (r_project / "python").write_text("#!/bin/sh\necho 'No module named venv'; exit 1\n")
    (r_project / "python").chmod(0o755)
    result = run_r('\nmetaflow::install_metaflow(python = "./python", envname = "env")\n', check=False)
    assert result.returncode == 1
    assert "The virtual environment could not be made: ./python -m venv" in result.stderr
    assert "No module named venv" in result.stderr


# --- versions and tutorials


def test_versions(run_r: RunR) -> None:
    result = run_r("\nlibrary(metaflow); found <- version_info(); stopifnot(found$r == r_version())\n")
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert shown["python"] == ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(r"4\.\d+\.\d+", shown["r"])


def test_tutorials_run(run_r: RunR, r_project: Path) -> None:
    copied = run_r("\nmetaflow::pull_tutorials()\n")
    assert "Begin with metaflow-tutorials/01-hello.R" in copied.stderr
    assert "is there already" in run_r("\nmetaflow::pull_tutorials()\n", check=False).stderr
    scripts = sorted((r_project / "metaflow-tutorials").glob("[0-9]*.R"))
    assert len(scripts) >= 4
    for script in scripts:
        done = run_r(script, *(["run"] if "run()" in script.read_text() else []))
        assert done.stdout.strip(), script
