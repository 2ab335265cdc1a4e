"""`python bench_queries.py`: how long the client takes to find runs in a database that `make_runs.py --history` made.

METAFLOW_METADATA_URL says which. Each case is measured in two namespaces, that of a user who has a quarter of the runs,
and the global one; the slower one counts. Prints medians of some repetitions, in milliseconds: elapsed, and of the CPU.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from metaflow_core.results import Flow, Run, namespace

REPEAT = 15
NAMESPACES = ("user:anne", None)


def measure(key: str, title: str, work: Callable[[], object], namespaces: tuple[str | None, ...] = NAMESPACES) -> None:
    slowest = (0.0, 0.0)
    for one in namespaces:
        namespace(one)
        times = []
        for _ in range(REPEAT):
            start, cpu = time.perf_counter(), time.process_time()
            work()
            times.append((time.perf_counter() - start, time.process_time() - cpu))
        slowest = max(slowest, tuple(map(statistics.median, zip(*times, strict=True))))
    print(f"{slowest[0] * 1000:9.2f} ms {slowest[1] * 1000:9.2f} ms   {key}: {title}")


def found(**asked: Any) -> list[Run]:
    return list(Flow("BigFlow").search(**{"limit": 10, **asked}))


def bench() -> None:
    namespace(None)
    newest = Flow("BigFlow").latest_run
    assert newest is not None
    count = int(newest.id)
    everybody = (*NAMESPACES, "user:zoe", "once")
    measure("latest", "`latest_run`", lambda: Flow("BigFlow").latest_run, everybody)
    measure("successful", "`latest_successful_run`", lambda: Flow("BigFlow").latest_successful_run, everybody)
    measure("tag.rare", "10 runs with a tag that 0.1 % of the runs have", lambda: found(tags="sometimes"))
    measure("tag.common", "10 runs with a tag that half of the runs have", lambda: found(tags="even"))
    measure(
        "tag.clash",
        "two tags that half of the runs have each, and none both",
        lambda: found(tags=["even", "odd"]),
        (None,),
    )
    measure("tag.old", "10 runs with a tag that the older half have", lambda: found(tags="old"))
    measure(
        "value.selective", "10 runs by a value that 0.1 % of the runs have", lambda: found(where="accuracy > 0.999")
    )
    measure("value.half", "10 runs by a value that half of the runs have", lambda: found(where="accuracy > 0.5"))
    measure("value.old", "10 runs by a value that the older half have", lambda: found(where="progress < 0.5"))
    measure(
        "value.both",
        "10 runs by two values and a tag",
        lambda: found(where="alpha == 0.5 and accuracy > 0.5", tags="odd"),
    )
    measure("value.best", "the 10 runs with the largest value", lambda: found(order_by="-accuracy"))
    measure("time", "10 runs until a day half a year ago", lambda: found(until="180d"))
    measure("page.first", "page 1 of runs, 20 a page", lambda: found(limit=20))
    last = min(1000, count // 4 // 20)
    measure("page.far", f"page {last:,} of runs", lambda: found(limit=20, page=last))
    measure("page.iterated", "20 runs after a run far down", lambda: found(limit=20, after=str(count // 40 * 4)))
    measure("wrong", "the message that no run has a value of this name", _wrong)
    run = Run(f"BigFlow/{count // 8 * 4}")
    tags = iter(range(10**6))
    measure("tagging", "one tag added", lambda: run.add_tag(f"tag {next(tags) % 40}"), (None,))
    for tag in run.user_tags:
        if tag.startswith("tag "):
            run.remove_tag(tag)
    numbers = iter(range(1, 10**6))
    measure(
        "data",
        "`Run.data.x` of another run each time",
        lambda: Run(f"BigFlow/{next(numbers) * 7}").data.accuracy,
        (None,),
    )
    table = "a table of 1,000 runs with tags and all values"
    measure("frame", table, lambda: Flow("BigFlow").search(limit=1000).to_frame("*"), (None,))
    measure("loop", "id, status and tags of 1,000 runs", _loop, (None,))


def _wrong() -> None:
    from metaflow_core.errors import InvalidSearch

    try:
        found(where="acuracy > 0.9")
    except InvalidSearch as error:
        assert "accuracy" in str(error)


def _loop() -> None:
    for run in islice(Flow("BigFlow"), 1000):
        _ = run.id, run.successful, run.tags


if __name__ == "__main__":
    bench()
