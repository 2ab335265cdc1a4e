"""Fixtures shared by all tests."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from postgresql_server import PostgresServer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "servers"))
sys.path.insert(0, str(ROOT / "tests" / "snapshots"))  # tests of documents import what reads them
sys.path.insert(0, str(ROOT / "tests" / "screens"))
USER = "tester"

pytest_plugins = [
    "object_stores",
    "cloud_stores",
    "toy_orchestrator",
    "dask_cluster",
    "moto_batch",
    "step_functions_aws",
    "fake_kubernetes",
    "fake_argo",
]


class RunFlow(Protocol):
    """Runs ``python flow.py ...`` as a user would, in a process of its own."""

    def __call__(
        self,
        script: str | Path,
        *args: str | Path,
        user: str | None = USER,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        name: str = "flow.py",
    ) -> subprocess.CompletedProcess[str]:
        """``script`` is a path, or source text (anything with a line break), which is written to ``name`` first.

        ``user`` is who runs it (``METAFLOW_USER``; None leaves it unset) and ``env`` is added to the environment.
        Gives ``returncode``, ``stdout`` and ``stderr``. With ``check`` a non-zero exit fails the test and shows both.
        """


def _run_process(command: list[str], environment: Mapping[str, str], check: bool) -> subprocess.CompletedProcess[str]:
    """Run a command to its end without standard input; with ``check`` a non-zero exit fails the test and shows both."""
    result = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    if check and result.returncode != 0:
        pytest.fail(
            f"{' '.join(command)} ended with {result.returncode}\n"
            f"--- stdout ---\n{result.stdout}\n--- stderr ---\n{result.stderr}"
        )
    return result


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--on-postgresql", action="store_true", help="keep the metadata of every test in PostgreSQL")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_databases"):
        metafunc.parametrize("database_kind", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def default_namespace_afterwards() -> Iterator[None]:
    """A namespace that a test has chosen is not that of the next test in this process."""
    yield
    module = sys.modules.get("metaflow_core.results.current_namespace")
    if module is not None:
        module._chosen = module._IDENTITY


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """In which database the runs of the test's project are: ``sqlite`` or ``postgresql``."""
    given: str | None = getattr(request, "param", None)
    return given or ("postgresql" if request.config.getoption("--on-postgresql") else "sqlite")


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_kind: str, request: pytest.FixtureRequest
) -> Path:
    """A fresh project directory, the working directory of the test, used by ``USER`` with an empty home."""
    folder = tmp_path / "project"
    home = tmp_path / "home"
    home.mkdir()
    # An own .metaflow, because the search for one goes upward and could find a stray one above the temporary files.
    (folder / ".metaflow").mkdir(parents=True)
    for variable in list(os.environ):
        if variable.startswith("METAFLOW_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("METAFLOW_USER", USER)
    monkeypatch.setenv("METAFLOW_HOME", str(home / ".metaflowconfig"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    if database_kind == "postgresql":
        monkeypatch.setenv("METAFLOW_METADATA_URL", request.getfixturevalue("team_database"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run_flow(project: Path) -> RunFlow:
    """See :class:`RunFlow`. The process runs in ``project`` unless the test changed the working directory."""

    def run(
        script: str | Path,
        *args: str | Path,
        user: str | None = USER,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        name: str = "flow.py",
    ) -> subprocess.CompletedProcess[str]:
        if isinstance(script, str) and "\n" in script:
            (project / name).write_text(dedent(script), encoding="utf-8")
            script = project / name
        environment = dict(os.environ)
        environment.pop("METAFLOW_USER", None)
        if user is not None:
            environment["METAFLOW_USER"] = user
        environment.update(env or {})
        return _run_process([sys.executable, str(script), *map(str, args)], environment, check)

    return run


# --- R ---------------------------------------------------------------------------------------------------------------


class RunR(Protocol):
    """Runs ``Rscript flow.R ...`` as a user would, in a process of its own."""

    def __call__(
        self,
        script: str | Path,
        *args: str | Path,
        user: str = USER,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        name: str = "flow.R",
    ) -> subprocess.CompletedProcess[str]:
        """``script`` is a path, or source text, written to ``name`` first. With ``check`` failure fails the test."""


@pytest.fixture(scope="session")
def r_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with the R package of this checkout. Without R or rpy2 the test is skipped."""
    rscript = shutil.which("Rscript")
    if rscript is None or importlib.util.find_spec("rpy2") is None:
        pytest.skip("R or rpy2 is not installed; `make setup` installs them")
    probe = "quit(status = !all(c('cli', 'magrittr', 'rlang') %in% rownames(installed.packages())))"
    if subprocess.run([rscript, "-e", probe], check=False, capture_output=True).returncode:
        pytest.skip("R packages that metaflow needs are not installed; `make setup` installs them")
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    library = base / "r-library"
    with open(base / "r-library.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (library / "metaflow" / "python.txt").exists():
            source = base / "r-source"
            source.mkdir(exist_ok=True)
            for part in ("DESCRIPTION", "NAMESPACE"):
                shutil.copy(ROOT / part, source)
            for folder in ("R", "inst"):
                shutil.copytree(ROOT / folder, source / folder, dirs_exist_ok=True)
            library.mkdir(exist_ok=True)
            command = ["R", "CMD", "INSTALL", "--no-docs", "--no-test-load", f"--library={library}", str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            (library / "metaflow" / "python.txt").write_text(sys.executable + "\n")
    return library


@pytest.fixture
def r_project(project: Path, r_library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project directory in which R finds the package, and the package finds this Python."""
    monkeypatch.setenv("R_LIBS", str(r_library))
    for variable in ("RETICULATE_PYTHON", "METAFLOW_PYTHON", "R_SESSION_INITIALIZED"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("R_USER_CACHE_DIR", str(r_library.parent / "r-cache"))
    return project


@pytest.fixture
def run_r(r_project: Path) -> RunR:
    """See :class:`RunR`."""

    def run(
        script: str | Path,
        *args: str | Path,
        user: str = USER,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        name: str = "flow.R",
    ) -> subprocess.CompletedProcess[str]:
        if isinstance(script, str) and "\n" in script:
            (r_project / name).write_text(dedent(script), encoding="utf-8")
            script = r_project / name
        environment = {**os.environ, "METAFLOW_USER": user, **(env or {})}
        return _run_process(["Rscript", str(script), *map(str, args)], environment, check)

    return run


# --- servers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server. Without PostgreSQL the test is skipped."""
    from postgresql_server import shared_server

    base = tmp_path_factory.getbasetemp()
    with shared_server(base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) as server:
        yield server


@pytest.fixture(scope="session")
def team_template(postgresql: PostgresServer) -> Iterator[str]:
    """The name of a database that has the tables, to be copied."""
    from metaflow_core.metadata.migrate import migrate
    from metaflow_plugins.postgresql import PostgreSQL

    with postgresql.database() as url:
        db = PostgreSQL(url)
        migrate(db)
        db.close()
        yield url.rpartition("/")[2]


@pytest.fixture
def team_database(postgresql: PostgresServer, team_template: str) -> Iterator[str]:
    """The URL of a database that has the tables and no runs."""
    with postgresql.database(team_template) as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql: PostgresServer) -> Iterator[str]:
    """The URL of an empty database."""
    with postgresql.database() as url:
        yield url
