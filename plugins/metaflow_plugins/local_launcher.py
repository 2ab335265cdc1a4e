"""The process from which local tasks are forked.

It holds the user's module, loaded once, and nothing that a fork could break: no thread, no connection. Each task is a
fork of it, in a session of its own, so that it can be killed with everything it has started. What has left the session
is found by a mark.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from metaflow_core.engine.interface import Share, TaskRequest
from metaflow_core.engine.streams import make_streams

from metaflow_plugins.local_descendants import end_marked, mark, unmark
from metaflow_plugins.local_limits import limit_process

GRACE_SECONDS = 3.0
# What artifacts are read, written and kept with. When one task had to import it, those after it should not have to.
WARM = ("psycopg", "pyarrow", "pandas", "s3fs", "gcsfs", "adlfs")


class Launcher:
    """Forks tasks on request, and reports their ends. Ends itself, and its tasks, when the driver is gone."""

    def __init__(
        self,
        driver: socket.socket,
        run_task: Callable[[TaskRequest], int],
        command: Callable[[TaskRequest], Sequence[str]],
        always_spawn: bool,
        memory_limit: int | None,
    ) -> None:
        self._driver = driver
        self._run_task = run_task
        self._command = command
        self._always_spawn = always_spawn
        self._memory_limit = memory_limit
        self._keys: dict[int, str] = {}
        self._marks: dict[int, int] = {}  # of the tasks that run: see `local_descendants`
        self._started = 0
        self._searched = (0.0, 0.0)  # when descendants were last looked for, and how long that took
        self._received = b""
        self._unsent = b""
        self._files: list[int] = []
        self._wanted = mmap.mmap(-1, len(WARM))  # tasks set a byte when they had to import that module

    def serve(self) -> NoReturn:
        # What exists now is never collected, in no task: a collection would touch, and so copy, every page.
        gc.freeze()
        # The terminal's interrupt is for the driver, which decides what becomes of the tasks.
        os.setsid()
        unmark()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._driver, select.POLLIN)
        poll.register(woken, select.POLLIN)
        try:
            while True:
                poll.modify(self._driver, select.POLLIN | select.POLLOUT if self._unsent else select.POLLIN)
                ready = dict(poll.poll())
                if woken in ready:
                    os.read(woken, 4096)
                self._reap()
                self._send()
                if ready.get(self._driver.fileno(), 0) & ~select.POLLOUT and not self._receive():
                    break
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            self._end_all()
            os._exit(0)

    def _receive(self) -> bool:
        """Carry out the driver's requests; False when the driver is gone."""
        try:
            data, files, _, _ = socket.recv_fds(self._driver, 1 << 16, 64)
        except ConnectionError:
            return False
        if not data:
            return False
        self._files += files
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "start" in message:
                stdout, stderr, *self._files = self._files
                self._start(TaskRequest(*message["start"]), stdout, stderr)
            else:
                self._kill(message["kill"], signal.SIGKILL if message["force"] else signal.SIGTERM)
        return True

    def _start(self, request: TaskRequest, stdout: int, stderr: int) -> None:
        for i, module in enumerate(WARM):  # by index: a loop over an mmap gives bytes, and b"\0" is true
            if self._wanted[i] and module not in sys.modules:
                importlib.import_module(module)
        self._started += 1
        launcher = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(key=request.key, code=1, message=f"No process could be started: {error.strerror}.")
        else:
            if pid == 0:
                mark(launcher, self._started)
                self._be_task(request, stdout, stderr)
            self._keys[pid] = request.key
            self._marks[pid] = self._started
            self._tell(key=request.key, pid=pid)
        finally:
            os.close(stdout)
            os.close(stderr)

    def _be_task(self, request: TaskRequest, stdout: int, stderr: int) -> NoReturn:
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._driver.close()
            nothing = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((nothing, 0), (stdout, 1), (stderr, 2)):
                os.dup2(source, target)
                os.close(source)
            for file in self._files:
                os.close(file)
            limit_process(self._memory_limit, request.share and Share(*request.share))
            if self._always_spawn or request.spawn:
                command = list(self._command(request))
                os.execvp(command[0], command)
            make_streams()
            _reseed()
            atexit._clear()  # what the driver has registered is the driver's
            code = self._run_task(request)
            # What ends a Python program: threads that are no daemons are waited for, then exit handlers run.
            threading = sys.modules.get("threading")
            if threading is not None:
                threading._shutdown()
            atexit._run_exitfuncs()
            for i, module in enumerate(WARM):
                if module in sys.modules:
                    self._wanted[i] = 1
        except BaseException as error:
            _explain(error)
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def _reap(self) -> None:
        reaped, urgent = False, False
        while self._keys:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                break
            # What the task has started ends with it. The group exists as long as its leader is not reaped.
            signal_group(found.si_pid, signal.SIGKILL)
            _, status = os.waitpid(found.si_pid, 0)
            key = self._keys.pop(found.si_pid, None)
            self._marks.pop(found.si_pid, None)
            if key is not None:
                reaped, urgent = True, urgent or status != 0
                self._tell(key=key, code=os.waitstatus_to_exitcode(status))
        if reaped:
            self._end_descendants(urgent)

    def _end_descendants(self, urgent: bool) -> None:
        """End what ended tasks have left in other groups: later, unless it is urgent, since looking takes time."""
        began = time.monotonic()
        at, took = self._searched
        if urgent or began - at > 50 * took:
            end_marked(os.getpid(), self._marks.values())
            self._searched = began, time.monotonic() - began

    def _kill(self, key: str, number: int) -> None:
        for pid, name in self._keys.items():
            if name == key:
                signal_group(pid, number)

    def _end_all(self) -> None:
        for pid in self._keys:
            signal_group(pid, signal.SIGTERM)
        end = time.monotonic() + GRACE_SECONDS
        while self._keys and time.monotonic() < end:
            self._reap()
            time.sleep(0.01)
        for pid in self._keys:
            signal_group(pid, signal.SIGKILL)
        end_marked(os.getpid(), ())

    def _tell(self, **event: Any) -> None:
        self._unsent += json.dumps(event).encode() + b"\n"
        self._send()

    def _send(self) -> None:
        # Never wait: a driver that asks for many tasks at once does not read before it has asked for all.
        try:
            while self._unsent:
                self._unsent = self._unsent[self._driver.send(self._unsent, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""  # the driver is gone: the next receive tells


def signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _reseed() -> None:
    """Tasks must not all draw the same random numbers. ``random`` sees to it itself after a fork."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def _explain(error: BaseException) -> None:
    """Print an error that no step has caused."""
    from metaflow_core.errors import MetaflowException

    if isinstance(error, MetaflowException):
        print(f"{error.headline}: {error}", file=sys.stderr)
    else:
        import traceback

        traceback.print_exception(error)
