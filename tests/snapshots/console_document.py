"""Markdown documents of programs, commands and what they print, which are tests: see :class:`Section`.

``UPDATE_SNAPSHOTS=1 pytest ...`` writes down what is printed now; a person reads the difference.
"""

from __future__ import annotations

import difflib
import fcntl
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

UPDATE = bool(os.environ.get("UPDATE_SNAPSHOTS"))
SEEN = re.compile(  # of a run, what says that all is well
    r"Metaflow \S+ executing |Validating your flow|The graph looks good|Workflow starting|"
    r"(Failed|Log|Resume): |(\[\S+\] )?Foreach yields |(\[\S+\] )?Task (is starting\.|finished successfully\.)$|Done!$"
)


class Section(NamedTuple):
    """What stands under a heading.

    A block of ``python`` or ``r`` is a file, ``flow.py`` or ``flow.R`` unless its fence names another; ``hidden`` are
    the lines that are added at its end. A block of ``console`` has commands after ``$ ``, which a shell carries out in
    order in a fresh project, and what each prints, stdout before stderr, with its exit status.
    """

    title: str
    text: str

    def run(self, project: Path, environment: Mapping[str, str], hidden: str) -> str:
        """The section with what its commands print now."""
        return re.sub(
            r"^```(\w+) ?([^\n]*)\n(.*?)^```$",
            lambda block: _block(block, project, environment, hidden),
            self.text,
            flags=re.MULTILINE | re.DOTALL,
        )


def sections(document: Path) -> list[Section]:
    """The sections of a document. Of two with one title a test could not tell which failed."""
    parts = re.split(r"^(?=##+ )", document.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = [Section(part.partition("\n")[0].lstrip("# "), part) for part in parts]
    titles = [section.title for section in found]
    assert len(titles) == len(set(titles)), [title for title in titles if titles.count(title) > 1]
    return [section for section in found if "```console" in section.text]


def check(document: Path, section: Section, project: Path, environment: Mapping[str, str], hidden: str = "") -> None:
    """Fail unless the section's commands print what is written there; or write it down."""
    now = section.run(project, environment, hidden)
    ours = [line for line in now.splitlines() if re.search(r"/(metaflow_\w+|site-packages)/", line)]
    assert not ours, "users are shown lines of code that is not theirs:\n" + "\n".join(ours)
    if UPDATE:
        with open(document, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = file.read()
            file.seek(0)
            file.write(text.replace(section.text, now))
            file.truncate()
    elif now != section.text:
        difference = difflib.unified_diff(section.text.splitlines(), now.splitlines(), "as it was", "now", lineterm="")
        raise AssertionError("\n".join([section.title, *difference]))


def _block(block: re.Match[str], project: Path, environment: Mapping[str, str], hidden: str) -> str:
    language, name, content = block.groups()
    if language in ("python", "r"):
        path = project / (name or {"python": "flow.py", "r": "flow.R"}[language])
        path.write_text(content + ("" if name else hidden), encoding="utf-8")
    if language != "console":
        return block[0]
    commands = re.findall(r"^\$ (.*)$", content, flags=re.MULTILINE)
    return "```console\n" + "".join(_console(command, project, environment) for command in commands) + "```"


def _console(command: str, project: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line for stream in (done.stdout, done.stderr) for line in _lines(stream, project)]
    return "\n".join([f"$ {command}", *lines, f"[exit status {done.returncode}]", ""])


def _lines(printed: str, project: Path) -> Iterator[str]:
    for line in printed.splitlines():
        line = re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", "", line.rstrip())
        line = re.sub(r"^\[(\S+) \(pid \d+\)\]", r"[\1]", line)
        line = line.replace(str(project.parent), "").replace(os.path.realpath(project.parent), "")
        line = re.sub(r"repeated \d+ more times", "repeated many more times", line)
        line = re.sub(r"\(/.+/metaflow/__init__\.py\)", "(...)", line)
        line = re.sub(r"^(date|metaflow_version|python_version|r_version):.*", r"\1:...", line)
        if not SEEN.match(line) and not re.fullmatch(r"(\[\S+\])?[\s~^]+", line):  # Python 3.10 marks no places
            yield line
