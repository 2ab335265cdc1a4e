"""The budgets of the design, against what was measured."""

from __future__ import annotations

from results import Budget, Results

CROSSING = {
    "doubles": "doubles",
    "integers": "integers with NA",
    "strings": "strings, 1,000 different",
    "ids": "strings, all different",
}


# Of bench_queries.py; the others there are measured without a limit.
QUERIES = (
    *("latest", "successful", "tag.rare", "tag.common", "tag.clash", "tag.old"),
    *("value.selective", "value.half", "value.old", "value.both", "value.best", "time"),
    *("page.first", "page.far", "page.iterated", "wrong", "tagging", "data"),
)


def budgets(results: Results) -> list[Budget]:
    ours, ratio = results.ours, results.ratio
    found = [
        Budget("`import metaflow`, above a bare Python", _difference(ours("import"), ours("python")), 50, "ms"),
        Budget("heavy modules that `import metaflow` brings along", ours("heavy"), 0, ""),
        Budget("3 no-op steps, against released Metaflow", ratio("linear"), 5, "x", at_least=True),
        Budget("foreach of 1,000, per task, against released Metaflow", ratio("foreach1000"), 15, "x", at_least=True),
        Budget("R: 3 no-op steps, against the published R package", ratio("r.linear"), 6, "x", at_least=True),
        Budget("R: foreach of 1,000, per task, against it", ratio("r.foreach1000"), 60, "x", at_least=True),
    ]
    for key, title in CROSSING.items():
        for to in ("Python", "R"):
            by_r = "`writeBin()`" if to == "Python" else "`substr()`"
            against = f"R's own {by_r}" if title.startswith("strings") else "a plain copy"
            text = f"10 million {title} to {to}, against {against}"
            found.append(Budget(text, ours(f"r.crossing.{key}.{to}"), 2, "x"))
    for kind, name in (("array", "float64 array"), ("table", "Arrow table"), ("frame", "pandas table")):
        for what in ("save", "load"):
            key = f"large.{kind}.{what}"
            found.append(Budget(f"1 GB {name}, {what}, against plain Arrow", ours(key), 1.5, "x"))
            found.append(Budget(f"1 GB {name}, {what}, memory", ours(f"{key}.memory"), 1.05, "copies"))
    for key in QUERIES:
        row = results.rows.get(f"queries.{key}")
        found.append(Budget(row.title if row else f"query: {key}", ours(f"queries.{key}"), 10, "ms"))
    row = results.rows.get("queries.resume")
    found.append(Budget(row.title if row else "resume among many runs", ours("queries.resume"), 1, "s"))
    found += [
        Budget("resume of 1,000 finished tasks, the whole command", ours("resume"), 1, "s"),
        Budget("files that a run of small tasks adds, per task that prints", ours("files.task.printing"), 1, ""),
        Budget("peak memory of the driver at 10,000 tasks, against 1,000", ours("driver.growth"), 1.25, "x"),
        Budget("peak memory of the driver at up to 100,000 tasks, against 1,000", ours("wide.growth"), 1.25, "x"),
    ]
    return found


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
