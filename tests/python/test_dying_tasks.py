"""Tasks that die, in every way: only the task fails, the run says why, and what is printed is there."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from metaflow import Run, Task

FLOW = """
    import ctypes, os, signal, subprocess, sys, threading, time
    from metaflow import FlowSpec, Parameter, current, step

    class Dying(FlowSpec):
        how = Parameter("how", default="")

        @step
        def start(self):
            self.before = "set"
            getattr(self, "do_" + self.how)()
            self.after = "set too"
            self.next(self.end)

        @step
        def end(self):
            pass

        def do_raise(self):
            raise ZeroDivisionError("of a user")

        def do_os_exit(self):
            print("last words")
            os._exit(3)

        def do_sys_exit(self):
            sys.exit(1)

        def do_sys_exit_0(self):
            sys.exit()

        def do_segfault(self):
            print("last words", flush=True)
            ctypes.string_at(0)

        def do_kill(self):
            os.kill(os.getpid(), signal.SIGKILL)

        def do_terminate(self):
            os.kill(os.getpid(), signal.SIGTERM)

        def do_memory(self):
            self.big = bytearray(2_000_000_000)

        def do_recursion(self):
            self.do_recursion()

        # --- these do not die ---

        def do_flood(self):
            line = "x" * 99 + chr(10)
            for _ in range(100):
                sys.stdout.write(line * 10_000)  # 100 MB in all

        def do_flood_and_die(self):
            sys.stdout.write("x" * 3_000_000)
            sys.stdout.flush()
            os._exit(7)

        def do_binary(self):
            os.write(1, bytes(range(256)) + chr(10).encode())
            os.write(2, b"\\xff\\xfe no newline at the end")

        def do_no_newline(self):
            print("no newline at the end", end="")

        def do_child(self):
            child = subprocess.Popen(["sleep", "1000"])
            print("child", child.pid)

        def do_daemon(self):
            code = "import time; print('still here', flush=True); time.sleep(1000)"
            child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=1, stderr=2)
            print("child", child.pid)

        def do_chatty_daemon(self):
            child = subprocess.Popen(["sh", "-c", "yes & yes & yes & exec yes"], start_new_session=True)
            print("child", child.pid)
            time.sleep(0.1)

        def do_close_streams(self):
            print("before")
            os.close(1)
            os.close(2)

        def do_close_all(self):
            os.closerange(0, 3)
            sys.stdout = sys.stderr = None

        def do_thread(self):
            def work():
                time.sleep(0.3)
                open("thread", "w").close()
                print("from the thread")
            threading.Thread(target=work).start()

        def do_daemon_thread(self):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()

        def do_fork_and_return(self):
            if os.fork() == 0:
                self.child = True
                return
            os.wait()

        def do_fork_and_exit(self):
            if os.fork() == 0:
                sys.exit(5)
            self.code = os.waitstatus_to_exitcode(os.wait()[1])

        def do_fork_and_raise(self):
            if os.fork() == 0:
                raise ValueError("in the child")
            self.code = os.waitstatus_to_exitcode(os.wait()[1])

        def do_signal_handlers(self):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
                signal.signal(number, signal.SIG_IGN)

        def do_exit_handler(self):
            import atexit
            atexit.register(print, "at exit")

        def do_pool(self):
            import multiprocessing
            with multiprocessing.Pool(2) as pool:
                self.squares = pool.map(abs, [-1, -2])

        def do_stdin(self):
            self.read = sys.stdin.read()

    if __name__ == "__main__":
        Dying()
