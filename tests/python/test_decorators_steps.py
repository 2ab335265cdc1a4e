"""The decorators of steps: retry, catch, timeout, environment, resources, and `--with`."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from metaflow import Flow, Run, Task

RETRY = """
    import os, signal
    from metaflow import FlowSpec, Parameter, catch, current, retry, step

    class Retry(FlowSpec):
        until = Parameter("until", default=2)
        how = Parameter("how", default="raise")

        @catch(var="failure")
        @retry(times=3, minutes_between_retries=0)
        @step
        def start(self):
            print("attempt", current.retry_count)
            self.attempt = current.retry_count
            if current.retry_count < self.until:
                self.unfinished = current.retry_count
                if self.how == "raise":
                    raise KeyError("not yet")
                os.kill(os.getpid(), signal.SIGKILL)
            self.next(self.end)

        @step
        def end(self):
            print("failure", self.failure)

    if __name__ == "__main__":
        Retry()
"""


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_retry(run_flow: Any, how: str) -> None:
    result = run_flow(RETRY, "run", "--how", how)
    lines = [line.split("] ")[1] for line in result.stdout.splitlines() if "[1/start/1 " in line]
    starts = [line for line in lines if line.startswith("Task ")]
    assert starts == [
        "Task is starting.",
        "Task failed.",
        "Task is starting (retry).",
        "Task failed.",
        "Task is starting (retry).",
        "Task finished successfully.",
    ]
    task = Run("Retry/1")["start"].task
    assert task.data.attempt == 2
    assert task.data.failure is None
    assert "unfinished" not in task, "artifacts are those of the last attempt"
    assert task.current_attempt == 2
    for attempt in range(3):
        assert Task("Retry/1/start/1", attempt=attempt).stdout == f"attempt {attempt}\n"
    assert task.successful


def test_catch_after_the_last_retry(run_flow: Any) -> None:
    result = run_flow(RETRY, "run", "--until", "9")
    assert result.stdout.count("Task failed.") == 3
    assert "@catch caught the failure of step start" in result.stdout
    run = Run("Retry/1")
    task = run["start"].task
    assert (task.finished, task.successful) == (True, False)
    failure = run["end"].task.data.failure
    assert failure.type == "KeyError"
    assert "not yet" in failure.exception
    assert 'raise KeyError("not yet")' in failure.stacktrace
    assert task.data.attempt == 3
    assert run.successful


def test_catch_when_the_process_died(run_flow: Any) -> None:
    result = run_flow(RETRY, "run", "--until", "9", "--how", "kill")
    assert "Task fallback is starting to handle the failure." in result.stdout
    run = Run("Retry/1")
    failure = run["end"].task.data.failure
    assert failure.type == "FailureHandledByCatch"
    assert "was killed by signal 9 (SIGKILL)" in failure.exception
    assert (run["start"].task.finished, run["start"].task.successful) == (True, False)


STEP = """
    import os, signal, sys, time
    from metaflow import FlowSpec, catch, environment, resources, retry, step, timeout
    {before}

    class Decorated(FlowSpec):
        CONSTANT = 1

        {decorator}
        @step
        def start(self):
            {body}
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Decorated()
"""


def decorated(decorator: str, body: str = "pass", before: str = "") -> str:
    return STEP.format(decorator=decorator, body=body, before=before)


@pytest.mark.parametrize(
    ("decorator", "message"),
    [
        ("@retry(times=5)", ": times must be a whole number from 0 to 4, not 5"),
        ("@retry(times='many')", "times must be a whole number"),
        ("@retry(times=-1)", "times must be"),
        (
            "@retry(count=1)",
            " does not take 'count'. Its arguments: times, minutes_between_retries",
        ),
        ("@timeout", "needs a time"),
        ("@timeout(seconds=-1)", "seconds must be a number"),
        ("@timeout(secs=1)", "does not take 'secs'"),
        ("@environment(vars=[1])", "vars must give the value of each variable"),
        ("@environment(vars={'A=B': 1})", "can't name a variable"),
        ("@resources(cpu='lots')", "cpu must be a number"),
        ("@catch(var='not a name')", "var must name an artifact"),
        ("@catch(var='CONSTANT')", "var='CONSTANT' is a parameter, a config or a constant of the flow"),
        ("@retry\n        @retry", "twice"),
    ],
)
def test_wrong_arguments(run_flow: Any, decorator: str, message: str) -> None:
    result = run_flow(decorated(decorator), "run", check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr or "Duplicate" in result.stderr
    assert "Workflow starting" not in result.stdout


@pytest.mark.parametrize("how", ["foreach='items'", "condition='items'"])
def test_catch_where_it_is_unknown_what_follows(run_flow: Any, how: str) -> None:
    target = "self.work" if "foreach" in how else "{'a': self.work, 'b': self.other}"
    script = f"""
        from metaflow import FlowSpec, catch, step

        class Unknown(FlowSpec):
            @catch
            @step
            def start(self):
                self.items = "a"
                self.next({target}, {how})

            @step
            def work(self):
                self.next(self.join)

            {"@step" if "condition" in how else ""}
            def other(self):
                self.next(self.join)

            @step
            def join(self{", inputs" if "foreach" in how else ""}):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Unknown()
    """
    result = run_flow(script, "run", check=False)
    assert result.returncode == 1
    assert "@catch can't stand on step start (flow.py, line 7): after a failure it is unknown" in result.stderr


@pytest.mark.parametrize("what", ["timout:seconds=3", "retri"])
def test_an_unknown_decorator(run_flow: Any, what: str) -> None:
    result = run_flow(decorated(""), "run", "--with", what, check=False)
    assert result.returncode == 1
    assert f"--with {what}: there is no step decorator" in result.stderr
    assert "Did you mean @" in result.stderr


def test_with(run_flow: Any) -> None:
    fails = "raise ValueError('always')"
    result = run_flow(decorated("", fails), "run", "--with", "retry:times=2,minutes_between_retries=0", check=False)
    assert result.stdout.count("Task is starting (retry).") == 2
    kept = run_flow(decorated("@retry(times=1)", fails), "--with", "retry:times=4", "run", check=False)
    assert kept.stdout.count("Task is starting (retry).") == 1, "a step keeps its own"
    wrong = run_flow(decorated(""), "run", "--with", "retry:times=x", check=False)
    assert "times must be a whole number" in wrong.stderr
    wrong = run_flow(decorated(""), "run", "--with", "retry:times", check=False)
    assert "expected retry:key=value, not 'times'" in wrong.stderr


def test_environment(run_flow: Any) -> None:
    script = decorated("@environment(vars={'COLOUR': 'red', 'NUMBER': 3})", "self.seen = dict(os.environ)")
    run_flow(script, "run")
    seen = Flow("Decorated").latest_run["start"].task.data.seen
    assert (seen["COLOUR"], seen["NUMBER"]) == ("red", "3")


def test_timeout_in_python_code(run_flow: Any) -> None:
    result = run_flow(decorated("@timeout(seconds=0.3)", "self.x = 1; time.sleep(60)"), "run", check=False)
    assert result.returncode == 1
    assert "TimeoutException: Step start ran longer than its @timeout of 0.3 seconds." in result.stdout
    task = Run("Decorated/1")["start"].task
    assert task.exception.type == "TimeoutException"
    assert task.data.x == 1


def test_timeout_of_code_that_blocks_signals(run_flow: Any) -> None:
    body = "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(60)"
    soon = "from metaflow_core.decorators.builtin import Timeout; Timeout.grace = 0.3"
    result = run_flow(decorated("@timeout(seconds=0.3)", body, before=soon), "run", check=False)
    assert result.returncode == 1
    assert "ran longer than its @timeout and did not stop when asked, so it was killed" in result.stdout


def test_timeout_that_is_not_reached(run_flow: Any) -> None:
    run_flow(decorated("@timeout(minutes=1, hours=1)"), "run")


def test_timeout_with_catch_and_retry(run_flow: Any) -> None:
    script = decorated("@catch(var='late')\n        @retry(times=1)\n        @timeout(seconds=0.2)", "time.sleep(60)")
    result = run_flow(script, "run")
    assert result.stdout.count("Task is starting (retry).") == 1
    late = Flow("Decorated").latest_run["end"].task.data.late
    assert late.type == "TimeoutException"
    assert re.search("0.2 seconds", late.exception)


def test_a_timeout_is_the_sum_of_its_parts() -> None:
    from metaflow_core.decorators.builtin import Timeout

    timeout = Timeout({"seconds": 1, "minutes": "1", "hours": 0.5}, "step a")
    assert timeout.limit == 1 + 60 + 1800
    assert timeout.seconds > timeout.limit, "the scheduler lets the exception unwind first"


def test_local_runs_wait_before_a_retry_when_they_are_asked_to(run_flow: Any) -> None:
    script = decorated("@retry(times=1, minutes_between_retries=0.02)", "assert os.path.exists('x'), open('x', 'w')")
    for wait in ("false", "true"):
        result = run_flow(script, "run", env={"METAFLOW_RETRY_WAIT": wait})
        times = [line.split()[1] for line in result.stdout.splitlines() if "Task failed." in line or "(retry)" in line]
        seconds = [60 * int(at[3:5]) + float(at[6:]) for at in times]
        if wait == "true":
            assert (seconds[1] - seconds[0]) % 3600 >= 1.1, times
        os.remove("x")


def test_print_exception(run_flow: Any) -> None:
    for shown in (True, False):
        result = run_flow(decorated(f"@catch(print_exception={shown})", "raise KeyError('of a user')"), "run")
        assert ("of a user" in result.stdout) == shown
        assert "@catch caught the failure of step start" in result.stdout
    task = Flow("Decorated").latest_run["start"].task
    assert (task.finished, task.successful) == (True, False)


def test_environment_is_set_before_the_code_starts_and_only_there(run_flow: Any) -> None:
    body = "import subprocess; self.child = subprocess.run('echo $COLOUR', shell=True, capture_output=True).stdout"
    script = decorated("@environment(vars={'COLOUR': 'red'})", body).replace(
        "def end(self):\n            pass", "def end(self):\n            self.later = os.environ.get('COLOUR')"
    )
    run_flow(script, "run")
    data = Flow("Decorated").latest_run.data
    assert (data.child, data.later) == (b"red\n", None)
