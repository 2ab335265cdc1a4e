"""Which files are a project's code: what a code package holds.

The project is the nearest directory, from the flow's file upward, that is marked as one. Taken are sources of every
language, what was asked for by its ending, and the files that say what to install. Never taken are hidden files and
directories, environments, and what ``.gitignore`` names. Git itself is not needed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metaflow_core import settings
from metaflow_core.errors import MetaflowException
from metaflow_core.names import show
from metaflow_core.store.package_archive import shown_name

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

SUFFIXES = (".py", ".R", ".Rmd", ".qmd", ".rds")  # in any case
NAMES = frozenset(("pyproject.toml", "requirements.txt", "uv.lock", "DESCRIPTION", "NAMESPACE", "renv.lock"))
MAX_FILES = 10_000
MAX_FOLDERS = 50_000  # links can make one directory appear many times

_ROOT = ".metaflow-root"
_MARKERS = ("pyproject.toml", "DESCRIPTION", "renv.lock", ".git")
_NEVER = frozenset(("__pycache__", "node_modules", "site-packages"))
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")  # a directory with one of them is an environment
_MB = 1_000_000


@dataclass
class ProjectFiles:
    """The files of a project: ``paths``, by the path from ``root`` with slashes, are where each is.

    ``left_out`` are files that belong to the flow, and links, that lead out of the project.
    """

    root: str
    paths: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def code_root(file: str) -> str:
    """The project's directory for a flow in ``file``.

    The nearest one from the file upward with a ``.metaflow-root``, a ``pyproject.toml``, a ``DESCRIPTION``, an
    ``.Rproj`` file, a ``renv.lock`` or a ``.git``; else that of the file. A home directory and ``/`` are projects only
    when they have a ``.metaflow-root``.
    """
    own = folder = os.path.dirname(os.path.realpath(file))
    while True:
        if os.path.exists(os.path.join(folder, _ROOT)) or (not _is_common(folder) and _is_marked(folder)):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            return own
        folder = above


def _is_marked(folder: str) -> bool:
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return any(name in _MARKERS or name.endswith(".Rproj") for name in names)


def _is_common(folder: str) -> bool:
    """Whether the directory holds much besides projects."""
    return folder in {os.path.realpath(one) for one in ("/", os.path.expanduser("~"), tempfile.gettempdir())}


def wanted_suffixes() -> list[str]:
    """The endings of files that are taken: the usual ones, and those of ``METAFLOW_PACKAGE_SUFFIXES``."""
    given = settings.get("PACKAGE_SUFFIXES") or ""
    more = [text.strip() for text in given.split(",") if text.strip()]
    for text in more:
        if "/" in text or "*" in text or any(character.isspace() for character in text):
            raise MetaflowException(
                f"--package-suffixes takes the endings of files, such as .csv,.sql, not {show(given)}."
            )
    return list(dict.fromkeys([*SUFFIXES, *(text if text.startswith(".") else f".{text}" for text in more)]))


def project_files(root: str, known: Sequence[str], suffixes: Sequence[str]) -> ProjectFiles:
    """The files of the project at ``root``. Those in ``known`` are taken whatever they are called.

    A directory that holds much besides projects, such as a home directory, is not searched unless it is marked.
    Raises ``MetaflowException`` when there are too many files, or too large ones, or one that can't be looked at.
    """
    root = os.path.realpath(root)
    found = ProjectFiles(root)
    if not _is_common(root) or os.path.exists(os.path.join(root, _ROOT)):
        endings = tuple(suffix.casefold() for suffix in suffixes)
        for path in _walk(root, endings, found.left_out):
            found.paths[os.path.relpath(path, root)] = path
            if len(found.paths) > MAX_FILES:
                raise _too_many(root, found.paths)
    for path in map(os.path.realpath, known):
        if os.path.commonpath([root, path]) != root:
            found.left_out.append(path)
        elif os.path.isfile(path):
            found.paths[os.path.relpath(path, root)] = path
    found.paths = {name: found.paths[name] for name in sorted(found.paths)}
    _check_size(found)
    return found


def _walk(root: str, endings: tuple[str, ...], left_out: list[str]) -> Iterator[str]:
    waiting: list[tuple[str, _Rules, tuple[str, ...]]] = [(root, _rules_above(root), (root,))]
    visited = 0
    while waiting:
        folder, rules, around = waiting.pop()
        visited += 1
        if visited > MAX_FOLDERS:
            raise MetaflowException(
                f"The project {root} can't be packaged: it has more than {MAX_FOLDERS:,} directories. Name those that "
                f"are no code in .gitignore, or put a file {_ROOT} into the directory with the code."
            )
        own = _rules(folder)
        if own is not None:
            rules = [(folder, own), *rules]
        for entry in _entries(folder):
            if entry.name.startswith("."):
                continue
            path = entry.path
            if entry.is_symlink():
                real = os.path.realpath(path)
                outside = os.path.commonpath([root, real]) != root
                if outside or real in around:
                    if outside and (os.path.isdir(real) or _is_wanted(entry.name, endings)):
                        left_out.append(path)
                    continue
            if _is_folder(entry):
                if entry.name not in _NEVER and not _is_environment(path) and not _is_ignored(path, True, rules):
                    waiting.append((path, rules, (*around, os.path.realpath(path))))
            elif _is_wanted(entry.name, endings) and _is_file(entry) and not _is_ignored(path, False, rules):
                yield path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []  # removed meanwhile
    except OSError as error:
        raise unreadable(folder, error) from None


def unreadable(path: str, error: OSError) -> MetaflowException:
    """The error about a file or a directory of the project."""
    return MetaflowException(
        f"The project can't be packaged: {shown_name(path)} can't be read: {error.strerror or error}. Make it "
        f"readable, or name it in .gitignore when it is no code."
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """A file, and no pipe, whose reader would wait for ever."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_wanted(name: str, endings: tuple[str, ...]) -> bool:
    return name in NAMES or name.casefold().endswith(endings) or name.endswith(".Rproj")


