"""Which tasks may start beside those that run, when this machine is divided among them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from metaflow_core.decorators.interface import Needs
from metaflow_core.decorators.resolve import step_decorators
from metaflow_core.engine.interface import Share
from metaflow_core.engine.machine import Machine, this_machine
from metaflow_core.errors import MetaflowException
from metaflow_core.graph.model import FlowDef

# So many tasks may go before one that waits for more room; then all wait for it.
PATIENCE = 8


class Admission:
    """Counts what running tasks have been given. A step that asks for nothing is given nothing, and always fits.

    >>> admission = Admission({"train": Needs(2), "score": Needs(1)}, Machine([0, 1, 2], 1000, []))
    >>> share = admission.start("train")
    >>> share.cores, admission.fits("train"), admission.fits("score")
    ([0, 1], False, True)
    >>> admission.end("train", share)
    >>> admission.fits("train")
    True
    """

    def __init__(self, needs: Mapping[str, Needs], machine: Machine) -> None:
        self._needs = needs
        self._machine = machine
        self._cpu = 0.0
        self._memory = 0.0
        self._load = dict.fromkeys(machine.cores, 0)  # tasks by core
        self._gpus = list(machine.gpus)  # those that are free
        self._passed: dict[str, int] = {}  # how many tasks have gone before the steps that wait

    def fits(self, step: str, count: int = 1) -> bool:
        """Whether ``count`` tasks of the step can start now, all of them."""
        needs = self._needs.get(step)
        if needs is None:
            return True
        first = next((name for name, passed in self._passed.items() if passed >= PATIENCE), step)
        if first == step and (
            self._cpu + count * needs.cpu <= len(self._machine.cores)
            and self._memory + count * (needs.memory or 0) <= self._machine.memory
            and count * needs.gpu <= len(self._gpus)
        ):
            return True
        self._passed.setdefault(step, 0)
        return False

    @property
    def waiting(self) -> list[str]:
        """The steps that did not fit when they were last asked for."""
        return list(self._passed)

    def start(self, step: str) -> Share | None:
        """Take what a task of the step needs, after :meth:`fits`."""
        needs = self._needs.get(step)
        if needs is None:
            return None
        self._passed.pop(step, None)
        for waiting in self._passed:
            self._passed[waiting] += 1
        self._cpu += needs.cpu
        self._memory += needs.memory or 0
        idle = sorted(self._load, key=lambda core: (self._load[core], core))
        cores = sorted(idle[: math.ceil(needs.cpu)])
        for core in cores:
            self._load[core] += 1
        gpus, self._gpus = self._gpus[: needs.gpu], self._gpus[needs.gpu :]
        return Share(None if needs.memory is None else int(needs.memory), cores, gpus)

    def end(self, step: str, share: Share | None) -> None:
        """Give back what the task had."""
        if share is None:
            return
        needs = self._needs[step]
        self._cpu -= needs.cpu
        self._memory -= needs.memory or 0
        for core in share.cores:
            self._load[core] -= 1
        self._gpus += share.gpus
        if not any(self._load.values()):
            self._cpu = 0.0  # sums of fractions

    def too_much(self, step: str, count: int = 1) -> str:
        """Why ``count`` tasks of the step do not fit even an idle machine; empty when they do."""
        needs = self._needs.get(step)
        if needs is None:
            return ""
        machine = self._machine
        for key, asked, there, unit in (
            ("cpu", needs.cpu, len(machine.cores), ("core", "cores")),
            ("memory", needs.memory or 0, machine.memory, ("MB", "MB")),
            ("gpu", needs.gpu, len(machine.gpus), ("GPU", "GPUs")),
        ):
            if asked * count > there:
                each = f"{key}={asked:g}" + (f" for each of {count} tasks that run at once" if count > 1 else "")
                has = f"{there} {unit[there != 1]}" if there else f"no {unit[1]}"
                return (
                    f"Step {step} asks for {each}, and this machine has {has}. Ask for less in @resources, run it on a "
                    "larger machine, or take it as a hint: METAFLOW_ENFORCE_RESOURCES=false."
                )
        return ""


def admission_for(flow: FlowDef) -> Admission:
    """For this machine. ``MetaflowException`` for a step that asks for more than it has."""
    needs = {}
    for step in flow:
        found = [asked for asked in (decorator.needs for decorator in step_decorators(step)) if asked is not None]
        if found:
            memory = [one.memory for one in found if one.memory is not None]
            needs[step.name] = Needs(
                max(one.cpu for one in found), max(memory, default=None), max(one.gpu for one in found)
            )
    made = Admission(needs, this_machine())
    for step in flow:
        why = made.too_much(step.name)
        if why:
            raise MetaflowException(why)
    return made
