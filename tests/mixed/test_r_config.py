"""`config()` and `config_expr()`: what is known of a run in R before its flow is checked or run."""

# ruff: noqa: E501

from __future__ import annotations

import json

import pytest

FLOW = """
library(metaflow)
factor <- 10
metaflow("ConfigFlow", config_of_flow = NULL) |>
  config("cfg", default = "cfg.json", help = "how to train") |>
  config("more", default_value = list(a = 1, deep = list(b = "x"))) |>
  config("own", default = "own.txt", parser = function(text) list(text = toupper(text))) |>
  config("words", plain = TRUE) |>
  parameter("cpu", default = config_expr(cfg$cpu), type = "int") |>
  parameter("rate", default = config_expr(~ cfg$model$rate * factor)) |>
  parameter("told", default = function(about) about$configs$cfg$region) |>
  step(
    step = "start", next_step = "end",
    resources(cpu = config_expr("cfg$cpu * 2")),
    retry(times = config_expr(cfg$times)),
    environment_variables(REGION = config_expr(cfg$region), FIXED = "yes"),
    r_function = function(self) {
      cat("cfg", deparse(names(self$cfg)), self$cfg$cpu, self$cfg$model$rate, "\\n")
      cat("layers", deparse(self$cfg$model$layers), "\\n")
      cat("more", self$more$a, self$more$deep$b, self$own$text, deparse(self$words), "\\n")
      cat("parameters", self$cpu, self$rate, self$told, "\\n")
      cat("environment", Sys.getenv("REGION"), Sys.getenv("FIXED"), "\\n")
      self$kept <- self$cfg
      if (file.exists("fail")) stop("on purpose")
    }
  ) |>
  step(step = "end", r_function = function(self) cat("kept", identical(self$kept, self$cfg), "\\n")) |>
  run()
""".replace(", config_of_flow = NULL", "")
CFG = {"cpu": 2, "times": 0, "region": "north", "model": {"rate": 0.5, "layers": [8, 4]}}


@pytest.fixture
def files(r_project):
    (r_project / "cfg.json").write_text(json.dumps(CFG))
    (r_project / "other.json").write_text(json.dumps({**CFG, "cpu": 5}))
    (r_project / "own.txt").write_text("hello")
    return r_project


def line(printed, name):
    return next(text for text in printed if text.startswith(f"{name} "))[len(name) + 1 :].strip()


def test_a_config_in_steps_decorators_and_parameters(run_r, run_flow, files, printed):
    found = printed(run_r(FLOW, "run"))
    assert line(found, "cfg") == 'c("cpu", "times", "region", "model") 2 0.5'
    assert line(found, "layers") == "c(8L, 4L)"
    assert line(found, "more") == "1 x HELLO NULL"
    assert line(found, "parameters") == "2 5 north"
    assert line(found, "environment") == "north yes"
    assert line(found, "kept") == "TRUE"
    steps = json.loads(run_r("flow.R", "output-raw").stdout)["steps"]
    resources = next(d for d in steps["start"]["decorators"] if d["name"] == "resources")
    assert resources["attributes"]["cpu"] == 4

    # Found again in R as a list, in Python as what a Python flow has.
    shown = run_r(
        "library(metaflow)\nr <- run_client$new('ConfigFlow/1')\ncat(class(r$data$cfg), r$data$cfg$model$rate, r$data$more$deep$b)\n",
        name="look.R",
    )
    assert shown.stdout == "list 0.5 x"
    code = "from metaflow import Run\nc = Run('ConfigFlow/1').data.cfg\nprint(c.model.layers, type(c).__name__)\n"
    assert run_flow(code, name="look.py").stdout == "[8, 4] ConfigValue\n"


def test_configs_on_the_command_line_and_in_run(run_r, files, printed):
    spawn = {"METAFLOW_LAUNCHER": "spawn"}
    found = printed(
        run_r(FLOW, "--config", "cfg", "other.json", "--config-value", "words", "a b", "run", "--rate", "3", env=spawn)
    )
    assert line(found, "parameters") == "5 3 north"
    assert line(found, "more").endswith('"a b"')

    value = 'run(config = list(cfg = "other.json"), config_value = list(more = list(a = 2, deep = list(b = "y"))))'
    script = FLOW.replace("run()", value)
    found = printed(run_r(script, "run"))
    assert line(found, "parameters").startswith("5 ") and line(found, "more").startswith("2 y ")
    # The command line wins over the script, whichever way a config is given.
    found = printed(run_r("flow.R", "--config-value", "cfg", json.dumps({**CFG, "cpu": 7}), "run"))
    assert line(found, "parameters").startswith("7 ") and line(found, "more").startswith("2 y ")
    # A run that is resumed, or tried again, has its own.
    (files / "fail").touch()
    run_r("flow.R", "run", check=False)
    (files / "fail").unlink()
    (files / "other.json").write_text("{")
    assert line(printed(run_r("flow.R", "resume")), "parameters").startswith("5 ")
    assert "parameters 5" in run_r("flow.R", "spin", "start").stdout
    help = run_r("flow.R", "--help").stdout
    assert "how to train  [default: cfg.json]" in help


