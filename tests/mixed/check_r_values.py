"""Writes and reads the values of ``r_values.txt`` in one process with R, and prints what came of each as JSON."""

import io
import json
import sys
import warnings

from metaflow_core.values import decode, encode
from metaflow_core.values.encoded import Encoded, Stored
from metaflow_r import session


def stored(encoded: Encoded) -> Stored:
    out = Stored(encoded.type, encoded.language, encoded.encoding, encoded.fingerprint, encoded.size, encoded.scalar)
    if encoded.write is not None:
        buffer = io.BytesIO()
        encoded.write(buffer)
        out.read = lambda: memoryview(buffer.getvalue())
    return out


def check(expression: str) -> dict[str, object]:
    value = ri.evalr(expression)
    encoded = encode(value, language="r")
    kept = stored(encoded)
    back = decode(kept, language="r")
    boxes = [ri.ListSexpVector([one]) for one in (value, back)]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        python = decode(kept)
    return {
        "identical": bool(identical(*boxes)[0]),
        "stable": encode(back, language="r").fingerprint == encoded.fingerprint,
        "encoding": encoded.encoding,
        "type": encoded.type,
        "python": repr(python)[:200],
        "python_type": type(python).__name__,
        "warned": [str(one.message) for one in told],
    }


session.start()
import rpy2.rinterface as ri  # noqa: E402

identical = ri.evalr("function(a, b) identical(a[[1]], b[[1]])")
found: dict[str, object] = {}
for expression in json.load(sys.stdin):
    try:
        found[expression] = check(expression)
    except Exception as error:
        found[expression] = {"error": f"{type(error).__name__}: {error} ({error.__cause__})"}
print("JSON" + json.dumps(found))
