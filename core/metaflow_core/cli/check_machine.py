"""Checks of ``metaflow doctor``: Python, its packages, and R."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata

from metaflow_core import __version__
from metaflow_core.cli.finding import Finding

DISTRIBUTION = "metaflow-tandem"
OLDEST_PYTHON = (3, 10)
# R before 4.5 lacks a function (R_getVar) that newer releases of rpy2 call.
NEW_R = (4, 5)
LAST_FOR_OLD_R = {"rpy2": (3, 6, 4), "rpy2-rinterface": (3, 6, 5), "rpy2-robjects": (3, 6, 4)}
R_PACKAGES = ("metaflow", "cli", "magrittr", "rlang")
R_INSTALL = "in the source of metaflow-tandem {}: R CMD INSTALL ."
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*])?\s*(?:>=\s*([\d.]+))?[^;]*(?:;(.*))?")


def python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    text = f"Python {version} ({sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        yield Finding("problem", text, f"Use Python {oldest} or newer.")
    else:
        yield Finding("ok", text)


def packages() -> Iterator[Finding]:
    """The packages that this distribution asks for, and those of its extras."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Finding(
            "problem", f"{DISTRIBUTION} runs, but is not installed in this Python.", f"pip install {DISTRIBUTION}"
        )
        return
    good, absent = [], {}
    for line in requirements:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, minimum, marker = match[1], match[2], match[3] or ""
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if name == DISTRIBUTION or (extra and extra[1] == "dev") or (marker and not extra):
            continue
        found = _version(name)
        install = f"pip install '{name}>={minimum}'" if minimum else f"pip install {name}"
        if found is None and extra:
            absent[name] = f"pip install '{DISTRIBUTION}[{extra[1]}]'"
        elif found is None:
            yield Finding("problem", f"The package {name} is missing.", install)
        elif minimum and numbers(found) < numbers(minimum):
            yield Finding("problem", f"The package {name} {found} is too old.", install)
        elif (error := _import_error(name)) is not None:
            again = f"pip install --force-reinstall {name}"
            yield Finding("problem", f"The package {name} {found} can't be imported: {error}", again)
        else:
            good.append(f"{name} {found}")
    if good:
        yield Finding("ok", f"Packages: {', '.join(good)}")
    if absent:
        yield Finding("ok", "Optional and not installed: " + ", ".join(f"{n} ({how})" for n, how in absent.items()))


def r() -> Iterator[Finding]:
    """R, rpy2 and the R packages: needed for flows with steps in R, and for nothing else."""
    program = _find_r()
    bridge = {name: version for name in LAST_FOR_OLD_R if (version := _version(name))}
    home = os.environ.get("R_HOME")
    if program is None and home:
        yield Finding(
            "problem", f"R_HOME is {home}, and there is no R in it.", "unset R_HOME, or: export R_HOME=$(R RHOME)"
        )
        return
    if program is None and bridge:
        yield Finding(
            "warning",
            "R was not found on PATH, so flows with steps in R can't run.",
            "Install R, such as: apt-get install r-base-core; or: export R_HOME=<where R is>",
        )
        return
    if program is None:
        yield Finding("ok", "R is not installed. Only flows with steps in R need it.")
        return
    output = _output([program, "--version"])
    match = re.search(r"R version (\d+\.\d+\.\d+)", output)
    if match is None:
        yield Finding("problem", f"R does not start: {program} --version says {output[:200]!r}", "Reinstall R.")
        return
    version = match[1]
    yield Finding("ok", f"R {version} ({program})")
    yield from _rpy2(version, bridge)
    if not sysconfig.get_config_var("Py_ENABLE_SHARED") and not sysconfig.get_config_var("PYTHONFRAMEWORK"):
        yield Finding(
            "warning",
            "This Python has no shared library, so R can't load it: `Rscript flow.R` will not work.",
            "In R: metaflow::install_metaflow(), which looks for a Python with one, such as that of your system.",
        )
    yield from _r_packages(program)


def _rpy2(r_version: str, bridge: dict[str, str]) -> Iterator[Finding]:
    old = numbers(r_version) < NEW_R
    pins = " ".join(f"{name}=={'.'.join(map(str, last))}" for name, last in LAST_FOR_OLD_R.items())
    install = f"pip install {pins}" if old else "pip install rpy2"
    if "rpy2" not in bridge:
        yield Finding("warning", "rpy2 is not installed, so flows with steps in R can't run.", install)
        return
    names = ", ".join(f"{name} {version}" for name, version in bridge.items())
    if old and any(numbers(version) > LAST_FOR_OLD_R[name] for name, version in bridge.items()):
        yield Finding("problem", f"{names}: too new for R {r_version}.", f"{install}, or install R 4.5 or newer")
    else:
        yield Finding("ok", names)


def _r_packages(program: str) -> Iterator[Finding]:
    code = (
        f"for (p in c({', '.join(map(repr, R_PACKAGES))})) "
        "cat(p, if (nzchar(system.file(package = p))) as.character(packageVersion(p)) else 'missing', '\\n')"
    )
    output = _output([program, "--no-echo", "--no-save", "--no-restore", "--no-init-file", "-e", code])
    found = dict(re.findall(rf"^({'|'.join(R_PACKAGES)}) (\S+)", output, re.MULTILINE))
    if not found:
        yield Finding("warning", f"R can't tell which packages it has: {output[:200]!r}", "Start R to see why.")
        return
    missing = [name for name, version in found.items() if version == "missing"]
    if missing:
        others = [name for name in missing if name != "metaflow"]
        fixes = [f"in R: install.packages(c({', '.join(map(repr, others))}))"] if others else []
        fixes += [R_INSTALL.format(__version__)] if "metaflow" in missing else []
        text = f"Missing in R: {', '.join(missing)}. Flows with steps in R need it."
        yield Finding("warning", text, "; ".join(fixes))
    elif found["metaflow"] != __version__:
        yield Finding(
            "problem",
            f"The R package metaflow is of version {found['metaflow']}, and {DISTRIBUTION} of {__version__}.",
            R_INSTALL.format(__version__),
        )
    else:
        yield Finding("ok", "R packages: " + ", ".join(f"{name} {version}" for name, version in found.items()))


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, to compare: ``3.6.4rc1`` gives ``(3, 6, 4)``."""
    found = []
    for part in version.split("."):
        match = re.match(r"\d+", part)
        if match is None:
            break
        found.append(int(match[0]))
    return tuple(found)


def _find_r() -> str | None:
    home = os.environ.get("R_HOME")
    return shutil.which("R", path=os.path.join(home, "bin")) if home else shutil.which("R")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _import_error(name: str) -> str | None:
    try:
        importlib.import_module(name.replace("-", "_"))
    except ModuleNotFoundError as error:
        # Some packages import under another name than their own; that they are installed is all we know then.
        return None if error.name == name.replace("-", "_") else str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _output(command: list[str]) -> str:
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return result.stdout.decode(errors="replace")
