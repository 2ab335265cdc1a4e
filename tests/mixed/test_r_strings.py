"""Vectors of texts cross between R and Python whole: every text, every NA, in either language's hands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

PYTHON = r"""
import pandas as pd
import pyarrow as pa

LONG = [("x" * n) + str(n) for n in range(300)]
MIXED = ["a", None, "", "æøå", "日本語 and more than twelve bytes", "line\nbreak\r\n", "tab\t\"quote\"", "🚲🚲"]


def look(self):
    assert self.distinct == [None if n == 7 else f"id{n}" for n in range(1, 70_001)]
    assert self.million == [str(n) for n in range(1, 1_100_001)]
    assert self.repeated == MIXED * 5000
    assert self.long == LONG
    assert self.latin == ["é", "plain", "ü", "日本"] * 50
    assert self.nothing == [] and self.all_na == [None] * 100 and self.all_empty == [""] * 100
    assert [len(text) for text in self.huge] == [24_000_000, *[1] * 99]
    assert list(self.levels) == ["é", "", "b"] * 50 and list(self.levels.categories) == ["", "b", "é"]
    assert list(self.named) == [f"n{n}" for n in range(100)]
    assert self.frame["text"].tolist()[:2] == ["é1", "é2"] and self.frame["text"].isna().sum() == 1
    assert "R" in repr(self.bytes_marked) or "character" in repr(self.bytes_marked)

    self.py_distinct = [None if n == 7 else f"id{n} é" for n in range(1, 70_001)]
    self.py_million = [str(n) for n in range(1, 1_100_001)]
    self.py_repeated = MIXED * 5000
    self.py_long = LONG
    self.py_all_na = pa.array([None] * 100, pa.string())
    self.py_all_empty = [""] * 100
    self.py_huge = ["abcdefgh" * 3_000_000, *["x"] * 99]
    self.py_sliced = pa.array(["skipped", *MIXED * 5000, "left out"]).slice(1, 40_000)
    self.py_view = pa.array(MIXED * 5000, pa.string_view())
    self.py_coded = pd.Categorical(["b", None, "é"] * 50, categories=["é", "b", "unused"])
    self.py_frame = pd.DataFrame({"text": ["é", "b"] * 40_000})
    self.py_nul = ["a\0b"] * 100
"""

R = r"""
library(metaflow)
mixed <- c("a", NA, "", "\u00e6\u00f8\u00e5", "\u65e5\u672c\u8a9e and more than twelve bytes", "line\nbreak\r\n",
           "tab\t\"quote\"", "\U1F6B2\U1F6B2")
long <- vapply(0:299, function(n) paste0(strrep("x", n), n), "")
marked <- function(x, encoding) {
  Encoding(x) <- encoding
  x
}
values <- list(
  distinct = replace(sprintf("id%d", 1:70000), 7, NA),
  million = as.character(1:1100000),
  repeated = rep(mixed, 5000),
  long = long,
  latin = rep(c(iconv("\u00e9", "UTF-8", "latin1"), "plain", iconv("\u00fc", "UTF-8", "latin1"), "\u65e5\u672c"), 50),
  nothing = character(), all_na = rep(NA_character_, 100), all_empty = rep("", 100),
  huge = c(strrep("abcdefgh", 3e6), rep("x", 99)),
  levels = factor(rep(c("\u00e9", "", "b"), 50), levels = c("", "b", "\u00e9")),
  named = setNames(1:100, sprintf("n%d", 0:99)),
  frame = data.frame(text = replace(paste0("\u00e9", 1:500), 400, NA)),
  bytes_marked = rep(marked("\xc3\xa9", "bytes"), 100), byte_marked = marked("\xc3\xa9", "bytes"),
  no_text = rep("\xff\xfe", 100)
)
metaflow("TextFlow") |>
  step(step = "start", next_step = "look", r_function = function(self) {
    for (name in names(values)) self[[name]] <- values[[name]]
  }) |>
  step(step = "look", py_function = "look.py:look", next_step = "end") |>
  step(step = "end", r_function = function(self) {
    for (name in names(values)) stopifnot(identical(self[[name]], values[[name]]))
    stopifnot(Encoding(self$bytes_marked) == "bytes", Encoding(self$byte_marked) == "bytes")
    expected <- list(
      py_distinct = replace(paste0("id", 1:70000, " \u00e9"), 7, NA), py_million = values$million,
      py_repeated = values$repeated, py_long = long, py_all_na = values$all_na, py_all_empty = values$all_empty,
      py_huge = values$huge, py_sliced = values$repeated, py_view = values$repeated,
      py_coded = factor(rep(c("b", NA, "\u00e9"), 50), levels = c("\u00e9", "b", "unused")),
      py_frame = data.frame(text = rep(c("\u00e9", "b"), 40000))
    )
    found <- lapply(setNames(nm = names(expected)), function(name) self[[name]])
    for (n in 1:3) {  # what R can't reach is collected, and its memory used again
      gc(full = TRUE)
      rubbish <- paste0("rubbish", n, seq_len(300000))
    }
    for (name in names(expected)) stopifnot(identical(found[[name]], expected[[name]]))
    stopifnot(Encoding(found$py_distinct[1]) == "UTF-8", Encoding(found$py_million[1]) == "unknown")
    cat("refused:", grepl("NUL", tryCatch(self$py_nul, error = conditionMessage)), "\n")
  }) |>
  run()
