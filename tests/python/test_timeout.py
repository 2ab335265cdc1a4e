"""Tasks that run too long, and what they have started: it ends, whatever it does against that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from metaflow import Flow, Run

FLOW = """
    import ctypes, itertools, os, signal, subprocess, sys, threading, time
    from metaflow import FlowSpec, Parameter, catch, retry, step, timeout
    from metaflow_core.decorators.builtin import Timeout
    Timeout.grace = 0.3

    class Late(FlowSpec):
        how = Parameter("how", default="sleep")

        {decorators}
        @step
        def start(self):
            self.before = "set"
            getattr(self, "do_" + self.how)()
            self.next(self.end)

        @step
        def end(self):
            pass

        def do_sleep(self):
            time.sleep(100)

        def do_loop(self):
            while True:
                pass

        def do_wait_for_a_child(self):
            subprocess.run(["sleep", "100"])

        def do_hold_the_lock_of_python(self):
            sum(itertools.repeat(1))  # in C, without an end and without a look at signals

        def do_block_signals(self):
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
            time.sleep(100)

        def do_another_handler(self):
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            time.sleep(100)

        def do_swallow(self):
            while True:
                try:
                    time.sleep(100)
                except BaseException:
                    pass

        def do_wait_in_a_thread(self):
            thread = threading.Thread(target=time.sleep, args=(100,))
            thread.start()
            thread.join()

        # --- what is left ---

        def start_others(self):
            # The program is a copy, so that its name tells whose it is.
            sleeper = os.path.abspath("sleeper")
            quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            subprocess.Popen([sleeper, "100"], start_new_session=True, **quiet)
            subprocess.run(f"setsid {{sleeper}} 101 >/dev/null 2>&1 </dev/null &", shell=True)
            subprocess.run(f"trap '' TERM HUP INT; (setsid nohup {{sleeper}} 102 &) >/dev/null 2>&1", shell=True)
            child = os.fork()
            if child == 0:  # a daemon as books tell
                os.setsid()
                if os.fork() == 0:
                    os.chdir("/")
                    os.closerange(0, 256)
                    os.execve(sleeper, [sleeper, "103"], {{}})
                os._exit(0)
            os.waitpid(child, 0)
            while count(sleeper) < 4:
                time.sleep(0.01)
            open("started", "w").close()

        def do_others_and_end(self):
            self.start_others()

        def do_others_and_fail(self):
            self.start_others()
            raise ValueError("of a user")

        def do_others_and_die(self):
            self.start_others()
            os.kill(os.getpid(), signal.SIGKILL)

        def do_others_and_sleep(self):
            self.start_others()
            time.sleep(100)

    def count(program):
        found = 0
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                found += os.readlink(f"/proc/{{name}}/exe") == program
            except OSError:
                pass
        return found

    if __name__ == "__main__":
        Late()
