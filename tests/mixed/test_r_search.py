"""Searching from R: the same searches, the same answers as in Python, and tables that R can use."""

from __future__ import annotations

from typing import Any

from metaflow_core.results import Flow, default_namespace, list_tags

R_FLOW = """
library(metaflow)
metaflow("TrainFlow") %>%
  parameter("alpha", default = 0.5) %>%
  step(step = "start", next_step = "end", r_function = function(self) {
    self$accuracy <- 1 - self$alpha / 10
    self$rounds <- 3L
  }) %>%
  step(step = "end", r_function = function(self) {
    self$model <- "für 'x'"
    self$good <- self$accuracy > 0.9
    if (self$alpha > 5) stop("too large")
  }) %>%
  run()
"""
SEARCHES = {
    "all": "flow$search()",
    "expression": 'flow$search("accuracy > 0.7 & !good")',
    "in": 'flow$search("alpha %in% c(0.5, 0.1) && rounds == 3L")',
    "true": 'flow$search("good == TRUE")',
    "text": "flow$search(\"model == 'für ''x'''\")",
    "tags": 'flow$search(tags = c("a", "b"))',
    "any": 'flow$search(any_tags = c("a", "nope"), no_tags = "b")',
    "status": 'flow$search(status = c("failed", "lost"))',
    "user": 'flow$search(user = "will", namespace = NULL)',
    "namespace": 'flow$search(namespace = "user:will")',
    "since": "flow$search(since = Sys.time() - 3600, until = Sys.Date() + 1)",
    "difftime": 'flow$search(since = as.difftime(1, units = "hours"))',
    "until": 'flow$search(until = as.POSIXct("2020-01-01", tz = "UTC"))',
    "order": 'flow$search(order_by = "-accuracy")',
    "page": "flow$search(limit = 1, page = 2)",
    "after": "flow$search(limit = 1, after = flow$run(4))",
    "head": "head(flow$search(), 2)",
    "everywhere": 'mf_client$new()$search("alpha > 0", limit = 2)',
}
EXPECTED = {
    "all": "4 2 1",
    "expression": "2",
    "in": "1",
    "true": "1",
    "text": "2 1",
    "tags": "2",
    "any": "1",
    "status": "4",
    "user": "3",
    "namespace": "3",
    "since": "4 2 1",
    "difftime": "4 2 1",
    "until": "",
    "order": "1 2 4",
    "page": "2",
    "after": "2",
    "head": "4 2",
    "everywhere": "4 2",
}
WRONG = {
    "name": 'flow$search("acuracy > 1")',
    "end": 'flow$search("accuracy >")',
    "limit": 'flow$search(limit = "a")',
    "status": 'flow$search(status = "done")',
    "since": "flow$search(since = TRUE)",
    "missing": "flow$search(user = NA_character_)",
    "values": 'as.data.frame(flow$search(), values = "modle")',
    "many": 'flow$search(order_by = c("a", "b"))',
}
MESSAGES = {
    "name": "InvalidSearch: No run of TrainFlow has a parameter or a scalar artifact `acuracy`. "
    "Did you mean `accuracy`?\n  acuracy > 1\n  ^",
    "end": "InvalidSearch: Expected a value, not the end:\n  accuracy >\n            ^",
    "limit": 'InvalidSearch: limit is a whole number from 1 on, not "a".',
    "status": "InvalidSearch: status = 'done': There is no such status. "
    "There are: running, completed, failed, interrupted, lost.",
    "since": "since is text, not TRUE.",
    "missing": "user is text, not NA_character_.",
    "values": "InvalidSearch: No run of TrainFlow has a parameter or a scalar artifact `modle`. Did you mean `model`?",
    "many": "InvalidSearch: order_by is one text, not 2.",
}
SCRIPT = """
library(metaflow)
options(width = 200)
flow <- flow_client$new("TrainFlow")
say <- function(kind, name, x) {
  cat("=", kind, name, gsub("\n", "<br>", paste(x, collapse = " "), fixed = TRUE), "\n", sep = "|")
}
searches <- expression(%SEARCHES%)
for (name in names(searches)) {
  found <- eval(searches[[name]])
  table <- as.data.frame(found)
  stopifnot(inherits(found, "metaflow_search"), is.data.frame(table), nrow(table) == length(found))
  say("found", name, vapply(found, function(run) run$id, ""))
}
wrong <- expression(%WRONG%)
for (name in names(wrong)) {
  say("wrong", name, tryCatch(eval(wrong[[name]]), metaflow_invalid_search = conditionMessage))
}
table <- as.data.frame(flow$search("accuracy > 0", order_by = "oldest"), values = "*")
say("columns", "names", names(table))
say("columns", "classes", vapply(table, function(column) class(column)[[1]], ""))
say("columns", "good", table$good)
say("columns", "id", table$id)
say("columns", "tags", lengths(table$tags))
say("columns", "duration", all(table$duration > 0 & abs(table$finished_at - table$created_at - table$duration) < 1e-5))
say("columns", "named", names(as.data.frame(flow$search("accuracy > 5")))[9])
say("columns", "tag_list", names(list_tags("TrainFlow")))
say("columns", "tag_names", list_tags("TrainFlow")$tag)
say("columns", "tag_runs", list_tags("TrainFlow")$runs)
print(flow$search("accuracy > 0.7"))
print(flow$search("accuracy > 5"))
"""


