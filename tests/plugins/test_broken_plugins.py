"""A plugin that is broken, or that clashes with another one, is named in one message; all else goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import RunFlow

Install = Callable[..., None]

HOOKIMPL = "from metaflow_core.hookspecs import hookimpl\n"
ONE_STEP = """
from metaflow import FlowSpec, step

class OneFlow(FlowSpec):
    @step(start=True, end=True)
    def only(self):
        self.x = 1

OneFlow()
"""
DECORATOR = """
from metaflow_core.decorators.interface import {kind}
from metaflow_core.hookspecs import hookimpl

class Loud({kind}):
    name = "{name}"
    def before(self, state):
        print("LOUD from {package}")

@hookimpl
def {hook}():
    return [Loud]
"""


@pytest.fixture
def install(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a module as the plugin of the same name, of a distribution ``NAME-plugin 1.0``."""
    site = tmp_path / "site"
    monkeypatch.setenv("PYTHONPATH", str(site))

    def do(module: str, source: str, entry: str | None = None, distribution: str | None = None) -> None:
        record = site / f"{distribution or module + '_plugin'}-1.0.dist-info"
        record.mkdir(parents=True)
        text = f"[metaflow_tandem.plugins]\n{entry or module} = {module}\n"
        (record / "entry_points.txt").write_text(text)
        (site / f"{module}.py").write_text(source)

    return do


