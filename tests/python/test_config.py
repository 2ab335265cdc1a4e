"""`Config`, `config_expr` and `ConfigValue`: what is known of a run before its code is checked or runs."""

# ruff: noqa: E501

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from metaflow import ConfigValue, Run, Runner

CONFIG = {
    "cpu": 2,
    "rate": 0.1,
    "env": {"REGION": "north"},
    "retry": {"times": 1},
    "model": {"layers": [8, 4], "name": "net"},
}
FLOW = """
    import json, os
    from metaflow import Config, FlowSpec, Parameter, config_expr, environment, resources, retry, step

    def double(x):
        return 2 * x

    def computed(context):
        return context.configs.config.rate * 10

    class F(FlowSpec):
        config = Config("config", default="config.json", help="how to train")
        other = Config("other-one", default_value={"items": [1, {"deep": "x"}]})
        text = Config("text", plain=True)
        cpu = Parameter("cpu", default=config.cpu)
        twice = Parameter("twice", default=config_expr("double(config.cpu)"))
        computed = Parameter("computed", default=computed, type=float)
        later = config_expr("config['model'].name + '!'")

        @environment(vars={"REGION": config.env.REGION, "CPUS": config_expr("str(config.cpu + 1)")})
        @retry(**config.retry)
        @resources(cpu=config.cpu)
        @step
        def start(self):
            print("values", json.dumps([
                self.config, self.other["items"][1].deep, self.text, self.cpu, self.twice, self.computed, self.later,
                os.environ["REGION"], os.environ["CPUS"], dict(**self.config.retry),
            ]))
            self.layers = self.config.model.layers
            self.kept = self.config
            self.next(self.end)

        @step
        def end(self):
            print("layers", self.layers, type(self.layers).__name__, self.kept.model.name)
            if os.path.exists("fail"):
                raise ValueError("on purpose")

    if __name__ == "__main__":
        F()
"""


@pytest.fixture
def files(project: Path) -> Path:
    (project / "config.json").write_text(json.dumps(CONFIG))
    (project / "other.json").write_text(json.dumps({**CONFIG, "cpu": 5}))
    return project


def values(stdout: str) -> Any:
    return json.loads(next(line for line in stdout.splitlines() if "] values " in line).split("] values ", 1)[1])


def test_a_config_is_there_in_steps_decorators_and_parameters(run_flow: Any, files: Path) -> None:
    result = run_flow(FLOW, "run")
    assert values(result.stdout) == [CONFIG, "x", None, 2, 4, 1.0, "net!", "north", "3", {"times": 1}]
    assert "layers [8, 4] list net" in result.stdout
    data = Run("F/1").data
    assert isinstance(data.config, ConfigValue) and data.config == CONFIG
    assert data.config.model.layers == [8, 4] and data.kept.retry.times == 1
    assert data.other["items"][1].deep == "x" and data.text is None
    assert type(data.layers) is list
    steps = json.loads(run_flow("flow.py", "output-raw").stdout)["steps"]
    assert {d["name"]: d["attributes"] for d in steps["start"]["decorators"]}["retry"] == {"times": 1}


def test_configs_of_the_command_line_and_of_the_environment(run_flow: Any, files: Path) -> None:
    # Spawned tasks are told the run only: neither the options nor the files.
    spawn = {"METAFLOW_LAUNCHER": "spawn"}
    options = ("--config", "config", "other.json", "--config-value", "text", "SELECT 1")
    found = values(run_flow(FLOW, *options, "run", env=spawn).stdout)
    assert found[0]["cpu"] == 5 and found[2] == "SELECT 1" and found[3:5] == [5, 10] and found[8] == "6"
    assert values(run_flow("flow.py", *options, "run", "--cpu", "7").stdout)[3:5] == [7, 10]

    environment = {
        "METAFLOW_FLOW_CONFIG": '{"config": "other.json"}',
        "METAFLOW_FLOW_CONFIG_VALUE": '{"text": [1, 2], "other-one": {"items": [0, {"deep": "env"}]}}',
    }
    found = values(run_flow("flow.py", "run", env=environment).stdout)
    assert found[0]["cpu"] == 5 and found[1:3] == ["env", [1, 2]]
    cheap = json.dumps({**CONFIG, "cpu": 1})
    found = values(run_flow("flow.py", "--config-value", "config", cheap, "run", env=environment).stdout)
    assert found[0]["cpu"] == 1 and found[1] == "env"

    with Runner(
        "flow.py", show_output=False, config={"config": "other.json"}, config_value={"text": [3]}
    ).run() as made:
        assert made.run.data.cpu == 5 and made.run.data.text == [3]
    with Runner("flow.py", show_output=False, config_value=[("text", "hm")]).run() as made:
        assert made.run.data.text == "hm"


