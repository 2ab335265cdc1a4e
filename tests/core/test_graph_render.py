"""A flow as text, DOT, Mermaid and JSON."""

from __future__ import annotations

import json
import re

from metaflow_core.graph.model import DecoratorSpec, FlowDef, Location, ParameterDef, StepDef, Transition
from metaflow_core.graph.render import (
    flow_to_dict,
    flow_to_dot,
    flow_to_json,
    flow_to_mermaid,
    flow_to_text,
    graph_from_json,
)


def example() -> FlowDef:
    steps = [
        StepDef("start", transition=Transition("foreach", ("train",), foreach="models"), is_start=True, doc="Begin."),
        StepDef("train", language="r", transition=Transition("linear", ("join",)), location=Location("f.R", 9)),
        StepDef("join", num_inputs=2, transition=Transition("linear", ("pick",))),
        StepDef(
            "pick",
            transition=Transition("switch", ("end", "tell"), condition="ok", cases=(("yes", "end"), ('"no"', "tell"))),
            decorators=[
                DecoratorSpec("retry", {"times": 2}),
                DecoratorSpec("environment", {"vars": {"KEY": "s3cret"}}),
            ],
        ),
        StepDef("tell", transition=Transition("linear", ("end",))),
        StepDef("end", is_end=True),
    ]
    return FlowDef(
        "TrainFlow",
        {step.name: step for step in steps},
        parameters=[ParameterDef("al-pha", default=0.5, help="learning rate")],
        doc="Trains models.",
    )


def test_text() -> None:
    assert flow_to_text(example()) == (
        "Trains models.\n\n"
        "Parameters\n    --al-pha  learning rate\n\n"
        "Step start\n    Begin.\n    => train (foreach models)\n\n"
        "Step train (R)\n    => join\n\n"
        "Step join (join)\n    => pick\n\n"
        'Step pick (@retry, @environment)\n    => one of yes: end, "no": tell (condition ok)\n\n'
        "Step tell\n    => end\n\n"
        "Step end\n"
    )


def test_the_language_of_a_step_that_is_not_its_flows() -> None:
    flow = example()
    assert r'"train" [label="train\n(R)"' in flow_to_dot(flow)
    assert 'train<br/>(R)"' in flow_to_mermaid(flow)
    assert "Python" not in flow_to_text(flow) + flow_to_dot(flow) + flow_to_mermaid(flow)
    flow.language = "r"
    assert "Step train\n" in flow_to_text(flow) and "Step join (Python, join)\n" in flow_to_text(flow)
    assert r'"join" [label="join\n(Python)"' in flow_to_dot(flow) and '"train"' in flow_to_dot(flow)
    assert 'pick<br/>(Python)<br/>ok?"' in flow_to_mermaid(flow) and '"train"' in flow_to_mermaid(flow)


def test_dot() -> None:
    dot = flow_to_dot(example())
    assert dot.startswith('digraph "TrainFlow" {') and dot.endswith("}\n")
    assert '"start" -> "train" [label="foreach models"];' in dot
    assert r'"pick" -> "tell" [label="\"no\""];' in dot
    assert r'"pick" [label="pick\nok?", shape="diamond"];' in dot


def test_mermaid() -> None:
    lines = [line.strip() for line in flow_to_mermaid(example()).splitlines()]
    assert lines[0] == "flowchart LR"
    assert 's3{"pick<br/>ok?"}' in lines
    assert 's0 -->|"foreach models"| s1' in lines
    assert 's3 -->|"#quot;no#quot;"| s4' in lines
    # `end` is a keyword of Mermaid's: as an identifier it breaks the chart
    assert not any(re.search(r"\bend\b(?!\")", line) for line in lines)


def test_json_tells_parents_and_children() -> None:
    graph = graph_from_json(flow_to_json(example()))
    assert graph == flow_to_dict(example()) == json.loads(flow_to_json(example(), indent=2))
    assert (graph["name"], graph["language"], graph["doc"]) == ("TrainFlow", "python", "Trains models.")
    assert (graph["start"], graph["end"]) == ("start", "end")
    assert {name: step["next"] for name, step in graph["steps"].items()} == {
        "start": ["train"],
        "train": ["join"],
        "join": ["pick"],
        "pick": ["end", "tell"],
        "tell": ["end"],
        "end": [],
    }
    assert [step["type"] for step in graph["steps"].values()] == [
        "foreach",
        "linear",
        "join",
        "split-switch",
        "linear",
        "end",
    ]
    assert graph["steps"]["train"]["language"] == "r" and graph["steps"]["train"]["line"] == 9
    assert graph["steps"]["start"]["foreach"] == "models"
    assert graph["steps"]["pick"]["cases"] == {"yes": "end", '"no"': "tell"}
    assert graph["parameters"] == [{"name": "al-pha", "artifact": "al_pha", "help": "learning rate", "required": False}]


def test_json_keeps_decorators_but_no_secret() -> None:
    pick = flow_to_dict(example())["steps"]["pick"]
    assert pick["decorators"][0] == {"name": "retry", "attributes": {"times": 2}}
    assert list(pick["decorators"][1]["attributes"]["vars"]) == ["KEY"]
    assert "s3cret" not in flow_to_json(example())


def test_arguments_that_json_does_not_know_become_text() -> None:
    flow = example()
    flow.decorators = [DecoratorSpec("x", {"f": len, "n": float("nan"), "o": object(), "t": (1, {2: None})})]
    attributes = graph_from_json(flow_to_json(flow))["decorators"][0]["attributes"]
    assert attributes == {"f": "len", "n": "nan", "o": "object", "t": [1, {"2": None}]}


def test_invalid_flows_are_shown_too() -> None:
    flow = FlowDef("F", {"a": StepDef("a", transition=Transition("linear", ("b",))), "b": StepDef("b")})
    flow["b"].transition = Transition("split", ("a", "nowhere"))
    assert "Step a" in flow_to_text(flow) and "nowhere" in flow_to_text(flow)
    assert '"b" -> "nowhere"' in flow_to_dot(flow)
    flow_to_mermaid(flow)
    flow_to_json(flow)
