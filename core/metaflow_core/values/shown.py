"""Small values as a person of their language would write them, from their trees: nothing is executed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import NoReturn

from metaflow_core.values.node import Node, Tree

MAX_TEXT = 60
_MAX_ITEMS = 20


def shown(tree: Tree, language: str, digits: int = 8) -> str | None:
    """The value in at most 60 characters, as its ``language`` writes it; None when it takes more.

    Floating-point numbers have at most this many ``digits``.
    """
    try:
        text = (_r if language == "r" else _python)(_rounded(tree, digits))
    except _TooMuch:
        return None
    return text if len(text) <= MAX_TEXT else None


def cut(text: str) -> str:
    """The text in quotes, on one line and cut to what fits one."""
    quoted = json.dumps(text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "...", ensure_ascii=False)
    return quoted.encode("utf-8", "replace").decode()


class _TooMuch(Exception):
    pass


def _rounded(tree: Tree, digits: int) -> Tree:
    """The same with shorter numbers; what is long already is left as it is, and will not be shown."""
    if isinstance(tree, float):
        return float(f"{tree:.{digits}g}")
    if isinstance(tree, list) and len(tree) <= _MAX_ITEMS:
        return [_rounded(item, digits) for item in tree]
    if isinstance(tree, Node) and isinstance(tree.value, (list, float)):
        return replace(tree, value=_rounded(tree.value, digits))
    return tree


def _python(tree: Tree) -> str:
    if isinstance(tree, str):
        return _quoted(tree)
    if isinstance(tree, list):
        return f"[{', '.join(map(_python, _few(tree)))}]"
    if isinstance(tree, float):
        text = f"{tree:.15g}"
        return text if set(text) & set(".en") else f"{text}.0"
    if not isinstance(tree, Node):
        return repr(tree) if not isinstance(tree, bytes) or len(tree) <= MAX_TEXT else _too_much()
    if tree.kind == "dict" and isinstance(tree.value, list):
        pairs = zip(_few(tree.fields["keys"]), _few(tree.value), strict=True)
        return f"{{{', '.join(f'{_python(key)}: {_python(value)}' for key, value in pairs)}}}"
    if tree.kind in ("set", "frozenset") and isinstance(tree.value, list):
        return f"{{{', '.join(map(_python, _few(tree.value)))}}}" if tree.value else "set()"
    if tree.kind in ("tuple", "list") and isinstance(tree.value, list):
        inner = ", ".join(map(_python, _few(tree.value)))
        return f"[{inner}]" if tree.kind == "list" else f"({inner}{',' * (len(tree.value) == 1)})"
    return _other(tree)


def _r(tree: Tree, missing: str = "NULL") -> str:
    if isinstance(tree, bool):
        return "TRUE" if tree else "FALSE"
    if isinstance(tree, float):
        return _number(tree)
    if isinstance(tree, str):
        return _quoted(tree)
    if tree is None:
        return missing
    if isinstance(tree, list):  # a vector
        return f"c({', '.join(_r(item, 'NA') for item in _few(tree))})"
    if not isinstance(tree, Node):
        return repr(tree)
    if tree.kind == "na":
        return "NA"
    if tree.kind == "dict" and isinstance(tree.value, list):
        return f"list({_named(tree.fields['keys'], tree.value)})"
    if tree.kind == "list" and isinstance(tree.value, list):
        return f"list({', '.join(map(_r, _few(tree.value)))})"
    if tree.kind == "r.vector" and isinstance(tree.value, list) and set(tree.fields) <= {"names"} and tree.value:
        return f"c({_named(tree.fields['names'], tree.value)})"
    return _other(tree)


def _other(tree: Node) -> str:
    if tree.kind == "numpy.scalar" and not isinstance(tree.value, list):
        return _python(tree.value)
    if tree.kind in ("datetime", "date", "time", "decimal", "uuid", "path") and isinstance(tree.value, str):
        return tree.value
    if tree.kind == "complex" and isinstance(tree.value, list):
        return f"{tree.value[0]:g}{tree.value[1]:+g}i"
    if tree.kind == "timedelta" and isinstance(tree.value, int):
        return f"{tree.value / 1e6:g} s"
    if tree.kind == "enum":
        return f"{str(tree.attrs.get('class', '')).rpartition(':')[2]}.{tree.attrs.get('name')}"
    return _too_much()


def _named(names: Tree, values: list[Tree]) -> str:
    texts = names if isinstance(names, list) else [names]
    return ", ".join(f"{name} = {_r(value, 'NA')}" for name, value in zip(texts, _few(values), strict=True))


def _number(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return ("Inf" if number > 0 else "-Inf") if math.isinf(number) else f"{number:.15g}"


def _quoted(text: str) -> str:
    return cut(text) if len(text) <= MAX_TEXT else _too_much()


def _few(items: Tree) -> list[Tree]:
    return items if isinstance(items, list) and len(items) <= _MAX_ITEMS else _too_much()


def _too_much() -> NoReturn:
    raise _TooMuch
