"""Steps with packages of their own: `@pypi`, `@pypi_base`, `@conda`, `--environment`. uv and the packages are real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("uv", reason="packages of steps are installed by uv: pip install 'metaflow-tandem[uv]'")

HOME = os.path.expanduser("~")
SIX = """
from metaflow import FlowSpec, pypi, step

class SixFlow(FlowSpec):
    @pypi(packages={"six": "1.16.0"})
    @step
    def start(self):
        import six
        self.six = six.__version__
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    SixFlow()
"""


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where environments are kept, for all tests and workers, so that each is created once."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "environments"


@pytest.fixture(autouse=True)
def uv(project: Path, environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv with the caches of who runs the tests, although the project's home is empty."""
    monkeypatch.setenv("METAFLOW_ENVIRONMENTS", str(environments))
    monkeypatch.setenv("UV_CACHE_DIR", os.environ.get("UV_CACHE_DIR") or os.path.join(HOME, ".cache", "uv"))
    monkeypatch.setenv("PYENV_ROOT", os.environ.get("PYENV_ROOT") or os.path.join(HOME, ".pyenv"))


def kept(environments: Path, kind: str = "pypi") -> list[str]:
    """The addresses of the environments that count."""
    return sorted(path.stem for path in (environments / kind).glob("*.json"))


