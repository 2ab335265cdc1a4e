"""`Rscript flow.R COMMAND`: every command and option that a flow in Python has, and run() with the same as arguments."""

# ruff: noqa: E501

from __future__ import annotations

import json
import subprocess

import pytest

FLOW = """
library(metaflow)
metaflow("ParamFlow") |>
  parameter("top_k", default = 3L) |>
  parameter("alpha", default = 0.5, help = "how much") |>
  parameter("text-x", default = "d") |>
  parameter("flag", is_flag = TRUE) |>
  parameter("on", default = TRUE) |>
  parameter("js", type = "json", default = '{"a": [1, 2]}') |>
  parameter("parts", separator = ",", default = "a,b") |>
  parameter("whole", type = "int", default = 5) |>
  parameter("large", type = "int", default = 2^40) |>
  parameter("computed", type = "int", default = function() 7) |>
  parameter("told", default = function(about) paste(about$flow_name, about$parameter_name, about$user_name)) |>
  parameter("none") |>
  step(step = "start", next_step = "end", r_function = function(self) {
    for (n in c("top_k", "alpha", "text_x", "flag", "on", "js", "parts", "whole", "large", "computed", "told", "none")) {
      cat(n, ": ", deparse(if (n == "large") as.character(self[[n]]) else self[[n]]), "\\n", sep = "")
    }
  }) |>
  step(step = "end") |>
  run(alpha = 0.7, top_k = 4, tag = c("from file", "b"), parts = c("x", "y"))
"""


def test_parameters_from_the_file_and_from_the_command_line(run_r, r_project, printed):
    quote = 'it\'s "q" ünï  two $HOME \\n'
    found = printed(run_r(FLOW, "run"))
    assert found[1:13] == [
        "top_k: 4L",
        "alpha: 0.7",
        'text_x: "d"',
        "flag: FALSE",
        "on: TRUE",
        "js: list(a = 1:2)",
        'parts: c("x", "y")',
        "whole: 5L",
        'large: "1099511627776"',
        "computed: 7L",
        'told: "ParamFlow told tester"',
        "none: NULL",
    ]
    # fmt: off
    found = printed(run_r(
        "flow.R", "--quiet", "--with=retry:times=1", "run", "--top_k=9", "--alpha", "1e-7", "--text-x", quote,
        "--flag", "--on=False", "--js", '[1,"z"]', "--parts", "q r,s'", "--tag=z", "--with", "catch:var=oops",
        "--none", "", "--large", "9007199254740993", "--run-id-file", "id.txt", "--max-workers=1",
    ))
    # fmt: on
    assert [line for line in found if ": " in line] == [
        "top_k: 9L",
        "alpha: 1e-07",
        'text_x: "it\'s \\"q\\" ünï  two $HOME \\\\n"',
        "flag: TRUE",
        "on: FALSE",
        'js: list(1L, "z")',
        'parts: c("q r", "s\'")',
        "whole: 5L",
        'large: "9007199254740993"',
        "computed: 7L",
        'told: "ParamFlow told tester"',
        'none: ""',
    ]
    assert (r_project / "id.txt").read_text() == "2"

    listed = run_r("flow.R", "tag", "list", "--run-id", "2", "--flat").stdout.splitlines()
    assert {"z", "b", "from file", "user:tester"} <= set(listed)
    assert any(tag.startswith("r_version:") for tag in listed)
    assert "é x" in run_r("flow.R", "tag", "add", "é x", "--run-id", "2").stdout
    assert run_r("flow.R", "tag", "replace", "--remove", "é x", "--add", "y", "--run-id=2").returncode == 0
    assert run_r("flow.R", "tag", "remove", "--run-id", "2", "b", "never there").returncode == 0
    listed = run_r("flow.R", "tag", "list", "--run-id", "2", "--flat", "--hide-system-tags").stdout.splitlines()
    assert listed == ["from file", "y", "z"]
    refused = run_r("flow.R", "tag", "remove", "--run-id", "2", "user:tester", check=False)
    assert refused.returncode == 1 and "user:tester" in refused.stderr
    assert "text_x: " in run_r("flow.R", "logs", "2/start").stdout
    dumped = run_r("flow.R", "dump", "2/end").stdout
    assert "oops = None" in dumped and "parts = ['q r', \"s'\"]" in dumped
    assert "top_k: 9L" in run_r("flow.R", "spin", "start").stdout