def test_resume_and_spin_take_the_configs_of_the_run(run_flow: Any, files: Path) -> None:
    (files / "fail").touch()
    run_flow(FLOW, "--config", "config", "other.json", "run", check=False)
    (files / "fail").unlink()
    (files / "other.json").unlink()
    (files / "config.json").write_text("{")
    run_flow("flow.py", "resume", env={"METAFLOW_FLOW_CONFIG": '{"config": "missing.json"}'})
    assert Run("F/2").data.config.cpu == 5 and Run("F/2").data.twice == 10
    assert "values" in run_flow("flow.py", "spin", "start").stdout
    result = run_flow("flow.py", "--config", "config", "config.json", "resume", check=False)
    assert result.returncode == 2
    assert "--config can't be given: the configs are those of the run that is resumed." in result.stderr
    # What does not depend on them does not need them either.
    for command in ("show", "logs 2/end", "dump 2/end", "runs", "--help", "run --help", "output-mermaid"):
        run_flow("flow.py", *command.split())


def test_a_config_that_the_origin_did_not_have_gets_its_default(run_flow: Any, project: Path) -> None:
    flow = """
        from metaflow import Config, FlowSpec, step
        class F(FlowSpec):
            %s
            @step
            def start(self):
                self.next(self.end)
            @step
            def end(self):
                print("value", %s)
        if __name__ == "__main__":
            F()
    """
    run_flow(flow % ("", "1 / 0"), "run", check=False)
    result = run_flow(flow % ('new = Config("new", default_value={"a": 1})', "self.new.a"), "resume")
    assert "value 1" in result.stdout


def test_diff_tells_which_configs_differ(run_flow: Any, files: Path) -> None:
    run_flow(FLOW, "run")
    run_flow("flow.py", "--config", "config", "other.json", "run")
    difference = Run("F/1").diff(Run("F/2"))
    assert not difference.parameters["config"].is_constant
    assert difference.parameters["config"].new.data.cpu == 5


def test_help_show_and_data_list_the_configs(run_flow: Any, files: Path) -> None:
    help = run_flow(FLOW, "--help").stdout
    assert "--config NAME PATH" in help and "--config-value NAME VALUE" in help
    assert "config     how to train  [default: config.json]" in help
    assert "--config config  how to train" in run_flow("flow.py", "show").stdout
    assert [c["name"] for c in json.loads(run_flow("flow.py", "output-raw").stdout)["configs"]] == [
        "config",
        "other-one",
        "text",
    ]
    assert "[default: 2]" in run_flow("flow.py", "run", "--help").stdout


FORMATS = """
    import json
    from metaflow import Config, FlowSpec, step

    def lines(text):
        return dict(line.split("=") for line in text.splitlines())

    class F(FlowSpec):
        toml = Config("toml", default="a.toml")
        yaml = Config("yaml", default="a.yml")
        own = Config("own", default="a.own", parser=lines)
        named = Config("named", default="a.own", parser="parsers.lines")
        listed = Config("listed", default="a.json", plain=True)
        sql = Config("sql", default="a.sql", plain=True)

        @step
        def start(self):
            print("values", json.dumps([
                self.toml.model.rate, self.yaml.model.layers, self.own.a, self.named.a, self.listed, self.sql
            ]))
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        F()
"""


