"""Calls uv: https://docs.astral.sh/uv/reference/cli/"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence

from metaflow_core.errors import StepEnvironmentError

from metaflow_plugins.python_interpreter import library_path

# What changes neither which packages are chosen nor what is in them.
_OF_MACHINE = ("UV_CACHE_", "UV_CONCURRENT", "UV_HTTP_", "UV_REQUEST_", "UV_LINK_", "UV_NO_CACHE", "UV_PROJECT_ENV")

# What pip is told about indexes, and what uv calls it.
_OF_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
}
_OLD_NAMES = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}


class UvFailed(StepEnvironmentError):
    """uv did not do what it was asked for; the message has its words."""


def run_uv(arguments: Sequence[str], given: str = "", held: int | None = None) -> str:
    """What uv prints. ``given`` is its standard input, ``held`` a file descriptor that it inherits."""
    import subprocess

    command = [_find_uv(), *arguments, "--no-progress", "--color", "never"]
    variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONHOME")}
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**variables, **library_path(), **index_settings()},
            pass_fds=[] if held is None else [held],
            check=False,
        )
    except OSError as error:
        raise UvFailed(f"uv can't be started ({command[0]}): {error.strerror}.") from None
    if done.returncode:
        raise UvFailed(_words(done.stderr) or f"uv ended with exit code {done.returncode}")
    return done.stdout


def compile_requirements(lines: Sequence[str], python: str, needs: Sequence[str]) -> dict[str, str]:
    """Versions of all packages that the requirements lead to. ``needs`` are those among them that are ours."""
    compile = ["pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--python", python]
    try:
        found = run_uv(compile, "\n".join(lines))
    except UvFailed as error:
        text = str(error)
        if ours := [one for one in needs if one.partition(";")[0].strip() in text]:
            text += f" (Metaflow itself needs {', '.join(ours)} there.)"
        raise StepEnvironmentError(f"its packages can't be had. {text}") from None
    packages: dict[str, str] = {}
    for line in found.splitlines():
        requirement = line.partition(" ; ")[0].strip()
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(==|@)\s*(.+)", requirement)
        if match is not None:
            packages[match[1]] = match[3] if match[2] == "==" else f"@ {match[3]}"
    return packages


def create(python: str, folder: str, requirements: Sequence[str], held: int) -> None:
    """A virtual environment with exactly these packages."""
    run_uv(["venv", "--quiet", "--no-project", "--python", python, folder], held=held)
    install = ["pip", "install", "--quiet", "--no-deps", "--compile-bytecode", "-r", "-"]
    try:
        run_uv([*install, "--python", os.path.join(folder, "bin", "python")], "\n".join(requirements), held)
    except UvFailed as error:
        raise StepEnvironmentError(f"its packages could not be installed. {error}") from None


def export(project: str) -> list[str]:
    """The requirements of a project, as its ``uv.lock`` has them."""
    arguments = ["export", "--project", project, "--frozen", "--quiet", "--no-hashes", "--no-header", "--no-annotate"]
    arguments += ["--no-dev", "--no-emit-project"]
    try:
        text = run_uv(arguments)
    except UvFailed as error:
        raise StepEnvironmentError(f"the project {project} can't be read. {error}") from None
    return [_absolute(line.strip(), project) for line in text.splitlines() if line.strip()]


def python_of_project(project: str) -> str | None:
    """The version that ``.python-version`` names, as uv reads it; None when the project leaves it open."""
    try:
        with open(os.path.join(project, ".python-version"), encoding="utf-8") as file:
            return file.readline().strip() or None
    except OSError:
        return None


def index_settings(shown: bool = False) -> dict[str, str]:
    """Where packages come from, in uv's variables: what the user has told uv, else what the user has told pip.

    With ``shown`` without passwords and without what does not change packages.
    """
    known = {name: value for name, value in os.environ.items() if name in {*_OF_PIP.values(), *_OLD_NAMES.values()}}
    found = {}
    for option, variable in _OF_PIP.items():
        if variable in known or _OLD_NAMES.get(variable) in known:
            variable = variable if variable in known else _OLD_NAMES[variable]
            found[variable] = known[variable]
        elif value := _pip_option(option):
            found[variable] = ",".join(value.split()) if variable == "UV_FIND_LINKS" else " ".join(value.split())
            if variable == "UV_INDEX" and "UV_INDEX_STRATEGY" not in os.environ:
                found["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # who told pip of them trusts all of them alike
    if not shown:
        return found
    found.pop("SSL_CERT_FILE", None)
    return {name: re.sub(r"(?<=://)[^/@\s]*@", "", value) for name, value in found.items()}


def resolution_settings() -> list[str]:
    """All that the user has told uv, or pip, and that can change which versions are chosen."""
    told = {name: value for name, value in os.environ.items() if name.startswith("UV_")}
    found = {**told, **index_settings()}
    return sorted(f"{name}={value}" for name, value in found.items() if not name.startswith(_OF_MACHINE))


def _pip_option(option: str) -> str | None:
    """An option of pip: https://pip.pypa.io/en/stable/topics/configuration/"""
    value = os.environ.get("PIP_" + option.upper().replace("-", "_"))
    return value if value is not None else _pip_config().get(option)


def _pip_config() -> Mapping[str, str]:
    import configparser
    import sys

    home = os.path.expanduser("~")
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    places = ["/etc/pip.conf", os.path.join(home, ".pip", "pip.conf"), os.path.join(own, "pip", "pip.conf")]
    places += [os.path.join(sys.prefix, "pip.conf"), os.environ.get("PIP_CONFIG_FILE", "")]
    config = configparser.RawConfigParser()
    try:
        config.read([place for place in places if place], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}  # pip complains about it, and uv does not read it
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if config.has_section(section):
            found.update(config.items(section))
    return found


def _find_uv() -> str:
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        pass
    found = shutil.which("uv")
    if found is None:
        raise StepEnvironmentError(
            "Python packages of a step's own are installed by uv, which is not here. "
            "Install it: pip install 'metaflow-tandem[uv]'"
        )
    return found


def _absolute(line: str, project: str) -> str:
    """A requirement that is a path of the project (``./libs/mine``), from wherever it is read."""
    if not line.startswith(("./", "../", "-e ")):
        return line
    path, semicolon, marker = line.removeprefix("-e ").partition(" ;")
    return f"{os.path.normpath(os.path.join(project, path.strip()))}{semicolon}{marker}"


def _words(text: str) -> str:
    """What uv says, in one paragraph and without its marks."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if not line.startswith("warning")]
    words = [re.sub(r"^(error|cause|×|├─▶|╰─▶|│|hint):?\s*", "", line) for line in lines]
    found = " ".join(word for word in words if word)
    return found.replace("No solution found when resolving dependencies Because", "Because")
