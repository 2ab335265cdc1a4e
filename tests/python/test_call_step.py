"""``call_step``: a step as a plain function."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from metaflow import (
    Config,
    FlowSpec,
    IncludeFile,
    JSONType,
    Parameter,
    call_step,
    catch,
    config_expr,
    current,
    parallel,
    retry,
    step,
    user_step_decorator,
)
from metaflow.exception import InvalidNextException, MetaflowUsageError, UnhandledInMergeArtifactsException


class TrainFlow(FlowSpec):
    FACTOR = 10
    alpha = Parameter("alpha", default=0.5)
    size = Parameter("size-of", type=int, required=True)
    computed = Parameter("computed", default=lambda context: context.flow_name.lower())
    config = Config("config", default_value={"model": {"layers": 3}})

    @step
    def start(self):
        self.rows = (row * 2 for row in range(3))
        self.what = self.name, self.FACTOR, self.alpha, self.size, self.computed, self.config.model.layers
        self.next(self.train, foreach="rows")

    @retry(times=3, minutes_between_retries=0)
    @catch(var="failure")
    @step
    def train(self):
        self.calls.append(self.input)
        if self.input == "bad":
            raise KeyError("from the step")
        self.score = self.alpha * self.input
        self.items = self.index, self.foreach_stack()
        self.next(self.collect)

    @step
    def collect(self, inputs):
        self.scores = [one.score for one in inputs]
        self.of = [(one.input, one.index) for one in inputs]
        self.merge_artifacts(inputs, exclude=["score", "items"])
        self.next({"small": self.left, "large": self.fork}, condition="kind")

    @step
    def fork(self):
        self.next(self.left, self.right)

    @step
    def left(self):
        print("left", current.step_name, current.is_running_flow)
        self.side = self.client.get("left")
        self.next(self.join)

    @step
    def right(self):
        if self.lost:
            return
        self.next(self.join)

    @step
    def join(self, inputs):
        self.sides = inputs.left.side, inputs[1].side
        self.next(self.end)

    @step
    def end(self):
        self.FACTOR = 1


@pytest.fixture(autouse=True)
def _nothing_is_stored(project: Path):
    before = sorted(project.rglob("*"))
    yield
    assert sorted(project.rglob("*")) == before
    assert not current.is_running_flow


def test_a_step_with_artifacts_parameters_and_configs() -> None:
    result = call_step(TrainFlow, "start", size=3)
    assert result.what == ("TrainFlow", 10, 0.5, 3, "trainflow", 3)
    assert result.rows == [0, 2, 4]
    assert result.next == ("train",)
    assert (result.next.foreach, result.next.num_splits) == ("rows", 3)
    assert dict(result) == {"rows": [0, 2, 4], "what": result.what}
    given = call_step(TrainFlow, TrainFlow.start, alpha=0.1, computed="x", config={"model": {"layers": 7}})
    assert given.what == ("TrainFlow", 10, 0.1, None, "x", 7)


def test_a_child_of_a_foreach() -> None:
    calls: list[int] = []
    result = call_step(TrainFlow, "train", input=4, index=2, calls=calls, alpha=0.5)
    assert (result.score, result.next, calls) == (2.0, ("collect",), [4])
    assert result.items == (2, [(2, 3, 4)])
    assert repr(result) == "<train, score=2.0, items=(2, [(2, 3, 4)]), next=('collect',)>"
    with pytest.raises(AttributeError, match=r"The step train has not set 'scor'. Did you mean 'score'\?"):
        _ = result.scor


def test_decorators_do_not_act_and_exceptions_are_those_of_the_step() -> None:
    calls: list[str] = []
    with pytest.raises(KeyError, match="from the step"):
        call_step(TrainFlow, "train", input="bad", calls=calls)
    assert calls == ["bad"]


def test_joins_of_given_inputs_and_of_results() -> None:
    joined = call_step(
        TrainFlow,
        "collect",
        kind="large",
        inputs=[{"score": 1, "input": "a", "index": 0, "data": [1]}, {"score": 2, "data": [1]}],
    )
    assert (joined.scores, joined.of, joined.data) == ([1, 2], [("a", 0), (None, None)], [1])
    assert joined.next == ("fork",)
    children = [call_step(TrainFlow, "train", input=i, index=i, calls=[]) for i in range(3)]
    assert call_step(TrainFlow, "collect", kind="small", inputs=children).of == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(UnhandledInMergeArtifactsException, match="data"):
        call_step(TrainFlow, "collect", kind="small", inputs=[{"score": 1, "data": 1}, {"score": 2, "data": 2}])
    shared = SimpleNamespace(lock=Mock())  # which no store would take
    kept = call_step(TrainFlow, "collect", kind="small", inputs=[{"score": 1, "data": shared}] * 2)
    assert kept.data is shared
    sides = [{"side": "l"}, {"side": "r"}]
    assert call_step(TrainFlow, "join", inputs=sides).sides == ("l", "r")
    assert call_step(TrainFlow, "join", inputs=dict(zip(["left", "right"], sides, strict=True))).sides == ("l", "r")


def test_branches_mocks_and_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert call_step(TrainFlow, "fork").next == ("left", "right")
    client = Mock()
    client.get.return_value = "here"
    assert call_step(TrainFlow, "left", client=client).side == "here"
    client.get.assert_called_once_with("left")
    assert capsys.readouterr().out == "left left True\n"


def test_what_can_not_be_called_is_told() -> None:
    def told(*arguments, **named) -> str:
        with pytest.raises(MetaflowUsageError) as raised:
            call_step(*arguments, **named)
        return str(raised.value)

    assert told(TrainFlow, "trian") == "The flow TrainFlow has no step 'trian'. Did you mean 'train'?"
    assert told(TrainFlow, "xyz").endswith("Its steps: start, train, collect, fork, left, right, join, end.")
    assert told(5, "train") == "call_step takes a flow's class, such as call_step(TrainFlow, ...), not 5."
    assert told(TrainFlow, "join").startswith("The step join is a join: give it inputs, one for each branch")
    assert told(TrainFlow, "end", inputs=[{}]) == "The step end is no join, so it takes no inputs."
    assert told(TrainFlow, "join", inputs=[]) == "The join join needs at least one input."
    assert told(TrainFlow, "join", inputs=[5]).startswith("inputs takes a dict of artifacts for each branch")
    assert told(TrainFlow, "join", inputs={"up": {}}) == (
        "The join join has no input from 'up'. Its inputs come from: left, right."
    )
    assert told(TrainFlow, "end", FACTOR=3) == "'FACTOR' can't be given as an artifact: it is a constant of the flow."
    assert told(TrainFlow, "end", train=3) == "'train' can't be given as an artifact: it is a step."
    with pytest.raises(InvalidNextException, match="Step right ended without calling next"):
        call_step(TrainFlow, "right", lost=True)
    with pytest.raises(InvalidNextException, match="which is none of the cases: small, large"):
        call_step(TrainFlow, "collect", kind="huge", inputs=[{"score": 1}])
    with pytest.raises(AttributeError, match="it is a constant of TrainFlow"):
        call_step(TrainFlow, "end")
    with pytest.raises(AttributeError, match="Step 'train' of flow 'TrainFlow' has no artifact 'calls'"):
        call_step(TrainFlow, "train")


@user_step_decorator
def failing(step_name, flow, inputs=None, attributes=None):
    raise RuntimeError("a decorator acts")
    yield


class OtherFlow(FlowSpec):
    config = Config("config", default_value={"a": {"b": 1}})
    missing = Config("missing", required=True)
    file = IncludeFile("file", required=True)
    data = Parameter("data", type=JSONType, default='{"a": 1}')
    words = Parameter("words", separator=",", default="a,b")
    from_config = Parameter("from-config", default=config.a.b)
    late = config_expr("config.a.b + 1")

    @failing
    @retry
    @step
    def start(self):
        self.seen = (self.file, self.data, self.words, self.config.a.b, self.from_config, self.late, self.missing)
        self.next(self.right, self.left)

    @step
    def left(self):
        self.side = "l"
        self.next(self.join)

    @step
    def right(self):
        self.side = "r"
        self.next(self.join)

    @step
    def join(self, inputs):
        self.sides = [one.side for one in inputs]
        self.names = [one.side for one in (inputs.left, inputs.right)]
        self.next(self.loop)

    @step
    def loop(self):
        self.count = self.count + 1
        self.enough = "yes" if self.count > 2 else "no"
        self.next({"no": self.loop, "yes": self.gang}, condition="enough")

    @step
    def gang(self):
        self.next(self.work, num_parallel=3)

    @parallel
    @step
    def work(self):
        self.next(self.collect)

    @step
    def collect(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        del self.gone
        self.facts = {
            name: getattr(current, name)
            for name in (
                *("flow_name", "step_name", "retry_count", "username", "namespace", "is_running_flow"),
                *("run_id", "task_id", "pathspec", "origin_run_id", "tags", "run", "task"),
            )
        }
        self.of_flow = sorted(current.parameter_names), list(current.graph["steps"])[:2], current.get("nothing", 5)


def test_parameters_and_configs_are_what_a_run_would_have() -> None:
    seen = call_step(OtherFlow, "start").seen
    assert seen == (None, {"a": 1}, ["a", "b"], 1, 1, 2, None)
    seen = call_step(OtherFlow, "start", config={"a": {"b": 4}}, file="text", words=["x"], missing={"x": 1}).seen
    assert seen == ("text", {"a": 1}, ["x"], 4, 4, 5, {"x": 1}), "what depends on a config depends on the given one"
    assert call_step(OtherFlow, "start", from_config=9, data=[2]).seen[1:5] == ([2], ["a", "b"], 1, 9)


def test_branches_come_in_the_order_of_the_graph() -> None:
    assert call_step(OtherFlow, "start").next == ("right", "left")
    left, right = call_step(OtherFlow, "left"), call_step(OtherFlow, "right")
    for inputs in (
        [left, right],
        [right, left],
        {"left": {"side": "l"}, "right": {"side": "r"}},
        [{"side": "r"}, {"side": "l"}],
    ):
        joined = call_step(OtherFlow, "join", inputs=inputs)
        assert (joined.sides, joined.names) == (["r", "l"], ["l", "r"])


def test_a_switch_to_itself_and_a_gang() -> None:
    assert call_step(OtherFlow, "loop", count=1).next == ("loop",)
    assert call_step(OtherFlow, "loop", count=2).next == ("gang",)
    gang = call_step(OtherFlow, "gang")
    assert (gang.next, gang.next.num_splits, gang.next.foreach) == (("work",), 3, None)
    work = [call_step(OtherFlow, "work", index=i) for i in range(3)]
    assert call_step(OtherFlow, "collect", inputs=work).next == ("end",)


def test_current_in_a_called_step() -> None:
    result = call_step(OtherFlow, "end", gone=1)
    assert "gone" not in result
    assert result.facts == {
        **{"flow_name": "OtherFlow", "step_name": "end", "retry_count": 0, "username": "tester"},
        **{"namespace": "user:tester", "is_running_flow": True},
        **dict.fromkeys(("run_id", "task_id", "pathspec", "origin_run_id", "tags", "run", "task")),
    }
    assert result.of_flow == (["data", "file", "from_config", "words"], ["start", "left"], 5)