def test_commands_that_run_nothing(run_r, r_project):
    result = run_r(FLOW)
    assert (result.stdout, result.stderr.splitlines()[-1]) == ("", "The graph looks good.")
    assert "=> end" in run_r("flow.R", "show").stdout
    raw = json.loads(run_r("flow.R", "output-raw", "--json").stdout)
    assert raw["steps"]["start"] | {"type": "start", "language": "r", "next": ["end"]} == raw["steps"]["start"]
    assert '"start" -> "end"' in run_r("flow.R", "output-dot").stdout
    assert (
        run_r("flow.R", "output-mermaid").stdout == 'flowchart LR\n    s0(["start"])\n    s1(["end"])\n    s0 --> s1\n'
    )
    assert "--alpha" in run_r("flow.R", "run", "--help").stdout
    for argument in ("--help", "help"):
        assert "Usage: flow.R [OPTIONS] [COMMAND] [ARGS]..." in run_r("flow.R", argument).stdout
    assert run_r("flow.R", "version").stdout.strip()[0].isdigit()
    assert list((r_project / ".metaflow").iterdir()) == [], "nothing was stored"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["rum"], 2, "No such command 'rum'. Did you mean 'run'?"),
        (["run", "--alpah", "1"], 2, "No such option '--alpah'"),
        (["run", "--alpha", "x"], 2, "Invalid value for '--alpha': must be a number, not 'x'."),
        (["run", "--top_k", "3.5"], 2, "must be a whole number, not '3.5'"),
        (["run", "--js", "{"], 2, "must be JSON"),
        (["--with", "retri", "run"], 1, "Did you mean @retry?"),
    ],
)
def test_wrong_usage(run_r, arguments, status, said):
    result = run_r(FLOW, *arguments, check=False)
    assert result.returncode == status
    assert said in result.stderr
    assert "Traceback" not in result.stderr and "Execution halted" not in result.stderr
    assert "Workflow starting" not in result.stdout


def test_what_run_returns_and_what_follows_it(run_r):
    script = """
        library(metaflow)
        flow <- metaflow("AfterFlow") |> step(step = "start", next_step = "end") |> step(step = "end")
        print(flow)
        r <- run(flow)
        stopifnot(r == 0, inherits(r, "run_client"), r$successful)
        cat("ran", as.character(r), "\\n")
        """
    ran = run_r(script, "run").stdout
    assert ran.startswith("Flow AfterFlow: 2 steps\n  start → end\n  end\n")
    assert ran.endswith("Done!\nran AfterFlow/1 \n")
    assert "ran" not in run_r("flow.R", "check").stdout


def test_run_can_ask_for_other_commands(run_r):
    script = """
        library(metaflow)
        metaflow("AskFlow") |> step(step = "start", r_function = function(self) cat("from", current("origin_run_id"), "\\n"),
          next_step = "end") |> step(step = "end") |> run({})
        """
    run_r(script.format("max_workers = 1"), "run")
    unknown = run_r("flow.R", "resume", "strat", check=False)
    assert unknown.returncode == 1
    assert "There is no step 'strat' to resume from. Did you mean 'start'?" in unknown.stderr
    resumed = run_r(script.format('resume = "start", tag = c("r", "s t")'))
    assert "from 1 " in resumed.stdout
    assert "s t" in run_r("flow.R", "tag", "list", "--run-id", "2", "--flat").stdout.splitlines()
    assert "=> end" in run_r(script.format("show = TRUE")).stdout
    assert "from 1 " in run_r(script.format('logs = "1/start"'), "resume", "start", "--origin-run-id=1").stdout
    assert "--max-workers" in run_r(script.format("help = TRUE")).stdout