"""


def test_texts_cross_whole(run_r, r_project, printed):
    (r_project / "look.py").write_text(PYTHON)
    assert "refused: TRUE " in printed(run_r(R, "run"))


CHECK = """
from metaflow_r import session, strings
session.start()
from rpy2.rinterface import evalr
codes = ["c('a', NA, '\\u00e9', strrep('long', 10))", "rep(NA_character_, 3)", "as.character(1:100)"]
quick = [strings.to_arrow(evalr(code)) for code in codes]
strings._is_as_expected = lambda: False
assert [strings.to_arrow(evalr(code)) for code in codes] == quick, quick
marked = evalr("{x <- c('a', '\\\\xc3\\\\xa9'); Encoding(x) <- 'bytes'; x}")
for known in (False, True):
    strings._is_as_expected = lambda: known
    try:
        raise SystemExit(strings.to_arrow(marked))
    except strings.NotUtf8:
        print("no text")
"""


def test_an_r_that_keeps_texts_in_another_way_is_read_through_its_functions(r_library: Path) -> None:
    command = [sys.executable, "-c", dedent(CHECK)]
    environment = {**os.environ, "R_LIBS": str(r_library)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["no", "text"] * 2, done.stderr


NUMBERS = """
import sys
import numpy as np
import pyarrow as pa
from metaflow_r import session
from metaflow_r.read import from_tree
from metaflow_core.values.node import Node
session.start()
from rpy2.rinterface import evalr

def same(data, code):
    assert evalr("identical")(from_tree(Node("list", data=data)), evalr(code))[0], (data.type, code)

least, many = -(2**31), 100_000
alike = pa.Array.from_buffers(pa.int32(), many, [pa.py_buffer(np.packbits(np.arange(many) % 8 != 2, bitorder="little")),
    pa.py_buffer(np.where(np.arange(many) % 8 == 2, least, 5).astype(np.int32))])
same(alike, "{x <- rep(5L, 1e5); x[seq(3, 1e5, 8)] <- NA; x}")
same(alike.slice(3), "{x <- rep(5L, 1e5); x[seq(3, 1e5, 8)] <- NA; x[-(1:3)]}")
same(pa.array([1, None] * 50_000, pa.int32()), "rep(c(1L, NA), 50000)")
same(pa.array([1, None] * 50_000, pa.int64()), "rep(c(1L, NA), 50000)")
same(pa.array([1, None] * 50_000, pa.float64()), "rep(c(1, NA), 50000)")
same(pa.array([True, None, False] * 50_000), "rep(c(TRUE, NA, FALSE), 50000)")
same(pa.array([True, None, False] * 50_000).slice(5, 70_001), "rep(c(TRUE, NA, FALSE), 50000)[6:70006]")
same(pa.array([None] * 100, pa.int32()), "rep(NA_integer_, 100)")
for data in (pa.array([least, None] * 50, pa.int32()), pa.array([least, 1] * 50, pa.int32())):
    assert "integer64" in list(evalr("class")(from_tree(Node("list", data=data)))) or not evalr("is.integer")(
        from_tree(Node("list", data=data)))[0]
print("as expected")
"""


@pytest.mark.parametrize("script", [NUMBERS])
def test_missing_numbers_arrive_where_they_are(r_library: Path, script: str) -> None:
    environment = {**os.environ, "R_LIBS": str(r_library)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "as expected\n", done.stderr
