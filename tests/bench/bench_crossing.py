"""`python bench_crossing.py [MILLIONS]`: how long 10 million values take from R to Arrow and back, beside a plain copy.

Best of some, in turns with the copy, which is one of the same data on the side that receives it: for numbers of their
memory, for strings on the way to Python of the texts in Arrow, and for strings on the way to R what R itself needs to
make each of them again (``substr()``). The crossing is between R's vectors and Arrow, which is what an artifact is. The
last column is the ratio.
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
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(REPEAT):
        for action, taken in zip(actions, times, strict=True):
            began = time.perf_counter()
            result = action()
            taken.append((time.perf_counter() - began) * 1000)
            del result
    return [min(taken) for taken in times]


def copy_of(kind: str, to: str, vector: Any, tree: Any) -> Callable[[], Any]:
    """A plain copy of the data of ``vector``, where it goes to."""
    from rpy2.rinterface import baseenv

    if not kind.startswith("strings"):
        return np.asarray(vector.memoryview()).copy
    if to == "R":
        return lambda: baseenv["substr"](vector, 1, 1000)
    return lambda: pa.concat_arrays([tree.data.slice(0, 1), tree.data.slice(1)])


def bench(count: int) -> None:
    session.start()
    from rpy2.rinterface import evalr

    print(f"{'':28}{'to':>8}{'ours':>12}{'copy':>12}{'ratio':>8}")
    for kind, code in VECTORS.items():
        vector = evalr(code.format(n=f"{count}L"))
        tree = to_tree(vector)
        for name, action in (("Python", partial(to_tree, vector)), ("R", partial(from_tree, tree))):
            ours, plain = best(action, copy_of(kind, name, vector, tree))
            print(f"{kind:28}{name:>8}{ours:9.1f} ms{plain:9.1f} ms{ours / plain:8.2f}", flush=True)


if __name__ == "__main__":
    bench(int(float(sys.argv[1] if len(sys.argv) > 1 else 10) * 1e6))
