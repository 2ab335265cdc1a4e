"""`@secrets`: values reach the environment of one task, and no log, error or database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from metaflow import Run

FLOW = """
    import os, subprocess, sys, time
    from metaflow import FlowSpec, Parameter, catch, retry, secrets, step

    class Vault(FlowSpec):
        fail = Parameter("fail", default=False)

        @catch(var="failure", print_exception=True)
        @retry(times=1, minutes_between_retries=0)
        @secrets(sources=["env.TOKEN", "file.more.env", {
            "type": "inline", "options": {"values": {"PW": "0pen'sesame"}},
        }])
        @step
        def start(self):
            self.lengths = [len(os.environ[name]) for name in ("TOKEN", "KEY", "PIN", "PW")]
            print("python", os.environ["TOKEN"], os.environ["PW"], os.environ["KEY"])
            print("quoted", repr(os.environ["KEY"]), [os.environ["PW"]])
            print("short", os.environ["PIN"])
            sys.stdout.flush()
            subprocess.run("echo child $TOKEN; echo error $TOKEN >&2", shell=True)
            os.write(1, b"x" * 65530 + os.environ["TOKEN"][:8].encode())  # the line is cut into pieces
            time.sleep(0.2)  # most likely it is read meanwhile
            os.write(1, os.environ["TOKEN"][8:].encode() + b"x" * 65536 + b"\\n")
            if self.fail:
                raise ValueError("refused " + os.environ["TOKEN"])
            self.next(self.end)

        @step
        def end(self):
            print("later", os.environ.get("PW"), os.environ.get("KEY"))

    if __name__ == "__main__":
        Vault()
"""
MORE = """
# of the test
export KEY="first-line\\nsecond-line"   # with a break
PIN=123 # too short to be masked
"""
ENV = {"TOKEN": "t0ken-of-anne"}
VALUES = ("t0ken-of-anne", "sesame", "first-line", "second-line")


@pytest.fixture
def vault(project: Path) -> Path:
    (project / "more.env").write_text(MORE)
    return project


def leaks(folder: Path, *texts: str) -> list[str]:
    """The values that are in one of the texts, or in a file of the project's metadata."""
    stored = [file.read_bytes() for file in (folder / ".metaflow").rglob("*") if file.is_file()]
    assert stored
    everything = b"\n".join([*stored, *(text.encode() for text in texts)])
    return [value for value in VALUES if value.encode() in everything]


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_values_are_in_the_task_alone(run_flow: Any, vault: Path, launcher: str) -> None:
    result = run_flow(FLOW, "run", "--fail", "True", env={**ENV, "METAFLOW_LAUNCHER": launcher})
    assert not leaks(vault, result.stdout, result.stderr)
    task = Run("Vault/1")["start"].task
    assert task.data.lengths == [13, 22, 3, 11]
    log = task.stdout + task.stderr
    assert VALUES[0] not in log
    for lines in ("python *** *** ***\n***\nquoted '***' [\"***\"]\nshort 123\n", "child ***\n", "error ***\n"):
        assert lines in log
    assert "ValueError: refused ***" in log
    assert task.current_attempt == 1
    failure = Run("Vault/1")["end"].task.data.failure
    assert failure.exception == "refused ***" and failure.stacktrace.endswith("ValueError: refused ***\n")
    assert Run("Vault/1")["end"].task.stdout == "later None None\n"


def test_no_command_shows_values_that_stand_in_the_flow(run_flow: Any, vault: Path) -> None:
    run_flow(FLOW, "run", env=ENV)
    texts = [run_flow("flow.py", *command.split()).stdout for command in ("show", "output-raw", "output-dot", "check")]
    texts.append(run_flow("flow.py", "logs", "1/start").stdout)
    assert "inline" in texts[1]
    assert not leaks(vault, *texts)
    assert "***" in Run("Vault/1").source["flow.py"]


def test_trying_a_step_masks_too(run_flow: Any, vault: Path) -> None:
    run_flow(FLOW, "run", env=ENV)
    result = run_flow("flow.py", "spin", "start", env=ENV)
    assert "child ***" in result.stdout and "error ***" in result.stderr
    assert not leaks(vault, result.stdout, result.stderr)
    assert "self.lengths = [13, 22, 3, 11]" in result.stdout


PLAIN = """
    import os
    from metaflow import FlowSpec, environment, secrets, step

    class Plain(FlowSpec):
        {decorator}
        @step
        def start(self):
            self.found = {{name: len(value) for name, value in os.environ.items() if name.startswith(("DB_", "PG"))}}
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Plain()
"""


@pytest.mark.parametrize(
    "source, found",
    [
        ("env.DB_USER", {"DB_USER": 4}),
        ({"type": "env", "options": {"names": ["DB_USER"], "mapping": {"PGPASSWORD": "HIDDEN"}}}, {"PGPASSWORD": 12}),
        ({"type": "env", "options": {"prefix": "HIDDEN"}}, {}),
        ("file.db.json", {"DB_PORT": 4, "DB_TLS": 4, "DB_NAME": 5}),
        ({"type": "file", "id": "db.json", "options": {"keys": ["DB_NAME"]}}, {"DB_NAME": 5}),
    ],
)
def test_sources(run_flow: Any, project: Path, source: Any, found: dict[str, int]) -> None:
    (project / "db.json").write_text('{"DB_PORT": 5432, "DB_TLS": true, "DB_NAME": "sales"}')
    run_flow(
        PLAIN.format(decorator=f"@secrets(sources=[{source!r}])"),
        "run",
        env={"DB_USER": "anne", "HIDDEN": "not-for-logs"},
    )
    assert Run("Plain/1")["start"].task.data.found == {"DB_USER": 4, **found}


