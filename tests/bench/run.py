"""`python tests/bench/run.py [--quick] [--only NAMES]`: the benchmarks, into docs/benchmarks.md.

With `--quick` it takes less than ten minutes on a quiet machine. `--only linear,disk` measures those alone, prints
them, and leaves the page as it is.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import statistics
import time

from budgets import budgets
from measure import ProcessFailed
from report import markdown, replace_measured
from results import Results, Row
from rows import ALL, STORED_R_FACTS, Bench
from sides import BUILD, ROOT, make_sides

BUSY = 3.0  # a load that the benchmarks don't make by themselves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"some of {', '.join(ALL)}")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(ALL)
    for name in chosen:
        if name not in ALL:
            parser.error(f"--only: there is no {name!r}; there are {', '.join(ALL)}")
    began = time.monotonic()
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            parser.exit(1, "Benchmarks of this checkout are running already: two at a time would measure each other.\n")
        measure_and_write(chosen, options.quick, began)


def measure_and_write(chosen: list[str], quick: bool, began: float) -> None:
    ours, released = make_sides()
    our_versions, released_versions = ours.versions(), released.versions()
    bench = Bench(ours, released, quick, Results())
    loads = [os.getloadavg()[0]]
    for name in chosen:
        print(f"{time.monotonic() - began:5.0f} s  {name}", flush=True)
        try:
            ALL[name](bench)
        except ProcessFailed as error:
            bench.results.rows[f"failed.{name}"] = Row(name, "", failed=str(error))
            print(f"         failed: {error}", flush=True)
        loads.append(os.getloadavg()[0])
        (BUILD / "results.json").write_text(json.dumps({"loads": loads, "rows": bench.results.as_dict()}, indent=1))
    shared = ", ".join(f"{name} {released_versions[name]}" for name in ("numpy", "pandas", "pyarrow"))
    minutes = (time.monotonic() - began) / 60
    facts = [
        f"Measured on {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}{' with --quick' * quick}, "
        f"in {minutes:.0f} minutes: metaflow-tandem {our_versions['metaflow-tandem']} beside Metaflow "
        f"{released_versions['metaflow']}, both on Python {our_versions['Python']} with {shared}, on a machine with "
        f"{os.cpu_count()} cores and {_memory_gb():.0f} GB of memory. Load before the measurements: {loads[0]:.1f}; "
        f"largest between them: {max(loads):.1f} (one busy benchmark with two workers makes about 2)."
    ]
    if statistics.median(loads) > BUSY:
        facts += [
            "",
            "**The machine was busy with other work**: wall times are noisy, CPU time tells more.",
        ]
    if any(row.stored for row in bench.results.rows.values()):
        facts += ["", STORED_R_FACTS]
    text = markdown(bench.results, facts)
    (BUILD / "results.md").write_text(text + "\n")
    if chosen == list(ALL):
        page = ROOT / "docs" / "benchmarks.md"
        page.write_text(replace_measured(page.read_text(), text))
    else:
        print(text)
    for budget in budgets(bench.results):
        if budget.met is False:
            print(f"Over budget: {budget.text}: {budget.verdict}")


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


if __name__ == "__main__":
    main()
