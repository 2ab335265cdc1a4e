"""Versions of R packages."""

from __future__ import annotations

import re


def parse_constraint(text: str) -> list[tuple[str, str]] | None:
    """``>= 3.6, < 4`` as pairs of operator and version; a version alone has the operator "". None for anything else.

    >>> parse_constraint(">= 3.6, < 4"), parse_constraint("3.6"), parse_constraint(""), parse_constraint("new")
    ([('>=', '3.6'), ('<', '4')], [('', '3.6')], [], None)
    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"(>=|<=|==|>|<|)\s*(\d+(?:[.-]\d+)*)", part)
        if match is None:
            return None
        found.append((match[1], match[2]))
    return found


def fits(version: str, wanted: str) -> bool:
    """Whether a version is what was asked for. One without operator stands for all that begin with it.

    >>> fits("3.6.1", "3.6"), fits("3.60", "3.6"), fits("1.0-2", ">= 1.0.1"), fits("2.0", "== 2.0.0")
    (True, False, True, False)
    """
    have = number(version)
    for operator, text in parse_constraint(wanted) or ():
        want = number(text)
        if operator == "":
            if have[: len(want)] != want:
                return False
        elif not {">=": have >= want, "<=": have <= want, ">": have > want, "<": have < want, "==": have == want}[
            operator
        ]:
            return False
    return True


def is_exact(wanted: str) -> str | None:
    """The version, when only one can be meant: it may be archived. ``3.6`` could be one."""
    parts = parse_constraint(wanted) or []
    return parts[0][1] if len(parts) == 1 and parts[0][0] in ("", "==") else None


def number(version: str) -> tuple[int, ...]:
    """For comparing, as R does it: ``1.0-2`` is 1, 0, 2."""
    return tuple(int(part) for part in re.split(r"[.-]", version))
