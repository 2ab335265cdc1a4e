"""The deployment plan: what every orchestrator is to do with a flow, before one of them says it in its own words.

A plan is data. It has no value of a user's but defaults of parameters, and no secret. A plugin turns it into a state
machine, a workflow template or a DAG file; each task of that is a *node*: one step at one path. The path are the
indices of the foreach loops around the step, outermost first: ``""``, ``"3"``, ``"3/0"``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from metaflow_core.decorators.interface import Needs
    from metaflow_core.deployment.schedule import Schedule

NodeKind = Literal["linear", "split", "foreach", "parallel", "switch", "end"]
Scope = tuple[tuple[str, str], ...]  # of (step that splits, first step of the branch), outermost first

PROGRAM = ["-m", "metaflow_core.cli.deployed"]  # after the interpreter's name
PROGRAM_VARIABLE = "METAFLOW_DEPLOYMENT"  # of the environment of every node: `DeploymentPlan.program`


@dataclass(frozen=True, slots=True)
class PlanNode:
    """A step, as a place in a workflow.

    ``kind`` says how it leads on to ``targets``. ``cases`` of a switch are its targets by the text of the condition's
    value; a node tells the target and not the value. ``join`` is the step at which the branches, or the elements, of a
    split, a foreach or a gang (``parallel``, for orchestrators that have them) meet again. ``scope`` are the splits
    that are open around the step; a join is outside of the one that it closes.
    """

    step: str
    kind: NodeKind
    targets: tuple[str, ...]
    scope: Scope = ()
    is_start: bool = False
    is_join: bool = False
    join: str | None = None
    loops_to: tuple[str, ...] = ()  # those of the targets that lead back
    cases: Mapping[str, str] = field(default_factory=dict)
    fans: tuple[str, ...] = ()  # the steps whose foreach is open around it: one index of its path each
    attempts: int = 1  # how often the orchestrator starts the node at most
    wait: float = 0.0  # seconds between attempts
    seconds: float | None = None  # @timeout: enforced by the node itself, which is given some more by the orchestrator
    needs: Needs | None = None  # of @resources
    place: str | None = None  # what a decorator names: batch, kubernetes, dask
    place_attributes: Mapping[str, Any] = field(default_factory=dict)
    languages: tuple[str, ...] = ("python",)  # those that the machine must have
    doc: str = ""

    @property
    def depth(self) -> int:
        """How many indices its path has."""
        return len(self.fans)


class PlanParameter(NamedTuple):
    """A parameter of the flow. ``default`` is text as on the command line, or JSON; None: there is none."""

    name: str
    kind: str  # str, int, float, bool, json, file
    default: str | None
    required: bool
    help: str
    separator: str | None = None
    options: Mapping[str, Any] = {}  # of a file: is_text, encoding


class PlanEvent(NamedTuple):
    """An event for which a deployment waits. ``parameters`` has, by parameter, the field of the payload with its value.

    ``flow`` is set when the event is the end of a flow.
    """

    name: str
    parameters: Mapping[str, str] = {}
    flow: str | None = None


class PlanTrigger(NamedTuple):
    """The deployment starts when all of these events have come."""

    events: tuple[PlanEvent, ...]


@dataclass(slots=True)
class DeploymentPlan:
    """A flow for one orchestrator.

    ``name`` is that of the deployment: the flow's, or ``project.branch.Flow``. ``id`` is the number of this version of
    it in the metadata database, 0 while nothing is deployed. ``program`` and ``variables`` are environment variables
    for all nodes; ``variables`` has the settings that hold on other machines.
    """

    name: str
    flow: str
    orchestrator: str  # as on the command line: step-functions
    nodes: dict[str, PlanNode]  # in the order of the graph
    id: int = 0
    doc: str = ""
    owner: str = ""  # who deploys
    parameters: Sequence[PlanParameter] = ()
    tags: Sequence[str] = ()
    schedule: Schedule | None = None
    triggers: Sequence[PlanTrigger] = ()  # any of them starts a run
    end_event: str = ""  # the event that ends of its runs are
    project: str | None = None
    branch: str | None = None
    is_production: bool = False
    max_workers: int = 100
    workflow_timeout: float | None = None  # seconds
    program: str = ""  # JSON, for PROGRAM_VARIABLE
    variables: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[PlanNode]:
        return iter(self.nodes.values())

    def __getitem__(self, step: str) -> PlanNode:
        return self.nodes[step]

    @property
    def start(self) -> PlanNode:
        return next(node for node in self if node.is_start)

    @property
    def end(self) -> PlanNode:
        return next(node for node in self if node.kind == "end")

    def within(self, scope: Scope) -> list[PlanNode]:
        """The nodes that are in this scope, and in no scope inside of it, in the order of the graph."""
        return [node for node in self if node.scope == scope]

    def branches(self, node: PlanNode) -> list[Scope]:
        """The scopes that a split or a foreach opens, one for each of its targets."""
        return [(*node.scope, (node.step, target)) for target in node.targets]

    def leading_to(self, step: str) -> list[PlanNode]:
        """The nodes with this target."""
        return [node for node in self if step in node.targets]

    def environment(self, node: PlanNode | None = None) -> dict[str, str]:
        """The environment variables of a node that do not depend on the run."""
        found = {**self.variables, PROGRAM_VARIABLE: self.program, "METAFLOW_DEPLOYMENT_ID": str(self.id)}
        if node is not None:
            found["METAFLOW_NODE_STEP"] = node.step
        return found
