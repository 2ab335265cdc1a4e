"""The order of a flow's steps, cycles, and what can't be reached."""

from __future__ import annotations

from metaflow_core.graph.model import FlowDef


def find_cycle(flow: FlowDef) -> list[str] | None:
    """Steps that lead back to the first of them, which is named again at the end; None in a flow without a cycle.

    A switch that lists itself is no cycle. Targets that don't exist are passed over.
    """
    finished: set[str] = set()
    for root in flow.steps:
        path: dict[str, None] = {}  # ordered
        waiting: list[tuple[str, bool]] = [(root, False)]
        while waiting:
            name, leaving = waiting.pop()
            if leaving:
                finished.add(path.popitem()[0])
            elif name in path:
                steps = list(path)
                return [*steps[steps.index(name) :], name]
            elif name not in finished:
                path[name] = None
                waiting.append((name, True))
                waiting.extend((target, False) for target in reversed(leads_to(flow, name)))
    return None


def leads_to(flow: FlowDef, name: str) -> list[str]:
    """The steps after this one, without a switch's way back to itself."""
    step = flow.steps[name]
    is_switch = step.transition is not None and step.transition.kind == "switch"
    return [t for t in dict.fromkeys(step.targets) if t in flow.steps and not (is_switch and t == name)]


def in_order(flow: FlowDef) -> list[str]:
    """The steps of a flow without cycles, each after all that lead to it; otherwise in the order of the source."""
    missing = dict.fromkeys(flow.steps, 0)
    for name in flow.steps:
        for target in leads_to(flow, name):
            missing[target] += 1
    waiting = [name for name in reversed(flow.steps) if not missing[name]]
    ordered = []
    while waiting:
        name = waiting.pop()
        ordered.append(name)
        for target in reversed(leads_to(flow, name)):
            missing[target] -= 1
            if not missing[target]:
                waiting.append(target)
    return ordered
