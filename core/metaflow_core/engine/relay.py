"""Passes on what another process prints, line by line, until it ends."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

from metaflow_core.engine.masking import Mask, MaskChannel, MaskSender
from metaflow_core.engine.output import LineSplitter
from metaflow_core.engine.streams import flush_streams, leave, make_streams
from metaflow_core.errors import MetaflowException

READ_SIZE = 1 << 16
POLL_SECONDS = 0.1

Show = Callable[[bytes, bool], None]  # gets the text of a line, and whether a line break followed it


def relay(
    pid: int, pipes: Mapping[int, Show], mask: Mask | None = None, learn: Callable[[], None] | None = None
) -> int:
    """Show the lines that come out of ``pipes`` (non-blocking) until the child process ``pid`` ends; its exit code.

    ``learn`` is called before anything is shown; it may add to the ``mask``.
    """
    splitters = {fd: LineSplitter(mask=mask) for fd in pipes}
    poll = select.poll()
    for fd in pipes:
        poll.register(fd, select.POLLIN)

    def show(fd: int, lines: list[tuple[bytes, bool]]) -> None:
        for text, complete in lines:
            pipes[fd](text, complete)

    def read(fd: int) -> bool:
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return False
        if learn is not None:
            learn()
        if data:
            show(fd, splitters[fd].feed(data))
        else:
            poll.unregister(fd)
            show(fd, splitters.pop(fd).end())
        return bool(data)

    while True:
        ready = {fd for fd, _ in poll.poll(POLL_SECONDS * 1000)}
        if learn is not None:
            learn()  # also when nothing is printed: who tells must not wait
        ended, status = os.waitpid(pid, os.WNOHANG)
        for fd in list(splitters):  # stdout before stderr
            while fd in splitters and (ended or fd in ready) and read(fd):
                if not ended:
                    break
        if ended:
            for fd, splitter in splitters.items():  # something that the process has started still has the pipe
                show(fd, splitter.end())
            return os.waitstatus_to_exitcode(status)


def run_masked(work: Callable[[MaskSender], int]) -> int:
    """Do ``work`` in a fork, and pass on what it prints without the secrets that it tells of. Its exit code.

    For a task that no scheduler reads. No connection may be open.
    """
    channel, mask = MaskChannel(), Mask()
    readers, writers = zip(os.pipe(), os.pipe(), strict=True)
    flush_streams()
    pid = os.fork()
    if pid == 0:
        _work(work, channel, writers)
    for writer in writers:
        os.close(writer)
    for reader in readers:
        os.set_blocking(reader, False)

    def learn() -> None:
        for _, piece in channel.received():
            mask.add_pieces([piece])

    def show(number: int) -> Show:
        def write(text: bytes, complete: bool) -> None:
            data = text + b"\n" if complete else text
            while data:
                data = data[os.write(number, data) :]

        return write

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal has told the fork too, which ends
    try:
        code = relay(pid, {reader: show(number) for number, reader in enumerate(readers, 1)}, mask, learn)
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code


def _work(work: Callable[[MaskSender], int], channel: MaskChannel, writers: tuple[int, ...]) -> NoReturn:
    code = 1
    try:
        for number, writer in enumerate(writers, 1):
            os.dup2(writer, number)
            os.close(writer)
        make_streams()
        code = work(channel)
    except MetaflowException as error:
        print(f"{error.headline}: {error}", file=sys.stderr)
        code = error.exit_code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        leave(code)
