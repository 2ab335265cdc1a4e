"""What a container must have: ``@resources`` and the decorator that names the place, whichever asks for more."""

from __future__ import annotations

from typing import NamedTuple

from metaflow_core.decorators.interface import Needs
from metaflow_core.engine.interface import JobNeeds


class Size(NamedTuple):
    """Of a container, in cores and in MB."""

    cpu: float
    memory: float
    gpu: int
    disk: float | None
    shared_memory: float | None


def size_of(needs: JobNeeds) -> Size:
    """The larger of each two.

    >>> size_of(JobNeeds(["python"], Needs(cpu=4), {"cpu": 1, "memory": 4096, "gpu": None}))
    Size(cpu=4.0, memory=4096.0, gpu=0, disk=None, shared_memory=None)
    """
    other = needs.needs or Needs()
    given = needs.attributes

    def larger(name: str) -> float | None:
        both = [float(value) for value in (given.get(name), getattr(other, name)) if value is not None]
        return max(both) if both else None

    return Size(
        larger("cpu") or 1.0,
        larger("memory") or 4096.0,
        int(larger("gpu") or 0),
        larger("disk"),
        larger("shared_memory"),
    )


def temporary_folder(needs: JobNeeds, memory: float) -> tuple[str, int, dict[str, str]] | None:
    """Path and size in MB of a folder in memory, and the variables that name it; None when none is asked for."""
    given = needs.attributes
    if not (given["use_tmpfs"] or given["tmpfs_size"]):
        return None
    path = str(given["tmpfs_path"] or "/metaflow_temp")
    return path, int(given["tmpfs_size"] or memory / 2), {"TMPDIR": path} if given["tmpfs_tempdir"] else {}
