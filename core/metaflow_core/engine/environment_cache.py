"""Environments on this machine: found again by what is in them, and created once, whoever needs them.

Below the folder of the setting ``ENVIRONMENTS``, each is ``PROVIDER/ADDRESS/``, and counts when there is a file
``PROVIDER/ADDRESS.json``, which is written last. Who creates one holds a lock on ``PROVIDER/ADDRESS.lock``, and so do
the programs that were started for it: what a killed process has left is removed by the next one.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from metaflow_core import settings
from metaflow_core.decorators.interface import EnvironmentRequest
from metaflow_core.engine.interface import EnvironmentProvider, Lock
from metaflow_core.errors import StepEnvironmentError


def root() -> str:
    """The folder of all environments."""
    chosen: str | None = settings.get("ENVIRONMENTS")
    if chosen is not None:
        return chosen
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "metaflow", "environments")


def address(lock: Lock) -> str:
    """What identifies an environment: a hash of its versions and of its interpreter."""
    return _hash(lock._asdict())


def resolved(provider: EnvironmentProvider, request: EnvironmentRequest, needs: Sequence[str]) -> Lock:
    """The versions for a request: those that were chosen for it before on this machine, if there are any."""
    surroundings = provider.surroundings(request)
    if surroundings is None:
        return provider.resolve(request, needs)
    key = _hash({**request._asdict(), "needs": list(needs), "surroundings": surroundings})
    path = os.path.join(root(), "resolutions", f"{key}.json")
    if settings.get("RESOLVE_PACKAGES") == "once":
        try:
            with open(path, encoding="utf-8") as file:
                lock = Lock(**json.load(file))
            if os.path.exists(lock.interpreter):
                return lock
        except (OSError, ValueError, TypeError):
            pass  # never resolved, or damaged: resolve it
    lock = provider.resolve(request, needs)
    with _explained():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, lock._asdict())
    return lock


def ensure(provider: EnvironmentProvider, lock: Lock, tell: Callable[[], None]) -> str:
    """The folder of the environment, which is created first if need be; "" when nothing had to be.

    ``tell`` is called before something is created, which can take long.
    """
    if lock.is_present:
        return ""
    parent = os.path.join(root(), lock.provider)
    folder = os.path.join(parent, address(lock))
    if _is_there(provider, lock, folder):
        return folder
    with _explained():
        os.makedirs(parent, exist_ok=True)
        held = os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with _explained():
            fcntl.flock(held, fcntl.LOCK_EX)
        if _is_there(provider, lock, folder):  # somebody else has created it meanwhile
            return folder
        tell()
        with _explained():
            _remove(folder)
            try:
                provider.create(lock, folder, held)
                _write(f"{folder}.json", lock._asdict())
            except BaseException:
                _remove(folder)
                raise
    finally:
        os.close(held)
    return folder


def _is_there(provider: EnvironmentProvider, lock: Lock, folder: str) -> bool:
    return os.path.exists(f"{folder}.json") and provider.is_usable(lock, folder)


def _remove(folder: str) -> None:
    if os.path.exists(f"{folder}.json"):
        os.remove(f"{folder}.json")
    if os.path.isdir(folder):
        import shutil

        shutil.rmtree(folder)


def _write(path: str, content: Mapping[str, Any]) -> None:
    """Replace the file at once: nobody reads half of it."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(temporary, path)


def _hash(content: Mapping[str, Any]) -> str:
    import blake3

    return blake3.blake3(json.dumps(content, sort_keys=True).encode()).hexdigest(length=12)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StepEnvironmentError(
            f"The folder of environments {root()} can't be used: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}. "
            f"Choose another one: METAFLOW_ENVIRONMENTS=FOLDER, or `metaflow configure set environments FOLDER`."
        ) from None
