"""Which split each join closes, and which splits are open around each step."""

from __future__ import annotations

from metaflow_core.graph.model import FlowDef, StepDef
from metaflow_core.graph.order import in_order, leads_to

Stack = tuple[tuple[str, str], ...]  # of (step that splits, first step of the branch), outermost first


class Unbalanced(Exception):
    """Splits and joins that do not match, found at ``step``; ``remedy`` is ``join`` or ``no_join`` when it is that."""

    def __init__(self, step: StepDef, problem: str, remedy: str = "") -> None:
        self.step = step
        self.remedy = remedy
        super().__init__(problem)


class Splits:
    """``around`` has, for each step, the splits that are open when it runs, outermost first, each with its branch.

    ``closed_by`` has the join of each split (branches, foreach or num_parallel). A join itself runs inside the splits
    that remain open after it.
    """

    def __init__(self) -> None:
        self.around: dict[str, Stack] = {}
        self.closed_by: dict[str, str] = {}


def find_splits(flow: FlowDef) -> Splits:
    """The splits of a flow whose steps all exist, can be reached, and form no cycle.

    ``Unbalanced`` unless, whatever way a switch chooses, every join gets exactly one input from each branch (each
    element) of one split, and no step that is not a join is reached twice. That holds when two ways that meet in a step
    have the same open splits, and each split has exactly one join.
    """
    found = Splits()
    arriving: dict[str, list[tuple[str, Stack]]] = {name: [] for name in flow.steps}
    for name in in_order(flow):
        step = flow[name]
        stack = _closed(flow, step, arriving[name], found) if step.is_join else _same(step, arriving[name])
        found.around[name] = stack
        if step.is_end and stack:
            raise Unbalanced(
                step, f"the split that step {stack[-1][0]!r} opens is still open at the end. Join it before."
            )
        opens = step.transition is not None and step.transition.kind in ("split", "foreach", "parallel")
        for target in leads_to(flow, name):
            arriving[target].append((name, (*stack, (name, target)) if opens else stack))
    return found


def _same(step: StepDef, arriving: list[tuple[str, Stack]]) -> Stack:
    """The open splits of a step that is no join: all ways to it must agree, then only one of them is taken."""
    stacks = {stack for _, stack in arriving}
    if len(stacks) > 1:
        parents = " and ".join(repr(parent) for parent, _ in arriving)
        raise Unbalanced(step, f"several branches meet here, from {parents}, but it is no join.", "join")
    return stacks.pop() if stacks else ()


def _closed(flow: FlowDef, step: StepDef, arriving: list[tuple[str, Stack]], found: Splits) -> Stack:
    """The splits that remain open after a join."""
    for parent, stack in arriving:
        if not stack:
            raise Unbalanced(
                step,
                f"it is a join, but no split is open on the way from step {parent!r}, so there is nothing to join.",
                "no_join",
            )
    innermost = {stack[-1][0] for _, stack in arriving}
    if len(innermost) > 1 or len({stack[:-1] for _, stack in arriving}) > 1:
        ways = ", ".join(f"{parent!r} (in the split of {stack[-1][0]!r})" for parent, stack in arriving)
        raise Unbalanced(
            step,
            f"it joins steps of different splits: {ways}. "
            f"Join the branches of the inner split first, in a join of their own.",
        )
    split = innermost.pop()
    missing = [t for t in flow[split].targets if t not in {stack[-1][1] for _, stack in arriving}]
    if missing:
        raise Unbalanced(
            step,
            f"it joins only some branches of the split that step {split!r} opens. The branch of {missing[0]!r} does "
            f"not lead here. Let every branch end in the same join.",
        )
    if split in found.closed_by:
        raise Unbalanced(
            step,
            f"the split that step {split!r} opens is joined here and in step {found.closed_by[split]!r} too. "
            f"Let every branch end in the same join.",
        )
    found.closed_by[split] = step.name
    return arriving[0][1][:-1]
