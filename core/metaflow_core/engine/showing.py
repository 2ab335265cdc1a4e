"""Chooses how a run is shown."""

from __future__ import annotations

from dataclasses import dataclass

from metaflow_core.engine.line_report import LineReport
from metaflow_core.engine.next_commands import Commands
from metaflow_core.engine.output import Output
from metaflow_core.engine.report import Report
from metaflow_core.graph.model import FlowDef


@dataclass(slots=True)
class Showing:
    """What the command line, and who has called it, say about that."""

    quiet: bool = False
    json_log: bool = False
    passed_on: bool = False  # another program shows on a terminal what this one writes into a file
    commands: Commands | None = None


def open_report(flow: FlowDef, run_id: str, showing: Showing) -> Report:
    """Lines for people, or JSON. On a terminal, unless ``--quiet``, with a view of the progress."""
    output = Output(showing.passed_on)
    if showing.json_log:
        from metaflow_core.engine.json_log import JsonLog

        return JsonLog(flow.name, run_id, showing.commands, output)
    if showing.quiet or not output.is_terminal:
        return LineReport(flow.name, run_id, showing.commands, output)
    from metaflow_core.engine.progress import BARS, PLAIN_BARS, Progress

    progress = Progress(flow, BARS if output.can_write("".join(BARS)) else PLAIN_BARS)
    return LineReport(flow.name, run_id, showing.commands, output, progress)