def test_with(run_flow: Any) -> None:
    flow = PLAIN.format(decorator="")
    result = run_flow(
        flow,
        "run",
        "--with",
        'secrets:sources=["env.DB_A","env.DB_B"],allow_override=true',
        env={"DB_A": "first-secret", "DB_B": "second-secret", "METAFLOW_LAUNCHER": "spawn"},
    )
    assert Run("Plain/1")["start"].task.data.found == {"DB_A": 12, "DB_B": 13}
    result = run_flow(
        flow, "run", "--with", 'secrets:sources={"type":"inline","options":{"values":{"A":"hush"}}}', check=False
    )
    assert result.returncode == 1
    assert "does not belong on a command line" in result.stderr and "hush" not in result.stderr


INLINE = '{"type": "inline", "options": {"values": {"DB_A": "%s"}}}'


@pytest.mark.parametrize(
    "arguments, message",
    [
        (f"sources=[{INLINE % 'one-value'}, {INLINE % 'two-value'}]", "both inline and inline give DB_A"),
        (f"sources=[{INLINE % 'one-value'}]", "inline gives DB_A, which the environment of the task has already"),
    ],
)
def test_a_variable_that_is_there_is_kept_unless_told_otherwise(run_flow: Any, arguments: str, message: str) -> None:
    result = run_flow(
        PLAIN.format(decorator=f"@secrets({arguments})"),
        "run",
        env={"DB_A": "of the outside"} if "environment" in message else {},
        check=False,
    )
    assert result.returncode == 1
    assert message in result.stdout and "set allow_override" in result.stdout
    assert "one-value" not in result.stdout + result.stderr
    run_flow(PLAIN.format(decorator=f"@secrets({arguments}, allow_override=True)"), "run", env={"DB_A": "outside"})
    assert Run("Plain/2")["start"].task.data.found == {"DB_A": 9}


@pytest.mark.parametrize(
    "decorator, message",
    [
        ("@secrets", "it needs sources"),
        ("@secrets(sources=['nope'])", 'must have the form "provider.name"'),
        ("@secrets(sources=['vault.x'])", "There is no provider of secrets 'vault'. Known: "),
        ("@secrets(sources=[5])", "source 1 must be text"),
        ("@secrets(sources=[{'id': 'x'}])", "source 1 needs a type"),
        ("@secrets(sources=[{'type': 'env', 'key': 'x'}])", "source 1 has no part 'key'"),
        ("@secrets(sources=[{'type': 'inline', 'options': {'A': 'hush-hush'}}])", "needs the option values"),
        ("@secrets(sources=['file.x'], allow_override='yes')", "allow_override must be true or false"),
        ("@secrets(sources=['file.x'], role=5)", "role must be text"),
        ("@secrets(source=['file.x'])", "does not take 'source'"),
    ],
)
def test_what_can_not_work_is_refused_before_the_run(run_flow: Any, decorator: str, message: str) -> None:
    result = run_flow(PLAIN.format(decorator=decorator), "run", check=False)
    assert result.returncode == 1 and result.stdout == ""
    assert message in " ".join(result.stderr.split())
    assert "hush" not in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "source, content, message",
    [
        ("env.NOT_THERE", "", "environment variables that are not set: NOT_THERE"),
        ("file.absent.env", "", "The file absent.env, which @secrets asks for, can't be read: No such file"),
        ("file.x.env", "A=1\nhush-hush\n", "Line 2 of x.env"),
        ("file.x.env", "A='hush-hush\n", "Line 1 of x.env, which @secrets asks for, opens a quote"),
        ("file.x.json", '{"A": "hush-hush"', "x.json, which @secrets asks for, is no JSON object"),
        ("file.x.json", '{"A": ["hush-hush"]}', "A is no text"),
    ],
)
def test_sources_that_fail(run_flow: Any, project: Path, source: str, content: str, message: str) -> None:
    for name in ("x.env", "x.json"):
        (project / name).write_text(content)
    result = run_flow(PLAIN.format(decorator=f"@secrets(sources=[{source!r}])"), "run", check=False)
    assert result.returncode == 1
    assert message in result.stdout and "hush" not in result.stdout + result.stderr
    assert message in Run("Plain/1")["start"].task.exception.exception


PLUGIN = """
from metaflow_core.hookspecs import hookimpl

class Shelf:
    def check(self, id, options):
        pass

    def fetch(self, id, options, role):
        return {"DB_SHELF": f"{id} for {role}"}

@hookimpl
def secrets_provider(name):
    return Shelf() if name == "shelf" else None

@hookimpl
def secrets_provider_names():
    return ["shelf"]
"""


def test_a_provider_of_a_plugin(run_flow: Any, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "shelf-1.dist-info").mkdir(parents=True)
    (site / "shelf.py").write_text(PLUGIN)
    (site / "shelf-1.dist-info" / "entry_points.txt").write_text("[metaflow_tandem.plugins]\nshelf = shelf\n")
    env = {"PYTHONPATH": str(site)}
    run_flow(PLAIN.format(decorator="@secrets(sources=['shelf.top.left'], role='reader')"), "run", env=env)
    assert Run("Plain/1")["start"].task.data.found == {"DB_SHELF": len("top.left for reader")}
    result = run_flow(PLAIN.format(decorator="@secrets(sources=['shelv.x'])"), "run", env=env, check=False)
    assert "inline, shelf." in result.stderr
