"""`run --json-log`: what happens, as one JSON object per line; docs/running.md lists the events and their fields."""

from __future__ import annotations

import json
from typing import Any

FLOW = """
    import os, sys
    from metaflow import FlowSpec, Parameter, catch, retry, step

    class Events(FlowSpec):
        fail = Parameter("fail", default="")

        @step
        def start(self):
            self.words = ["a", "b"]
            self.next(self.work, foreach="words")

        @catch(var="problem")
        @step
        def work(self):
            print("grüß", self.input, "\\u2028", end="!")
            if self.input == "b":
                raise ValueError("caught")
            self.next(self.join)

        @retry(times=1)
        @step
        def join(self, inputs):
            sys.stderr.write("x" * 70000)
            if self.fail == "die":
                os._exit(3)
            if self.fail:
                raise ValueError("told to\\nin two lines")
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Events()
"""
TASK = {"event", "time", "flow", "run", "step", "task", "attempt", "pid"}
FIELDS = {
    "run_started": TASK - {"step", "task", "attempt", "pid"} | {"origin_run"},
    "tasks_taken_over": TASK - {"step", "task", "attempt", "pid"} | {"origin_run", "count"},
    "task_started": TASK | {"fallback"},
    "output": TASK | {"stream", "text", "complete"},
    "foreach": TASK | {"splits"},
    "task_finished": TASK | {"seconds", "caught"},
    "task_failed": TASK | {"seconds", "will_retry", "error_type", "error_message"},
    "run_finished": TASK - {"step", "task", "attempt", "pid"} | {"status", "seconds", "done", "failed"},
}


def events(stdout: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in stdout.split("\n")[:-1]]
    assert stdout.endswith("\n")
    for event in found:
        assert set(event) == FIELDS[event["event"]], event
        assert event["flow"] == "Events"
        assert len(event["time"]) == len("2020-06-19T19:19:03.387Z") and event["time"].endswith("Z")
    return found


def test_events_of_a_run(run_flow: Any) -> None:
    result = run_flow(FLOW, "run", "--json-log")
    found = events(result.stdout)
    assert (found[0]["event"], found[0]["run"], found[0]["origin_run"]) == ("run_started", "1", None)
    last = found[-1]
    assert (last["event"], last["status"], last["done"], last["failed"]) == ("run_finished", "completed", 5, 0)
    assert last["seconds"] > 0
    start = [event for event in found if event.get("task") == "1"]
    assert [event["event"] for event in start] == ["task_started", "foreach", "task_finished"]
    assert start[1]["splits"] == 2
    assert len({event["pid"] for event in start}) == 1 and start[0]["pid"] > 0
    for task, caught in (("2", False), ("3", True)):
        work = [event for event in found if event.get("task") == task]
        assert (work[0]["step"], work[0]["attempt"], work[0]["fallback"]) == ("work", 0, False)
        said = [event for event in work if event["event"] == "output"]
        assert {(event["stream"], event["text"], event["complete"]) for event in said} >= {
            ("stdout", f"grüß {'ab'[caught]} \u2028!", False)
        }
        assert work[-1]["event"] == "task_finished" and work[-1]["caught"] == caught
    pieces = [event for event in found if event.get("step") == "join" and event["event"] == "output"]
    assert "".join(event["text"] for event in pieces) == "x" * 70000
    assert len(pieces) == 2 and not any(event["complete"] for event in pieces)
    assert result.stderr.startswith("Metaflow "), "banners stay where they are"


def test_failures_and_resume(run_flow: Any) -> None:
    result = run_flow(FLOW, "--quiet", "run", "--json-log", "--fail", "yes", check=False)
    assert result.returncode == 1
    found = events(result.stdout)
    failed = [event for event in found if event["event"] == "task_failed"]
    assert [(event["attempt"], event["will_retry"]) for event in failed] == [(0, True), (1, False)]
    assert {(event["error_type"], event["error_message"]) for event in failed} == {
        ("ValueError", "told to\nin two lines")
    }
    assert (found[-1]["status"], found[-1]["failed"]) == ("failed", 1)
    assert "Failed: 1/join/4\n" in result.stderr and "    ValueError: told to" in result.stderr

    result = run_flow("flow.py", "resume", "--json-log", check=False)
    found = events(result.stdout)
    assert found[0]["origin_run"] == "1" and found[0]["run"] == "2"
    assert (found[1]["event"], found[1]["count"]) == ("tasks_taken_over", 3)


def test_a_task_that_dies(run_flow: Any) -> None:
    found = events(run_flow(FLOW, "run", "--json-log", "--fail", "die", check=False).stdout)
    failed = [event for event in found if event["event"] == "task_failed"][-1]
    assert failed["error_type"] == "TaskDied" and "ended with exit code 3" in failed["error_message"]


def test_it_may_come_from_the_environment_and_is_the_same_in_any_locale(run_flow: Any) -> None:
    env = {"METAFLOW_RUN_JSON_LOG": "1", "PYTHONIOENCODING": "ascii", "METAFLOW_COLOR": "always"}
    found = events(run_flow(FLOW, "run", env=env).stdout)
    assert any(event["event"] == "output" and event["text"].startswith("grüß") for event in found)


def test_secrets_are_masked(run_flow: Any) -> None:
    result = run_flow(
        """
        import os
        from metaflow import FlowSpec, secrets, step

        class Events(FlowSpec):
            @secrets(sources=[{"type": "inline", "options": {"values": {"PASSWORD": "hunter22"}}}])
            @step
            def start(self):
                print("it is", os.environ["PASSWORD"])
                self.next(self.end)

            @step
            def end(self):
                raise ValueError("no " + "hunter2" * 2)

        if __name__ == "__main__":
            Events()
        """,
        "run",
        "--json-log",
        check=False,
    )
    assert '"text": "it is ***"' in result.stdout
    assert "hunter22" not in result.stdout + result.stderr