def test_steps_run_with_packages_of_their_own(run_flow: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from metaflow import Flow

    source = """
        import os, sys
        from metaflow import FlowSpec, Parameter, catch, current, pypi, pypi_base, secrets, step

        def version():
            try:
                import six
                return six.__version__
            except ImportError:
                return "none"

        @pypi_base(packages={"six": "1.17.0"})
        class OwnFlow(FlowSpec):
            alpha = Parameter("alpha", default=2)

            @pypi(disabled=True)
            @step
            def start(self):
                import numpy
                self.driver = sys.executable, os.getppid()
                self.values = numpy.arange(3)
                self.next(self.old, foreach="values")

            @secrets(sources=["env.TOKEN"])
            @pypi(packages={"six": "1.16.0"})
            @step
            def old(self):
                print("token", os.environ["TOKEN"], "in", current.pathspec)
                self.six = version()
                self.doubled = int(self.input) * self.alpha
                self.python = sys.executable
                self.next(self.join)

            @catch(var="died")
            @step
            def join(self, inputs):
                self.olds = [one.six for one in inputs]
                self.doubled = [one.doubled for one in inputs]
                self.pythons = sorted({one.python for one in inputs})
                self.values = inputs[0].values
                os._exit(3)
                self.next(self.end)

            @step
            def end(self):
                self.six = version()

        if __name__ == "__main__":
            OwnFlow()
        """
    done = run_flow(source, "run", env={"TOKEN": "very-secret-text"})
    assert done.stderr.count("Installing") <= 2  # of two environments, and not of each task
    assert "very-secret-text" not in done.stdout
    run = Flow("OwnFlow").latest_run
    assert {task.data.six for task in run["old"]} == {"1.16.0"}
    assert sorted(task.data.doubled for task in run["old"]) == [0, 2, 4]
    assert run.data.six == "1.17.0"
    driver, _ = run["start"].task.data.driver
    assert driver == sys.executable
    assert {task.data.python for task in run["old"]}.isdisjoint({sys.executable})
    assert run["join"].task.data.died is not None

    old, end, start = (run[name].environment_info for name in ("old", "end", "start"))
    assert old["packages"]["six"] == "1.16.0" and end["packages"]["six"] == "1.17.0"
    assert "numpy" in old["packages"]  # what this package needs there is chosen together with it
    assert old["python_version"] == start["python_version"]
    assert old["environment"].startswith("pypi:") and "environment" not in start
    assert os.path.exists(old["path"])

    run_flow("flow.py", "--environment=local", "run", env={"TOKEN": "very-secret-text"})
    plain = Flow("OwnFlow").latest_run
    assert "environment" not in plain["old"].environment_info
    with_same = Flow("OwnFlow").latest_run
    assert "step old" not in str(plain.diff(with_same))


def test_the_command_line(run_flow: Callable) -> None:
    from metaflow import Flow

    assert "six" not in run_flow(SIX, "--environment=pypi", "show").stdout
    run_flow("flow.py", "--environment=pypi", "run")
    first = Flow("SixFlow").latest_run
    assert first.data.six == "1.16.0"
    local = run_flow("flow.py", "--environment=local", "run", check=False)
    assert "--environment=local: start" in local.stderr
    same = run_flow("flow.py", "run", env={"METAFLOW_ENVIRONMENT": "local"}, check=False)
    assert "--environment=local: start" in same.stderr
    unknown = run_flow("flow.py", "--environment=banana", "run", check=False)
    assert unknown.returncode == 1 and "Known: conda, local, pypi" in unknown.stderr


def test_spin_has_the_packages_of_the_step(run_flow: Callable) -> None:
    run_flow(SIX, "run")
    text = Path("flow.py").read_text().replace('{"six": "1.16.0"}', '{"six": ">=1.17,<1.18"}')
    assert "self.six = '1.17.0'" in run_flow(text, "spin", "start").stdout


def test_a_difference_of_packages_is_told(run_flow: Callable) -> None:
    from metaflow import Flow

    run_flow(SIX, "run")
    run_flow(SIX.replace("1.16.0", "1.17.0"), "run")
    new, old = list(Flow("SixFlow"))[:2]
    changes = {(one.language, one.name): (one.old, one.new) for one in new.diff(old).environment}
    assert changes[("step start", "six")] in {("1.16.0", "1.17.0"), ("1.17.0", "1.16.0")}
    assert "(step start)" in str(new.diff(old))


def test_resume_runs_with_the_versions_of_its_origin(run_flow: Callable, project: Path) -> None:
    from metaflow import Flow

    source = SIX.replace('"1.16.0"', '""').replace("self.six =", "assert RESUMED\n        self.six =")
    (project / "constraint.txt").write_text("six==1.16.0\n")
    constrained = {"UV_CONSTRAINT": str(project / "constraint.txt")}
    failed = run_flow(source.replace("RESUMED", "False"), "run", env=constrained, check=False)
    assert failed.returncode == 1 and "AssertionError" in failed.stdout
    resumed = run_flow(source.replace("RESUMED", "True"), "resume")
    assert Flow("SixFlow").latest_run.data.six == "1.16.0"
    assert "chosen anew" not in resumed.stderr

    # Another run is free to choose, and so is one that asks for something else.
    changed = source.replace("RESUMED", "True").replace('{"six": ""}', '{"six": ">=1.16"}')
    again = run_flow(changed, "resume", "start", "--origin-run-id", "1")
    assert "The packages of step start are chosen anew: other ones are asked for" in again.stderr
    assert Flow("SixFlow").latest_run.data.six == "1.17.0"


@pytest.mark.parametrize(
    ("decorators", "message"),
    [
        ('@pypi(packages={"no-such-package-xyz": "1"})', "no-such-package-xyz was not found"),
        ('@pypi(packages={"six": "99"})', "there is no version of six==99"),
        ('@pypi(packages={"numpy": "1.20.0"})', "Metaflow itself needs numpy>="),
        ('@pypi(packages={"six": "1.16.0"}, python="3.8")', "python='3.8' is too old"),
        ('@pypi(packages={"six": "1.16.0"}, python="3.99")', "There is no Python '3.99' on this machine"),
        ('@pypi(packages={"six": "1.16.0"}, pyton="3.11")', "Did you mean 'python'?"),
        ('@pypi(packages=["six"])', "packages must be a dict"),
        ('@pypi(packages={"six": 1.16})', 'the version of six must be text: "1.16"'),
        ('@pypi(packages={"six": "1.16.0 --index-url=x"})', "is no version of six"),
        ('@pypi(packages={"--index-url": ""})', "is no name of a package"),
        ("@pypi(python=3.11)", "python must be a version as text"),
        ("@pypi()\n    @conda()", "Step start has @pypi and @conda"),
        ('@r_packages(packages={"cli": ""})', "Step start is written in Python, and @r_packages gives packages of R"),
    ],
)
def test_what_can_not_be_had(run_flow: Callable, project: Path, tmp_path: Path, decorators: str, message: str) -> None:
    source = SIX.replace('@pypi(packages={"six": "1.16.0"})', decorators)
    source = source.replace("pypi, step", "conda, pypi, r_packages, step")
    done = run_flow(source, "run", env={"METAFLOW_ENVIRONMENTS": str(tmp_path / "kept")}, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("kept/**/*.json"))
    assert not (project / ".metaflow" / "metaflow.db").exists()  # no run was created


def test_an_r_step_has_no_python_packages(run_flow: Callable, project: Path) -> None:
    (project / "steps.R").write_text("fit <- function(self) self$x <- 1\n")
    source = """
        from metaflow import FlowSpec, pypi, r_step, step

        class MixedFlow(FlowSpec):
            @pypi(packages={"six": "1.16.0"})
            @r_step("steps.R", function="fit")
            def start(self):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            MixedFlow()
        """
    done = run_flow(source, "run", check=False)
    assert done.returncode == 1
    assert "Step start is written in R, and @pypi gives packages of Python. R packages" in done.stderr


def test_without_uv(run_flow: Callable, project: Path, tmp_path: Path) -> None:
    (project / "uv.py").write_text("raise ImportError\n")
    nowhere = {"PATH": "/usr/bin:/bin", "METAFLOW_ENVIRONMENTS": str(tmp_path / "empty")}
    done = run_flow(SIX, "run", env=nowhere, check=False)
    assert done.returncode == 1
    assert "pip install 'metaflow-tandem[uv]'" in done.stderr


def test_an_index_that_can_not_be_reached(run_flow: Callable, tmp_path: Path) -> None:
    offline = {
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(tmp_path / "empty"),
        "UV_DEFAULT_INDEX": "https://localhost:9/simple",
    }
    done = run_flow(SIX, "run", env=offline, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert "@pypi on step start: its packages can't be had." in done.stderr


def test_a_folder_that_can_not_be_used(run_flow: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_flow(SIX, "run", env={"METAFLOW_ENVIRONMENTS": str(tmp_path / "file" / "here")}, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert "Choose another one: METAFLOW_ENVIRONMENTS=FOLDER" in done.stderr


@pytest.mark.slow
def test_a_killed_creation_counts_for_nothing_and_two_at_once_create_one(
    run_flow: Callable, project: Path, tmp_path: Path
) -> None:
    """uv is a script here that notes what it is asked for. The first time that it is to install, it kills who asks."""
    import uv

    folder = tmp_path / "mit Leerzeichen und Ü"
    calls, reached = tmp_path / "calls", tmp_path / "reached"
    tool = tmp_path / "uv"
    tool.write_text(
        f"""#!/bin/sh
        echo "$1 $2" >> "{calls}"
        if [ "$2" = install ] && [ ! -e "{reached}" ]; then touch "{reached}"; kill -9 $PPID; exit 1; fi
        exec "{uv.find_uv_bin()}" "$@"
        """
    )
    tool.chmod(0o755)
    (project / "uv.py").write_text(f"def find_uv_bin():\n    return {str(tool)!r}\n")
    here = {"METAFLOW_ENVIRONMENTS": str(folder)}
    assert run_flow(SIX, "run", env=here, check=False).returncode == -9
    assert kept(folder) == [] and len(list((folder / "pypi").iterdir())) == 2  # its lock, and what was made of it

    with ThreadPoolExecutor() as pool:
        two = list(pool.map(lambda _: run_flow("flow.py", "run", env=here), range(2)))
    assert all("Done!" in one.stdout for one in two)
    assert len(kept(folder)) == 1
    assert calls.read_text().count("pip install") == 2  # the one that was killed, and one more
    assert sum("Installing" in one.stderr for one in two) == 1


def test_another_python(run_flow: Callable) -> None:
    from metaflow import Flow

    def works(name: str) -> bool:
        path = shutil.which(name)
        return path is not None and subprocess.run([path, "--version"], capture_output=True).returncode == 0

    versions = Path(os.environ.get("PYENV_ROOT", "/nowhere"), "versions")
    found = [
        f"3.{minor}"
        for minor in (10, 11, 12, 13)
        if minor != sys.version_info[1] and (any(versions.glob(f"3.{minor}.*")) or works(f"python3.{minor}"))
    ]
    if not found:
        pytest.skip("there is one Python on this machine")
    version = found[0]
    source = SIX.replace('"six": "1.16.0"}', f'"six": "1.16.0"}}, python="{version}"').replace(
        "self.six =", "import sys; self.python = list(sys.version_info[:2]); self.six ="
    )
    run_flow(source, "run")
    run = Flow("SixFlow").latest_run
    assert ".".join(map(str, run.data.python)) == version
    assert run["start"].environment_info["python_version"].startswith(f"{version}.")


def test_a_project_of_uv(run_flow: Callable, project: Path) -> None:
    from metaflow import Flow
    from uv import find_uv_bin

    source = SIX.replace('    @pypi(packages={"six": "1.16.0"})\n', "")
    missing = run_flow(source, "--environment=uv", "run", check=False)
    assert missing.returncode == 1 and "there is no pyproject.toml" in missing.stderr
    (project / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["six==1.16.0"]\n'
    )
    unlocked = run_flow(source, "--environment=uv", "run", check=False)
    assert unlocked.returncode == 1 and "has no uv.lock. Make it: uv lock" in unlocked.stderr
    certificates = {**os.environ, "UV_SYSTEM_CERTS": "1"}
    subprocess.run([find_uv_bin(), "lock", "--quiet"], check=True, cwd=project, env=certificates)
    run_flow(source, "--environment=uv", "run")
    run = Flow("SixFlow").latest_run
    assert run.data.six == "1.16.0"
    assert run["end"].environment_info["packages"]["six"] == "1.16.0"


def test_conda_without_conda(run_flow: Callable) -> None:
    done = run_flow(SIX.replace("pypi", "conda"), "run", env={"PATH": "/usr/bin:/bin"}, check=False)
    assert done.returncode == 1
    assert "installed by micromamba, mamba or conda, and none of them is on PATH" in done.stderr


def test_what_conda_is_asked_for(run_flow: Callable, environments: Path, tmp_path: Path) -> None:
    """micromamba is a script here, which gives what it was asked for and then an environment that was made by uv."""
    from metaflow import Flow

    run_flow(SIX, "run")
    made = Flow("SixFlow").latest_run["start"].environment_info["path"]
    calls = tmp_path / "calls"
    link = {"name": "six", "version": "1.16.0", "build_string": "py_0", "url": "https://conda/six-1.16.0-py_0.conda"}
    python = {**link, "name": "python", "version": "3.11.7", "md5": "0123456789abcdef0123456789abcdef"}
    answer = json.dumps({"success": True, "actions": {"LINK": [link, python]}})
    tool = tmp_path / "micromamba"
    tool.write_text(
        f"""#!/bin/sh
        echo "$@" >> "{calls}"
        case "$*" in
            *impossible*) echo '{{"success": false, "solver_problems": ["nothing provides impossible"]}}'; exit 1 ;;
            *--dry-run*) echo '{answer}' ;;
            *) cat "$7" >> "{calls}"; ln -s "{made}" "$5"; echo '{{"success": true}}' ;;
        esac
        """
    )
    tool.chmod(0o755)
    here = {"PATH": f"{tmp_path}:/usr/bin:/bin", "METAFLOW_ENVIRONMENTS": str(tmp_path / "kept")}
    source = SIX.replace(
        '@pypi(packages={"six": "1.16.0"})',
        '@conda(libraries={"six": "1.16.0"}, packages={"conda-forge::gdal": ">=3.8"})',
    ).replace("pypi, step", "conda, step")
    run_flow(source, "run", env=here)
    solve, create, explicit, *urls = calls.read_text().splitlines()
    for word in ("create --yes --dry-run --json", "--channel conda-forge", "six=1.16.0", "conda-forge::gdal>=3.8"):
        assert word in solve
    assert f"python={sys.version_info[0]}.{sys.version_info[1]} " in solve and "pyarrow>=" in solve
    assert create.startswith("create --yes --json --prefix") and explicit == "@EXPLICIT"
    assert urls == [link["url"], f"{python['url']}#{python['md5']}"]
    run = Flow("SixFlow").latest_run
    assert run.data.six == "1.16.0"
    assert run["start"].environment_info["packages"]["six"] == "1.16.0=py_0"
    run_flow("flow.py", "run", env=here)
    assert len(calls.read_text().splitlines()) == 5  # nothing is solved or created again

    failed = run_flow(source.replace("::gdal", "::impossible"), "run", env=here, check=False)
    assert failed.returncode == 1
    assert "@conda on step start: its packages can't be had. micromamba: nothing provides impossible" in failed.stderr


@pytest.mark.slow
def test_tables_cross_between_versions_of_pandas(run_flow: Callable) -> None:
    import pandas
    from metaflow import Flow

    source = """
        import datetime
        from metaflow import FlowSpec, pypi, step

        def frame():
            import pandas as pd
            index = pd.date_range("2024-01-01", periods=3, tz="Europe/Berlin")
            return pd.DataFrame({
                "n": [1, 2, 3], "x": [1.5, None, 2.5], "s": ["a", None, "ü"], "b": [True, False, True],
                "t": index, "d": pd.to_timedelta([1, 2, 3], unit="h"), "i": pd.array([1, None, 3], dtype="Int64"),
                "c": pd.Categorical(["u", "v", "u"]), "text": pd.array(["p", "q", None], dtype="string"),
            }, index=["k", "l", "m"])

        def facts(df):
            def text(value):
                return None if str(value) in ("None", "<NA>", "nan") else str(value)

            return {name: [text(value) for value in df[name]] for name in df} | {"index": list(df.index)}

        class PandasFlow(FlowSpec):
            @step
            def start(self):
                import pandas as pd
                self.new_version = pd.__version__
                self.new = frame()
                self.next(self.old)

            @pypi(packages={"pandas": "2.2.3"})
            @step
            def old(self):
                import pandas as pd
                self.old_version = pd.__version__
                self.seen_by_old = facts(self.new)
                self.changed = self.new.assign(n=self.new["n"] * 2)
                self.old_frame = frame()
                self.next(self.end)

            @step
            def end(self):
                self.seen_by_new = facts(self.old_frame)
                self.here = facts(frame())
                self.changed_here = facts(self.changed)

        if __name__ == "__main__":
            PandasFlow()
        """
    run_flow(source, "run")
    data = Flow("PandasFlow").latest_run.data
    assert (data.old_version, data.new_version) == ("2.2.3", pandas.__version__)
    assert data.seen_by_old == data.here
    assert data.seen_by_new == data.here
    assert data.changed_here == data.here | {"n": ["2", "4", "6"]}
    assert data.changed["c"].dtype == "category" and data.changed["i"].dtype == "Int64"


@pytest.mark.slow
def test_the_example(run_flow: Callable) -> None:
    from metaflow import Flow

    done = run_flow(Path(__file__).resolve().parents[2] / "examples" / "upgrade.py", "run")
    assert "pandas 2.2.3 and 3." in done.stdout
    assert Flow("UpgradeFlow").latest_run.data.same is True