"""

CAUGHT = "@catch(var='why', print_exception=False)\n        @retry(times=1)\n        @timeout(seconds=0.3)"


def late(decorators: str) -> str:
    return FLOW.format(decorators=decorators)


@pytest.mark.parametrize("how", ["sleep", "loop", "wait_for_a_child", "wait_in_a_thread"])
def test_code_that_can_be_interrupted_gets_an_exception(run_flow: Any, how: str) -> None:
    result = run_flow(late(CAUGHT), "run", "--how", how)
    assert result.stdout.count("Task is starting (retry).") == 1, "a retry after a timeout works"
    run = Run("Late/1")
    assert run.data.why.type == "TimeoutException"
    assert run.data.why.exception == "Step start ran longer than its @timeout of 0.3 seconds."
    assert run.data.before == "set", "what was set before is kept"


@pytest.mark.parametrize("how", ["hold_the_lock_of_python", "block_signals", "another_handler", "swallow"])
def test_code_that_can_not_be_interrupted_is_killed(run_flow: Any, how: str) -> None:
    result = run_flow(late(CAUGHT), "run", "--how", how)
    assert result.stdout.count("Task is starting (retry).") == 1
    assert "Task fallback is starting to handle the failure." in result.stdout
    why = Run("Late/1").data.why
    assert why.type == "TimeoutException"
    assert "ran longer than its @timeout and did not stop when asked, so it was killed" in why.exception


def test_a_killed_task_without_catch(run_flow: Any) -> None:
    result = run_flow(late("@timeout(seconds=0.2)"), "run", "--how", "block_signals", check=False)
    assert result.returncode == 1
    assert Run("Late/1")["start"].task.exception.type == "TimeoutException"


@pytest.fixture
def sleepers(project: Path) -> Callable[[], list[int]]:
    """The processes that tasks of this project have started, as they are some time later when some should be gone."""
    program = project / "sleeper"
    with open("/bin/sleep", "rb") as file:
        program.write_bytes(file.read())
    program.chmod(0o755)

    def find() -> list[int]:
        for _ in range(100):
            found = []
            for name in filter(str.isdigit, os.listdir("/proc")):
                with suppress(OSError):
                    if os.readlink(f"/proc/{name}/exe") == str(program):
                        found.append(int(name))
            if not found:
                return []
            time.sleep(0.05)
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return found

    return find


@pytest.mark.parametrize(
    ("how", "decorators", "launcher"),
    [
        ("others_and_end", "", "fork"),
        ("others_and_fail", "", "fork"),
        ("others_and_die", "", "fork"),
        ("others_and_die", "", "spawn"),
        ("others_and_sleep", "@timeout(seconds=0.6)", "fork"),
    ],
)
def test_what_a_task_has_started_ends_with_it(
    run_flow: Any, project: Path, sleepers: Callable[[], list[int]], how: str, decorators: str, launcher: str
) -> None:
    run_flow(late(decorators), "run", "--how", how, env={"METAFLOW_LAUNCHER": launcher}, check=False)
    assert (project / "started").exists()
    assert sleepers() == []


@pytest.mark.parametrize("how", ["interrupt", "kill the driver", "kill the launcher", "kill the task"])
def test_what_a_task_has_started_ends_when_the_run_does(
    project: Path, sleepers: Callable[[], list[int]], how: str
) -> None:
    (project / "flow.py").write_text(dedent(late("")))
    command = [sys.executable, "flow.py", "--quiet", "run", "--how", "others_and_sleep"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    try:
        lines = iter(driver.stdout.readline, "")
        starting = next(line for line in lines if "Task is starting." in line)
        task = int(starting.partition("(pid ")[2].partition(")")[0])
        while not (project / "started").exists():
            time.sleep(0.01)
        launcher = int(Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()[1])
        target = {"kill the driver": driver.pid, "kill the launcher": launcher, "kill the task": task}.get(how)
        if target is None:
            driver.send_signal(signal.SIGINT)
        else:
            os.kill(target, signal.SIGKILL)
        driver.communicate(timeout=60)
    finally:
        driver.kill()
        driver.wait()
    assert sleepers() == []


def test_the_other_tasks_keep_what_they_have_started(run_flow: Any, project: Path) -> None:
    """One branch ends while the other still uses a process in a session of its own."""
    script = """
        import os, subprocess, time
        from metaflow import FlowSpec, step

        class Two(FlowSpec):
            @step
            def start(self):
                self.next(self.quick, self.slow)

            @step
            def quick(self):
                while not os.path.exists("server"):
                    time.sleep(0.01)
                self.next(self.join)

            @step
            def slow(self):
                server = subprocess.Popen(["sleep", "100"], start_new_session=True)
                open("server", "w").close()
                while not os.path.exists("over"):
                    time.sleep(0.01)
                self.alive = server.poll() is None
                self.next(self.join)

            @step
            def join(self, inputs):
                self.alive = inputs.slow.alive
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Two()
    """
    (project / "flow.py").write_text(dedent(script))
    driver = subprocess.Popen([sys.executable, "flow.py", "run"], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    for line in iter(driver.stdout.readline, ""):
        if "quick" in line and "Task finished successfully." in line:
            time.sleep(0.1)  # the launcher may look for what is left
            (project / "over").touch()
            break
    driver.communicate(timeout=60)
    assert Flow("Two").latest_run.data.alive
