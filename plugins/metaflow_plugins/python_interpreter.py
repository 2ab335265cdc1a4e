"""Which Python interpreter a step runs with."""

from __future__ import annotations

import glob
import os
import platform
import re
import sys
from typing import NamedTuple

from metaflow_core.errors import StepEnvironmentError

OLDEST = (3, 10)


class Interpreter(NamedTuple):
    """An installed Python: not a virtual environment, but what it was made from."""

    path: str
    version: str


def this_interpreter() -> Interpreter:
    """The Python of this process."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Interpreter(os.path.realpath(base), platform.python_version())


def library_path() -> dict[str, str]:
    """``LD_LIBRARY_PATH`` for a Python that is started from here, when it has to be another one.

    R puts directories of its own and of the system into it, in which another libpython can be.
    """
    home, path = os.environ.get("R_HOME"), os.environ.get("LD_LIBRARY_PATH")
    if not home or not path:
        return {}
    own = {os.path.join(home, "lib"), *os.environ.get("R_LD_LIBRARY_PATH", "").split(os.pathsep)}
    own |= {"", "/usr/lib", "/usr/local/lib", *glob.glob("/usr/lib/*-linux-gnu")}
    parts = [part for part in path.split(os.pathsep) if part.rstrip("/") not in own]
    return {"LD_LIBRARY_PATH": os.pathsep.join(parts)}


def find_interpreter(wanted: str | None) -> Interpreter:
    """The Python for a request: a version (``3.11``), a range (``>=3.10``), a path, or None for that of this process.

    What is not installed here is downloaded by uv, when it can be. ``StepEnvironmentError`` when it can't.
    """
    this = this_interpreter()
    if wanted is None or _fits(this.version, wanted):
        return this
    digits = re.fullmatch(r"(\d+)(?:\.(\d+))?(?:\.\d+\w*)?", wanted)
    if digits and (int(digits[1]), int(digits[2] or 99)) < OLDEST:
        raise StepEnvironmentError(
            f"python={wanted!r} is too old: steps run on Python {OLDEST[0]}.{OLDEST[1]} or newer, as Metaflow does."
        )
    path = wanted if os.path.isabs(wanted) else _of_pyenv(wanted) or _by_uv(wanted)
    found = _asked(path, wanted)
    if tuple(map(int, found.version.split(".")[:2])) < OLDEST:
        raise StepEnvironmentError(
            f"python={wanted!r} is Python {found.version}, which is too old: steps run on Python "
            f"{OLDEST[0]}.{OLDEST[1]} or newer, as Metaflow does."
        )
    return found


def _fits(version: str, wanted: str) -> bool:
    """Whether ``3.11.7`` is what ``3.11`` asks for.

    >>> _fits("3.11.7", "3.11"), _fits("3.11.7", "3.1"), _fits("3.11.7", "3.11.7")
    (True, False, True)
    """
    return re.fullmatch(r"[\d.]+", wanted) is not None and f"{version}.".startswith(f"{wanted.rstrip('.')}.")


def _of_pyenv(wanted: str) -> str | None:
    """pyenv has what its shims refuse to run, and uv asks the shims."""
    root = os.environ.get("PYENV_ROOT") or os.path.join(os.path.expanduser("~"), ".pyenv")
    for path in sorted(glob.glob(os.path.join(glob.escape(root), "versions", "*", "bin", "python"))):
        if _fits(path.split(os.sep)[-3], wanted):
            return path
    return None


def _by_uv(wanted: str) -> str:
    from metaflow_plugins.uv_tool import UvFailed, run_uv

    find = ["python", "find", "--no-project", "--system", wanted]
    try:
        return run_uv(find).strip()
    except UvFailed as missing:
        try:
            run_uv(["python", "install", "--no-bin", wanted])
            return run_uv(find).strip()
        except UvFailed as error:
            raise StepEnvironmentError(
                f"There is no Python {wanted!r} on this machine ({missing}), and uv can't download it ({error}). "
                f"Ask for another version, or install this one."
            ) from None


def _asked(path: str, wanted: str) -> Interpreter:
    import subprocess

    code = "import sys, platform; print(sys._base_executable, platform.python_version(), sep='\\n')"
    try:
        done = subprocess.run(
            [path, "-I", "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, **library_path()},
            check=True,
        )
        base, version = done.stdout.splitlines()
        return Interpreter(os.path.realpath(base), version)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it does not run"
        raise StepEnvironmentError(f"python={wanted!r}: {path} can't be used: {reason}.") from None