def metaflow(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from metaflow_core.cli.metaflow import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def status() -> dict[str, dict[str, object]]:
    result = metaflow("status", "--plugins", "--json")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return {row["name"]: row for row in json.loads(result.stdout)}


def decorator(package: str, name: str = "loud", kind: str = "StepDecorator") -> str:
    hook = {"StepDecorator": "step_decorators", "FlowDecorator": "flow_decorators"}[kind]
    return DECORATOR.format(package=package, name=name, kind=kind, hook=hook)


BROKEN = {
    "import": ("import no_such_module", "No module named 'no_such_module'"),
    "syntax": ("def (", "SyntaxError"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "argument": (
        HOOKIMPL + "@hookimpl\ndef open_storage(uri): pass",
        "its open_storage() has the argument 'uri', and the hook is open_storage(url)",
    ),
    "no hook": (
        HOOKIMPL + "@hookimpl\ndef open_storge(url): pass",
        "it implements open_storge(), and there is no such hook",
    ),
    "wrapper": (
        HOOKIMPL + "@hookimpl(wrapper=True)\ndef open_storage(url): return (yield)",
        "its open_storage() is a wrapper",
    ),
    "raises": (
        HOOKIMPL + "@hookimpl\ndef step_decorators(): raise ValueError('in the hook')",
        "step_decorators() ended with ValueError: in the hook",
    ),
    "no list": (HOOKIMPL + "@hookimpl\ndef step_decorators(): return 5", "step_decorators() ended with TypeError"),
    "no class": (
        HOOKIMPL + "class A: pass\n@hookimpl\ndef step_decorators(): return [A]",
        "step_decorators() gives A, which is no subclass of StepDecorator with a name",
    ),
}


@pytest.mark.parametrize(("source", "why"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_named_once_and_left_out(run_flow: RunFlow, install: Install, source: str, why: str) -> None:
    install("third", source)
    install("good", decorator("good"))
    # Tasks are processes of their own here: they load the plugins again.
    result = run_flow(ONE_STEP, "run", "--with", "loud", env={"METAFLOW_LAUNCHER": "spawn"})
    [warning] = [line for line in result.stderr.splitlines() if "Warning" in line]
    assert warning.startswith("Warning: The plugin 'third' of third-plugin 1.0 is broken, and left out: ")
    assert why in warning
    assert "LOUD from good" in result.stdout
    assert "Warning" not in result.stdout
    row = status()["third"]
    assert why in row.pop("problems")[0]  # type: ignore[attr-defined]
    assert row.pop("hooks") == (["step_decorators"] if "step_decorators" in source else [])
    assert row == {"name": "third", "distribution": "third-plugin", "version": "1.0", "module": "third"}


def test_status_tells_where_plugins_come_from(install: Install) -> None:
    install("good", decorator("good"))
    install("third", "import no_such_module")
    found = status()
    assert found["good"] == {
        "name": "good",
        "distribution": "good-plugin",
        "version": "1.0",
        "module": "good",
        "hooks": ["step_decorators"],
        "problems": [],
    }
    assert found["sqlite"]["distribution"] == "metaflow-tandem"
    assert found["sqlite"]["hooks"] == ["open_database"]
    text = metaflow("status", "--plugins").stdout.splitlines()
    assert next(line for line in text if line.startswith("good ")).split() == [
        "good",
        "good-plugin",
        "1.0",
        "good",
        "step_decorators",
    ]
    assert text[-1] == "third: ModuleNotFoundError: No module named 'no_such_module'."
    both = metaflow("status", "--plugins", "--settings")
    assert (both.returncode, "Give one of" in both.stderr) == (2, True)


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (ONE_STEP, ["--with", "zipped"], "there is no step decorator 'zipped'"),
        (
            ONE_STEP.replace("    @step", "    @secrets(sources=['vault.x'])\n    @step").replace(
                "step\n", "step, secrets\n", 1
            ),
            [],
            "There is no provider of secrets 'vault'",
        ),
    ],
)
def test_what_needs_a_broken_plugin_says_so(
    run_flow: RunFlow, install: Install, script: str, arguments: list[str], message: str
) -> None:
    install("third", "import no_such_module")
    result = run_flow(script, "run", *arguments, check=False)
    assert result.returncode == 1
    error = result.stderr.partition(message)[2]
    assert "The plugin 'third' of third-plugin 1.0 is installed, but broken: ModuleNotFoundError" in error


@pytest.mark.parametrize(
    ("variable", "url"), [("METAFLOW_DEFAULT_DATASTORE", "moon://x"), ("METAFLOW_METADATA_URL", "moon://x")]
)
def test_an_address_of_a_broken_plugin(run_flow: RunFlow, install: Install, variable: str, url: str) -> None:
    install("third", HOOKIMPL + "@hookimpl\ndef open_storage(url): url.no\n@hookimpl\ndef open_database(url): url.no")
    script = ONE_STEP.replace("self.x = 1", "self.x = bytes(500_000)")
    result = run_flow(script, "run", env={variable: url}, check=False)
    assert result.returncode == 1
    told = result.stderr + result.stdout
    assert "The plugin 'third' of third-plugin 1.0 is installed, but broken: open_" in told
    assert "AttributeError: 'str' object has no attribute 'no'" in told


def test_an_observer_that_fails_is_named(run_flow: RunFlow, install: Install) -> None:
    install("a", HOOKIMPL + "@hookimpl\ndef run_finished(status): raise ValueError('boom')")
    install("b", HOOKIMPL + "@hookimpl\ndef run_finished(flow_name, status): print('told', flow_name, status)")
    result = run_flow(ONE_STEP, "run")
    words = "The run has ended (completed), but the plugin 'a' of a-plugin 1.0 failed to act on it: ValueError: boom."
    assert words in result.stderr
    assert "told OneFlow completed" in result.stdout


@pytest.mark.parametrize("kind", ["StepDecorator", "FlowDecorator"])
def test_a_decorator_of_two_plugins_is_refused_where_it_is_used(run_flow: RunFlow, install: Install, kind: str) -> None:
    install("one", decorator("one", kind=kind))
    install("two", decorator("two", kind=kind))
    assert "completed" not in run_flow(ONE_STEP, "run").stderr  # it is not used
    if kind == "StepDecorator":
        result = run_flow(ONE_STEP, "run", "--with", "loud", check=False)
    else:
        script = ONE_STEP.replace("import FlowSpec", "import loud, FlowSpec").replace("class One", "@loud\nclass One")
        result = run_flow(script, "run", check=False)
    assert result.returncode == 1
    words = "may be that of the plugin 'one' of one-plugin 1.0 and the plugin 'two' of two-plugin 1.0. Uninstall one"
    assert words in result.stderr
    for mine, other in (("one", "two"), ("two", "one")):
        [problem] = status()[mine]["problems"]  # type: ignore[misc, attr-defined]
        words = f"Flows can't use its decorator @loud: the plugin '{other}' of {other}-plugin 1.0 has one of that name."
        assert problem == words


def test_what_is_built_in_keeps_its_name(run_flow: RunFlow, install: Install) -> None:
    install("mine", decorator("mine", name="retry"))
    install("also", decorator("also", name="pypi"))
    result = run_flow(ONE_STEP, "run", "--with", "retry:times=2")
    assert "LOUD" not in result.stdout
    found = status()
    for plugin, name in (("mine", "retry"), ("also", "pypi")):
        assert found[plugin]["problems"] == [
            f"Its decorator @{name} is not used: metaflow-tandem has one of that name."
        ]


STORE = (
    HOOKIMPL
    + """
from metaflow_plugins.local_storage import LocalStorage
@hookimpl{options}
def open_storage(url):
    if url.startswith("{scheme}://"):
        return LocalStorage("{name}-store")
"""
)


@pytest.mark.parametrize(
    ("scheme", "options", "used"),
    [
        ("moon", "", "bbb"),  # in the alphabetical order of the plugins' names
        ("moon", "(tryfirst=True)", "aaa"),
        ("memory", "", "bbb"),  # before what takes the addresses that nobody else takes
        ("file", "", None),  # what is built in comes first
        ("file", "(tryfirst=True)", "aaa"),
    ],
)
def test_two_stores_for_one_address(
    run_flow: RunFlow, install: Install, project: Path, scheme: str, options: str, used: str | None
) -> None:
    install("aaa", STORE.format(scheme=scheme, name="aaa", options=options), entry="second")
    install("bbb", STORE.format(scheme=scheme, name="bbb", options=""), entry="first")
    script = ONE_STEP.replace("self.x = 1", "self.x = bytes(range(256)) * 500")
    run_flow(script, "run", env={"METAFLOW_DEFAULT_DATASTORE": f"{scheme}://{project}/by-file"})
    assert [name for name in ("aaa", "bbb") if (project / f"{name}-store").exists()] == [used] * bool(used)
    assert (project / "by-file").exists() == (used is None)


def test_plugins_of_one_name(install: Install) -> None:
    install("one", decorator("one"), entry="same", distribution="a")
    install("two", decorator("two", name="other"), entry="same", distribution="b")
    result = metaflow("status", "--plugins", "--json")
    rows = [row for row in json.loads(result.stdout) if row["name"] == "same"]
    assert [(row["distribution"], row["hooks"], row["problems"]) for row in rows] == [
        ("a", ["step_decorators"], []),
        ("b", ["step_decorators"], []),
    ]


def test_importing_a_decorator_of_a_broken_plugin(run_flow: RunFlow, install: Install) -> None:
    install("third", "import no_such_module")
    result = run_flow("from metaflow import FlowSpec, step, zipped\n", check=False)
    assert result.returncode == 1
    assert "cannot import name 'zipped'" in result.stderr
    assert "The plugin 'third' of third-plugin 1.0 is broken" in result.stderr
