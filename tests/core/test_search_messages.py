"""A wrong search gets one message that points at the place."""

from __future__ import annotations

import random
from typing import Any

import pytest
from metaflow_core.errors import InvalidSearch
from metaflow_core.metadata import search as strategies
from metaflow_core.results import Flow

MESSAGES = """
accuracy >
    Expected a value, not the end:
      accuracy >
                ^
accuracy > and alpha
    Expected a value:
      accuracy > and alpha
                 ^
accuracy > 0.9 alpha
    Expected `and`, `or` or the end:
      accuracy > 0.9 alpha
                     ^
acuracy > 0.9
    No run of F has a parameter or a scalar artifact `acuracy`. Did you mean `accuracy`?
      acuracy > 0.9
      ^
alpha > 1 or ACCURACY > 0.9
    No run of F has a parameter or a scalar artifact `ACCURACY`. Did you mean `accuracy`?
      alpha > 1 or ACCURACY > 0.9
                   ^
statsu == 'failed'
    No run of F has a parameter or a scalar artifact `statsu`. Did you mean `status`?
      statsu == 'failed'
      ^
zzz
    No run of F has a parameter or a scalar artifact `zzz`. There are: accuracy, alpha, model, name.
      zzz
      ^
model == forest
    Expected a value. A text needs quotes: 'forest':
      model == forest
               ^
model == 'forest
    This quotation is not closed:
      model == 'forest
               ^
status == 'faild'
    There is no such status. There are: running, completed, failed, interrupted, lost:
      status == 'faild'
                ^
status > 'failed'
    `status` is compared with = == != in:
      status > 'failed'
      ^
tag
    Expected a comparison of `tag`, such as `tag == 'best'`, not the end:
      tag
         ^
created_at > 'soon'
    This is no time. Write 2026-01-31, '2026-01-31 10:00', 2026-01-31T10:00+02:00, or how long ago: 7d:
      created_at > 'soon'
                   ^
duration > '5 parsecs'
    There is no unit 'parsecs' of time: s, m (minutes), h, d and w are:
      duration > '5 parsecs'
                 ^
(alpha > 1
    Expected `)`, `and` or `or`, not the end:
      (alpha > 1
                ^
alpha > 1)
    Expected `and`, `or` or the end:
      alpha > 1)
               ^
alpha * 2 > 1
    There is no arithmetic in a search: compare a name with a value:
      alpha * 2 > 1
            ^
alpha - 1 > 1
    There is no arithmetic in a search: compare a name with a value:
      alpha - 1 > 1
            ^
alpha in 1
    Expected a list such as `(1, 2)`:
      alpha in 1
               ^
alpha like 1
    Expected a text in quotes:
      alpha like 1
                 ^
alpha > null
    What is missing compares with nothing: use `is null` or `is not null`:
      alpha > null
              ^
1 == 2
    One side of a comparison must be a name:
      1 == 2
      ^
2x > 1
    This is neither a number nor a name:
      2x > 1
      ^
model == '日本' and 東京 ; x
    This has no meaning here:
      model == '日本' and 東京 ; x
                               ^
alpha >\t1 1
    Expected `and`, `or` or the end:
      alpha > 1 1
                ^
model == 'a\\ud800'
    This is no character:
      model == 'a\\ud800'
                 ^
"""


def _cases() -> list[tuple[str, str]]:
    cases: list[tuple[str, str]] = []
    for line in MESSAGES.strip("\n").splitlines():
        if line.startswith("    "):
            search, message = cases.pop()
            cases.append((search, f"{message}\n{line[4:]}".lstrip("\n")))
        else:
            cases.append((line.replace("\\t", "\t"), ""))
    return cases


@pytest.fixture
def flow(history: Any) -> Flow:
    history.run(parameters={"alpha": 0.1}, end={"accuracy": 0.8, "model": "forest", "table": [1, 2]})
    return Flow("F")


def test_messages(flow: Flow) -> None:
    assert len(_cases()) > 20
    for search, message in _cases():
        with pytest.raises(InvalidSearch) as raised:
            flow.search(search)
        assert str(raised.value) == message


def test_what_is_too_large(flow: Flow) -> None:
    for search, message in [
        ("x" * 10_001, "A search has at most 10,000 characters, not 10,001."),
        ("(" * 60 + "alpha" + ")" * 60, "More than 50 levels of `not` and parentheses"),
        ("not " * 60 + "alpha", "More than 50 levels of `not` and parentheses"),
        (" or ".join(["alpha = 1"] * 201), "More than 200 comparisons"),
        (f"alpha in ({', '.join(map(str, range(501)))})", "More than 500 values in lists"),
    ]:
        with pytest.raises(InvalidSearch) as raised:
            flow.search(search)
        first, *place = str(raised.value).splitlines()
        assert first.startswith(message)
        assert all(len(line) < 90 for line in place)


@pytest.mark.parametrize("sizes", [(256, 4096, 2048), (1, 0, 1)])
def test_what_is_as_large_as_allowed_works(
    flow: Flow, history: Any, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...]
) -> None:
    for name, size in zip(("NEAR", "FEW", "FAR"), sizes, strict=True):
        monkeypatch.setattr(strategies, name, size)
    for _ in range(20):
        history.run(parameters={"alpha": -0.5}, tags=["y"])
    for search in (
        "(" * 50 + "alpha > 0" + ")" * 50,
        " or ".join(["alpha = 1"] * 199) + " or alpha = 0.1",
        " and ".join(f"(alpha > 0 or 'x{number}' in tags)" for number in range(100)),
        "alpha > 0 and " + " and ".join(f"alpha != {number}" for number in range(199)),
        "alpha > 0 and (" + " or ".join(f"alpha != {number}" for number in range(199)) + ")",
        "alpha > 0 and " + " and ".join(["tag != 'y'"] * 199),
        f"alpha in ({', '.join(map(str, range(499)))}, 0.1)",
        "not " * 48 + "(alpha > 0)",
    ):
        assert [run.id for run in flow.search(search)] == ["1"]
        assert [run.id for run in flow.search(search, tags=["user:tester", "runtime:dev"], order_by="alpha")] == ["1"]


PIECES = (
    "alpha accuracy model `model` status user tag tags created_at duration and or not in like contains is null true"
    " ( ) [ ] , ' \" ` = == != < > <= >= & && | || ! ~ + - * % %in% c( 1 0.5 1e9 .5 1. 5L -3 inf nan 'a' \"b\" '7d'"
    " '2026-01-31' ; -- /* \\ \0 \n é 日本 '' '%' 9999999999999999999999 '\\u0041' ? ?1 :a $x"
)


def test_no_input_breaks_it(flow: Flow) -> None:
    """Whatever is typed gives runs or an ``InvalidSearch``, never another error, and changes nothing."""
    chance = random.Random(7)
    pieces = PIECES.split(" ")
    for _ in range(3000):
        search = chance.choice(["", " "]).join(chance.choice(pieces) for _ in range(chance.randrange(9)))
        try:
            list(flow.search(search))
        except InvalidSearch as error:
            *_, place, mark = str(error).splitlines()
            assert mark.strip() == "^" and len(mark) <= 2 * len(place) + 4
    assert [run.id for run in flow.search("alpha == 0.1 and accuracy == 0.8 and model == 'forest'")] == ["1"]
