"""Which steps a flow starts and ends with."""

from __future__ import annotations

from metaflow_core.graph.model import FlowDef


def mark_ends(flow: FlowDef) -> FlowDef:
    """Set ``is_start`` and ``is_end`` by the rules of either language, and return ``flow``.

    Steps that were marked explicitly stay. Otherwise the flow starts with the step named ``start`` and ends with the
    one named ``end``; in a flow of one step that step is both.
    """
    only = next(iter(flow)) if len(flow.steps) == 1 else None
    if not any(step.is_start for step in flow):
        first = flow.steps.get("start", only)
        if first is not None:
            first.is_start = True
    if not any(step.is_end for step in flow):
        last = flow.steps.get("end", only)
        if last is not None:
            last.is_end = True
    return flow