"""


@pytest.fixture
def dying(run_flow: Any) -> Any:
    def run(how: str, *options: str, env: dict[str, str] | None = None, fails: bool = False) -> Any:
        result = run_flow(FLOW, "run", "--how", how, *options, env=env, check=False)
        assert result.returncode == int(fails), result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "ZeroDivisionError: of a user"),
        ("os_exit", "The process of step start ended with exit code 3 before the step was finished."),
        ("sys_exit", r"(TaskDied: )?The code of step start ended the process: exit\(1\)\."),
        ("sys_exit_0", r"(TaskDied: )?The code of step start ended the process: exit\(None\)\."),
        ("segfault", r"The process of step start was killed by signal 11 \(SIGSEGV\)\. Native code crashed"),
        ("kill", r"The process of step start was killed by signal 9 \(SIGKILL\)\. Something outside"),
        ("terminate", r"The process of step start was killed by signal 15 \(SIGTERM\)\."),
        ("recursion", "RecursionError"),
    ],
)
def test_death(dying: Any, how: str, message: str) -> None:
    result = dying(how, fails=True)
    assert re.search(rf"\[1/start/1 \(pid \d+\)\] {message}", result.stdout)
    assert "[1/start/1" in result.stdout
    assert result.stdout.endswith("Workflow failed.\n")
    task = Task("Dying/1/start/1")
    assert (task.finished, task.successful) == (False, False)
    assert re.search(message, str(task.exception))
    assert not Run("Dying/1").successful
    assert Run("Dying/1").status == "failed"
    if how in ("os_exit", "segfault"):
        assert task.stdout == "last words\n"
    if how in ("raise", "sys_exit"):
        assert task.data.before == "set", "what was set before is there"


def test_death_of_a_spawned_process(dying: Any) -> None:
    result = dying("os_exit", fails=True, env={"METAFLOW_LAUNCHER": "spawn"})
    assert "ended with exit code 3" in result.stdout
    assert Task("Dying/1/start/1").stdout == "last words\n"


def test_memory_limit(dying: Any) -> None:
    result = dying("memory", env={"METAFLOW_TASK_MEMORY_LIMIT": "500"}, fails=True)
    assert "MemoryError" in result.stdout
    assert Task("Dying/1/start/1").exception.type == "MemoryError"


def test_a_flood_of_output_is_cut(dying: Any, project: Path) -> None:
    result = dying("flood", "--max-log-size", "2")
    assert "[Output beyond 2 MB is dropped: --max-log-size]" in result.stdout
    assert len(result.stdout) < 8_000_000
    assert 1_500_000 < len(Task("Dying/1/start/1").stdout) <= 2_100_000


def test_a_flood_does_not_hide_why_the_task_died(dying: Any) -> None:
    result = dying("flood_and_die", "--max-log-size", "1", fails=True)
    assert "ended with exit code 7" in result.stdout


def test_binary_output(dying: Any) -> None:
    dying("binary")
    task = Task("Dying/1/start/1")
    assert "ABC" in task.stdout
    assert task.stderr.endswith("no newline at the end")


def test_no_newline_at_the_end(dying: Any) -> None:
    result = dying("no_newline")
    assert re.search(r"\] no newline at the end\n.*Task finished successfully", result.stdout)
    assert Task("Dying/1/start/1").stdout == "no newline at the end"


def gone(pid: int) -> bool:
    """Whether the process has ended, or ends within some seconds."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


def test_children_end_with_their_task(dying: Any) -> None:
    result = dying("child")
    assert gone(int(re.search(r"child (\d+)", result.stdout)[1]))


@pytest.mark.parametrize("how", ["daemon", "chatty_daemon"])
def test_a_child_that_holds_the_output_does_not_hold_the_run(dying: Any, how: str) -> None:
    result = dying(how, "--max-log-size", "1")
    with suppress(ProcessLookupError):
        os.killpg(int(re.search(r"child (\d+)", result.stdout)[1]), signal.SIGKILL)
    assert result.stdout.endswith("Done!\n")


@pytest.mark.parametrize("how", ["close_streams", "close_all", "daemon_thread", "signal_handlers"])
def test_what_a_task_may_do(dying: Any, how: str) -> None:
    dying(how)
    assert Task("Dying/1/start/1").data.after == "set too"
    assert Run("Dying/1").successful


def test_threads_are_waited_for(dying: Any, project: Path) -> None:
    result = dying("thread")
    assert (project / "thread").exists()
    assert result.stdout.index("from the thread") < result.stdout.index("Task finished successfully")


@pytest.mark.parametrize(("how", "code"), [("fork_and_return", None), ("fork_and_exit", 5), ("fork_and_raise", 1)])
def test_a_forked_child_that_comes_out_of_the_step(dying: Any, how: str, code: int | None) -> None:
    result = dying(how)
    data = Task("Dying/1/start/1").data
    assert "child" not in dir(data), "only the task itself has a result"
    assert code is None or data.code == code
    assert ("ValueError: in the child" in result.stdout) == (how == "fork_and_raise")
    assert result.stdout.count("Task finished successfully.") == 2


def test_exit_handlers_run(dying: Any) -> None:
    dying("exit_handler")
    assert Task("Dying/1/start/1").stdout == "at exit\n"


def test_multiprocessing(dying: Any) -> None:
    dying("pool")
    assert Task("Dying/1/start/1").data.squares == [1, 2]


def test_stdin_is_empty(dying: Any) -> None:
    dying("stdin")
    assert Task("Dying/1/start/1").data.read == ""