def test_searches_of_r(run_r: Any, monkeypatch: Any) -> None:
    run_r(R_FLOW, "run", "--tag", "a", name="train.R", user="tester")
    run_r("train.R", "run", "--alpha", "2", "--tag", "a", "--tag", "b")
    run_r("train.R", "run", "--alpha", "0.1", user="will")
    run_r("train.R", "run", "--alpha", "9", check=False)
    script = SCRIPT.replace("%SEARCHES%", _calls(SEARCHES)).replace("%WRONG%", _calls(WRONG))
    lines = run_r(script, name="search.R").stdout.splitlines()
    said = [line.replace("<br>", "\n").removesuffix("|").split("|", 3)[1:] for line in lines if line.startswith("=|")]
    assert {name: text for kind, name, text in said if kind == "found"} == EXPECTED
    assert {name: text for kind, name, text in said if kind == "wrong"} == MESSAGES
    columns = {name: text for kind, name, text in said if kind == "columns"}
    assert columns["names"].split() == [
        *("flow", "id", "status", "user", "created_at", "finished_at", "duration", "tags"),
        *("accuracy", "alpha", "good", "model", "name", "rounds"),
    ]
    assert columns["classes"].split() == [
        *("character", "character", "character", "character", "POSIXct", "POSIXct", "difftime", "list"),
        *("numeric", "numeric", "logical", "character", "character", "integer"),
    ]
    assert columns["id"] == "1 2 4"
    assert columns["good"] == "TRUE FALSE NA"  # run 4 failed before it had one
    assert (columns["tags"], columns["duration"], columns["named"]) == ("1 2 0", "TRUE", "accuracy")
    assert (columns["tag_list"], columns["tag_names"], columns["tag_runs"]) == (
        "tag runs since latest by",
        "a b",
        "2 1",
    )
    assert "# 2 runs of TrainFlow, with 'accuracy > 0.7', in the namespace 'user:tester'" in lines
    assert any(line.split()[:2] == ["2", "completed"] and line.split()[-1] == "0.8" for line in lines)
    assert "# no runs of TrainFlow, with 'accuracy > 5', in the namespace 'user:tester'" in lines

    # What R has stored, Python finds.
    monkeypatch.setenv("METAFLOW_USER", "tester")
    default_namespace()
    flow = Flow("TrainFlow")
    assert [run.id for run in flow.search("good and rounds == 3 and model contains \"'x'\"")] == ["1"]
    assert flow.search().to_frame("*")["rounds"].tolist() == [3, 3, 3]
    assert [info.tag for info in list_tags("TrainFlow")] == ["a", "b"]


def _calls(calls: dict[str, str]) -> str:
    return ",\n".join(f"{name} = {call}" for name, call in calls.items()).replace("in = ", "`in` = ")