def test_formats_and_places_of_files(run_flow: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "a.toml": "[model]\nrate = 0.5\n",
        "a.yml": "\ufeffmodel:\n  layers: [1, 2]\n",
        "a.own": "a=1",
        "a.json": "[1, 2]",
        "a.sql": "SELECT\n1",
        "parsers.py": "def lines(text):\n    return {'a': text}\n",
    }.items():
        (project / name).write_text(text, encoding="utf-8")
    expected = [0.5, [1, 2], "1", "a=1", [1, 2], "SELECT\n1"]
    assert values(run_flow(FORMATS, "run").stdout) == expected
    # A default that is not in the working directory is looked for beside the flow; what is given is not.
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.sql").write_text("here")
    monkeypatch.chdir(elsewhere)
    assert values(run_flow("../flow.py", "run").stdout) == [*expected[:-1], "here"]
    result = run_flow("../flow.py", "--config", "toml", "a.toml", "check", check=False)
    assert re.search(r"Config 'toml' \(.*flow\.py, line 9\): the file 'a\.toml' can't be read: No such", result.stderr)


SMALL = """
    import sys
    from metaflow import Config, FlowSpec, Parameter, config_expr, environment, resources, step

    def fails(text):
        raise KeyError("x")

    class F(FlowSpec):
        {body}
        {decorator}
        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        F()
"""
CFG = 'cfg = Config("cfg", default="cfg.json")'

