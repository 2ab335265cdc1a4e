"""The words of a search such as ``accuracy > 0.9 and not debug``, and what is said of a wrong one."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple, NoReturn

from metaflow_core.errors import InvalidSearch
from metaflow_core.names import show

MOST_CHARACTERS = 10_000
SHOWN = 72  # characters of a long search that a message shows around the place it is about

# What people write in Python, R and SQL for the same.
_SAME = {
    "&": "and",
    "&&": "and",
    "|": "or",
    "||": "or",
    "!": "not",
    "~": "not",
    "==": "=",
    "<>": "!=",
    "%in%": "in",
    "[": "(",
    "]": ")",
}
KEYWORDS = frozenset({"and", "or", "not", "in", "like", "contains", "is"})
CONSTANTS: dict[str, float | bool | None] = {
    "true": True,
    "false": False,
    "null": None,
    "none": None,
    "na": None,
    "nan": None,
    "inf": float("inf"),
}
_WORD = re.compile(
    r"(?P<blank>\s+)"
    r"|(?P<number>(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?L?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|`(?P<quoted>[^`]+)`"
    r"|(?P<text>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\")"
    r"|(?P<sign>&&|\|\||==|!=|<>|<=|>=|%in%|[&|!~=<>()\[\],+-])",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))|(['\"])\3", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


class Word(NamedTuple):
    """``kind`` is sign (keywords too), name, number, text, constant or end."""

    kind: str
    text: str
    at: int
    value: int | float | str | bool | None = None
    quoted: bool = False


def words_of(search: str) -> list[Word]:
    """The words, the last of which is the end."""
    if not isinstance(search, str):
        raise InvalidSearch(f'A search is a text such as "accuracy > 0.9", not {show(search)}.')
    if len(search) > MOST_CHARACTERS:
        raise InvalidSearch(f"A search has at most {MOST_CHARACTERS:,} characters, not {len(search):,}.")
    try:
        search.encode()
    except UnicodeEncodeError as error:
        complain(search, error.start, "This is no character")
    words: list[Word] = []
    at = 0
    while at < len(search):
        found = _WORD.match(search, at)
        if found is None:
            _complain_of_character(search, at)
        if found.lastgroup != "blank":
            words.append(_word(search, found))
            glued = words[-1].kind == "number" and re.match(r"\w|\.", search[found.end() :])
            if glued:
                complain(search, at, "This is neither a number nor a name")
        at = found.end()
    return [*words, Word("end", "the end", len(search.rstrip()))]


def complain(search: str, at: int, what: str) -> NoReturn:
    """Raise ``InvalidSearch``: what is wrong, and the search with a mark below the place."""
    begin = 0
    if len(search) > SHOWN:
        begin = max(0, min(at - SHOWN // 2, len(search) - SHOWN))
    shown = search[begin : begin + SHOWN]
    before, after = "..." * (begin > 0), "..." * (begin + SHOWN < len(search))
    line = "".join(character if character.isprintable() else " " for character in shown)
    width = len(before) + sum(_width(character) for character in line[: at - begin])
    colon = "" if what[-1] in ".?" else ":"
    raise InvalidSearch(f"{what}{colon}\n  {before}{line}{after}\n  {' ' * width}^")


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _word(search: str, found: re.Match[str]) -> Word:
    text, at = found[0], found.start()
    if found.lastgroup == "number":
        return Word("number", text, at, _number(text))
    if found.lastgroup == "text":
        return Word("text", text, at, _text(search, text, at))
    if found.lastgroup == "quoted":
        return Word("name", found["quoted"], at, quoted=True)
    lower = _SAME.get(text, text).lower()
    if found.lastgroup == "sign" or lower in KEYWORDS:
        return Word("sign", lower, at)
    if lower in CONSTANTS:
        return Word("constant", text, at, CONSTANTS[lower])
    return Word("name", text, at)


def _number(text: str) -> int | float:
    digits = text.removesuffix("L").replace("_", "")
    # More digits than an integer may have here become infinite, as they are larger than any number that is stored.
    return int(digits) if digits.isdecimal() and len(digits) < 400 else float(digits)


def _text(search: str, quoted: str, at: int) -> str:
    def unescape(found: re.Match[str]) -> str:
        if found[1]:
            code = int(found[1], 16)
            if code == 0 or 0xD800 <= code < 0xE000:
                complain(search, at + 1 + found.start(), "This is no character")
            return chr(code)
        if found[3]:
            return found[3] if found[3] == quoted[0] else found[0]
        return _ESCAPED.get(found[2], found[2] if found[2] in "\\'\"" else found[0])

    return _ESCAPE.sub(unescape, quoted[1:-1])


def _complain_of_character(search: str, at: int) -> NoReturn:
    character = search[at]
    if character in "'\"`":
        complain(search, at, "This quotation is not closed")
    if character in "*/^%+-":
        complain(search, at, "There is no arithmetic in a search: compare a name with a value")
    complain(search, at, "This has no meaning here")
