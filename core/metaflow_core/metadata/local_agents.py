"""The agents of the local orchestrator, and which of them live."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

from metaflow_core.clock import now
from metaflow_core.machine import here, process_of
from metaflow_core.metadata import liveness
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.repeating import repeated


class AgentRow(NamedTuple):
    """An agent that was started, and has not said that it stops."""

    pk: int
    host: str
    pid: int
    process: str
    started_at: int
    heartbeat_at: int

    @property
    def lives(self) -> bool:
        """Whether its process is there, or, on another machine, has given a sign of life lately."""
        if self.host == here():
            return process_of(self.pid) == self.process
        return now() - self.heartbeat_at <= liveness.patience() * 1e6


@repeated
def add_agent(db: Database) -> int:
    """This process is an agent from now on. Those that are gone, and look after no run, are forgotten."""
    at = now()
    gone = [agent.pk for agent in _agents(db) if not agent.lives]
    with db.transaction():
        for pk in gone:
            db.execute(
                "DELETE FROM local_agents WHERE pk = ?"
                " AND pk NOT IN (SELECT agent_pk FROM local_runs WHERE status = 'running' AND agent_pk IS NOT NULL)",
                (pk,),
            )
        pk = db.execute(
            "INSERT INTO local_agents (host, pid, process, started_at, heartbeat_at) VALUES (?, ?, ?, ?, ?)"
            " RETURNING pk",
            (here(), os.getpid(), process_of(os.getpid()) or "", at, at),
        )[0][0]
    return int(pk)


@repeated
def beat_agent(db: Database, pk: int) -> bool:
    """Say that the agent lives. False when it was taken for dead, and forgotten."""
    with db.transaction(shared=True):
        return bool(db.execute("UPDATE local_agents SET heartbeat_at = ? WHERE pk = ? RETURNING pk", (now(), pk)))


@repeated
def remove_agent(db: Database, pk: int) -> None:
    """The agent stops. The runs that it has looked after are there for others."""
    with db.transaction(shared=True):
        db.execute("DELETE FROM local_agents WHERE pk = ?", (pk,))


def living_agents(db: Database) -> Collection[int]:
    """The ``pk`` of each agent that lives."""
    return {agent.pk for agent in _agents(db) if agent.lives}


def _agents(db: Database) -> list[AgentRow]:
    return [
        AgentRow(*row)
        for row in db.execute("SELECT pk, host, pid, process, started_at, heartbeat_at FROM local_agents ORDER BY pk")
    ]
