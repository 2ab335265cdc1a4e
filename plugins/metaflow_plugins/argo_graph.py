"""A flow's graph as templates of Argo: one for the flow, one for each foreach and one for each loop.

A template has a *first* step and all that follows it up to the join that closes the foreach. A foreach is a task with a
sequence over the template of its target, to which it gives the path. A loop is a template that has a task for itself:
what follows the loop is in it too, so that the last time round goes on and nothing has to be told outwards.

``depends`` waits for all tasks that it names, those that a switch did not choose included, and is false when none of
them has run: then neither does the task, and so on. ``when`` may ask only a task that has run, so it is used where a
switch is the only way to a step. Else a *gate* is between, a task that waits a second and starts no pod.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from metaflow_core.deployment.plan import DeploymentPlan, PlanNode

from metaflow_plugins.argo_names import Names

PATH = "{{inputs.parameters.path}}"


class _Way(NamedTuple):
    """How a step is reached: after a task, of the branch that begins with a step, when a switch has chosen the step."""

    task: str
    branch: str
    is_chosen: bool


def graph_templates(plan: DeploymentPlan, names: Names) -> Iterator[dict[str, Any]]:
    """The templates without those of the steps, the flow's first."""
    loops = {target for node in plan for target in node.loops_to}
    each = {target for node in plan if node.kind == "foreach" for target in node.targets}
    gate, has_gates = names.of("gate"), False
    for first in dict.fromkeys([plan.start.step, *(step for step in plan.nodes if step in loops | each)]):
        template = _Template(plan, names, loops, plan[first], gate).document()
        has_gates = has_gates or any(task["template"] == gate for task in template["dag"]["tasks"])
        yield template
    if has_gates:
        yield {"name": gate, "suspend": {"duration": "1"}}


class _Template:
    """A template that begins with ``first``."""

    def __init__(self, plan: DeploymentPlan, names: Names, loops: set[str], first: PlanNode, gate: str) -> None:
        self.plan, self.names, self.loops, self.first, self.gate = plan, names, loops, first, gate
        self.tasks: list[dict[str, Any]] = []
        self.ways: dict[str, list[_Way]] = {first.step: []}

    def document(self) -> dict[str, Any]:
        for node in self.plan:
            if node.step not in self.ways:
                continue
            if node.step in self.loops and node is not self.first:
                self._enter_loop(node)
            else:
                self._add(self.names.of(node.step), self.names.of(node.step), node, self.ways[node.step])
                for target in node.targets:
                    self._lead(node, self.plan[target])
        document: dict[str, Any] = {"name": self.names.of(self.first.step, "from"), "dag": {"tasks": self.tasks}}
        if self.first.depth:
            document["inputs"] = {"parameters": [{"name": "path"}]}
        return document

    def _enter_loop(self, node: PlanNode) -> None:
        """A task for the loop and all that follows it, up to the join of the branch in which it is."""
        task = self.names.of(node.step, "loop")
        self._add(task, self.names.of(node.step, "from"), node, self.ways[node.step])
        if len(node.scope) > len(self.first.scope):
            split, branch = node.scope[-1]
            join = self.plan[split].join
            assert join is not None
            self.ways.setdefault(join, []).append(_Way(task, branch, False))

    def _lead(self, node: PlanNode, target: PlanNode) -> None:
        task = self.names.of(node.step)
        if node.kind == "foreach":
            fan = self.names.of(node.step, "each")
            path = f"{PATH}/{{{{item}}}}" if node.depth else "{{item}}"
            self._add(fan, self.names.of(target.step, "from"), target, [_Way(task, "", False)], path)
            self.tasks[-1]["withSequence"] = {"count": f"{{{{tasks.{task}.outputs.parameters.num_splits}}}}"}
            assert node.join is not None
            self.ways.setdefault(node.join, []).append(_Way(fan, target.step, False))
        elif target.step in node.loops_to:
            again = [_Way(task, "", True)]
            self._add(self.names.of(target.step, "again"), self.names.of(target.step, "from"), target, again)
        elif target.scope[: len(self.first.scope)] == self.first.scope:
            branch = ""
            if target.is_join:
                closes = node.kind == "split" and node.join == target.step
                branch = target.step if closes else node.scope[len(target.scope)][1]
            self.ways.setdefault(target.step, []).append(_Way(task, branch, node.kind == "switch"))

    def _add(self, name: str, template: str, node: PlanNode, ways: list[_Way], path: str = PATH) -> None:
        """A task that runs when its ways lead to it: all branches of a join, one way of any other step."""
        task: dict[str, Any] = {"name": name, "template": template}
        if node.depth:
            task["arguments"] = {"parameters": [{"name": "path", "value": path}]}
        if len(ways) == 1:
            task["depends"] = f"{ways[0].task}.Succeeded"
            if ways[0].is_chosen:
                task["when"] = self._chosen(ways[0].task, node.step)
        elif ways:
            branches: dict[str, list[str]] = {}
            for way in ways:
                branches.setdefault(way.branch if node.is_join else "", []).append(self._after(way, node.step))
            task["depends"] = " && ".join(
                f"({' || '.join(branch)})" if len(branch) > 1 and len(branches) > 1 else " || ".join(branch)
                for branch in branches.values()
            )
        self.tasks.append(task)

    def _after(self, way: _Way, step: str) -> str:
        if not way.is_chosen:
            return f"{way.task}.Succeeded"
        gate = self.names.of(way.task, "gate", self.names.of(step), "after")
        self.tasks.append(
            {
                "name": gate,
                "template": self.gate,
                "depends": f"{way.task}.Succeeded",
                "when": self._chosen(way.task, step),
            }
        )
        return f"{gate}.Succeeded"

    def _chosen(self, switch: str, step: str) -> str:
        return f"'{{{{tasks.{switch}.outputs.parameters.next}}}}' == '{step}'"