def test_a_flow_of_python_with_a_step_in_r_and_run_from_r(run_flow, run_r, files):
    flow = """
        from metaflow import Config, FlowSpec, r_step, step
        class F(FlowSpec):
            cfg = Config("cfg", default="cfg.json")
            @r_step("say.R", "say")
            def start(self):
                self.next(self.end)
            @step
            def end(self):
                pass
        if __name__ == "__main__":
            F()
    """
    (files / "say.R").write_text('say <- function(self) cat("in R", self$cfg$model$rate, class(self$cfg))\n')
    assert "in R 0.5 list" in run_flow(flow, "run").stdout
    script = """
        library(metaflow)
        made <- runner("flow.py", show_output = FALSE, config_value = list(cfg = list(model = list(rate = 0.25))))$run()
        cat(made$run$data$cfg$model$rate)
    """
    assert run_r(script, name="run.R").stdout == "0.25"


# fmt: off
WRONG = [
    # what the flow has, arguments of the script, what is told
    ('config("cfg", default = "no.json")', "", "Config 'cfg': the file 'no.json' can't be read: No such file or directory."),
    ('config("cfg", default = "bad.json")', "", "Config 'cfg': its value (file 'bad.json') is no valid JSON: line 1, column 2"),
    ('config("cfg", default_value = c(1, 2))', "", "must be a mapping of names and values. For any other value define the config with plain = TRUE."),
    ('config("cfg", required = TRUE)', "", "The config 'cfg' is required: give it by --config cfg FILE or --config-value cfg VALUE"),
    ('config("cfg", default_value = list())', "--config cgf x", "--config: the flow 'F' has no config 'cgf'. Did you mean 'cfg'?"),
    ('config("cfg", default = "bad.json", parser = function(text) stop("oh no"))', "", "The parser of config 'cfg' failed: oh no"),
    ('config("cfg", default_value = list()) |> parameter("CFG")', "", "Config 'cfg': the name is taken by parameter 'CFG'"),
    ('config("cfg", default_value = list(a = 1)) |> parameter("p", default = config_expr(cfg$b))', "",
     "The default of parameter 'p': config_expr(cfg$b) can't be evaluated. It is NULL. What the configs have: cfg: a."),
    ('config("cfg", default_value = list(a = 1)) |> parameter("p", default = config_expr(nothing + 1))', "",
     "config_expr(nothing + 1) can't be evaluated. object 'nothing' not found"),
    ('config("cfg", default_value = list(), defualt = 1)', "", "config() has no argument `defualt`. Did you mean `default`?"),
    ('config("cfg", default = list(a = 1))', "", 'Config "cfg": default must be the path of a file, not a value of class list. For a value use default_value.'),
    ('config("cfg", default = "a", default_value = list())', "", 'Config "cfg": it has default and default_value. Choose one.'),
    ('config("cfg") |> config("cfg")', "", 'Config "cfg": the flow has a config of this name already.'),
    ("config(1)", "", "A config is named by one text"),
    ('config("cfg", plain = NA)', "", 'Config "cfg": plain must be TRUE or FALSE, not NA.'),
    ('parameter("p", default = config_expr("a b"))', "", 'config_expr() takes one expression, not "a b".'),
]
# fmt: on


def test_what_is_wrong_is_told(run_r, files):
    (files / "bad.json").write_text("{a")
    # In one session, as each start of R costs a second; the command line is tried by itself.
    parts = []
    for body, arguments, _ in WRONG:
        if not arguments:
            parts.append(
                f"try_it(metaflow('F') |> {body} |> step(step = 'start', next_step = 'end') |> step(step = 'end') |> run(check = TRUE))"
            )
    lines = "\n".join(parts)
    script = f"""
library(metaflow)
try_it <- function(expression) {{
  tryCatch(local({{ local_run <- function() expression; local_run() }}), error = function(e) message("R: ", conditionMessage(e)))
  message("--")
}}
{lines}
"""
    told = run_r(script, name="wrong.R").stderr.split("--\n")
    assert told.pop() == ""
    for text, (body, _, message) in zip(told, [one for one in WRONG if not one[1]], strict=True):
        assert message in " ".join(text.split()), (body, text)
    for body, arguments, message in WRONG:
        if arguments:
            flow = f"library(metaflow)\nmetaflow('F') |> {body} |> step(step = 'start', next_step = 'end') |> step(step = 'end') |> run()\n"
            result = run_r(flow, *arguments.split(), "run", check=False, name="one.R")
            assert message in " ".join(result.stderr.split()) and result.returncode == 2