FAILS_ONCE = """
library(metaflow)
flow <- metaflow("OnceFlow") |>
  step(step = "start", r_function = function(self) cat("start in", current("run_id"), "\\n"), next_step = "work") |>
  step(step = "work", next_step = "end", r_function = function(self) {
    if (!file.exists("mended")) stop("not yet")
    cat("resumed from", current("origin_run_id"), "\\n")
  }) |>
  step(step = "end")
failed <- tryCatch(run(flow), metaflow_run_failed = identity)
file.create("mended")
print(failed$pathspec)
run <- run(flow, resume = TRUE)
print(c(run == 0, run$origin_pathspec == failed$pathspec))
"""


def test_a_session_resumes_what_has_failed(r_project):
    result = subprocess.run(
        ["R", "-q", "-s", "--no-save"], input=FAILS_ONCE, capture_output=True, text=True, check=False
    )
    shown = result.stdout + result.stderr
    assert result.returncode == 0, shown
    assert '[1] "OnceFlow/1"' in shown and "[1] TRUE TRUE" in shown
    assert "resumed from 1 " in shown and "start in 1" in shown and "start in 2" not in shown


def test_the_content_of_a_file_is_a_parameter(run_r, r_project):
    script = """
        library(metaflow)
        metaflow("FileFlow") |>
          parameter("text", type = include_file(), default = "a.txt") |>
          parameter("latin", type = include_file(encoding = "latin-1")) |>
          parameter("bytes", type = include_file(is_text = FALSE)) |>
          step(step = "start", next_step = "end") |>
          step(step = "end", r_function = function(self) {
            cat(toupper(self$text), deparse(self$latin), deparse(self$bytes), "\\n")
          }) |>
          run(bytes = "b.bin")
        """
    (r_project / "a.txt").write_text("größe\n", encoding="utf-8")
    (r_project / "b.txt").write_bytes("größe".encode("latin-1"))
    (r_project / "b.bin").write_bytes(b"\x00\xff")
    assert "GRÖSSE" in run_r(script, "run").stdout.replace("ß", "SS")
    (r_project / "a.txt").unlink()  # the file of a run that is resumed may be gone
    assert "as.raw(c(0x00, 0xff))" in run_r("flow.R", "resume", "end").stdout
    not_text = run_r("flow.R", "run", "--text", "b.bin", check=False)
    assert not_text.returncode == 2 and "b.bin" in not_text.stderr
    missing = run_r("flow.R", "run", "--latin", "b.txt", check=False)
    assert missing.returncode == 1
    assert "Parameter 'text' (flow.R, line 4): the file 'a.txt' can't be read" in missing.stderr
    assert '"größe"' in run_r("flow.R", "run", "--latin", "b.txt", "--text", "flow.R").stdout


@pytest.mark.parametrize("last", ["stop('at source time')", 'f |> run(step_fucntions = "create")', "x <- ("])
def test_an_error_in_the_file_is_exit_status_1(run_r, last):
    head = 'library(metaflow)\nf <- metaflow("F") |> step(step = "start", next_step = "end") |> step(step = "end")\n'
    result = run_r(head + last + "\n", "run", check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert "Error" in result.stderr


def test_what_the_check_finds(run_r):
    script = """
        library(metaflow)
        one <- function(self) 1
        metaflow("F") |>
          step(step = "start", {}) |>
          step(step = "end") |>
          run()
        """
    for arguments, said in (
        ("r_function = function() 1, next_step = 'end'", "takes no arguments. It must be function(self)."),
        ("r_function = function(self, inputs) 1, next_step = 'end'", "takes self, inputs. It must be function(self)."),
        (
            "r_function = one, next_step = 'ende'",
            "it leads to 'ende', which is no step of the flow. Did you mean 'end'?",
        ),
        ("retry(times = 'x'), next_step = 'end'", "times must be a whole number from 0 to 4, not 'x'"),
        (
            "decorator('retri'), next_step = 'end'",
            "@retri on step start (flow.R, line 5) is unknown. Did you mean @retry",
        ),
    ):
        result = run_r(script.format(arguments), "run", check=False)
        assert (result.returncode, result.stdout) == (1, "")
        assert said in result.stderr
