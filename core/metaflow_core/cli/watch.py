"""``metaflow watch``: run a command when a tag appears on a run, once per tag event."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from types import FrameType
from typing import Any

import click

from metaflow_core.cli.namespace_type import NAMESPACE
from metaflow_core.errors import CommandException
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.watching import Condition, WatchedEvent, claim, finish, open_watcher
from metaflow_core.names import check_tag, is_identifier, show
from metaflow_core.results import provider

_HELP = """Run COMMAND when a tag is added to a run, once per event.

COMMAND also runs for what happened while nobody watched: the place is kept in the metadata under the watcher's name.
An event of a run that has not ended waits for its end. {pathspec}, {flow}, {run_id}, {status}, {tag}, {action} and
{identity} in COMMAND are replaced, and METAFLOW_EVENT_PATHSPEC and so on, METAFLOW_EVENT_AT and METAFLOW_EVENT_ID, are
in its environment. No shell reads them.

\b
metaflow watch --flow TrainFlow --tag production -- python deploy.py run --source {pathspec}
"""


@click.command(help=_HELP, context_settings={"ignore_unknown_options": False})
@click.option("--flow", metavar="FLOW", help="Runs of this flow. By default of every flow.")
@click.option(
    "--tag", "tags", multiple=True, required=True, metavar="TAG", help="The tag. May be repeated: any of them."
)
@click.option(
    "--namespace", type=NAMESPACE, metavar="TAG", help="Only runs in this namespace. By default of everybody."
)
@click.option("--removed", is_flag=True, help="Act when the tag is removed, not when it is added.")
@click.option("--running", is_flag=True, help="Do not wait for the end of a run that has not ended.")
@click.option("--successful", is_flag=True, help="Only runs that ended well: pass over the others.")
@click.option("--name", metavar="NAME", help="Under which the place is kept. By default the other arguments.")
@click.option("--from-beginning", is_flag=True, help="A new watcher also acts on all earlier events.")
@click.option(
    "--once", is_flag=True, help="Act on what there is and exit, for cron. Exit code 1 when a command failed."
)
@click.option(
    "--interval", type=click.FloatRange(min=0.01), default=2.0, show_default=True, help="Seconds between looks."
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def watch(
    flow: str | None,
    tags: Sequence[str],
    namespace: str | None,
    removed: bool,
    running: bool,
    successful: bool,
    name: str | None,
    from_beginning: bool,
    once: bool,
    interval: float,
    command: Sequence[str],
) -> None:
    """Act on tags."""
    if flow is not None and not is_identifier(flow):
        raise click.BadParameter(f"{show(flow)} is no name of a flow.", param_hint="--flow")
    if running and successful:
        raise click.UsageError("--running and --successful exclude each other.")
    if shutil.which(command[0]) is None:
        raise CommandException(f"There is no command {show(command[0])} to run when a tag comes.")
    condition = Condition(
        flow, [check_tag(tag) for tag in tags], "removed" if removed else "added", namespace or None, running
    )
    backend = provider.backend()
    flags = [word for word, given in (("running", running), ("successful", successful)) if given]
    asked = [flow or "*", *condition.tags, condition.action, namespace or "*", *flags, "--", *command]
    kept_as = name or " ".join(map(shlex.quote, asked))
    watcher, new = open_watcher(backend.db, kept_as, from_beginning)
    which = " or ".join(map(show, condition.tags))
    where = f"runs of {flow}" if flow else "any run"
    since = ("from the beginning" if from_beginning else "from now on") if new else "from where it was left"
    if not once:
        click.echo(f"Watching for the tag {which} on {where}, {since}. Ctrl-C stops.", err=True)
    watching = _Watching(backend.db, watcher, condition, command, successful)
    sys.exit(watching.until_stopped(interval, once))


class _Watching:
    """The loop: claim an event, run the command, record how it ended."""

    def __init__(
        self, db: Database, watcher: int, condition: Condition, command: Sequence[str], successful: bool
    ) -> None:
        self.db, self.watcher, self.condition = db, watcher, condition
        self.command, self.successful = command, successful
        self.process: subprocess.Popen[bytes] | None = None
        self.stopping = False

    def until_stopped(self, interval: float, once: bool) -> int:
        """Act on events as they come. The exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        failed = False
        try:
            while not self.stopping:
                event = claim(self.db, self.watcher, self.condition)
                if event is not None:
                    failed = not self._act(event) or failed
                elif once:
                    break
                else:
                    time.sleep(interval)
        except KeyboardInterrupt:
            pass
        return int(once and failed)

    def _act(self, event: WatchedEvent) -> bool:
        """Whether the command succeeded."""
        place = f"{event.flow}/{event.run_id}"
        if self.successful and event.status != "completed":
            finish(self.db, self.watcher, event.pk, 0)
            _say(f"{place}: {event.tag} {event.action}, but the run is {event.status}: passed over")
            return True
        again = ", again: it was interrupted" if event.again else ""
        _say(f"{place}: {event.tag} {event.action} by {event.identity}{again}")
        facts = {
            "pathspec": place,
            "flow": event.flow,
            "run_id": event.run_id,
            "status": event.status,
            "tag": event.tag,
            "action": event.action,
            "identity": event.identity,
        }
        began = time.monotonic()
        code = self._run([_fill(word, facts) for word in self.command], facts, event)
        finish(self.db, self.watcher, event.pk, code)
        seconds = time.monotonic() - began
        _say(f"{place}: {'done' if code == 0 else f'the command failed, exit code {code}'} after {seconds:.1f} s")
        return code == 0

    def _run(self, command: list[str], facts: dict[str, str], event: WatchedEvent) -> int:
        more = {"at": f"{event.at / 1e6:.6f}", "id": str(event.pk)}
        variables = {f"METAFLOW_EVENT_{name.upper()}": value for name, value in {**facts, **more}.items()}
        sys.stdout.flush()
        try:
            # A session of its own: Ctrl-C stops the watcher after the command, not in the middle of it.
            self.process = subprocess.Popen(
                command, env={**os.environ, **variables}, start_new_session=True, preexec_fn=_end_with_parent
            )
        except OSError as error:
            raise CommandException(
                f"The command {show(command[0])} can't be started: {error.strerror}. "
                "The event is kept for the next watch."
            ) from None
        code = self.process.wait()
        self.process = None
        return code if code >= 0 else 128 - code

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """First let the command end, then stop; the second time stop the command, too."""
        process = self.process
        if process is None:
            raise KeyboardInterrupt
        if self.stopping:
            os.killpg(process.pid, signal.SIGTERM)
        else:
            self.stopping = True
            click.echo("Stopping when the command has ended; once more stops the command.", err=True)


def _fill(word: str, facts: dict[str, str]) -> str:
    """``word`` with ``{pathspec}`` and so on replaced, and every other brace as it is."""
    return re.sub("{(" + "|".join(facts) + ")}", lambda found: facts[found[1]], word)


def _end_with_parent() -> None:
    """Let Linux end the command when the watcher is killed, so that acting again does not overlap (prctl(2))."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))


def _say(text: Any) -> None:
    click.echo(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}")
