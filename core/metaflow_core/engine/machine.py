"""What this machine has for tasks."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import NamedTuple


class Machine(NamedTuple):
    """What is there for tasks: the numbers of the cores, MB of memory, and the names of the GPUs."""

    cores: list[int]
    memory: int
    gpus: list[str]


def this_machine() -> Machine:
    """What this process may use, which in a container is less than what is built in."""
    try:
        cores = sorted(os.sched_getaffinity(0))
    except AttributeError:
        cores = list(range(os.cpu_count() or 1))
    return Machine(cores, _memory(), _gpus())


def _memory() -> int:
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            sizes.append(int(file.read()))
    return min(sizes) >> 20


def _gpus() -> list[str]:
    """Those that ``CUDA_VISIBLE_DEVICES`` names, or else those for which there is a device file."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    try:
        found = [match[1] for name in os.listdir("/dev") if (match := re.fullmatch(r"nvidia(\d+)", name))]
    except OSError:
        return []
    return sorted(found, key=int)
