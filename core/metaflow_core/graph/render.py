"""A flow as text, DOT, Mermaid and JSON."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from metaflow_core.graph.model import DecoratorSpec, Delayed, FlowDef, StepDef
from metaflow_core.graph.order import in_order


def flow_to_dict(flow: FlowDef) -> dict[str, Any]:
    """The graph as plain data: what a run keeps of its flow, and what tells a step's parents and children.

    >>> from metaflow_core.graph.model import Transition
    >>> start = StepDef("start", transition=Transition("linear", ("end",)), is_start=True)
    >>> flow_to_dict(FlowDef("F", {"start": start, "end": StepDef("end", is_end=True)}))["steps"]["start"]["next"]
    ['end']
    """
    return {
        "name": flow.name,
        "language": flow.language,
        "doc": flow.doc,
        "start": next((step.name for step in flow if step.is_start), None),
        "end": next((step.name for step in flow if step.is_end), None),
        "steps": {step.name: _step_to_dict(step) for step in flow},
        "parameters": [
            {"name": p.name, "artifact": p.artifact, "help": p.help, "required": p.required} for p in flow.parameters
        ],
        "configs": [
            {"name": c.name, "artifact": c.artifact, "help": c.help, "required": c.required} for c in flow.configs
        ],
        "decorators": [_decorator(spec) for spec in flow.decorators],
    }


def _step_to_dict(step: StepDef) -> dict[str, Any]:
    transition = step.transition
    return {
        "type": step.node_type,
        "language": step.language,
        "next": list(step.targets),
        "foreach": transition.foreach if transition else None,
        "num_parallel": transition.num_parallel if transition else None,
        "condition": transition.condition if transition else None,
        "cases": dict(transition.cases) if transition else {},
        "doc": step.doc,
        "decorators": [_decorator(spec) for spec in step.decorators],
        "line": step.location.line if step.location else None,
    }


def flow_to_json(flow: FlowDef, indent: int | None = None) -> str:
    """:func:`flow_to_dict` as JSON; equal flows give equal text."""
    return json.dumps(flow_to_dict(flow), indent=indent, ensure_ascii=False)


def graph_from_json(text: str) -> dict[str, Any]:
    """What :func:`flow_to_json` wrote, as the plain data of :func:`flow_to_dict`."""
    graph: dict[str, Any] = json.loads(text)
    return graph


def flow_to_text(flow: FlowDef) -> str:
    """The flow as ``show`` prints it: its description, then each step with what it does and where it leads."""
    blocks = [flow.doc] if flow.doc else []
    if flow.parameters:
        lines = [f"    --{p.name}{'  ' + p.help if p.help else ''}" for p in flow.parameters]
        blocks.append("\n".join(["Parameters", *lines]))
    if flow.configs:
        lines = [f"    --config {c.name}{'  ' + c.help if c.help else ''}" for c in flow.configs]
        blocks.append("\n".join(["Configs", *lines]))
    for name in _source_order(flow):
        step = flow[name]
        lines = [f"Step {name}{_notes(flow, step)}"]
        lines += textwrap.indent(step.doc, "    ").splitlines()
        if step.transition is not None:
            lines.append(f"    => {_transition(step)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def flow_to_dot(flow: FlowDef) -> str:
    """The flow in Graphviz's language: https://graphviz.org/doc/info/lang.html"""
    lines = [f"digraph {_quoted(flow.name)} {{", "    rankdir=LR;", '    node [fontname="Helvetica", shape="box"];']
    for step in flow:
        shape = _DOT_SHAPES.get(step.node_type, "box")
        lines.append(
            f"    {_quoted(step.name)} [label={_quoted(chr(10).join(_label(flow, step)))}, shape={_quoted(shape)}];"
        )
    for source, target, text in _edges(flow):
        styles = [f"label={_quoted(text)}"] * bool(text) + ['style="dashed"'] * _is_choice(flow[source])
        given = f" [{', '.join(styles)}]" if styles else ""
        lines.append(f"    {_quoted(source)} -> {_quoted(target)}{given};")
    return "\n".join([*lines, "}"]) + "\n"


