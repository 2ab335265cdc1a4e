"""`python bench_crossing.py [MILLIONS]`: how long 10 million values take from R to Arrow and back, beside a yardstick.

The crossing is between R's vectors and Arrow, which is what an artifact is. Times are processor time of the one thread
that works, the best of some, in turns.

The yardstick of numbers is a copy of their memory by numpy. Strings have no such copy: R holds a pointer for each, to a
text that may be anywhere, and Arrow all texts one after the other, so that a copy on either side (of R's pointers, of
Arrow's memory) does not do what a crossing must: look at every text, or find or make every text in R's table of all
texts. Their yardstick is R's own function that does it for the same vector: ``writeBin(x, raw())``, which writes the
texts one after the other, on the way to Python, and ``substr(x, 1, 1000)``, which makes each again, on the way to R. A
copy is shown beside it: of the Arrow array, and ``x[seq_along(x)]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from metaflow_r import session
from metaflow_r.read import from_tree
from metaflow_r.write import to_tree

REPEAT = 5
VECTORS = {
    "doubles": "runif({n})",
    "integers with NA": "{{x <- sample.int(1e6L, {n}, TRUE); x[seq(1L, {n}, 10L)] <- NA; x}}",
    "strings, 1,000 different": "sprintf('name-%03d', 0:999)[sample.int(1000L, {n}, TRUE)]",
    "strings, all different": "sprintf('id%08d', seq_len({n}))",
}


def best(*actions: Callable[[], Any]) -> list[float]:
    """Milliseconds of each, the best of ``REPEAT`` turns. What an action makes is gone before the next one."""
    from rpy2.rinterface import baseenv

    times: list[list[float]] = [[] for _ in actions]
    for _ in range(REPEAT):
        for action, taken in zip(actions, times, strict=True):
            baseenv["gc"]()
            began = time.process_time()
            result = action()
            taken.append((time.process_time() - began) * 1000)
            del result
    return [min(taken) for taken in times]


# A million at a time, since a raw vector of R's has its limits.
WRITE = """function(x) {
  for (start in seq(1, length(x), 1e6)) {
    writeBin(x[start:min(length(x), start + 1e6 - 1)], raw(), useBytes = TRUE)
  }
}"""
COPY = "function(x) x[seq_along(x)]"


def yardsticks(kind: str, to: str, vector: Any, tree: Any) -> list[Callable[[], Any]]:
    """What the crossing is measured against; of strings a plain copy too."""
    from rpy2.rinterface import baseenv, evalr

    if not kind.startswith("strings"):
        return [np.asarray(vector.memoryview()).copy]
    if to == "R":
        return [lambda: baseenv["substr"](vector, 1, 1000), partial(evalr(COPY), vector)]
    return [partial(evalr(WRITE), vector), lambda: pa.concat_arrays([tree.data.slice(0, 1), tree.data.slice(1)])]


def bench(count: int) -> None:
    session.start()
    from rpy2.rinterface import evalr

    print(f"{'':28}{'to':>8}{'ours':>12}{'yardstick':>12}{'ratio':>8}{'copy':>12}{'ratio':>8}")
    for kind, code in VECTORS.items():
        vector = evalr(code.format(n=f"{count}L"))
        tree = to_tree(vector)
        for name, action in (("Python", partial(to_tree, vector)), ("R", partial(from_tree, tree))):
            ours, *others = best(action, *yardsticks(kind, name, vector, tree))
            compared = "".join(f"{other:9.1f} ms{ours / other:8.2f}" for other in others)
            print(f"{kind:28}{name:>8}{ours:9.1f} ms{compared}", flush=True)


if __name__ == "__main__":
    bench(int(float(sys.argv[1] if len(sys.argv) > 1 else 10) * 1e6))