# fmt: off
WRONG: list[tuple[str, str, str, str | bytes | None, str, int]] = [
    # the class, a decorator, options, the file's content, the message, the exit code
    (CFG, "", "", None, "Config 'cfg': the file 'cfg.json' can't be read: No such file or directory.", 1),
    (CFG, "", "", '{"a": 1,}', "Config 'cfg': its value (file 'cfg.json') is no valid JSON: line 1, column 9", 1),
    (CFG, "", "", "[1, 2]", "its value (file 'cfg.json') is [1, 2], and must be a mapping", 1),
    (CFG, "", "", b'{"a": "\xff"}', "Config 'cfg': the file 'cfg.json' is not text in UTF-8 (byte 7).", 1),
    (CFG, "", "", "[" * 100_000, "Config 'cfg': its value (file 'cfg.json') is nested too deeply", 1),
    (CFG, "", "--config cfg .", "{}", "Config 'cfg': the file '.' can't be read: Is a directory.", 1),
    (CFG, "", "--config cfg x.toml", "a = [", "its value (file 'x.toml') is no valid TOML: ", 1),
    (CFG, "", "--config cfg x.toml", "a = [", "(at ", 1),
    (CFG, "", "--config cfg x.yaml", "a: [1", "its value (file 'x.yaml') is no valid YAML: line 1, column 6: ", 1),
    (CFG, "", "--config cfg x.yaml", "&a {b: *a}", "its value (file 'x.yaml') contains itself.", 1),
    (CFG, "", "--config-value cfg {", "{}", "Config 'cfg': its value of --config-value is no valid JSON: line 1, column 2", 1),
    (CFG, "", "--config cgf x.json", "{}", "--config: the flow 'F' has no config 'cgf'. Did you mean 'cfg'?", 2),
    (CFG, "", "--config-value z 1", "{}", "--config-value: the flow 'F' has no config 'z'. Its configs: cfg.", 2),
    ("", "", "--config cfg x", "{}", "--config: the flow 'F' has no config 'cfg'. Its configs: none.", 2),
    (CFG, "", "--config cfg x --config-value cfg {}", "{}",
     "The config 'cfg' is given by --config and by --config-value. Give one of them.", 2),
    ('cfg = Config("cfg", required=True)', "", "", "{}",
     "The config 'cfg' is required: give it by --config cfg FILE or --config-value cfg VALUE, before the command.", 2),
    (CFG, "@resources(cpu=cfg.cup)", "", '{"cpu": 1}',
     "@resources on step start, argument 'cpu': cfg.cup can't be evaluated. cfg has no key 'cup'. Did you mean 'cpu'?", 1),
    ('cfg = Config("cfg")', "@resources(cpu=cfg.cup)", "", "{}",
     "cfg.cup can't be evaluated. The config 'cfg' was not given: --config cfg FILE, before the command.", 1),
    (CFG, "@resources(cpu=Config('gone').cup)", "", "{}",
     "gone.cup can't be evaluated. The flow has no config 'gone'. Define it in the class of the flow.", 1),
    (CFG, "@resources(cpu=cfg.a.cup)", "", '{"a": {}}', "cfg.a has no key 'cup'. It has: nothing.", 1),
    (CFG, "@resources(cpu=cfg['cup'])", "", "{}", "cfg['cup'] can't be evaluated. KeyError: 'cup'", 1),
    (CFG, "@resources(**cfg.a)", "", '{"a": 1}', "@resources on step start: **cfg.a can't be evaluated. "
     "TypeError: ** takes a mapping of names and values, not int", 1),
    (CFG, "@resources(**cfg)", "", '{"cup": 1}', "@resources on step start does not take 'cup'", 1),
    (CFG, "@resources(cpu=config_expr('cfg.a / 0'))", "", '{"a": 1}',
     "config_expr('cfg.a / 0') can't be evaluated. ZeroDivisionError: division by zero", 1),
    (CFG, "@resources(cpu=config_expr('cfg.'))", "", "{}", "config_expr() takes an expression as text", 1),
    (CFG, "@resources(cpu=cfg.a * 2)", "", "{}", "cfg.a has no value yet: the configs are known when the flow is started.", 1),
    (CFG, "@environment(vars={'A': f'{cfg.a}'})", "", "{}", "cfg.a has no value yet", 1),
    (CFG + "; p = Parameter('p', default=cfg.q)", "", "", "{}",
     "The default of parameter 'p': cfg.q can't be evaluated. cfg has no key 'q'. It has: nothing.", 1),
    (CFG + "; p = Parameter('p', default=cfg.q, type=int)", "", "", '{"q": "x"}', "the default 'x' is a str, but the type is int", 1),
    (CFG + "; p = Parameter('CFG')", "", "", "{}", "Config 'cfg' (flow.py, line 9): the name is taken by parameter 'CFG'", 1),
    ('cfg = Config("c fg", default_value={})', "", "", "{}", "Config 'c fg' (flow.py, line 9): a name has letters", 1),
    ('cfg = Config("cfg", default="x", default_value={})', "", "", "{}", "Config 'cfg': it has default and default_value.", 1),
    ('cfg = Config("cfg", default={"a": 1})', "", "", "{}", "Config 'cfg': default must be the path of a file", 1),
    ('cfg = Config("cfg", default="cfg.json", parser=fails)', "", "", "{}", "The parser of config 'cfg' raised KeyError: 'x'", 1),
    ('cfg = Config("cfg", default="cfg.json", parser="no.such")', "", "", "{}",
     "Config 'cfg': the parser 'no.such' can't be found: No module named 'no'.", 1),
]
# fmt: on


