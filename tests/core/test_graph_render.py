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
    assert r'"pick" -> "tell" [label="\"no\"", style="dashed"];' in dot
    assert r'"pick" [label="pick\nok?", shape="diamond"];' in dot


def test_mermaid() -> None:
    lines = [line.strip() for line in flow_to_mermaid(example()).splitlines()]
    assert lines[0] == "flowchart LR"
    assert 's3{"pick<br/>ok?"}' in lines
    assert 's0 -->|"foreach models"| s1' in lines
    assert 's3 -.->|"#quot;no#quot;"| s4' in lines
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


def shapes() -> FlowDef:
    """A foreach around a choice, a loop and branches, and a gang at the end."""
    steps = [
        StepDef("start", transition=Transition("foreach", ("pick",), foreach="models"), is_start=True),
        StepDef(
            "pick",
            transition=Transition(
                "switch", ("tune", "fast"), condition="size", cases=(("1", "tune"), ("2", "tune"), ("None", "fast"))
            ),
        ),
        StepDef(
            "tune",
            transition=Transition("switch", ("tune", "meet"), condition="more", cases=(("on", "tune"), ("no", "meet"))),
        ),
        StepDef("fast", transition=Transition("linear", ("meet",))),
        StepDef("meet", transition=Transition("split", ("left", "right"))),
        StepDef("left", transition=Transition("linear", ("inner",))),
        StepDef("right", transition=Transition("linear", ("inner",))),
        StepDef("inner", num_inputs=2, transition=Transition("linear", ("outer",))),
        StepDef("outer", num_inputs=2, transition=Transition("linear", ("wide",))),
        StepDef("wide", transition=Transition("parallel", ("train",), num_parallel=4)),
        StepDef("train", transition=Transition("linear", ("join",)), decorators=[DecoratorSpec("parallel")]),
        StepDef("join", num_inputs=2, transition=Transition("linear", ("end",))),
        StepDef("end", is_end=True),
    ]
    return FlowDef("Shapes", {step.name: step for step in steps})


def test_every_shape_as_text() -> None:
    found = [line.strip() for line in flow_to_text(shapes()).splitlines() if "=>" in line]
    assert found == [
        "=> pick (foreach models)",
        "=> one of 1: tune, 2: tune, None: fast (condition size)",
        "=> one of on: tune (again), no: meet (condition more)",
        "=> meet",
        "=> left, right",
        "=> inner",
        "=> inner",
        "=> outer",
        "=> wide",
        "=> train (num_parallel 4)",
        "=> join",
        "=> end",
    ]


def test_every_shape_as_dot() -> None:
    assert (
        flow_to_dot(shapes())
        == """digraph "Shapes" {
    rankdir=LR;
    node [fontname="Helvetica", shape="box"];
    "start" [label="start", shape="box3d"];
    "pick" [label="pick\\nsize?", shape="diamond"];
    "tune" [label="tune\\nmore?", shape="diamond"];
    "fast" [label="fast", shape="box"];
    "meet" [label="meet", shape="box"];
    "left" [label="left", shape="box"];
    "right" [label="right", shape="box"];
    "inner" [label="inner", shape="invtrapezium"];
    "outer" [label="outer", shape="invtrapezium"];
    "wide" [label="wide", shape="box3d"];
    "train" [label="train", shape="box"];
    "join" [label="join", shape="invtrapezium"];
    "end" [label="end", shape="oval"];
    "start" -> "pick" [label="foreach models"];
    "pick" -> "tune" [label="1, 2", style="dashed"];
    "pick" -> "fast" [label="None", style="dashed"];
    "tune" -> "tune" [label="on", style="dashed"];
    "tune" -> "meet" [label="no", style="dashed"];
    "fast" -> "meet";
    "meet" -> "left";
    "meet" -> "right";
    "left" -> "inner";
    "right" -> "inner";
    "inner" -> "outer";
    "outer" -> "wide";
    "wide" -> "train" [label="num_parallel 4"];
    "train" -> "join";
    "join" -> "end";
}
"""
    )


def test_every_shape_as_mermaid() -> None:
    assert (
        flow_to_mermaid(shapes())
        == """flowchart LR
    s0[["start"]]
    s1{"pick<br/>size?"}
    s2{"tune<br/>more?"}
    s3["fast"]
    s4["meet"]
    s5["left"]
    s6["right"]
    s7[\\"inner"/]
    s8[\\"outer"/]
    s9[["wide"]]
    s10["train"]
    s11[\\"join"/]
    s12(["end"])
    s0 -->|"foreach models"| s1
    s1 -.->|"1, 2"| s2
    s1 -.->|"None"| s3
    s2 -.->|"on"| s2
    s2 -.->|"no"| s4
    s3 --> s4
    s4 --> s5
    s4 --> s6
    s5 --> s7
    s6 --> s7
    s7 --> s8
    s8 --> s9
    s9 -->|"num_parallel 4"| s10
    s10 --> s11
    s11 --> s12
"""
    )


def test_every_shape_as_json() -> None:
    steps = flow_to_dict(shapes())["steps"]
    assert steps["pick"]["cases"] == {"1": "tune", "2": "tune", "None": "fast"}
    assert (steps["tune"]["type"], steps["tune"]["next"], steps["tune"]["condition"]) == (
        "split-switch",
        ["tune", "meet"],
        "more",
    )
    assert (steps["wide"]["num_parallel"], steps["wide"]["type"], steps["inner"]["type"]) == (4, "foreach", "join")
    assert steps["train"]["decorators"] == [{"name": "parallel", "attributes": {}}]
