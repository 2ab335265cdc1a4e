"""Deploys flow files to production: ``Deployer("flow.py").airflow().create()``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from metaflow_core.errors import CommandException, MetaflowException, MetaflowNotFound, MetaflowUsageError, table
from metaflow_core.names import advise, is_id, show
from metaflow_core.results import Run

from metaflow.runner import Executing, FlowFile, Place, words_of

if TYPE_CHECKING:
    from collections.abc import Generator

POLL_SECONDS = 0.5
# The program `metaflow`, wherever it is, without what lies in the working directory.
_METAFLOW = "import sys; sys.path[:] = filter(None, sys.path); from metaflow_core.cli.metaflow import main; main()"


class Deployer(FlowFile):
    """Deploys a flow file, in Python or in R, to an orchestrator.

    Arguments are those of :class:`metaflow.Runner`: ``show_output``, ``profile``, ``env``, ``cwd``, and options that
    stand before the command, such as ``branch="fixed"`` and ``production=True`` of a flow with ``@project``.
    ``MetaflowException`` when there is no such file.

        deployed = Deployer("train.py", production=True).airflow(max_workers=10).create(tags=["nightly"])
        triggered = deployed.trigger(alpha=0.5)
        triggered.wait_for_run()
        print(triggered.status, triggered.run)

    Orchestrators of plugins are methods too: ``my-orchestrator`` is ``deployer.my_orchestrator()``.
    """

    def step_functions(self, **options: Any) -> DeployerTarget:
        """AWS Step Functions. ``options`` are those of its ``create``, as for :meth:`DeployerTarget.create`."""
        return DeployerTarget(self, "step-functions", options)

    def argo_workflows(self, **options: Any) -> DeployerTarget:
        """Argo Workflows; see :meth:`step_functions`."""
        return DeployerTarget(self, "argo-workflows", options)

    def airflow(self, **options: Any) -> DeployerTarget:
        """Apache Airflow; see :meth:`step_functions`."""
        return DeployerTarget(self, "airflow", options)

    def local(self, **options: Any) -> DeployerTarget:
        """The orchestrator that comes with this package, for one server; see :meth:`step_functions`."""
        return DeployerTarget(self, "local", options)

    def __getattr__(self, name: str) -> Callable[..., DeployerTarget]:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        from metaflow_core.cli.arguments import orchestrators

        known = orchestrators()
        if name not in known:
            raise AttributeError(f"There is no orchestrator {name!r}. {advise(name, known, 'Orchestrators')}")
        return lambda **options: DeployerTarget(self, known[name], options)

    def __dir__(self) -> list[str]:
        from metaflow_core.cli.arguments import orchestrators

        return sorted({*super().__dir__(), *orchestrators()})


class DeployerTarget:
    """A flow file and the orchestrator to which it goes."""

    def __init__(self, deployer: FlowFile, orchestrator: str, options: Mapping[str, Any]) -> None:
        self._deployer, self._orchestrator = deployer, orchestrator
        self._given = dict(options)
        self._words(options)

    def create(self, **options: Any) -> DeployedFlow:
        """Deploy the flow, or a new version of it.

        ``options`` are those of the command ``create``: ``authorize``, ``generate_new_token``, ``tags``,
        ``max_workers``, ``workflow_timeout``, ... ``MetaflowUsageError`` for one that there is not,
        ``IncorrectProductionToken`` when others have deployed the flow and ``authorize`` is not their token. Whatever
        else is wrong is the error that the command line would print, and nothing is deployed.
        """
        return self._deployed(_finished(self._begin(options)))

    async def async_create(self, **options: Any) -> DeployedFlow:
        """As :meth:`create`, while other coroutines go on."""
        return self._deployed(await _ended(self._begin(options)))

    def _begin(self, options: Mapping[str, Any]) -> _Command:
        words = self._words({**self._given, **options})
        return self._deployer._add(_Command(self._deployer, [self._orchestrator, "create", *words]))

    def _words(self, options: Mapping[str, Any]) -> list[str]:
        from metaflow_core.cli.arguments import options_of, orchestrators

        if self._orchestrator not in orchestrators().values():
            raise MetaflowUsageError(
                f"No installed plugin has the orchestrator {self._orchestrator}. There are: "
                f"{', '.join(sorted(orchestrators().values())) or 'none'}."
            )
        where = f"{self._orchestrator.replace('-', '_')}().create()"
        return words_of(options, options_of(self._orchestrator, "create"), where)

    def _deployed(self, command: _Command) -> DeployedFlow:
        facts = json.loads(command.answer())
        place = _Place.of(self._deployer)
        command.cleanup()
        return DeployedFlow(place, facts)

    def __repr__(self) -> str:
        return f"<DeployerTarget {os.path.basename(self._deployer.flow_file)}: {self._orchestrator}>"


class DeployedFlow:
    """A flow that is deployed to an orchestrator.

    ``name`` is that of the deployment, ``flow_name`` the flow's, ``orchestrator`` as on the command line,
    ``production_token`` what others show to deploy it, ``handle`` what the orchestrator calls it.
    """

    def __init__(self, place: _Place, facts: Mapping[str, Any]) -> None:
        self._place = place
        self.name: str = facts["name"]
        self.flow_name: str = facts["flow_name"]
        self.orchestrator: str = facts["orchestrator"]
        self.production_token: str = facts["production_token"]
        self.handle: str = facts["handle"]

    @classmethod
    def from_deployment(
        cls,
        identifier: str,
        orchestrator: str | None = None,
        profile: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> DeployedFlow:
        """What is deployed under a name, or what the orchestrator calls ``identifier``. No file of the flow is needed.

        ``MetaflowNotFound`` when there is none, ``CommandException`` when several ``orchestrator`` have one.
        """
        every = list_deployed_flows(orchestrator, None, profile, env, cwd)
        found = [one for one in every if identifier in (one.name, one.handle)]
        if len(found) > 1:
            names = ", ".join(one.orchestrator for one in found)
            raise CommandException(f"{identifier} is deployed on {names}. Say which one: orchestrator=...")
        if not found:
            on = f" on {orchestrator}" if orchestrator else ""
            advice = advise(identifier, [one.name for one in every], "There are")
            raise MetaflowNotFound(f"Nothing is deployed as {identifier}{on}. {advice}")
        return found[0]

    def trigger(self, **parameters: Any) -> TriggeredRun:
        """Start a run, with parameters of the flow and options of the orchestrator's ``trigger``.

        ``MetaflowUsageError``, before anything starts, for an unknown, missing or wrong parameter.
        """
        return self._triggered(_finished(self._start(parameters)))

    async def async_trigger(self, **parameters: Any) -> TriggeredRun:
        """As :meth:`trigger`, while other coroutines go on."""
        return self._triggered(await _ended(self._start(parameters)))

    def list_runs(self, *statuses: str) -> list[TriggeredRun]:
        """Its runs, the latest first; those with one of ``statuses``: ``"running"``, ``"failed"``, ..."""
        from metaflow_core.deployment.interface import STATUSES

        for status in statuses:
            if status not in STATUSES:
                raise MetaflowUsageError(f"There is no status {status!r}. {advise(status, STATUSES, 'They are')}")
        text = self._answer(["list-runs", *(f"--{status}" for status in statuses), "--json"])
        return [TriggeredRun(self, json.loads(line)) for line in text.splitlines()]

    def run(self, run_id: str) -> TriggeredRun:
        """The run with this id. ``MetaflowNotFound`` when the orchestrator has none."""
        if not is_id(run_id.rpartition("/")[2] if isinstance(run_id, str) else run_id):
            raise MetaflowUsageError(
                f"run() takes the id of a run, such as 'airflow-4a56ce8e4c0d5530', not {show(run_id)}."
            )
        return TriggeredRun(self, json.loads(self._answer(["status", run_id, "--json"])))

    def status(self) -> dict[str, Any]:
        """What is deployed: ``owner``, ``created_at`` (seconds since 1970), ``schedule``, ``triggers``, ..."""
        found: dict[str, Any] = json.loads(self._answer(["status", "--json"]))
        return found

    def delete(self, authorize: str | None = None) -> None:
        """Remove it from the orchestrator. Its runs and its production token stay."""
        self._answer(["delete", *([] if authorize is None else ["--authorize", authorize])])

    def _start(self, parameters: Mapping[str, Any]) -> _Command:
        from metaflow_core.cli.arguments import options_of, parameter_words

        known = options_of(self.orchestrator, "trigger")
        words = ["trigger"]
        for name, value in parameters.items():
            if value is not None:
                words += known[name].words(value) if name in known else parameter_words(name, value)
        return _Command(self._place, [self.orchestrator, self.name, *words], "trigger")

    def _triggered(self, command: _Command) -> TriggeredRun:
        facts = json.loads(command.answer())
        command.cleanup()
        return TriggeredRun(self, facts)

    def _answer(self, words: list[str]) -> str:
        place = self._place.quiet()
        command = _finished(_Command(place, [self.orchestrator, self.name, *words], None))
        text = command.stdout
        command.cleanup()
        return text

    def __repr__(self) -> str:
        return f"<DeployedFlow {self.name}: {self.orchestrator}>"


class TriggeredRun:
    """A run of a deployed flow: ``run_id``, ``pathspec``, ``handle`` (what the orchestrator calls it)."""

    def __init__(self, deployed_flow: DeployedFlow, facts: Mapping[str, Any]) -> None:
        self.deployed_flow = deployed_flow
        self.run_id: str = facts["run_id"]
        self.pathspec = f"{deployed_flow.flow_name}/{self.run_id}"
        self.handle: str = facts.get("handle", "")

    @property
    def run(self) -> Run | None:
        """The run, whatever its namespace; None until its first task has begun."""
        try:
            return Run(self.pathspec, _namespace_check=False)
        except MetaflowNotFound:
            return None

    @property
    def status(self) -> str:
        """What the orchestrator says: ``queued``, ``running``, ``succeeded``, ``failed``, ``terminated``, ...

        It is asked each time.
        """
        return str(json.loads(self.deployed_flow._answer(["status", self.run_id, "--json"]))["status"])

    def terminate(self, authorize: str | None = None) -> None:
        """End it. ``IncorrectProductionToken`` when others have deployed the flow: ``authorize`` is their token."""
        token = [] if authorize is None else ["--authorize", authorize]
        self.deployed_flow._answer(["terminate", self.run_id, *token])

    def wait_for_run(self, timeout: float | None = None, check_interval: float = POLL_SECONDS) -> Run:
        """Wait until the run has begun, at most ``timeout`` seconds. ``MetaflowException`` when it has not by then."""
        waiting = self._waiting(timeout)
        while (found := next(waiting)) is None:
            time.sleep(check_interval)
        return found

    async def async_wait_for_run(self, timeout: float | None = None, check_interval: float = POLL_SECONDS) -> Run:
        """As :meth:`wait_for_run`, while other coroutines go on."""
        waiting = self._waiting(timeout)
        while (found := next(waiting)) is None:
            await asyncio.sleep(check_interval)
        return found

    def _waiting(self, timeout: float | None) -> Generator[Run | None, None, None]:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            found = self.run
            if found is None and end is not None and time.monotonic() > end:
                raise MetaflowException(
                    f"{self.pathspec} has not begun within {timeout:g} seconds. The orchestrator says that it is "
                    f"{self.status}."
                )
            yield found

    def __repr__(self) -> str:
        return f"<TriggeredRun {self.pathspec}>"


def list_deployed_flows(
    orchestrator: str | None = None,
    flow_name: str | None = None,
    profile: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> list[DeployedFlow]:
    """All that is deployed, by name: on one orchestrator or on any, of one flow or of all."""
    from metaflow_core.cli.arguments import orchestrators

    if orchestrator is not None:
        name = orchestrators().get(orchestrator.replace("-", "_"))
        if name is None:
            raise MetaflowUsageError(
                f"There is no orchestrator {orchestrator!r}. {advise(orchestrator, orchestrators(), 'There are')}"
            )
        orchestrator = name
    place = _Place(profile, env, cwd)
    command = _finished(_Command(place.quiet(), ["--json"], None))
    rows = [json.loads(line) for line in command.stdout.splitlines()]
    command.cleanup()
    return [
        DeployedFlow(
            place,
            {
                **{name: row[name] for name in ("name", "orchestrator", "handle")},
                "flow_name": row["flow"],
                "production_token": row["namespace"].partition(":")[2],
            },
        )
        for row in rows
        if orchestrator in (None, row["orchestrator"]) and flow_name in (None, row["flow"])
    ]


# --- how commands are carried out -------------------------------------------------------------------------------------


class _Place:
    """Where commands about deployments run: an environment and a directory, and no file."""

    flow_file = "metaflow"

    def __init__(
        self,
        profile: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        show_output: bool = True,
    ) -> None:
        self.cwd = os.path.abspath(cwd or os.getcwd())
        self.env = {**os.environ, **(env or {}), **({} if profile is None else {"METAFLOW_PROFILE": profile})}
        self.show_output = show_output

    @classmethod
    def of(cls, deployer: FlowFile) -> _Place:
        """That of a flow file: with its database and store, which are options before the command."""
        from metaflow_core.metadata.backend import store_variables

        given = deployer.options
        root = given.get("datastore_root")
        if root is not None and "://" not in (root := os.fspath(root)):
            root = os.path.join(deployer.cwd, root)
        variables = store_variables(given.get("datastore"), root)
        if given.get("metadata") not in (None, "local"):
            variables["METAFLOW_METADATA_URL"] = given["metadata"]
        return cls(None, {**deployer.env, **variables}, deployer.cwd, deployer.show_output)

    def quiet(self) -> _Place:
        return _Place(None, self.env, self.cwd, False)

    def _command(self, words: list[str], arguments: Mapping[str, Any]) -> list[str]:
        return [sys.executable, "-c", _METAFLOW, "deployments", *words]


class _Command(Executing):
    """A command whose answer, and whose error, are for a program."""

    def __init__(self, place: Place, words: list[str], answers: str | None = "create") -> None:
        self._answers = answers is not None
        super().__init__(place, words, {})

    def _extra(self) -> list[str]:
        return ["--deployer-attribute-file", str(self._folder / "answer.json")] if self._answers else []

    def _variables(self) -> dict[str, str]:
        from metaflow_core.cli.error_file import ERROR_FILE

        return {ERROR_FILE: str(self._folder / "error.json")}

    def answer(self) -> str:
        """What the command has written for this program."""
        file = self._folder / "answer.json"
        if not file.exists():  # `--only-json`, or `--help`
            raise MetaflowUsageError("Nothing was deployed: the command only printed something.")
        return file.read_text(encoding="utf-8")

    def _check_begun(self) -> None:
        if not self.returncode:
            return
        file = self._folder / "error.json"
        error = MetaflowException(f"The command has failed:\n{self.stderr.strip() or self.stdout.strip()}")
        if file.exists():
            told = json.loads(file.read_text(encoding="utf-8"))
            known = {one.__name__: one for one in table()}
            cls = known.get(told["type"], MetaflowException)
            error = (cls if cls.__init__ is MetaflowException.__init__ else MetaflowException)(told["message"])
        self.cleanup()
        raise error


def _finished(command: _Command) -> _Command:
    return command._finish()


async def _ended(command: _Command) -> _Command:
    await command.wait()
    command._check_begun()
    return command
