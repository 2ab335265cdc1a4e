"""``@trigger`` and ``@trigger_on_finish``: deployed flows that events start, and which fields of those are parameters.

All events of one decorator are needed; when there are several decorators, any of them starts the flow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from metaflow_core.decorators.interface import FlowDecorator
from metaflow_core.decorators.project import ProjectInfo, is_project_word
from metaflow_core.errors import InvalidDecoratorAttribute
from metaflow_core.names import MAX_NAME, advise, is_identifier, show, split_pathspec

if TYPE_CHECKING:
    from metaflow_core.graph.model import FlowDef
    from metaflow_core.metadata.database import Database

FACT = "trigger"  # of a run's parameters: the events that have started it, as JSON


class TriggerEvent(NamedTuple):
    """An event that is waited for. ``parameters`` has, by parameter, the field of its payload with the value."""

    name: str
    parameters: Mapping[str, str] = {}
    flow: str | None = None  # whose end it is: the flow's name, in a project <project>.<branch>.<Flow>


class Trigger(NamedTuple):
    """What starts a flow: all of these events."""

    events: tuple[TriggerEvent, ...]
    options: Mapping[str, Any] = {}  # of one orchestrator alone


class _Triggering(FlowDecorator):
    one: ClassVar[str]  # the arguments: for one, and for several
    several: ClassVar[str]
    repeatable = True

    def trigger(self, flow: FlowDef, project: ProjectInfo | None) -> Trigger:
        """What the decorator waits for. ``InvalidDecoratorAttribute`` when it says nothing sensible."""
        one, several = self.attributes[self.one], self.attributes[self.several]
        if one is not None and several:
            raise self._refuse(f"says {self.one} and {self.several}. Keep one of them")
        if several is not None and not isinstance(several, (list, tuple)):
            several = [several]
        given = list(several or []) if one is None else [one]
        if not given:
            raise self._refuse(f"waits for nothing. Say {self.one}, or a list of {self.several}")
        options = self.attributes["options"]
        if not isinstance(options, Mapping) and options:
            raise self._refuse(f"options must be a dict, not {show(options)}")
        events = tuple(self.event(item, flow, project) for item in given)
        names = [event.name for event in events]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise self._refuse(f"waits for {twice!r} twice")
        return Trigger(events, dict(options or {}))

    def event(self, given: Any, flow: FlowDef, project: ProjectInfo | None) -> TriggerEvent:
        raise NotImplementedError

    def _parts(self, given: Any, kind: str, known: tuple[str, ...]) -> Mapping[str, Any]:
        if isinstance(given, str):
            return {"name": given}
        if not isinstance(given, Mapping):
            raise self._refuse(f"{kind} must be a name, or a dict with a name, not {show(given)}")
        for key in given:
            if key not in known:
                raise self._refuse(f"{kind} has no {key!r}. {advise(str(key), known, 'It may have')}".rstrip("."))
        if given.get("name") is None:
            raise self._refuse(f"{kind} {show(dict(given))} needs a name")
        return given

    def _refuse(self, why: str) -> InvalidDecoratorAttribute:
        return InvalidDecoratorAttribute(f"@{self.name} on {self.where}: {why}.")


class OnEvent(_Triggering):
    """Start the deployed flow when the ``event`` has come, or all of the ``events``."""

    name = "trigger"
    one, several = "event", "events"
    defaults: ClassVar[Mapping[str, Any]] = {"event": None, "events": None, "options": {}}

    def check(self, flow: FlowDef) -> None:
        self.trigger(flow, None)

    def trigger(self, flow: FlowDef, project: ProjectInfo | None) -> Trigger:
        found = super().trigger(flow, project)
        seen: dict[str, str] = {}
        for event in found.events:
            for parameter in event.parameters:
                if parameter in seen:
                    raise self._refuse(
                        f"the parameter {parameter!r} is taken from two events, {seen[parameter]} and {event.name}"
                    )
                seen[parameter] = event.name
        return found

    def event(self, given: Any, flow: FlowDef, project: ProjectInfo | None) -> TriggerEvent:
        parts = self._parts(given, "an event", ("name", "parameters"))
        name = parts["name"]
        if not isinstance(name, str) or not name or name != name.strip() or not name.isprintable():
            raise self._refuse(f"{show(name)} can't name an event: use printable text without blanks around it")
        if len(name) > MAX_NAME:
            raise self._refuse(f"{show(name)} is too long for an event: at most {MAX_NAME} characters")
        return TriggerEvent(name, self._parameters(parts.get("parameters"), name, flow))

    def _parameters(self, given: Any, event: str, flow: FlowDef) -> dict[str, str]:
        """By the name of the parameter, the field of the payload."""
        pairs: list[Any]
        if given is None:
            pairs = []
        elif isinstance(given, Mapping):
            pairs = list(given.items())
        elif isinstance(given, (list, tuple)):
            pairs = [(item, item) if isinstance(item, str) else item for item in given]
        else:
            pairs = [(given, given)]
        known = {name: parameter.name for parameter in flow.parameters for name in (parameter.artifact, parameter.name)}
        found: dict[str, str] = {}
        for pair in pairs:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(x, str) and x for x in pair):
                raise self._refuse(
                    f"parameters of {event!r} must give, by parameter, a field of the payload: "
                    f"{{'alpha': 'field'}}, or ['alpha', ('beta', 'field')]; not {show(given)}"
                )
            if pair[0] not in known:
                advice = advise(pair[0], dict.fromkeys(known.values()), "Its parameters")
                raise self._refuse(
                    f"{event!r} is to give the parameter {pair[0]!r}, which the flow does not have. {advice}".rstrip(
                        "."
                    )
                )
            if known[pair[0]] in found:
                raise self._refuse(f"{event!r} is to give the parameter {pair[0]!r} twice")
            found[known[pair[0]]] = pair[1]
        return found


class OnFinish(_Triggering):
    """Start the deployed flow when a run of the ``flow`` has succeeded, or one of each of the ``flows``.

    In a project a flow that is named by its name alone is that of the same project and branch.
    """

    name = "trigger_on_finish"
    one, several = "flow", "flows"
    defaults: ClassVar[Mapping[str, Any]] = {"flow": None, "flows": None, "options": {}}

    def check(self, flow: FlowDef) -> None:
        in_project = any(spec.name == "project" for spec in flow.decorators)
        self.trigger(flow, ProjectInfo("project", "prod", True, f"project.prod.{flow.name}") if in_project else None)

    def options(self) -> list[Any]:
        import click

        return [
            click.Option(
                ["--trigger"],
                multiple=True,
                metavar="RUN",
                help="Run as if this run, such as TrainFlow/5, had started it; may be given several times.",
            )
        ]

    def event(self, given: Any, flow: FlowDef, project: ProjectInfo | None) -> TriggerEvent:
        parts = self._parts(given, "a flow", ("name", "project", "project_branch"))
        *before, name = str(parts["name"]).split(".")
        own, branch = parts.get("project"), parts.get("project_branch")
        if before:
            if len(before) not in (2, 3) or own is not None or branch is not None:
                raise self._refuse(
                    f"{show(parts['name'])} is no flow: write its name, or <project>.<branch>.<name> as in "
                    f"my_project.prod.TrainFlow"
                )
            own, branch = before[0], ".".join(before[1:])
        if not isinstance(parts["name"], str) or not is_identifier(name):
            raise self._refuse(f"{show(parts['name'])} can't name a flow")
        if project is not None:
            own, branch = own or project.name, branch or project.branch
        elif (own is None) != (branch is None):
            missing = "project_branch" if branch is None else "project"
            raise self._refuse(f"the flow {name} needs a {missing} too, because the flow {flow.name} is in no project")
        if own is None:
            return TriggerEvent(end_event(name, None), flow=name)
        if not is_project_word(own) or not _is_branch(branch):
            wrong = branch if is_project_word(own) else own
            raise self._refuse(
                f"{show(wrong)} is no {'branch' if is_project_word(own) else 'project'}. Projects are named by "
                f"lowercase letters, digits and underscores, branches are prod, prod.NAME, test.NAME and user.NAME"
            )
        qualified = f"{own}.{branch}.{name}"
        return TriggerEvent(f"metaflow.{qualified}.end", flow=qualified)


def triggers_of(flow: FlowDef, project: ProjectInfo | None) -> list[Trigger]:
    """What starts a deployment of the flow in this project and branch. ``InvalidDecoratorAttribute`` as in a check."""
    from metaflow_core.decorators.resolve import flow_decorators

    return [one.trigger(flow, project) for one in flow_decorators(flow) if isinstance(one, _Triggering)]


def end_event(flow_name: str, project: ProjectInfo | None) -> str:
    """The name of the event that is published when a deployed run of a flow has succeeded.

    >>> end_event("TrainFlow", None)
    'metaflow.TrainFlow.end'
    >>> end_event("TrainFlow", ProjectInfo("fraud", "prod", True, "fraud.prod.TrainFlow"))
    'metaflow.fraud.prod.TrainFlow.end'
    """
    return f"metaflow.{flow_name if project is None else f'{project.name}.{project.branch}.{flow_name}'}.end"


def given_trigger(db: Database, runs: list[str] | tuple[str, ...]) -> str | None:
    """The events that these runs, given as ``--trigger``, stand for, as JSON. None when there are none.

    ``MetaflowNotFound`` for a run that is not there.
    """
    from metaflow_core.metadata import recording, run_queries

    events = []
    for pathspec in runs:
        flow, run_id = split_pathspec(pathspec, ("flow", "run"))
        row = run_queries.run_by_pk(db, recording.find_run(db, flow, run_id).pk)
        tags = dict(tag.split(":", 1) for tag in run_queries.tags_of(db, [row.pk])[row.pk].system)
        project = f"{tags['project']}.{tags['project_branch']}." if "project_branch" in tags else ""
        events.append(
            {
                "name": f"metaflow.{project}{flow}.end",
                "id": pathspec,
                "time": row.finished_at or row.created_at,
                "type": "run",
                "payload": {"pathspec": pathspec},
            }
        )
    return json.dumps(events) if events else None


def recorded_trigger(db: Database, run_pk: int) -> str | None:
    """The events that have started a run, as JSON; None when it was a person or a schedule."""
    from metaflow_core.metadata.recording import PARAMETERS_STEP, PARAMETERS_TASK

    rows = db.execute(
        "SELECT m.value FROM tasks t JOIN task_metadata m ON m.task_pk = t.pk AND m.field = ?"
        " WHERE t.run_pk = ? AND t.step = ? AND t.id = ? ORDER BY m.pk DESC LIMIT 1",
        (FACT, run_pk, PARAMETERS_STEP, PARAMETERS_TASK),
    )
    return str(rows[0][0]) if rows else None


def _is_branch(branch: object) -> bool:
    if not isinstance(branch, str):
        return False
    kind, _, name = branch.partition(".")
    return branch == "prod" or (kind in ("prod", "test", "user") and is_project_word(name))