@pytest.mark.parametrize("body, decorator, options, content, message, code", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_told(
    body: str,
    decorator: str,
    options: str,
    content: str | bytes | None,
    message: str,
    code: int,
    run_flow: Any,
    project: Path,
) -> None:
    for name in ("cfg.json", "x.toml", "x.yaml"):
        if content is not None:
            (project / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    script = SMALL.format(body=body or "pass", decorator=decorator)
    result = run_flow(script, *options.split(), "run", check=False)
    # Where in the flow's file is for `flow_errors_python.md` to tell.
    shown = re.sub(r" (\(flow\.py, line \d+\)|in flow\.py, line \d+)", "", " ".join(result.stderr.split()))
    assert re.sub(r" \(flow\.py, line \d+\)", "", message) in shown
    assert result.returncode == code
    assert "config_file.py" not in result.stderr and not list(project.glob(".metaflow/*.db"))


def test_the_environment_is_checked(run_flow: Any, project: Path) -> None:
    (project / "cfg.json").write_text("{}")
    script = SMALL.format(body=CFG, decorator="")
    for variable, text, message in (
        ("METAFLOW_FLOW_CONFIG", "x.json", "METAFLOW_FLOW_CONFIG must be a JSON object that gives the path of each"),
        ("METAFLOW_FLOW_CONFIG", '{"cfg": 1}', "METAFLOW_FLOW_CONFIG: the path of 'cfg' must be text, not 1."),
        ("METAFLOW_FLOW_CONFIG_VALUE", '{"cg": 1}', "METAFLOW_FLOW_CONFIG_VALUE: the flow 'F' has no config 'cg'."),
        ("METAFLOW_FLOW_CONFIG_VALUE", '{"cfg": 1}', "its value of METAFLOW_FLOW_CONFIG_VALUE is 1, and must be a"),
    ):
        result = run_flow(script, "check", env={variable: text}, check=False)
        assert result.returncode in (1, 2) and message in result.stderr


def test_a_step_can_not_change_a_config(run_flow: Any, files: Path) -> None:
    script = FLOW.replace('raise ValueError("on purpose")', "self.config = 1")
    (files / "fail").touch()
    result = run_flow(script, "run", check=False)
    assert "self.config can't be assigned: it is a config of F." in result.stdout


# fmt: off
CHANGES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda c: setattr(c, "a", 1), "config.a can't be changed: a config is fixed. Change a copy: config.to_dict()"),
    (lambda c: setattr(c.model, "new", 1), "config.model.new can't be changed"),
    (lambda c: delattr(c, "a"), "config.a can't be changed"),
    (lambda c: c.__setitem__("a", 1), "config['a'] can't be changed"),
    (lambda c: c.__delitem__("a"), "config['a'] can't be changed"),
    (lambda c: c.update(a=1), "config can't be changed"),
    (lambda c: c.pop("a"), "config can't be changed"),
    (lambda c: c.__ior__({"a": 1}), "config can't be changed"),
    (lambda c: c.model.layers.append(1), "config.model.layers can't be changed: a config is fixed. Change a copy: list("),
    (lambda c: c.model.layers.sort(), "config.model.layers can't be changed"),
    (lambda c: c.model.layers.__setitem__(0, 1), "config.model.layers can't be changed"),
]
# fmt: on


def test_a_config_value() -> None:
    config = ConfigValue(CONFIG)
    assert config == CONFIG and dict(**config) == CONFIG and json.loads(json.dumps(config)) == CONFIG
    assert config.model.layers == [8, 4] and isinstance(config.model, ConfigValue)
    for change, message in CHANGES:
        with pytest.raises((AttributeError, TypeError)) as caught:
            change(config)
        assert message in str(caught.value)
    with pytest.raises(AttributeError, match=r"config\.model has no key 'layrs'. Did you mean 'layers'"):
        _ = config.model.layrs
    with pytest.raises(KeyError):
        config["layrs"]
    for same in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert type(same) is ConfigValue and same == CONFIG and same.model.name == "net"
    mine = config.to_dict()
    mine["model"]["layers"].append(2)
    assert type(mine["model"]) is dict and config.model.layers == [8, 4]
    assert not hasattr(config, "nothing") and "cpu" in dir(config)


def test_a_flow_without_configs_does_not_pay_for_them(run_flow: Any, project: Path) -> None:
    (project / "flow.py").write_text("""
from metaflow import FlowSpec, step
class F(FlowSpec):
    @step
    def start(self):
        self.next(self.end)
    @step
    def end(self):
        import sys
        print("loaded", [m for m in sys.modules if "config" in m.rpartition(".")[2] and m.startswith("metaflow")])
if __name__ == "__main__":
    F()
""")
    result = subprocess.run([sys.executable, "flow.py", "run"], capture_output=True, text=True, timeout=60, check=True)
    assert "loaded []" in result.stdout


