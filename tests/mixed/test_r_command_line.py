"""`Rscript flow.R COMMAND`: every command and option that a flow in Python has, and run() with the same as arguments."""

# ruff: noqa: E501

from __future__ import annotations

import json

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
        "--flag", "True", "--on=False", "--js", '[1,"z"]', "--parts", "q r,s'", "--tag=z", "--with", "catch:var=oops",
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
    listed = run_r("flow.R", "tag", "list", "--run-id", "2", "--flat", "--hide-system-tags").stdout.splitlines()
    assert listed == ["b", "from file", "y", "z"]
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
    assert "There is no step 'strat' to resume from. Steps: start, end." in unknown.stderr
    resumed = run_r(script.format('resume = "start", tag = c("r", "s t")'))
    assert "from 1 " in resumed.stdout
    assert "s t" in run_r("flow.R", "tag", "list", "--run-id", "2", "--flat").stdout.splitlines()
    assert "=> end" in run_r(script.format("show = TRUE")).stdout
    assert "from 1 " in run_r(script.format('logs = "1/start"'), "resume", "start", "--origin-run-id=1").stdout
    assert "--max-workers" in run_r(script.format("help = TRUE")).stdout


WRONG = """
f |> run(step_fucntions = "create", authorize = "T")                # run() has no argument `step_fucntions`. Did you mean `step_functions`?
f |> run(step_fucntions = "create", generate_new_token = TRUE)      # Did you mean `step_functions`?
f |> run(tags = "a")                                                # run() has no argument `tags`. Did you mean `tag`?
f |> run(5)                                                         # run() takes its arguments by name. It was given num 5.
f |> run(max_workers = NA)                                          # `max_workers` is NA
f |> parameter("a") |> run(a = NA)                                  # Parameter "a" is NA
f |> parameter("a", default = 1) |> run(a = NA_real_)               # Parameter "a" is NA
f |> parameter("a", default = NA)                                   # NA can't be a default
f |> parameter("a", defalt = 1)                                     # parameter() has no argument `defalt`. Did you mean `default`?
f |> parameter("a", type = "it")                                    # there is no type chr "it"
f |> parameter(c("a", "b"))                                         # A parameter is named by one text
f |> step(step = 5)                                                 # A step is named by one text: step(step = "start", ...), not by num 5.
f |> step("a")                                                      # A step is named by one text
f |> step(step = NA_character_)                                     # A step is named by one text
f |> step(step = "end")                                             # the flow has a step of this name already
f |> step(step = "x", r_fuction = print)                            # step() has no argument `r_fuction`. Did you mean `r_function`?
f |> step(step = "x", next_step = 5)                                # next_step must be the name of a step
f |> step(step = "x", foreach = 1:3, next_step = "y")               # foreach must be the name of an artifact, not int [1:3] 1 2 3.
f |> step(step = "x", condition = "a", next_step = "y")             # with a condition the next steps need names
f |> step(step = "x", join = NA)                                    # join must be TRUE or FALSE
f |> step(step = "x", py_function = "features.build")               # py_function must be "file.py:function" or "module:function"
f |> step(step = "x", r_function = 3)                               # r_function must be a function, not num 3.
f |> step(step = "x", retry)                                        # decorators such as retry(times = 2)
f |> step(decorator("retry", 3), step = "x")                        # need names
f |> step(decorator("retry", times = 3, times = 2), step = "x")     # is given twice
f |> step(step = "x", r_function = print, py_function = "a.py:b")   # Choose one
metaflow(c("a", "b"))                                               # A flow needs a name: metaflow("HelloFlow").
run(1)                                                              # run() goes with a flow: metaflow("HelloFlow") |> run()
"""


def test_what_is_wrong_in_the_file(run_r):
    cases = [[part.strip() for part in line.split(" # ")] for line in WRONG.strip().splitlines()]
    codes = ",\n".join(f"quote({code})" for code, _ in cases)
    result = run_r(
        "library(metaflow)\n"
        'f <- metaflow("F") |> step(step = "start", next_step = "end") |> step(step = "end")\n'
        f"for (code in list({codes})) tryCatch(\n"
        "  { eval(code); cat('no error\\n') },\n"
        "  metaflow_error = function(e) cat(gsub('\\n', ' ', conditionMessage(e)), '\\n')\n)\n",
        "run",
    )
    assert [said for (_, said), line in zip(cases, result.stdout.splitlines(), strict=True) if said not in line] == []


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
        ("decorator('retri'), next_step = 'end'", "@retri on step start is unknown. Did you mean @retry?"),
    ):
        result = run_r(script.format(arguments), "run", check=False)
        assert (result.returncode, result.stdout) == (1, "")
        assert said in result.stderr