def flow_to_mermaid(flow: FlowDef) -> str:
    """The flow as a Mermaid flowchart: https://mermaid.js.org/syntax/flowchart.html"""
    ids = {name: f"s{i}" for i, name in enumerate(flow.steps)}  # a step may be named `end`, a word of Mermaid's
    lines = ["flowchart LR"]
    for step in flow:
        opening, closing = _MERMAID_SHAPES.get(step.node_type, ("[", "]"))
        lines.append(f'    {ids[step.name]}{opening}"{"<br/>".join(map(_escaped, _label(flow, step)))}"{closing}')
    for source, target, text in _edges(flow):
        if target in ids:
            line = "-.->" if _is_choice(flow[source]) else "-->"
            arrow = f'{line}|"{_escaped(text)}"|' if text else line
            lines.append(f"    {ids[source]} {arrow} {ids[target]}")
    return "\n".join(lines) + "\n"


_LANGUAGES = {"python": "Python", "r": "R"}
_DOT_SHAPES = {"start": "oval", "end": "oval", "foreach": "box3d", "split-switch": "diamond", "join": "invtrapezium"}
_MERMAID_SHAPES = {
    "start": ("([", "])"),
    "end": ("([", "])"),
    "foreach": ("[[", "]]"),
    "split-switch": ("{", "}"),
    "join": ("[\\", "/]"),
}


def _source_order(flow: FlowDef) -> list[str]:
    """The steps as they run, and those that no order has (a cycle) at the end."""
    ordered = in_order(flow)
    return [*ordered, *(name for name in flow.steps if name not in set(ordered))]


def _language(flow: FlowDef, step: StepDef) -> list[str]:
    """The language of a step, when it is not that of its flow."""
    return [] if step.language == flow.language else [_LANGUAGES.get(step.language, step.language)]


def _notes(flow: FlowDef, step: StepDef) -> str:
    notes = [f"@{d.name}" for d in step.decorators]
    if step.is_join:
        notes.insert(0, "join")
    notes[:0] = _language(flow, step)
    return f" ({', '.join(notes)})" if notes else ""


def _transition(step: StepDef) -> str:
    transition = step.transition
    assert transition is not None
    targets = ", ".join(transition.targets)
    if transition.kind == "foreach":
        return f"{targets} (foreach {transition.foreach})"
    if transition.kind == "parallel":
        return f"{targets} (num_parallel{'' if transition.num_parallel is None else f' {transition.num_parallel}'})"
    if transition.kind == "switch":
        cases = ", ".join(
            f"{case}: {target}{' (again)' if target == step.name else ''}" for case, target in transition.cases
        )
        return f"one of {cases} (condition {transition.condition})"
    return targets


def _is_choice(step: StepDef) -> bool:
    """Whether a task takes only one of the ways out of the step: they are drawn as broken lines."""
    return step.transition is not None and step.transition.kind == "switch"


def _edges(flow: FlowDef) -> list[tuple[str, str, str]]:
    """Each arrow: from, to, and what is written on it."""
    edges = []
    for step in flow:
        transition = step.transition
        if transition is None:
            continue
        for target in transition.targets:
            text = ""
            if transition.kind == "foreach":
                text = f"foreach {transition.foreach}"
            elif transition.kind == "parallel":
                text = "num_parallel" + ("" if transition.num_parallel is None else f" {transition.num_parallel}")
            elif transition.kind == "switch":
                text = ", ".join(case for case, to in transition.cases if to == target)
            edges.append((step.name, target, text))
    return edges


def _label(flow: FlowDef, step: StepDef) -> list[str]:
    """What is written in a step's box, by line."""
    lines = [step.name, *(f"({name})" for name in _language(flow, step))]
    if step.transition is not None and step.transition.kind == "switch":
        lines.append(f"{step.transition.condition}?")
    return lines


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _escaped(text: str) -> str:
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _decorator(spec: DecoratorSpec) -> dict[str, Any]:
    attributes = _plain(spec.attributes)
    if spec.name == "environment" and isinstance(attributes.get("vars"), dict):
        attributes["vars"] = dict.fromkeys(attributes["vars"], "...")  # a value may be secret, and this is stored
    if spec.name == "secrets":
        attributes["sources"] = _without_options(attributes.get("sources"))
    return {"name": spec.name, "attributes": attributes}


def _without_options(sources: Any) -> Any:
    """Sources of secrets without their options, which may be secrets themselves."""
    if isinstance(sources, list):
        return [_without_options(source) for source in sources]
    if isinstance(sources, dict):
        return {key: "..." if key == "options" else value for key, value in sources.items()}
    return sources


def _plain(value: Any) -> Any:
    """A decorator's arguments as JSON has them; what it has not becomes text."""
    if isinstance(value, Delayed):
        return value._source
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    return getattr(value, "__name__", None) or type(value).__name__
