"""Understands a search such as ``accuracy > 0.9 and (alpha == 0.5 or not debug)``.

either:  both (OR both)*
both:    single (AND single)*
single:  NOT single | ( either ) | comparison
comparison:  operand (SIGN operand)* | operand [NOT] IN list | operand [NOT] LIKE text | operand IS [NOT] NULL ...
operand: NAME | number | text | constant
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, NoReturn

from metaflow_core.metadata.search_terms import (
    All,
    AnyOf,
    Condition,
    Fact,
    Not,
    Scalar,
    Tag,
    TagText,
    Value,
    ValueIn,
    ValueText,
    has_value,
)
from metaflow_core.results.search_times import MICROSECONDS, duration, moment
from metaflow_core.results.search_words import Word, complain, words_of

FIELDS = ("status", "user", "tag", "tags", "created_at", "finished_at", "duration")
MOST_COMPARISONS = 200
MOST_VALUES = 500
MOST_DEEP = 50
COMPARES = {"=", "!=", "<", "<=", ">", ">="}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ALWAYS, _NEVER = All(()), AnyOf(())


class Parsed(NamedTuple):
    """What a search asks for, and where in it the values of runs are named."""

    condition: Condition
    names: dict[str, int]


def parse(search: str, status: Callable[[str], Condition], now: int) -> Parsed:
    """``status`` gives the condition for a status, or raises ``ValueError``; ``now`` is in microseconds since 1970."""
    parser = _Parser(search, status, now)
    if parser.word.kind == "end":
        return Parsed(_ALWAYS, {})
    condition = parser.either(0)
    if parser.word.kind != "end":
        parser.expected("`and`, `or` or the end")
    return Parsed(condition, parser.names)


class _Parser:
    def __init__(self, search: str, status: Callable[[str], Condition], now: int) -> None:
        self.search = search
        self.words = words_of(search)
        self.place = 0
        self.status = status
        self.now = now
        self.names: dict[str, int] = {}
        self.comparisons = 0
        self.values = 0

    # --- words ---

    @property
    def word(self) -> Word:
        return self.words[self.place]

    def next(self) -> Word:
        word = self.word
        self.place += word.kind != "end"
        return word

    def take(self, *signs: str) -> Word | None:
        return self.next() if self.word.kind == "sign" and self.word.text in signs else None

    def expected(self, what: str) -> NoReturn:
        found = self.word
        if found.kind == "sign" and found.text in ("+", "-"):
            complain(self.search, found.at, "There is no arithmetic in a search: compare a name with a value")
        complain(self.search, found.at, f"Expected {what}" + (", not the end" if found.kind == "end" else ""))

    # --- and, or, not ---

    def either(self, depth: int) -> Condition:
        parts = [self.both(depth)]
        while self.take("or"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def both(self, depth: int) -> Condition:
        parts = [self.single(depth)]
        while self.take("and"):
            parts.append(self.single(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def single(self, depth: int) -> Condition:
        if depth > MOST_DEEP:
            complain(self.search, self.word.at, f"More than {MOST_DEEP} levels of `not` and parentheses")
        if self.take("not"):
            return denied(self.single(depth + 1))
        if self.take("("):
            inside = self.either(depth + 1)
            if not self.take(")"):
                self.expected("`)`, `and` or `or`")
            if self.word.kind == "sign" and self.word.text in COMPARES:
                self.expected("`and`, `or` or the end: what is in parentheses is true or false")
            return inside
        return self.comparison()

    # --- comparisons ---

    def comparison(self) -> Condition:
        self.comparisons += 1
        if self.comparisons > MOST_COMPARISONS:
            complain(self.search, self.word.at, f"More than {MOST_COMPARISONS} comparisons")
        left = self.operand("a name")
        negated = self.take("not") is not None
        condition: Condition
        if self.take("in"):
            condition = self.is_in(left)
        elif sign := self.take("like", "contains"):
            condition = self.matches(left, sign.text)
        elif negated:
            self.expected("`in`, `like` or `contains`")
        elif self.take("is"):
            negated = self.take("not") is not None
            condition = self.compares(left, "=", self.operand("a value"))
        elif self.word.kind == "sign" and self.word.text in COMPARES:
            return self.chain(left)
        else:
            return self.alone(left)
        if not negated:
            return condition
        # Like `!=`, `not in` and `not like` compare, and so are false of a run that has nothing to compare.
        name = _compared(condition)
        return denied(condition) if name is None else All((has_value(name), Not(condition)))

    def chain(self, left: Word) -> Condition:
        parts = []
        while sign := self.take(*COMPARES):
            right = self.operand("a value")
            parts.append(self.compares(left, sign.text, right))
            left = right
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def operand(self, what: str) -> Word:
        sign = self.take("-", "+")
        word = self.word
        if sign and (word.kind not in ("number", "constant") or not isinstance(word.value, (int, float))):
            self.expected("a number")
        if word.kind == "sign" and word.text == "(":
            self.expected(f"{what}; parentheses are for what is true or false")
        if word.kind in ("sign", "end"):
            self.expected(what)
        self.next()
        if sign and sign.text == "-":
            return word._replace(at=sign.at, value=-word.value)  # type: ignore[operator]
        return word

    def alone(self, word: Word) -> Condition:
        if word.kind == "constant" and isinstance(word.value, bool):
            return _ALWAYS if word.value else _NEVER
        if word.kind != "name" or self.is_field(word):
            self.expected(f"a comparison of `{word.text}`, such as `{_example(word)}`" if word.text else "a comparison")
        name = self.name(word)
        return AnyOf((Value(name, ">", 0), Value(name, "<", 0), Value(name, ">", "")))

    def compares(self, left: Word, sign: str, right: Word) -> Condition:
        if left.kind != "name":
            if right.kind != "name":
                complain(self.search, left.at, "One side of a comparison must be a name")
            left, sign, right = right, _TURNED.get(sign, sign), left
        elif right.kind == "name":
            complain(self.search, right.at, f"Expected a value. A text needs quotes: '{right.text}'")
        if sign == "!=":
            return self.differs(left, right)
        if self.is_field(left):
            return self.field(left, sign, right)
        name = self.name(left)
        if right.value is None:
            self.only_equal(sign, right)
            return Not(has_value(name))
        return Value(name, sign, self.scalar(right))

    def differs(self, left: Word, right: Word) -> Condition:
        """What a run lacks is not different: it compares with nothing. A tag that it lacks is."""
        if right.value is None:
            return denied(self.compares(left, "=", right))
        if self.is_field(left):
            equal = self.field(left, "=", right)
            if left.text in ("finished_at", "duration"):
                return All((Fact(left.text, ">=", -(2**62)), Not(equal)))
            return Not(equal)
        name, value = self.name(left), self.scalar(right)
        other: Scalar = float("-inf") if isinstance(value, str) else ""
        return AnyOf((Value(name, "<", value), Value(name, ">", value), Value(name, ">=", other)))

    def is_in(self, left: Word) -> Condition:
        if left.kind == "text":
            return self.matches(self.operand("a name"), "contains", left)
        if left.kind != "name":
            complain(self.search, left.at, "Before `in` stands a name, or a text that is looked for in one")
        if self.word.kind == "name" and self.word.text == "c":
            self.next()
        if not self.take("("):
            self.expected("a list such as `(1, 2)`")
        values: list[Word] = []
        while not self.take(")"):
            if values and not self.take(","):
                self.expected("`,` or `)`")
            if values and self.take(")"):
                break  # a comma at the end, as in (1,)
            word = self.operand("a value")
            if word.kind == "name":
                complain(self.search, word.at, f"Expected a value. A text needs quotes: '{word.text}'")
            values.append(word)
            self.values += 1
            if self.values > MOST_VALUES:
                complain(self.search, word.at, f"More than {MOST_VALUES} values in lists")
        if self.is_field(left):
            return AnyOf(tuple(self.field(left, "=", word) for word in values))
        name = self.name(left)
        found = [self.scalar(word) for word in values]
        numbers = tuple(value for value in found if not isinstance(value, str))
        texts = tuple(value for value in found if isinstance(value, str))
        parts = tuple(ValueIn(name, some) for some in (numbers, texts) if some)
        return parts[0] if len(parts) == 1 else AnyOf(parts)

    def matches(self, left: Word, sign: str, text: Word | None = None) -> Condition:
        if left.kind != "name":
            complain(self.search, left.at, f"Expected a name, whose text is compared by `{sign}`")
        right = text or self.operand("a text in quotes")
        if not isinstance(right.value, str):
            complain(self.search, right.at, "Expected a text in quotes")
        if self.is_field(left):
            if left.text not in ("tag", "tags"):
                complain(self.search, left.at, f"`{left.text}` is compared with {' '.join(_signs(left.text))}")
            return Tag(right.value) if sign == "contains" else TagText("like", right.value)
        name = self.name(left)
        return ValueText(name, sign, right.value) if right.value else Value(name, "=" if sign == "like" else ">=", "")

    # --- what is compared ---

    def is_field(self, word: Word) -> bool:
        return word.text in FIELDS and not word.quoted

    def name(self, word: Word) -> str:
        self.names.setdefault(word.text, word.at)
        return word.text

    def scalar(self, word: Word) -> Scalar:
        if word.value is None:
            complain(self.search, word.at, "What is missing is looked for with `is null`")
        return int(word.value) if isinstance(word.value, bool) else word.value

    def only_equal(self, sign: str, word: Word) -> None:
        if sign != "=":
            complain(self.search, word.at, "What is missing compares with nothing: use `is null` or `is not null`")

    def field(self, left: Word, sign: str, right: Word) -> Condition:
        field = left.text
        if sign not in _signs(field):
            complain(self.search, left.at, f"`{field}` is compared with {' '.join(_signs(field))}")
        if right.value is None:
            self.only_equal(sign, right)
            return Not(Fact(field, ">=", -(2**62))) if field in ("finished_at", "duration") else _NEVER
        if field == "duration":
            return self.lasting(sign, right)
        if not isinstance(right.value, str):
            complain(self.search, right.at, f"Expected a text in quotes, such as `{_example(left)}`")
        if field in ("tag", "tags"):
            return Tag(right.value)
        if field == "user":
            return Fact("owner", "=", right.value)
        if field == "status":
            try:
                return self.status(right.value)
            except ValueError as error:
                complain(self.search, right.at, str(error))
        try:
            begin, end = moment(right.value, self.now)
        except ValueError as error:
            complain(self.search, right.at, str(error))
        if sign == "=":
            return All((Fact(field, ">=", begin), Fact(field, "<=", end)))
        return Fact(field, sign, end if sign in (">", "<=") else begin)

    def lasting(self, sign: str, right: Word) -> Condition:
        try:
            microseconds = duration(right.value) if isinstance(right.value, str) else right.value * MICROSECONDS  # type: ignore[operator]
        except ValueError as error:
            complain(self.search, right.at, str(error))
        limit = 2**62
        return Fact("duration", sign, round(max(-limit, min(limit, microseconds))))


def _compared(condition: Condition) -> str | None:
    """The name of the value that is compared."""
    if isinstance(condition, AnyOf) and condition.parts:
        return _compared(condition.parts[0])
    return condition.name if isinstance(condition, (Value, ValueIn, ValueText)) else None


def denied(condition: Condition) -> Condition:
    return condition.part if isinstance(condition, Not) else Not(condition)


def _signs(field: str) -> tuple[str, ...]:
    """The signs that a built-in field understands, as people write them."""
    if field in ("tag", "tags"):
        return ("=", "==", "!=", "in", "like", "contains")
    return ("=", "==", "!=", "in") if field in ("status", "user") else ("=", "==", "!=", "<", "<=", ">", ">=", "in")


def _example(word: Word) -> str:
    examples = {
        "status": "status == 'failed'",
        "user": "user == 'anne'",
        "tag": "tag == 'best'",
        "tags": "'best' in tags",
        "created_at": "created_at >= '2026-01-31'",
        "finished_at": "finished_at >= '7d'",
        "duration": "duration > '5m'",
    }
    return examples.get(word.text, "accuracy > 0.9")
