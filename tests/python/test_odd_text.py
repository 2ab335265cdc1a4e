"""Text that is none: bytes that are no UTF-8, as a shell passes them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow, Run, namespace
from metaflow_core.errors import MetaflowException

ODD = b"\xff".decode("utf-8", "surrogateescape")
FLOW = """
    from metaflow import FlowSpec, Parameter, step

    class OddFlow(FlowSpec):
        alpha = Parameter("alpha", default="x")

        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            print("alpha", ascii(self.alpha))

    if __name__ == "__main__":
        OddFlow()
"""


def test_on_the_command_line(run_flow: Any, project: Path) -> None:
    done = run_flow(FLOW, "run", "--alpha", ODD)
    assert r"alpha '\udcff'" in done.stdout and Run("OddFlow/1").data.alpha == ODD
    refused = {
        "no text that UTF-8 can write": ["resume", "--origin-run-id", ODD],
        "A tag must be valid text": ["run", "--tag", ODD],
        "A namespace is a tag": ["run", "--namespace", ODD],
        "is no run": ["logs", f"{ODD}/start"],
        "No such command": [ODD],
        "A namespace is": ["local", "create", "--namespace", ODD],
    }
    for message, words in refused.items():
        done = run_flow("flow.py", *words, check=False)
        assert done.returncode in (1, 2) and message in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert len(list(Flow("OddFlow"))) == 1


def test_a_token_that_is_none(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "local", "create")
    done = run_flow("flow.py", "local", "create", "--authorize", ODD, check=False)
    assert done.returncode == 1 and "is not its production token" in done.stderr


def test_in_the_client(run_flow: Any) -> None:
    run_flow(FLOW, "run")
    for look in (lambda: namespace(ODD), lambda: Flow("OddFlow")[ODD], lambda: Run("OddFlow/1").add_tag(ODD)):
        with pytest.raises((MetaflowException, KeyError)):
            look()
    assert namespace("user:anne") == "user:anne"
