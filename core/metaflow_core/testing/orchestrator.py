"""What every orchestrator's plugin must do with a deployment plan, as tests to run against yours.

Subclass the contract in a test file, give it the orchestrator, and say how its document is read:

    import json
    import pytest
    from metaflow_core.testing.orchestrator import OrchestratorContract

    class TestMine(OrchestratorContract):
        @pytest.fixture
        def orchestrator(self):
            return Mine()

        def read(self, document):
            return json.loads(document)

No test needs the service, or credentials. That what is deployed gives the same results as ``run`` is for tests of your
own, with the service or something that acts like it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from metaflow_core.deployment.interface import Orchestrator
from metaflow_core.deployment.plan import DeploymentPlan, PlanEvent, PlanNode, PlanParameter, PlanTrigger
from metaflow_core.deployment.schedule import Schedule
from metaflow_core.errors import CommandException

HOSTILE = [
    "'; rm -rf / #",
    '"""\n"\\',
    "{{workflow.name}} {{ run_id }} {% raw %}",
    "$(id) `id` ${HOME} $$.Execution.Id States.Format('{}')",
    "line\nbreak\ttab\r\x07 é 漢 \U0001f600",
    "<!--</script>&amp; key: [value, *alias, &anchor] # comment",
]


def _plan(name: str, nodes: list[PlanNode], **more: Any) -> DeploymentPlan:
    program = '{"package":"0f","script":"flow.py","folder":".","language":"python","arguments":[]}'
    return DeploymentPlan(
        name=name,
        flow=name.rpartition(".")[2],
        orchestrator="",
        nodes={node.step: node for node in nodes},
        id=7,
        owner="anne",
        program=program,
        end_event=f"metaflow.{name}.end",
        variables={
            "METAFLOW_METADATA_URL": "postgresql://anne@db.example/runs",
            "METAFLOW_DEFAULT_DATASTORE": "s3://bucket/prefix",
            "METAFLOW_USER": "anne",
        },
        **more,
    )


def plans() -> dict[str, DeploymentPlan]:
    """A plan for each thing that a flow can do, by what that is."""
    start = PlanNode("start", "linear", ("end",), is_start=True)
    end = PlanNode("end", "end", ())
    fan = (("start", "each"),)
    inner = (*fan, ("each", "leaf"))
    left, right = (("start", "left"),), (("start", "right"),)
    return {
        "linear": _plan("PlainFlow", [start, end]),
        "branches": _plan(
            "SplitFlow",
            [
                replace(start, kind="split", targets=("left", "right"), join="join"),
                PlanNode("left", "linear", ("join",), left),
                PlanNode("right", "linear", ("join",), right),
                PlanNode("join", "linear", ("end",), is_join=True),
                end,
            ],
        ),
        "nested foreach": _plan(
            "NestedFlow",
            [
                replace(start, kind="foreach", targets=("each",), join="outer"),
                PlanNode("each", "foreach", ("leaf",), fan, join="inner", fans=("start",)),
                PlanNode("leaf", "linear", ("inner",), inner, fans=("start", "each")),
                PlanNode("inner", "linear", ("outer",), fan, is_join=True, fans=("start",)),
                PlanNode("outer", "linear", ("end",), is_join=True),
                end,
            ],
        ),
        "switch": _plan(
            "SwitchFlow",
            [
                replace(start, kind="switch", targets=("one", "two"), cases={"a": "one", "b": "two"}),
                PlanNode("one", "linear", ("end",)),
                PlanNode("two", "linear", ("end",)),
                end,
            ],
        ),
        "switch in a foreach": _plan(
            "ChoicesFlow",
            [
                replace(start, kind="foreach", targets=("each",), join="join"),
                PlanNode("each", "switch", ("one", "two"), fan, cases={"a": "one", "b": "two"}, fans=("start",)),
                PlanNode("one", "linear", ("join",), fan, fans=("start",)),
                PlanNode("two", "linear", ("join",), fan, fans=("start",)),
                PlanNode("join", "linear", ("end",), is_join=True),
                end,
            ],
        ),
        "loop": _plan(
            "LoopFlow",
            [
                replace(start, targets=("turn",)),
                PlanNode("turn", "switch", ("turn", "end"), loops_to=("turn",), cases={"a": "turn", "b": "end"}),
                end,
            ],
        ),
        "everything of one step": _plan(
            "project.user.anne.OneFlow",
            [replace(start, attempts=3, wait=60.0, seconds=3600.0), end],
            parameters=[
                PlanParameter("alpha", "float", "0.5", False, "How much."),
                PlanParameter("top-k", "int", None, True, ""),
            ],
            tags=["one", "two"],
            schedule=Schedule("0 10 * * *", "Europe/Berlin"),
            project="project",
            branch="user.anne",
            max_workers=5,
            workflow_timeout=7200.0,
        ),
        "event": _plan(
            "EventFlow", [start, end], triggers=[PlanTrigger((PlanEvent("metaflow.Other.end", {}, "Other"),))]
        ),
    }


class OrchestratorContract:
    """Subclass this, with the fixture ``orchestrator`` and the method :meth:`read`."""

    refuses: frozenset[str] = frozenset()  # of `plans()`: what the orchestrator can't do

    @pytest.fixture
    def orchestrator(self) -> Orchestrator:
        """An orchestrator without credentials."""
        raise NotImplementedError

    def read(self, document: str) -> Any:
        """The document as dicts, lists and scalars."""
        raise NotImplementedError

    def options(self, command: str) -> dict[str, Any]:
        """What its own options are when none of them is given."""
        return {}

    def made(self, orchestrator: Orchestrator, plan: DeploymentPlan) -> str:
        plan = replace(plan, orchestrator=orchestrator.name)
        orchestrator.check(plan, self.options("create"))
        return orchestrator.render(plan, self.options("create"))

    def test_it_says_what_it_is(self, orchestrator: Orchestrator) -> None:
        for text in (orchestrator.name, orchestrator.title):
            assert text and text.isprintable()
        assert orchestrator.name == orchestrator.name.lower()
        assert isinstance(orchestrator.shares_files, bool) and not isinstance(orchestrator.places, str)
        for command in ("create", "trigger", "list-runs", "status", "terminate", "delete"):
            assert all(option.name for option in orchestrator.options(command))

    @pytest.mark.parametrize("what", list(plans()))
    def test_a_plan_is_rendered_in_one_way_or_refused(self, orchestrator: Orchestrator, what: str) -> None:
        plan = plans()[what]
        if what in self.refuses:
            with pytest.raises(CommandException) as caught:
                self.made(orchestrator, plan)
            assert len(str(caught.value)) > 40  # the reason, and the way out
            return
        document = self.made(orchestrator, plan)
        assert document == self.made(orchestrator, plan)
        text = "\0".join(_texts(self.read(document)))
        for step in plan.nodes:
            assert step in text
        assert "METAFLOW_DEPLOYMENT" in text and "PRODUCTION_TOKEN" not in text

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_what_users_write_stays_text(self, orchestrator: Orchestrator, hostile: str) -> None:
        def plan(text: str) -> DeploymentPlan:
            parameters = [PlanParameter("alpha", "str", text, False, text)]
            given = plans()["linear"]
            nodes = {name: replace(node, doc=text) for name, node in given.nodes.items()}
            return replace(given, nodes=nodes, doc=text, owner=text, parameters=parameters, tags=[text])

        plain, other = (self.read(self.made(orchestrator, plan(text))) for text in ("plain", hostile))
        assert _shape(plain) == _shape(other)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
    else:
        yield str(value)


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shape(inner) for inner in value]
    return type(value).__name__