def _is_environment(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in _ENVIRONMENT)


# --- .gitignore -------------------------------------------------------------------------------------------------------

_Rules = list[tuple[str, "GitIgnoreSpec"]]


def _rules_above(root: str) -> _Rules:
    """Those of the directories above the project, when they belong to one repository; the nearest first."""
    found: _Rules = []
    folder = root
    while not os.path.exists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder or _is_common(above):
            return []  # a repository that has the whole home directory ignores most of it
        folder = above
        rules = _rules(folder)
        if rules is not None:
            found.append((folder, rules))
    return found


def _rules(folder: str) -> GitIgnoreSpec | None:
    path = os.path.join(folder, ".gitignore")
    if not os.path.isfile(path):
        return None
    from pathspec import GitIgnoreSpec

    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from None
    return GitIgnoreSpec.from_lines(line for line in lines if _is_pattern(line))


def _is_pattern(line: str) -> bool:
    """Git takes no notice of a pattern that is none."""
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _is_ignored(path: str, is_folder: bool, rules: _Rules) -> bool:
    """As git does it: the nearest .gitignore that says anything of the path has the word, and in it the last line."""
    for folder, spec in rules:
        name = path[len(folder.rstrip("/")) + 1 :] + "/" * is_folder
        decided = spec.check_file(name).include
        if decided is not None:
            return decided
    return False


# --- limits -----------------------------------------------------------------------------------------------------------


def _check_size(found: ProjectFiles) -> None:
    limit = settings.get("PACKAGE_MAX_SIZE")
    sizes = {name: _size(path) for name, path in found.paths.items()}
    total = sum(sizes.values())
    if total > limit * _MB:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
        shown = ", ".join(f"{shown_name(name)} ({_megabytes(sizes[name])})" for name in largest)
        raise MetaflowException(
            f"The project {found.root} can't be packaged: its {len(sizes):,} files have {_megabytes(total)}, and at "
            f"most {limit} MB are allowed. The largest are {shown}. Name what is no code in .gitignore, or raise the "
            f"limit: METAFLOW_PACKAGE_MAX_SIZE={-(-total // _MB)}"
        )


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0  # it is told of when it is read


def _megabytes(size: int) -> str:
    return f"{size / _MB:,.1f} MB" if size >= _MB / 10 else f"{size / 1000:,.1f} kB"


def _too_many(root: str, names: Iterable[str]) -> MetaflowException:
    from collections import Counter

    folders = Counter(os.path.dirname(name) or "." for name in names)
    most = ", ".join(f"{folder} ({count:,})" for folder, count in folders.most_common(3))
    return MetaflowException(
        f"The project {root} can't be packaged: it has more than {MAX_FILES:,} files. Most are in {most}. Name what is "
        f"no code in .gitignore, or put a file {_ROOT} into the directory with the code."
    )
