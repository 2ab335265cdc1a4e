"""Carries every row of the table from one language to the other and back, in one process with R, and prints what came
of it as JSON. Reads every fixture in R, too.

``check_table.py --freeze`` writes the fixtures that do not exist yet, of both languages. One that exists is never
written again: it stands for artifacts that people have.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from typing import Any

import fixtures
import python_names
from metaflow_core.values import decode, encode
from metaflow_r import session
from same import Handle, same
from table import PYTHON, R, Row

session.start()
import rpy2.rinterface as ri  # noqa: E402

_identical = ri.evalr("function(a, b) if (is.function(b[[1]])) isTRUE(b[[1]](a[[1]])) else identical(a[[1]], b[[1]])")
_shown = ri.evalr("function(a) paste(utils::capture.output(dput(a[[1]])), collapse = ' ')")


def identical(value: Any, expected: Any) -> bool:
    return bool(_identical(ri.ListSexpVector([value]), ri.ListSexpVector([expected]))[0])


def shown(value: Any) -> str:
    if not hasattr(value, "__sexp__"):
        return f"{type(value).__name__} {value!r} {getattr(value, 'attrs', '')}"
    return str(_shown(ri.ListSexpVector([value]))[0])


LANGUAGES: dict[str, tuple[Any, Any]] = {"python": (python_names.evaluate, same), "r": (ri.evalr, identical)}


def check(row: Row, here: str, there: str) -> dict[str, Any]:
    (evaluate, equal), (evaluate_there, equal_there) = LANGUAGES[here], LANGUAGES[there]
    value = evaluate(row.source)
    encoded = encode(value, language=here)
    kept = fixtures.stored(encoded)
    at_home = decode(kept, language=here)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        crossed = decode(kept, language=there)
    expected = evaluate_there(row.other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the way back loses is in the table
        back = decode(fixtures.stored(encode(crossed, language=there)), language=here)
    other_print = "" if isinstance(expected, Handle) else encode(expected, language=there).fingerprint
    return {
        "home": bool(equal(at_home, value)),
        "stable": encode(at_home, language=here).key == encoded.key,
        "crossed": bool(equal_there(crossed, expected)),
        "back": bool(equal(back, evaluate(row.source if row.back is None else row.back))),
        "equal": other_print == encoded.fingerprint,
        "warned": [str(one.message) for one in told],
        "shown": [shown(crossed)[:500], shown(back)[:500]],
    }


def check_fixture(name: str) -> bool:
    """Whether R reads a frozen artifact as it reads the same value written now."""
    facts = fixtures.INDEX[name]
    if facts["language"] == "r":
        now = ri.evalr(facts["source"])
    else:
        now = decode(fixtures.stored(encode(fixtures.python_values()[name])), language="r")
    return identical(decode(fixtures.frozen(name), language="r"), now)


def attempt(check: Any, *arguments: Any) -> Any:
    try:
        return check(*arguments)
    except Exception as error:
        lines = traceback.format_exception(error.__cause__ or error)
        return {"error": f"{error}\n{''.join(lines[-3:])}"}


def main() -> None:
    found: dict[str, Any] = {"python": {}, "r": {}, "fixtures": {}}
    for rows, here, there in ((PYTHON, "python", "r"), (R, "r", "python")):
        for row in rows:
            found[here][row.source] = attempt(check, row, here, there)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in fixtures.INDEX:
            found["fixtures"][name] = attempt(check_fixture, name)
    print("JSON" + json.dumps(found))


def freeze() -> None:
    for name, value in fixtures.python_values().items():
        fixtures.write(name, lambda value=value: encode(value))
    for row in R:
        if row.frozen:
            fixtures.write(fixtures.r_name(row), lambda row=row: encode(ri.evalr(row.source), language="r"), row.source)
    fixtures.save_index()


if __name__ == "__main__":
    freeze() if "--freeze" in sys.argv else main()
