"""What a task may use of this machine, set in its own process before any code of the user runs."""

from __future__ import annotations

import os
from contextlib import suppress

from metaflow_core.engine.interface import Share

# Where libraries find how many threads they may use. One that the user has set stays.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "R_DATATABLE_NUM_THREADS",
    "RCPP_PARALLEL_NUM_THREADS",
    "MC_CORES",
)


def limit_process(memory_limit: int | None, share: Share | None) -> None:
    """``memory_limit`` in MB counts all that the process has, that of ``share`` what the task allocates itself."""
    limits = [memory_limit << 20] if memory_limit else []
    if share is not None:
        if share.memory:
            limits.append(_data_size() + (share.memory << 20))
        if share.cores:
            with suppress(AttributeError, OSError):
                os.sched_setaffinity(0, share.cores)
            for name in _THREADS:
                os.environ.setdefault(name, str(len(share.cores)))
        if share.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(share.gpus)
    if limits:
        import resource

        # The hard limit stays, so that the limit can be lifted to tell of an error that it has caused.
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = min(limits) if hard == resource.RLIM_INFINITY else min(*limits, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _data_size() -> int:
    """The bytes that count for the limit and are there already, shared with the launcher."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