def test_printing(run_r, r_project):
    script = """
library(metaflow)
print(
  metaflow("F") |> config("a", default = "a.json") |> config("b", required = TRUE) |>
    config("c", default_value = list(x = 1)) |> parameter("p", default = config_expr(a$x)) |>
    step(step = "start", resources(cpu = config_expr(a$cpu + 1)))
)
print(config_expr(~ a$x))
"""
    out = run_r(script, name="print.R").stdout
    for text in (
        "config a (default a.json)",
        "config b (required)",
        "config c (default value)",
        "parameter p (default config_expr(a$x))",
        "@resources(cpu = config_expr(a$cpu + 1)",
        "\nconfig_expr(a$x)\n",
    ):
        assert text in out


KINDS = """
library(metaflow)
half <- function(x) x / 2
limited <- flow_mutator("limited", mutate = function(flow) {
  for (step in flow$steps) step$add_decorator(do.call(resources, flow$t$limits))
})
end_of_run <- function(run) cat("ended with", run$data$v$x[[2]], "\\n")
metaflow("KindsFlow", limited, exit_hook(on_success = end_of_run)) |>
  config("t", default = "a.toml") |>
  config("y", default = "a.yml") |>
  config("j", default = "a.json", plain = TRUE) |>
  config("q", default = "a.sql", plain = TRUE) |>
  config("v", default_value = '{"x": [1, "y"]}') |>
  config("none") |>
  parameter("rate", default = config_expr(half(t$limits$cpu))) |>
  step(
    step = "start", next_step = "end", timeout(minutes = config_expr(t$limits$cpu)),
    r_function = function(self) {
      cat("files", self$t$limits$cpu, self$y$a, self$j, deparse(self$q), "\\n")
      cat("values", deparse(self$v$x), is.null(self$none), self$rate, "\\n")
      tryCatch(self$t$limits$cpu <- 9, error = function(e) cat("refused", conditionMessage(e), "\\n"))
      mine <- self$t
      mine$limits$cpu <- 9
      cat("copy", mine$limits$cpu, self$t$limits$cpu, "\\n")
    }
  ) |>
  step(step = "end") |>
  run()
"""


def test_kinds_of_files_values_of_the_environment_and_changes(run_r, r_project, printed):
    (r_project / "a.toml").write_text("[limits]\ncpu = 3\n")
    (r_project / "b.toml").write_text("[limits]\ncpu = 4\n")
    (r_project / "a.yml").write_text("a: [1, 2]\n")
    (r_project / "a.json").write_text("[1, 2]")
    (r_project / "a.sql").write_text("SELECT\n1")
    result = run_r(KINDS, "run")
    found = printed(result)
    assert line(found, "files") == r'3 1 2 1 2 "SELECT\n1"'
    assert line(found, "values") == 'list(1L, "y") TRUE 1.5'
    assert line(found, "refused").startswith(
        "AttributeError: self$t can't be set in step start: it is a parameter, a config"
    )
    assert line(found, "copy") == "9 3"
    assert "ended with y" in result.stdout

    environment = {
        "METAFLOW_FLOW_CONFIG": '{"t": "b.toml", "q": "b.toml"}',
        "METAFLOW_FLOW_CONFIG_VALUE": '{"v": {"x": [2, "z"]}, "none": {"b": 1}}',
    }
    # What is given on the command line counts more.
    result = run_r("flow.R", "--config-value", "q", "SELECT 2", "run", env=environment)
    found = printed(result)
    assert line(found, "files") == '4 1 2 1 2 "SELECT 2"'
    assert line(found, "values") == 'list(2L, "z") FALSE 2'
    assert "ended with z" in result.stdout
    steps = json.loads(run_r("flow.R", "output-raw", env=environment).stdout)["steps"]
    attributes = {d["name"]: d["attributes"] for d in steps["start"]["decorators"]}
    assert (attributes["timeout"]["minutes"], attributes["resources"]["cpu"]) == (4, 4)
    result = run_r("flow.R", "check", env={"METAFLOW_FLOW_CONFIG": '{"z": "b.toml"}'}, check=False)
    assert result.returncode == 2
    assert "METAFLOW_FLOW_CONFIG: the flow 'KindsFlow' has no config 'z'. Its configs: t, y," in result.stderr
