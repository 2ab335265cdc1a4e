"""What is told of a task that has run out of the memory it may have."""

from __future__ import annotations

import resource  # here, because there may be no memory left to load it later

from metaflow_core import settings
from metaflow_core.decorators.resolve import step_decorators
from metaflow_core.graph.model import StepDef

# What R, C++ and libraries say; exceptions of Python are known by their class.
_SHORTAGE = (
    "cannot allocate",
    "could not allocate",
    "unable to allocate",
    "memory exhausted",
    "bad_alloc",
    "out of memory",
)


def is_shortage(error: BaseException) -> bool:
    """Whether the error is about memory that can't be had."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in _SHORTAGE)


def explained(error: BaseException, step: StepDef) -> str:
    """In the task: what to say with an error that a limit of memory has caused; empty when it is another one.

    From then on the limit does not hold: telling of the error, and storing what there is, needs memory.
    """
    if not is_shortage(error):
        return ""
    global _lifted
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        _lifted = True
    return memory_limits(step) if _lifted else ""


_lifted = False


def memory_limits(step: StepDef) -> str:
    """The limits that hold for tasks of the step on this machine, and how to raise them; empty when there is none."""
    found = []
    if settings.get("ENFORCE_RESOURCES"):
        needs = [one.needs for one in step_decorators(step)]
        asked = [one.memory for one in needs if one is not None and one.memory is not None]
        if asked:
            found.append(
                f"Step {step.name} may allocate {max(asked):g} MB, because @resources says so and "
                f"METAFLOW_ENFORCE_RESOURCES is on. Raise it: memory={2 * max(asked):g}."
            )
    whole = settings.get("TASK_MEMORY_LIMIT")
    if whole is not None:
        found.append(f"METAFLOW_TASK_MEMORY_LIMIT allows each task {whole} MB in all.")
    return " ".join(found)
