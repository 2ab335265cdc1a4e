"""A TCP proxy that does to connections what networks do: cut them, end them early, delay them, refuse them."""

from __future__ import annotations

import random
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

CHUNK = 4096
_LENGTH = re.compile(rb"(?is)^(HTTP/1.1 20.*?\r\ncontent-length: *)(\d+)")


class Fault(NamedTuple):
    """What happens to a connection: after ``bytes`` of what the server (or the client) sends, it is cut.

    ``reset`` cuts as a machine that fails (RST), otherwise as one that ends in order (FIN), which makes an answer that
    just stops.
    """

    bytes: int
    of: str = "server"
    reset: bool = True


Plan = Callable[[int], "Fault | None"]


def never(number: int) -> Fault | None:
    return None


def every(nth: int, seed: int, most: int = 50_000) -> Plan:
    """Every ``nth`` connection is cut: which way, how and after how many bytes follows from ``seed`` alone."""

    def plan(number: int) -> Fault | None:
        if number % nth:
            return None
        chance = random.Random(f"{seed}/{number}")
        # Small numbers of bytes are the more interesting ones: within the head of an answer, or of a request.
        return Fault(int(most ** chance.random()), chance.choice(["server", "client"]), chance.random() < 0.5)

    return plan


class FaultyProxy:
    """Listens on ``port`` and passes on to ``target``. ``plan`` says by a connection's number what happens to it."""

    def __init__(self, target: int, plan: Plan = never, delay: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.target, self.plan, self.delay, self.tls = target, plan, delay, tls
        self.connections = self.cuts = self.refused = 0
        self.shortens = False  # answers of HTTP, to half of their length, which their heads then say too
        self._refused_until = 0.0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self, seconds: float) -> None:
        """Cut what there is, and everything that comes, for so long."""
        self._refused_until = time.monotonic() + seconds
        self.cut_all()

    def cut_all(self) -> None:
        with self._lock:
            found = list(self._open)
        for one in found:
            _cut(one, reset=True)

    def close(self) -> None:
        _cut(self._listener, reset=False)
        self.cut_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if time.monotonic() < self._refused_until:
                self.refused += 1
                _cut(client, reset=True)
                continue
            try:
                client = self.tls.wrap_socket(client, server_side=True) if self.tls else client
            except OSError:  # the client does not trust us
                continue
            self.connections += 1
            fault = self.plan(self.connections)
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=10)
            except OSError:
                _cut(client, reset=True)
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for source, sink, name in ((client, server, "client"), (server, client, "server")):
                mine = fault if fault is not None and fault.of == name else None
                threading.Thread(target=self._pass, args=(source, sink, mine), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, fault: Fault | None) -> None:
        passed, reset = 0, False
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if self.delay:
                    time.sleep(self.delay)
                if self.shortens and (found := _LENGTH.search(data)) and int(found[2]) > 100:
                    head, _, body = data.partition(b"\r\n\r\n")
                    half = int(found[2]) // 2
                    while len(body) < half:
                        body += source.recv(CHUNK)
                    head = _LENGTH.sub(rb"\g<1>%d" % half, head) + b"\r\nConnection: close"
                    sink.sendall(head + b"\r\n\r\n" + body[:half])
                    self.cuts += 1
                    break
                if fault is not None and passed + len(data) >= fault.bytes:
                    sink.sendall(data[: fault.bytes - passed])
                    self.cuts += 1
                    reset = fault.reset
                    break
                sink.sendall(data)
                passed += len(data)
        for one in (sink, source):
            _cut(one, reset)
        with self._lock:
            self._open -= {sink, source}


def _cut(one: socket.socket, reset: bool) -> None:
    with suppress(OSError):
        if reset:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            one.shutdown(socket.SHUT_RDWR)
    if reset:
        # Another thread waits in recv(): it would keep the connection open beyond close().
        with suppress(OSError):
            one.shutdown(socket.SHUT_RD)
    one.close()


@contextmanager
def faulty_proxy(
    target: int, plan: Plan = never, delay: float = 0.0, tls: ssl.SSLContext | None = None
) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(target, plan, delay, tls)
    try:
        yield proxy
    finally:
        proxy.close()
