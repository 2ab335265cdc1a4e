"""The agent of the local orchestrator: starts runs that are due, and sees to it that their ends are known.

All that an agent knows is in the database, so any number of them may run, on one machine or several, and each may be
killed at any moment. A run is a process of its own, which goes on without its agent; the next agent looks after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from metaflow_core import settings
from metaflow_core.clock import now
from metaflow_core.deployment.agent_drivers import Driver
from metaflow_core.deployment.agent_starts import Watched, remove_old_events
from metaflow_core.errors import MetadataError, MetaflowException
from metaflow_core.machine import here
from metaflow_core.metadata import liveness, local_runs
from metaflow_core.metadata.backend import Backend
from metaflow_core.metadata.local_agents import add_agent, beat_agent, living_agents, remove_agent
from metaflow_core.metadata.local_runs import ENDS, LocalRun

BEAT_SECONDS = 5.0
ADOPT_SECONDS = 2.0  # between two looks for runs whose agent is gone
REMOVE_SECONDS = 3600.0  # between two looks for old events
NOT_BEGUN = 3600.0  # seconds in which a process on another machine must have made its run, with all of its packages


@dataclass
class Agent:
    """One agent. ``say`` is told each thing that it does, as a line."""

    backend: Backend
    max_runs: int
    say: Callable[[str], None]
    stopping: bool = False  # start nothing any more
    failed: int = 0  # runs that have not succeeded
    _pk: int = 0
    _drivers: list[Driver] = field(default_factory=list)
    _watched: Watched = field(init=False)
    _beat_at: float = 0.0
    _adopted_at: float = 0.0
    _removed_at: float = 0.0

    def __post_init__(self) -> None:
        self._watched = Watched(self.backend.db, settings.get("AGENT_MISFIRE_GRACE"))
        self._pk = add_agent(self.backend.db)

    def turn(self) -> bool:
        """Do all that is to be done now. Whether there is something left to wait for."""
        self._beat()
        self._look_after()
        self._adopt()
        if self.stopping:
            return False
        self._queue()
        self._start()
        self._remove()
        return bool(self._drivers)

    def stop(self) -> None:
        """Leave the runs to other agents, or to the next one."""
        remove_agent(self.backend.db, self._pk)
        if self._drivers:
            names = ", ".join(driver.run.pathspec for driver in self._drivers)
            self.say(f"Stopped. What runs goes on, and the next agent looks after it: {names}")
        else:
            self.say("Stopped.")

    def _beat(self) -> None:
        if time.monotonic() >= self._beat_at:
            if not beat_agent(self.backend.db, self._pk):  # it slept for long, and counted as gone
                self._pk = add_agent(self.backend.db)
            self._beat_at = time.monotonic() + BEAT_SECONDS

    def _look_after(self) -> None:
        if not self._drivers:
            return
        running = {run.pk: run for run in local_runs.running(self.backend.db)}
        for driver in list(self._drivers):
            try:
                self._look_at(driver, running.get(driver.run.pk))
                driver.problem = ""
            except MetadataError:
                raise
            except Exception as error:  # of one run: the others go on, and this one is looked at again
                problem = f"{driver.run.pathspec} can't be looked after: {error}"
                if problem != driver.problem:
                    self.say(problem)
                driver.problem = problem

    def _look_at(self, driver: Driver, local: LocalRun | None) -> None:
        if local is not None and local.claims == driver.run.claims:
            driver.run = local
            if local.agent_pk != self._pk:
                local_runs.take_over(self.backend.db, local, self._pk)
        if driver.runs:
            if local is not None and local.wanted is None and driver.deadline is not None:
                self._enforce(driver)
            if driver.run.wanted is not None:
                driver.end()
            return
        ended = driver.settle()
        if ended is not None:
            self._drivers.remove(driver)
            self._ended(ended)

    def _enforce(self, driver: Driver) -> None:
        if driver.deadline is not None and now() > driver.deadline:
            self.say(f"{driver.run.pathspec} takes longer than --workflow-timeout; it is told to end")
            local_runs.want(self.backend.db, driver.run.pk, "timed-out")
            driver.run = driver.run._replace(wanted="timed-out")

    def _ended(self, run: LocalRun) -> None:
        if run.status in ("queued", "running"):
            return  # another agent has taken this one for gone, and looks after the run
        if run.status != "succeeded":
            self.failed += 1
        reason = f": {run.reason}" if run.reason else ""
        self.say(f"{run.pathspec} has ended: {run.status}{reason}")

    def _adopt(self) -> None:
        """Look after runs whose agent is gone."""
        if time.monotonic() < self._adopted_at:
            return
        self._adopted_at = time.monotonic() + ADOPT_SECONDS
        db = self.backend.db
        known = {driver.run.pk for driver in self._drivers}
        orphans = [run for run in local_runs.running(db) if run.pk not in known]
        if not orphans:
            return
        # What this agent has taken up and does not know of was cut off by a database that went away.
        living = {*living_agents(db)} - {self._pk}
        for run in orphans:
            if run.agent_pk in living:
                continue
            if run.pid is None and run.wanted is None:
                if local_runs.stored_run(db, run) is None and local_runs.give_back(db, run):
                    self.say(f"{run.pathspec} waits again: its agent was gone before it began")
            elif self._may_take(run) and local_runs.take_over(db, run, self._pk):
                self.say(f"Looking after {run.pathspec}, whose agent is gone")
                self._drivers.append(Driver.of(self.backend, run))

    def _may_take(self, run: LocalRun) -> bool:
        """Whether this agent can know how the run is doing."""
        if run.is_here:
            return True
        stored = local_runs.stored_run(self.backend.db, run)
        if stored is None:
            return now() - (run.started_at or 0) > NOT_BEGUN * 1e6
        return stored.status in ENDS or liveness.status(stored) == "lost"

    def _queue(self) -> None:
        for start in self._watched.due():
            self.say(
                start.why if start.run is None else f"{start.run.pathspec} of {start.run.name} is due: {start.why}"
            )

    def _remove(self) -> None:
        """Remove old events, some at each turn."""
        if time.monotonic() >= self._removed_at and not remove_old_events(self.backend.db):
            self._removed_at = time.monotonic() + REMOVE_SECONDS

    def _start(self) -> None:
        while len(self._drivers) < self.max_runs:
            run = local_runs.claim(self.backend.db, self._pk)
            if run is None:
                return
            if run.status != "running":
                self._ended(run)
                continue
            try:
                driver = Driver.start(self.backend, run)
            except MetadataError:
                raise  # nothing was started: it is found once the database is there again
            except (OSError, MetaflowException) as error:
                local_runs.finish(self.backend.db, run.pk, run.claims, "failed", f"It can't be started: {error}")
                self._ended(local_runs.run(self.backend.db, run.pk))
                continue
            assert driver.process is not None
            self.say(f"{run.pathspec} of {run.name} begins, as process {driver.process.pid} on {here()}")
            self._drivers.append(driver)
