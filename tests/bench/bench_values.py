"""How long large artifacts take, beside writing and mapping the same Arrow file directly.

Run it with ``python tests/bench/bench_values.py [GIGABYTES]``. It prints ratios; the design allows 1.5 for each, and no
more memory than one copy. Each measurement runs in a process of its own; the best of three counts. Loading includes the
sum of one column, so that there is something to load. The memory is the growth of the process's peak while it saves, or
loads (the mapped pages of the column count there).
"""

from __future__ import annotations

import mmap
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROUNDS = 3
TYPES = {"array": "numpy.ndarray", "frame": "pandas.DataFrame", "table": "pyarrow.Table"}


def _array(gigabytes: float) -> Any:
    return np.random.default_rng(0).normal(size=int(gigabytes * 1e9 / 8))


def _columns(gigabytes: float) -> dict[str, Any]:
    rows = int(gigabytes * 1e9 / 40)
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=rows),
        "n": rng.integers(0, 1000, rows),
        "y": rng.normal(size=rows),
        "text": pa.array(np.array([f"name-{i:03}" for i in range(1000)])).take(pa.array(rng.integers(0, 1000, rows))),
    }


def _value(kind: str, gigabytes: float) -> tuple[Any, pa.Table]:
    """The value, and the Arrow table that holds the same data."""
    if kind == "array":
        value = _array(gigabytes)
        return value, pa.table({"x": value})
    table = pa.table(_columns(gigabytes))
    if kind == "table":
        return table, table
    import pandas as pd

    series = {
        name: pd.Series(column.chunk(0), dtype=_dtype(column))
        for name, column in zip(table.schema.names, table.columns, strict=True)
    }
    return pd.DataFrame(series, copy=False), table


def _dtype(column: pa.ChunkedArray) -> Any:
    return "str" if pa.types.is_string(column.type) else column.type.to_pandas_dtype()


def _direct_save(table: pa.Table, path: str) -> None:
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _save(value: Any, path: str) -> Any:
    from metaflow_core.values import encode

    encoded = encode(value)
    assert encoded.write is not None
    with open(path, "wb") as file:
        encoded.write(file)
    return encoded


def _direct_load(path: str) -> Any:
    with pa.memory_map(path) as source:
        table = pa.ipc.open_file(source).read_all()
    return table, pc.sum(table.column(0))


def _load(path: str, type: str) -> Any:
    from metaflow_core.values import Stored, decode

    def read() -> memoryview:
        with open(path, "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))

    value = decode(Stored(type, "python", "arrow", "", os.path.getsize(path), None, read))
    column = value if type == "numpy.ndarray" else value["x"]
    return value, (pc.sum(column) if type == "pyarrow.Table" else np.asarray(column).sum())


def _measure(action: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, megabytes by which the peak of memory grew, and the result."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - start
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, result


def _child(kind: str, what: str, gigabytes: float, path: str) -> None:
    value, table = _value(kind, gigabytes if "save" in what else 1e-6)
    _load(_warm_up(kind, path), TYPES[kind])
    action = {
        "save": lambda: _save(value, path),
        "direct_save": lambda: _direct_save(table, path),
        "load": lambda: _load(path, TYPES[kind]),
        "direct_load": lambda: _direct_load(path),
    }[what]
    seconds, megabytes, _ = _measure(action)
    print(seconds, megabytes)


def _warm_up(kind: str, path: str) -> str:
    """Saves a tiny value of this kind: imports are no part of what is measured."""
    _save(_value(kind, 1e-6)[0], path + ".tiny")
    return path + ".tiny"


def _run(kind: str, what: str, gigabytes: float, path: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "--child", kind, what, str(gigabytes), path]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(out[0]), float(out[1])


def _compare(kind: str, what: str, gigabytes: float, folder: str) -> tuple[float, float, float]:
    """Seconds of ours, seconds of the direct way, megabytes of ours; in turns, so that both meet the same machine."""
    ours, direct = [], []
    for _ in range(ROUNDS):
        for command, results in ((what, ours), (f"direct_{what}", direct)):
            path = os.path.join(folder, command.replace("load", "save"))
            if what == "save" and os.path.exists(path):
                os.remove(path)
            results.append(_run(kind, command, gigabytes, path))
    return min(s for s, _ in ours), min(s for s, _ in direct), min(m for _, m in ours)


def main(gigabytes: float) -> None:
    print(f"{gigabytes:g} GB of data, best of {ROUNDS}")
    print(f"{'':8}{'':8}{'ours':>10}{'direct':>10}{'ratio':>8}{'memory':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("array", "table", "frame"):
            for what in ("save", "load"):
                seconds, direct, megabytes = _compare(kind, what, gigabytes, folder)
                print(f"{kind:8}{what:8}{seconds:9.3f}s{direct:9.3f}s{seconds / direct:8.2f}{megabytes:9.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5])
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
