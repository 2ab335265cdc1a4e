"""An orchestrator for tests, which needs no service: it walks the plan of a deployment, one process per node.

As a plugin it is called ``toy``. What it has deployed, and what it knows of runs, are files in the folder
``TOY_FOLDER``. ``toy trigger`` walks to the end, or with ``--later`` in a process of its own. ``TOY_DEPLOY`` is what
happens during ``toy create``.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from metaflow_core.deployment.interface import Deployed, Deployment, Execution
from metaflow_core.deployment.plan import DeploymentPlan, PlanNode
from metaflow_core.errors import CommandException, MetaflowNotFound
from metaflow_core.hookspecs import hookimpl

PROGRAM = [sys.executable, "-m", "metaflow_core.cli.deployed"]


class NodeFailed(Exception):
    """All attempts at a node have failed."""


class Walker:
    """Carries out one run of a plan. ``env`` is added to the environment of nodes; ``at_once`` may run at a time."""

    def __init__(
        self, plan: DeploymentPlan, run_id: str, env: Mapping[str, str] | None = None, at_once: int = 2
    ) -> None:
        self.plan, self.run_id = plan, run_id
        self.env = {**os.environ, **(env or {})}
        self.nodes: list[tuple[str, str, int]] = []  # step, path and exit status of each process, as they ended
        self.output = ""
        self.trigger = ""
        self.in_group = False  # whether the nodes are in the group of this process, and end with it
        self._free = threading.Semaphore(at_once)
        self._lock = threading.Lock()

    def run(self, parameters: Mapping[str, Any] | None = None) -> bool:
        """Walk from the start to the end. Whether the run has succeeded."""
        try:
            self._line(self.plan.start.step, "", None, json.dumps(dict(parameters or {})))
        except NodeFailed:
            self.finish("failed")
            return False
        return True

    def node(self, step: str, path: str = "", parameters: str = "{}", env: Mapping[str, str] | None = None) -> Any:
        """One attempt at a node: what it tells, or None when it has failed."""
        done = self.process(step, path, parameters, env)
        out = done.communicate()[0]
        with self._lock:
            self.nodes.append((step, path, done.returncode))
            self.output += out
        if done.returncode:
            return None
        return json.loads(out.splitlines()[-1])

    def process(
        self, step: str, path: str = "", parameters: str = "{}", env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """The process of an attempt at a node, which has just been started."""
        node = self.plan[step]
        known = {**self.env, **self.plan.environment(node), "METAFLOW_RUN_ID": self.run_id, "METAFLOW_NODE_PATH": path}
        known["METAFLOW_NODE_RESULT"] = "-"
        if node.is_start:
            known["METAFLOW_NODE_PARAMETERS"] = parameters
            known["METAFLOW_NODE_TRIGGER"] = self.trigger
        return self._start("node", {**known, **(env or {})})

    def paths(self, step: str) -> list[str]:
        """What `paths` tells of a step."""
        known = {**self.env, **self.plan.environment(self.plan[step]), "METAFLOW_RUN_ID": self.run_id}
        out = self._start("paths", {**known, "METAFLOW_NODE_RESULT": "-"}).communicate()[0]
        found: list[str] = json.loads(out.splitlines()[-1])["paths"]
        return found

    def finish(self, status: str) -> int:
        """The orchestrator's own handler of the end."""
        known = {**self.env, **self.plan.environment(), "METAFLOW_RUN_ID": self.run_id, "METAFLOW_RUN_STATUS": status}
        done = self._start("finish", known)
        self.output += done.communicate()[0]
        return done.returncode

    def _start(self, command: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, command],
            env=dict(env),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=not self.in_group,
        )

    def _line(self, step: str, path: str, stop: str | None, parameters: str = "{}") -> None:
        """From a step up to, and without, the join that closes the split around it."""
        while step != stop:
            node = self.plan[step]
            told = self._attempts(node, path, parameters)
            if node.kind == "end":
                return
            if node.kind == "foreach":
                places = [(node.targets[0], "/".join(filter(None, [path, str(i)]))) for i in range(told["num_splits"])]
                self._all(places, node.join)
                step = str(node.join)
            elif node.kind == "split":
                self._all([(target, path) for target in node.targets], node.join)
                step = str(node.join)
            else:
                step = told["next"] if node.kind == "switch" else node.targets[0]

    def _attempts(self, node: PlanNode, path: str, parameters: str) -> Any:
        for _ in range(node.attempts):
            with self._free:
                told = self.node(node.step, path, parameters)
            if told is not None:
                return told
        raise NodeFailed(node.step)

    def _all(self, places: Sequence[tuple[str, str]], stop: str | None) -> None:
        failed: list[Exception] = []

        def one(step: str, path: str) -> None:
            try:
                self._line(step, path, stop)
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=one, args=place) for place in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]


# --- the plugin -------------------------------------------------------------------------------------------------------


