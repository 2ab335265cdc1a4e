"""`python bench_queries.py [RUNS]`: how long the client takes to find runs when a flow has 100,000 of them.

The runs are recorded, not executed, in a temporary project. Prints the median of some repetitions, in milliseconds.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

from metaflow_core.metadata.database import Database
from metaflow_core.results import Flow, Run, default_namespace, list_namespaces, namespace, provider

REPEAT = 15
USERS = ("anne", "will", "zoe", "max")


def record(db: Database, count: int) -> None:
    """Runs of one flow by four users; every third one failed, the newest tenth of Zoe's all did."""
    at = time.time_ns() // 1000
    db.execute("INSERT INTO flows (name, last_run, created_at) VALUES ('BigFlow', ?, ?)", (count, at))
    runs, tags = [], []
    for number in range(1, count + 1):
        user = USERS[number % len(USERS)]
        failed = number % 3 == 0 or (user == "zoe" and number > 0.9 * count)
        runs.append((str(number), user, "failed" if failed else "completed", at + number, at + number + 1))
        system = [f"user:{user}", "runtime:dev", "python_version:3.11.7", "metaflow_version:0.1.0"]
        tags += [(number, tag, 1) for tag in (*system, f"date:2026-{number * 12 // (count + 1) + 1:02d}-01")]
        tags += [
            (number, tag, 0) for tag, each in (("often", 2), ("sometimes", 1000), ("once", count)) if number % each == 0
        ]
        tags.append((number, "even" if number % 2 == 0 else "odd", 0))
    with db.transaction():
        db.executemany(
            "INSERT INTO runs (flow_pk, id, owner, status, created_at, finished_at) VALUES (1, ?, ?, ?, ?, ?)", runs
        )
        db.executemany("INSERT INTO run_tags (run_pk, tag, flow_pk, is_system) VALUES (?, ?, 1, ?)", tags)


def measure(name: str, work: Callable[[], object], repeat: int = REPEAT) -> None:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    print(f"{statistics.median(times) * 1000:9.2f} ms   {name}")


def first(count: int, *tags: str) -> list[Run]:
    return [run for run, _ in zip(Flow("BigFlow").runs(*tags), range(count), strict=False)]


def read_all(limit: int) -> None:
    for run, _ in zip(Flow("BigFlow"), range(limit), strict=False):
        _ = run.id, run.successful, run.tags


def bench(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["METAFLOW_DATASTORE_SYSROOT_LOCAL"] = folder
        os.environ["METAFLOW_USER"] = "anne"
        start = time.perf_counter()
        record(provider.backend().db, count)
        print(f"{count:,} runs recorded in {time.perf_counter() - start:.1f} s")
        for ns in (default_namespace(), "user:zoe", "once", None):
            namespace(ns)
            measure(f"latest_run in {ns}", lambda: Flow("BigFlow").latest_run)
            measure(f"latest_successful_run in {ns}", lambda: Flow("BigFlow").latest_successful_run)
        default_namespace()
        measure("one run by id", lambda: Flow("BigFlow")[str(count // 4 * 4)])
        for tags in (
            ("often",),
            ("sometimes",),
            ("once",),
            ("absent",),
            ("often", "date:2026-01-01"),
            ("even", "sometimes"),
        ):
            measure(f"10 runs with {', '.join(tags)}", lambda tags=tags: first(10, *tags))
        namespace(None)
        measure("10 runs with even, odd (both common, no run has both)", lambda: first(10, "even", "odd"), 3)
        measure("id, successful and tags of 1,000 runs", lambda: read_all(1000), 3)
        measure("tags of one run", lambda: Run(f"BigFlow/{count}").tags)
        measure("one tag added and removed", lambda: (Run("BigFlow/5").add_tag("x"), Run("BigFlow/5").remove_tag("x")))
        measure("list_namespaces()", list_namespaces, 1)


if __name__ == "__main__":
    bench(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
