"""Repositories of R packages: chooses versions, and installs them. Rscript does what only R can."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from metaflow_core.errors import StepEnvironmentError

from metaflow_plugins.r_versions import fits, is_exact, number

# Rows of the packages that were asked for, and of all that they may need. Each version of a package is a row.
_LIST = r"""
arguments <- commandArgs(TRUE)
count <- as.integer(arguments[[1L]])
repos <- arguments[seq_len(count) + 1L]
wanted <- arguments[-seq_len(count + 1L)]
fields <- c("Package", "Version", "Depends", "Imports", "LinkingTo", "Repository")
known <- tryCatch(
  available.packages(utils::contrib.url(repos, "source"), type = "source", filters = c("R_version", "OS_type")),
  warning = function(w) stop(conditionMessage(w), call. = FALSE)
)[, fields, drop = FALSE]
archived <- function(name, version) {
  for (place in utils::contrib.url(repos, "source")) {
    url <- paste0(place, "/Archive/", name, "/", name, "_", version, ".tar.gz")
    file <- tempfile(fileext = ".tar.gz")
    if (!identical(tryCatch(suppressWarnings(download.file(url, file, quiet = TRUE)), error = function(e) 1L), 0L)) next
    folder <- tempfile()
    utils::untar(file, paste0(name, "/DESCRIPTION"), exdir = folder)
    facts <- read.dcf(file.path(folder, name, "DESCRIPTION"), fields = fields[1:5])
    return(cbind(facts, Repository = dirname(url)))
  }
}
for (text in grep("=", wanted, fixed = TRUE, value = TRUE)) {
  parts <- strsplit(text, "=", fixed = TRUE)[[1L]]
  known <- rbind(known, archived(parts[[1L]], parts[[2L]]))
}
names <- unique(sub("=.*", "", wanted))
repeat {
  rows <- known[known[, "Package"] %in% names, , drop = FALSE]
  needed <- unlist(strsplit(c(rows[, c("Depends", "Imports", "LinkingTo")]), ",", fixed = TRUE))
  more <- setdiff(intersect(trimws(sub("\\(.*", "", needed)), known[, "Package"]), names)
  if (!length(more)) break
  names <- c(names, more)
}
rows[is.na(rows)] <- ""
rows[] <- gsub("[[:space:]]+", " ", rows)
utils::write.table(rows, sep = "\t", quote = FALSE, row.names = FALSE, col.names = FALSE)
"""

_INSTALL = r"""
arguments <- commandArgs(TRUE)
count <- as.integer(arguments[[1L]])
libraries <- arguments[seq_len(count) + 1L]
sources <- matrix(arguments[-seq_len(count + 1L)], nrow = 2L)
dir.create(libraries[[1L]])
.libPaths(c(libraries, .libPaths()))
Sys.setenv(R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep))
for (i in seq_len(ncol(sources))) {
  name <- sources[[1L, i]]
  file <- file.path(tempdir(), basename(sources[[2L, i]]))
  if (!identical(download.file(sources[[2L, i]], file, quiet = TRUE), 0L)) stop(sources[[2L, i]], " can't be loaded.")
  install.packages(file, lib = libraries[[1L]], repos = NULL, type = "source", INSTALL_opts = "--no-test-load")
  if (!file.exists(file.path(libraries[[1L]], name, "DESCRIPTION"))) stop(name, " could not be installed.")
}
"""


class Source(NamedTuple):
    """A version of a package, and where its source is."""

    name: str
    version: str
    url: str


class _Row(NamedTuple):
    source: Source
    needs: dict[str, str]  # by name, the constraint


def choose(rscript: str, libraries: Sequence[str], repos: Sequence[str], wanted: Mapping[str, str]) -> list[Source]:
    """The newest versions that fit, and those of the packages that they need and R does not have, these first."""
    arguments = [f"{name}={version}" if (version := is_exact(text)) else name for name, text in wanted.items()]
    try:
        text = run_r(rscript, _LIST, [str(len(repos)), *repos, *arguments, *wanted])
    except StepEnvironmentError as error:
        raise StepEnvironmentError(f"its packages can't be had from {', '.join(repos)}. {error}") from None
    rows: dict[str, list[_Row]] = {}
    for line in text.splitlines():
        name, version, *needs, place = line.split("\t")
        url = f"{place}/{name}_{version}.tar.gz"
        rows.setdefault(name, []).append(_Row(Source(name, version, url), _needs(", ".join(needs))))
    constraints = {name: [version] for name, version in wanted.items()}
    found: dict[str, _Row] = {}
    waiting = list(wanted)
    while waiting:
        name = waiting.pop(0)
        row = _newest(rows.get(name, ()), constraints[name], name, repos)
        if found.get(name) == row:
            continue
        found[name] = row
        for needed, constraint in row.needs.items():
            if needed in wanted or needed in constraints:
                constraints[needed].append(constraint)
                waiting.append(needed)
            elif not _is_installed(needed, constraint, libraries):
                constraints[needed] = [constraint]
                waiting.append(needed)
    return [found[name].source for name in _in_order(found)]


def install(rscript: str, sources: Sequence[Source], folder: str, libraries: Sequence[str], held: int) -> None:
    """Install the sources, in this order, into the new library ``folder``."""
    pairs = [text for one in sources for text in (one.name, one.url)]
    places = [folder, *libraries]
    try:
        run_r(rscript, _INSTALL, [str(len(places)), *places, *pairs], held)
    except StepEnvironmentError as error:
        raise StepEnvironmentError(f"its packages could not be installed. {error}") from None


def run_r(rscript: str, code: str, arguments: Sequence[str] = (), held: int | None = None) -> str:
    """What R prints. ``held`` is a file descriptor that it inherits."""
    import subprocess
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".R", encoding="utf-8") as script:
        script.write(code)
        script.flush()
        try:
            done = subprocess.run(
                [rscript, script.name, *arguments],
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                stdin=subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if name != "R_SESSION_INITIALIZED"},
                pass_fds=[] if held is None else [held],
                check=False,
            )
        except OSError as error:
            raise StepEnvironmentError(f"R can't be started ({rscript}): {error.strerror}.") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith(("Execution halted", "Calls:", "* "))]
        raise StepEnvironmentError("R says: " + " ".join(lines[-6:]))
    return done.stdout


def _newest(rows: Iterable[_Row], constraints: Sequence[str], name: str, repos: Sequence[str]) -> _Row:
    known = list(rows)
    fitting = [row for row in known if all(fits(row.source.version, one) for one in constraints)]
    if not fitting:
        have = sorted({row.source.version for row in known}, key=number)
        asked = " and ".join(dict.fromkeys(filter(None, constraints)))
        there = f"has {', '.join(have)}" if have else "has no such package"
        raise StepEnvironmentError(
            f"its packages can't be had: {name}{f' {asked}' if asked else ''} is asked for, and {', '.join(repos)} "
            f"{there}. Archived versions are found when they are given in full."
        )
    return max(fitting, key=lambda row: number(row.source.version))


def _needs(text: str) -> dict[str, str]:
    """``R (>= 4.0), rlang (>= 1.0)`` by name, without R itself.

    >>> _needs("R (>= 4.0), rlang (>= 1.0), cli")
    {'rlang': '>= 1.0', 'cli': ''}
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*([A-Za-z][A-Za-z0-9.]*)\s*(?:\(([^)]*)\))?\s*", part)
        if match is not None and match[1] != "R":
            found[match[1]] = ", ".join(filter(None, [found.get(match[1]), (match[2] or "").strip()]))
    return found


def _is_installed(name: str, constraint: str, libraries: Sequence[str]) -> bool:
    from metaflow_plugins.r_environment import installed_version

    version = installed_version(name, libraries)
    return version is not None and fits(version, constraint)


def _in_order(rows: Mapping[str, _Row]) -> list[str]:
    """The names, each after those that it needs."""
    found: list[str] = []

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in found or name in above:
            return
        for needed in rows[name].needs:
            if needed in rows:
                add(needed, (*above, name))
        found.append(name)

    for name in rows:
        add(name, ())
    return found