class Toy:
    """See the module."""

    name = "toy"
    title = "Toy"
    shares_files = True
    places = ()

    def options(self, command: str) -> list[click.Parameter]:
        """``create --shade``, and ``trigger --later``."""
        if command == "create":
            return [click.Option(["--shade"], help="Of the toy."), click.Option(["--break", "break_"], is_flag=True)]
        return [click.Option(["--later"], is_flag=True)] if command == "trigger" else []

    def check(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        """Refuses one flow."""
        if plan.flow == "RefusedFlow":
            raise CommandException("Toy can't do that: it is refused.\nTake another flow.")

    def render(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> str:
        """The names of the steps."""
        return json.dumps({"steps": list(plan.nodes), "shade": options.get("shade")})

    def prepare(self, plan: DeploymentPlan, options: Mapping[str, Any]) -> None:
        """Nothing."""

    def deploy(self, plan: DeploymentPlan, document: str, options: Mapping[str, Any]) -> Deployed:
        """Keeps the plan."""
        if options["break_"]:
            raise CommandException("The toy is broken.")
        _happen(os.environ.get("TOY_DEPLOY", ""))
        with open(_folder() / f"{plan.name}.plan", "wb") as file:
            pickle.dump(plan, file)
        return Deployed(f"toy {plan.name}", {"shade": options["shade"]}, ["A note."])

    def trigger(self, deployment: Deployment, parameters: Mapping[str, str], options: Mapping[str, Any]) -> Execution:
        """Walks the plan."""
        run_id = _new_id()
        command = [sys.executable, __file__, str(_folder()), deployment.name, run_id, json.dumps(dict(parameters))]
        walk = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _record(run_id, deployment.name, status="running", started_at=time.time(), pid=walk.pid)
        if not options["later"]:
            walk.wait()
        return self.status(deployment, run_id, {})

    def list_runs(self, deployment: Deployment, statuses: Sequence[str], options: Mapping[str, Any]) -> list[Execution]:
        """The latest first."""
        found = [self.status(deployment, file.stem, {}) for file in _folder().glob("*.run")]
        found = [run for run in found if not statuses or run.status in statuses]
        return sorted(found, key=lambda run: run.started_at or 0.0, reverse=True)

    def terminate(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        """Kills what walks."""
        known = _known(run_id)
        os.killpg(known["pid"], signal.SIGTERM)
        _record(run_id, deployment.name, status="terminated", finished_at=time.time())
        return self.status(deployment, run_id, {})

    def status(self, deployment: Deployment, run_id: str, options: Mapping[str, Any]) -> Execution:
        """What the file says."""
        known = _known(run_id)
        return Execution(run_id, known["status"], known["started_at"], known.get("finished_at"), f"handle of {run_id}")

    def delete(self, deployment: Deployment, options: Mapping[str, Any]) -> None:
        """Forgets the plan."""
        (_folder() / f"{deployment.name}.plan").unlink(missing_ok=True)


@hookimpl
def open_orchestrator(name: str) -> Toy | None:
    """This one."""
    return Toy() if name == "toy" else None


@hookimpl
def orchestrator_names() -> list[str]:
    """Its name."""
    return ["toy"]


def plan_of(name: str) -> DeploymentPlan:
    """The plan that was deployed under a name."""
    with open(_folder() / f"{name}.plan", "rb") as file:
        found: DeploymentPlan = pickle.load(file)
    return found


def install(folder: Path) -> str:
    """Make a distribution with the plugin in ``folder``, and return what belongs on ``PYTHONPATH``."""
    info = folder / "plan_walker-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plan-walker\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metaflow_tandem.plugins]\ntoy = plan_walker\n")
    return os.pathsep.join([str(folder), os.path.dirname(os.path.abspath(__file__))])


def _happen(what: str) -> None:
    """While something is deployed: ``kill``, or ``wait PATH``, which makes PATH.waits and waits for PATH."""
    kind, _, path = what.partition(" ")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "wait":
        Path(f"{path}.waits").touch()
        while not Path(path).exists():
            time.sleep(0.01)


def _folder() -> Path:
    folder = Path(os.environ["TOY_FOLDER"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _new_id() -> str:
    number = 1
    while True:
        with suppress(FileExistsError):
            (_folder() / f"toy-{number}.id").touch(exist_ok=False)
            return f"toy-{number}"
        number += 1


def _known(run_id: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((_folder() / f"{run_id}.run").read_text())
    except FileNotFoundError:
        raise MetaflowNotFound(f"The toy has no run {run_id}.") from None
    return found


def _record(run_id: str, name: str, **facts: Any) -> None:
    file = _folder() / f"{run_id}.run"
    known = json.loads(file.read_text()) if file.exists() else {"name": name}
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({**known, **facts}))
    temporary.replace(file)


def _main() -> None:
    _, folder, name, run_id, parameters = sys.argv
    os.environ["TOY_FOLDER"] = folder
    while not (_folder() / f"{run_id}.run").exists():
        time.sleep(0.01)
    walker = Walker(plan_of(name), run_id)
    walker.in_group = True
    ended = walker.run(json.loads(parameters))
    _record(run_id, name, status="succeeded" if ended else "failed", finished_at=time.time(), output=walker.output)


if __name__ == "__main__":
    _main()
