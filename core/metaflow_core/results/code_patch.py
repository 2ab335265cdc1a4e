"""The difference between two sets of files, as ``git apply`` and ``patch -p1`` take it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from metaflow_core.store.package_archive import shown_name

_NO_NEWLINE = "\\ No newline at end of file\n"


def patch(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> bytes:
    """A unified diff from ``old`` to ``new``, both by path; empty when they are equal. Binary files are only named."""
    lines = (line for name in sorted({*old, *new}) for line in _file(name, old.get(name), new.get(name)))
    return "".join(lines).encode("utf-8", "surrogateescape")


def _file(name: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    import difflib

    if old == new:
        return
    before, after = _label("a", name), _label("b", name)
    yield f"diff --git {before} {after}\n"
    if old is None:
        before = "/dev/null"
        yield "new file mode 100644\n"
    elif new is None:
        after = "/dev/null"
        yield "deleted file mode 100644\n"
    if b"\0" in (old or b"") + (new or b""):
        yield f"Binary files {before} and {after} differ\n"
        return
    if not old and not new:
        return  # an empty file came or went
    yield f"--- {before}{_end(before)}\n+++ {after}{_end(after)}\n"
    for line in islice(difflib.unified_diff(_lines(old), _lines(new)), 2, None):
        yield line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}"


def _lines(data: bytes | None) -> list[str]:
    """Lines with their ends. Only a newline ends one, as for every program that reads patches."""
    text = (data or b"").decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    return [*(f"{line}\n" for line in lines[:-1]), *([lines[-1]] if lines[-1] else [])]


def _label(side: str, name: str) -> str:
    shown = shown_name(name)
    return f'"{side}/{shown[1:]}' if shown.startswith('"') else f"{side}/{name}"


def _end(label: str) -> str:
    """`patch` takes a name with blanks up to a tab."""
    return "\t" if " " in label and not label.startswith('"') else ""