def test_a_decorator_of_the_flow_depends_on_a_config(run_flow: Any, project: Path) -> None:
    flow = """
        from metaflow import Config, FlowSpec, config_expr, exit_hook, step

        def done(run):
            print("done", run.data.cfg.say)

        @exit_hook(on_success=config_expr("[done] if cfg.say else []"), on_error=[done])
        class F(FlowSpec):
            cfg = Config("cfg", default_value='{"say": ""}')

            @step
            def start(self):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            F()
    """
    for launcher in ("fork", "spawn"):
        value = ("--config-value", "cfg", f'{{"say": "{launcher}"}}')
        assert f"done {launcher}" in run_flow(flow, *value, "run", env={"METAFLOW_LAUNCHER": launcher}).stdout
    assert "] done" not in run_flow("flow.py", "run").stdout


def test_where_else_configs_stand_and_that_they_are_inherited(run_flow: Any, project: Path) -> None:
    flow = """
        import json
        from metaflow import Config, FlowMutator, FlowSpec, IncludeFile, JSONType, Parameter, retry, step, timeout

        class limited(FlowMutator):
            def mutate(self, mutable_flow):
                for name, one in mutable_flow.steps:
                    if name in mutable_flow.pick.limited:
                        one.add_decorator("resources", deco_kwargs=mutable_flow.toml.limits)
                start, configs = dict(mutable_flow.steps)["start"], dict(mutable_flow.configs)
                start.add_decorator("environment", deco_kwargs={"vars": configs["pick"].env})

        @limited
        class Base(FlowSpec):
            toml = Config("toml", default="a.toml", parser="tomllib.loads")
            pairs = Config("pairs", default_value="a=1,b=2", parser=lambda text: dict(p.split("=") for p in text.split(",")))
            pick = Config("pick", default_value={"file": "data.txt", "many": ["x"], "limited": ["end"], "env": {"WHO": "me"}})
            data = IncludeFile("data", default=pick.file)
            many = Parameter("many", default=pick.many, type=JSONType)

        class F(Base):
            @timeout(**Base.toml.timeout)
            @step
            def start(self):
                import os
                print("values", json.dumps([
                    self.toml.limits, self.pairs, self.data, self.many, os.environ["WHO"], {**self.pick.env}, "many" in self.pick
                ]))
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            F()
    """
    if sys.version_info < (3, 11):
        flow = flow.replace("tomllib", "tomli")
    (project / "a.toml").write_text("[limits]\ncpu = 3\n[timeout]\nminutes = 5\n")
    (project / "b.conf").write_text("[limits]\ncpu = 4\n[timeout]\nminutes = 6\n")
    (project / "data.txt").write_text("data")
    (project / "more.txt").write_text("more")
    expected = [{"cpu": 3}, {"a": "1", "b": "2"}, "data", ["x"], "me", {"WHO": "me"}, True]
    assert values(run_flow(flow, "run").stdout) == expected

    # A parser reads what is given, whatever the file is called, and the texts of --config-value.
    pick = '{"file": "more.txt", "many": {}, "limited": [], "env": {"WHO": "you"}}'
    options = ("--config", "toml", "b.conf", "--config-value", "pairs", "c=3", "--config-value", "pick", pick)
    expected = [{"cpu": 4}, {"c": "3"}, "more", {}, "you", {"WHO": "you"}, True]
    assert values(run_flow("flow.py", *options, "run").stdout) == expected
    assert values(run_flow("flow.py", *options, "run", "--many", "[2]").stdout)[3] == [2]

    def decorators(*before: str) -> dict[str, dict[str, Any]]:
        steps = json.loads(run_flow("flow.py", *before, "output-raw").stdout)["steps"]
        return {name: {d["name"]: d["attributes"] for d in one["decorators"]} for name, one in steps.items()}

    plain, other = decorators(), decorators(*options)
    assert (plain["start"]["timeout"]["minutes"], other["start"]["timeout"]["minutes"]) == (5, 6)
    assert plain["end"]["resources"]["cpu"] == 3 and "resources" not in other["end"]
