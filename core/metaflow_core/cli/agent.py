"""``metaflow agent``: runs what is deployed to the local orchestrator."""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress
from datetime import datetime

import click

from metaflow_core.deployment.agent import Agent
from metaflow_core.engine.remote import without_password
from metaflow_core.engine.run import stay_in_project
from metaflow_core.errors import MetadataError
from metaflow_core.metadata.backend import open_backend

PAUSE = 10.0  # seconds before a database that can't be reached is asked again

_HELP = """Run what is deployed to the local orchestrator: python flow.py local create.

The agent starts the runs that are due: by their schedule, by events, or by `local trigger`. It goes on until it is
stopped (Ctrl-C, SIGTERM). Runs that have begun go on without it, and the next agent looks after them. Several agents
share the work, and never start a run twice.
"""


@click.command(help=_HELP)
@click.option("--once", is_flag=True, help="Run what is due and exit when it has ended. Exit code 1 when a run failed.")
@click.option("--max-runs", type=click.IntRange(min=1), default=4, show_default=True, help="Runs at a time.")
@click.option(
    "--interval", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="Seconds between looks."
)
def agent(once: bool, max_runs: int, interval: float) -> None:
    """Run deployed flows."""
    backend = open_backend()
    stay_in_project(backend)
    worker = Agent(backend, max_runs, _say)
    _say(f"Agent {os.getpid()} works for {without_password(backend.metadata_url)}.")
    woken = _listen(worker)
    waits = True
    while not worker.stopping and (waits or not once):
        try:
            waits = worker.turn()
        except MetadataError as error:
            _say(f"{error} Trying again.")
            waits = True
            select.select([woken], [], [], PAUSE)
            continue
        if not worker.stopping and (waits or not once):
            select.select([woken], [], [], interval)
            with suppress(BlockingIOError):
                os.read(woken, 4096)
    with suppress(MetadataError):
        worker.stop()
    sys.exit(int(once and worker.failed > 0))


def _listen(worker: Agent) -> int:
    """A file that can be read when a process has ended, or when the agent is to stop."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def stop(*_: object) -> None:
        worker.stopping = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return woken


def _say(text: str) -> None:
    with suppress(OSError):  # runs do not depend on who reads this
        click.echo(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}")
        sys.stdout.flush()
