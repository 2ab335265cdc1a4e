"""Which graphs are refused, with which words; and that a graph which passes can be executed."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metaflow_core.errors import LintWarn, MetaflowException
from metaflow_core.graph.ends import mark_ends
from metaflow_core.graph.lint import lint
from metaflow_core.graph.model import DecoratorSpec, FlowDef, Location, ParameterDef, StepDef, Transition
from metaflow_core.graph.splits import find_splits


def graph(text: str, language: str = "python") -> FlowDef:
    """A flow from lines such as these.

    ``a > b``, ``a > b c`` (split), ``a * b`` (foreach), ``a | b`` (num_parallel), ``a ? b c`` (switch); ``&a`` is a
    join, ``@a`` has the decorator `parallel`, and a name alone leads nowhere.
    """
    flow = FlowDef("F", language=language, file="flow.py", location=Location("flow.py", 1))
    for number, line in enumerate(filter(None, (line.strip() for line in text.splitlines())), start=2):
        name, *rest = line.split()
        step = StepDef(name.lstrip("&@"), language, location=Location("flow.py", number))
        step.num_inputs = 2 if "&" in name else 1
        if "@" in name:
            step.decorators.append(DecoratorSpec("parallel"))
        if rest:
            step.transition = transition(rest[0], tuple(rest[1:]), number)
        flow.steps[step.name] = step
    return mark_ends(flow)


def transition(sign: str, targets: tuple[str, ...], line: int = 0) -> Transition:
    where = Location("flow.py", 100 + line)
    if sign == "*":
        return Transition("foreach", targets, foreach="items", location=where)
    if sign == "|":
        return Transition("parallel", targets, num_parallel=2, location=where)
    if sign == "?":
        cases = tuple((f"case{i}", target) for i, target in enumerate(targets))
        return Transition("switch", tuple(dict.fromkeys(targets)), condition="x", cases=cases, location=where)
    return Transition("linear" if len(targets) == 1 else "split", targets, location=where)


VALID = {
    "one step": "start",
    "one step of another name": "only",
    "linear": "start > a\na > end\nend",
    "split": "start > a b\na > j\nb > j\n&j > end\nend",
    "foreach": "start * a\na > j\n&j > end\nend",
    "split in foreach": "start * s\ns > a b\na > j\nb > j\n&j > k\n&k > end\nend",
    "foreach in one branch": "start > a b\na * w\nw > i\n&i > j\nb > j\n&j > end\nend",
    "num_parallel": "start | w\n@w > j\n&j > end\nend",
    "switch that meets again": "start ? a b\na > end\nb > end\nend",
    "switch straight to where it meets": "start ? a end\na > end\nend",
    "switch in a branch": "start > a b\na ? c d\nc > j\nd > j\nb > j\n&j > end\nend",
    "switch around splits": "start ? s b\ns > p q\np > j\nq > j\n&j > end\nb > end\nend",
    "recursive switch": "start > loop\nloop ? loop end\nend",
    "recursive switch in a foreach": "start * loop\nloop ? loop w\nw > j\n&j > end\nend",
    "joins one after the other": "start > a b\na > j\nb > j\n&j > c\nc > d e\nd > k\ne > k\n&k > end\nend",
}

INVALID = {
    "no steps": ("", "it has no steps"),
    "no start": ("a > end\nend", "no step says where it starts"),
    "no end": ("start > a\na > start", "no step says where it ends"),
    "reserved": ("start > input\ninput > end\nend", "'input' (flow.py, line 3): the name is reserved"),
    "capitals": ("start > Train\nTrain > end\nend", "lower-case letters"),
    "underscore first": ("start > _a\n_a > end\nend", "no underscore first"),
    "not ASCII": ("start > é\né > end\nend", "lower-case letters"),
    "too long": (f"start > {'a' * 201}\n{'a' * 201} > end\nend", "lower-case letters"),
    "no next": ("start > a\na\nend", "'a' (flow.py, line 3): it does not say which step follows"),
    "end with next": ("start > end\nend > start", "it is the last step"),
    "end as join": (
        "start > a b\na > end\nb > end\n&end",
        "the last step of a flow can't be a join. Let it take `self`",
    ),
    "start as join": ("&start > end\nend", "the first step of a flow can't be a join"),
    "unknown target": ("start > train\ntrian > end\nend", "which is no step of the flow. Did you mean 'trian'?"),
    "unknown targets in a switch": ("start ? end nowhere\nend", "'nowhere', which is no step"),
    "twice the same": ("start > a a\na > end\nend", "leads to step 'a' twice"),
    "cycle": ("start > a\na > b\nb > a\nend", "runs in a circle: a -> b -> a"),
    "step that lists itself": ("start > a\na > a\nend", "runs in a circle: a -> a"),
    "cycle through a switch": ("start > a\na > b\nb ? a end\nend", "runs in a circle"),
    "back to start": ("start > a\na ? start end\nend", "leads back to the first step"),
    "switch without a way out": ("start > a\na ? a a\nend", "it would never end"),
    "unreachable": ("start > end\na > end\nend", "'a' (flow.py, line 3): no step leads to it"),
    "join and split": (
        "start > a b\na > j\nb > j\n&j > c d\nc > k\nd > k\n&k > end\nend",
        "is a join and splits as well",
    ),
    "join and foreach": ("start > a b\na > j\nb > j\n&j * c\nc > k\n&k > end\nend", "is a join and splits as well"),
    "join and switch": ("start > a b\na > j\nb > j\n&j ? c end\nc > end\nend", "let that one choose"),
    "split never joined": ("start > a b\na > end\nb > end\nend", "several branches meet here, from 'a' and 'b'"),
    "split joined in part": (
        "start > a b c\na > j\nb > j\n&j > end\nc > end\nend",
        "The branch of 'c' does not lead here",
    ),
    "foreach never joined": ("start * a\na > end\nend", "the split that step 'start' opens is still open"),
    "join without a split": ("start > a\na > j\n&j > end\nend", "nothing to join. Let it take `self` alone"),
    "branches of a switch joined": ("start ? a b\na > j\nb > j\n&j > end\nend", "nothing to join"),
    "crossing": (
        "start > a b\na > c d\nb > e f\nc > j\ne > j\n&j > m\nd > k\nf > k\n&k > m\n&m > end\nend",
        "it joins steps of different splits",
    ),
    "inner and outer in one join": (
        "start > a b\na > c d\nc > j\nd > j\nb > j\n&j > end\nend",
        "it joins steps of different splits",
    ),
    "one split, two joins": (
        "start > a b\na ? c d\nb ? e f\nc > j\ne > j\n&j > end\nd > k\nf > k\n&k > end\nend",
        "is joined here and in step",
    ),
    "foreach into join": ("start * j\n&j > end\nend", "a foreach leads straight into the join 'j'"),
    "num_parallel into join": ("start | j\n&@j > end\nend", "leads straight into the join"),
    "branch into join": ("start > a j\na > j\n&j > end\nend", "a branch leads straight into the join"),
    "switch into join": (
        "start * s\ns ? a j\na > j\n&j > end\nend",
        "a branch of a choice leads straight into the join",
    ),
    "switch of one case": ("start ? a\na > end\nend", "at least two cases"),
    "foreach to two steps": ("start * a b\na > j\nb > j\n&j > end\nend", "foreach leads to one step"),
    "num_parallel without parallel": ("start | a\na > j\n&j > end\nend", "not marked by @parallel"),
    "parallel without num_parallel": (
        "start * a\n@a > j\n&j > end\nend",
        "needs num_parallel: self.next(self.a, num_par",
    ),
    "parallel start": ("@start > end\nend", "the first step can't be marked"),
}


@pytest.mark.parametrize("name", VALID)
def test_valid_graphs_pass(name: str) -> None:
    flow = graph(VALID[name])
    lint(flow)
    for seed in range(5):
        execute(flow, random.Random(seed))


@pytest.mark.parametrize("name", INVALID)
def test_invalid_graphs_are_refused_with_advice(name: str) -> None:
    text, message = INVALID[name]
    with pytest.raises(LintWarn, match=re.escape(message)) as caught:
        lint(graph(text))
    assert caught.value.source_file == "flow.py"
    assert caught.value.line_no and f"line {caught.value.line_no}" in str(caught.value)


def test_error_of_a_transition_points_to_its_line() -> None:
    with pytest.raises(LintWarn) as caught:
        lint(graph("start > a\na > nowhere\nend"))
    assert caught.value.line_no == 103


@pytest.mark.parametrize("count", [0, 3])
def test_wrong_number_of_arguments(count: int) -> None:
    flow = graph(VALID["linear"])
    flow["a"].num_inputs = count
    with pytest.raises(LintWarn, match=f"it takes {count} arguments. A step takes `self`, a join takes `self, inputs`"):
        lint(flow)


@pytest.mark.parametrize("first, last", [("one", "end"), ("start", "one")])
def test_two_first_or_last_steps(first: str, last: str) -> None:
    flow = graph("start > one\none > end\nend")
    flow[first].is_start = True
    flow[last].is_end = True
    with pytest.raises(LintWarn, match="it can't do so twice"):
        lint(flow)


@pytest.mark.parametrize(
    "broken, message",
    [
        (Transition("foreach", ("a",)), "foreach must name an artifact"),
        (Transition("foreach", ("a",), foreach="my items"), "not 'my items'"),
        (Transition("split", ("a",)), "a split needs several steps"),
        (Transition("linear", ("a", "end")), "is no split"),
        (Transition("linear", ()), "names no step"),
        (Transition("parallel", ("a",), num_parallel=0), "at least 1, not 0"),
        (Transition("switch", ("a", "end"), condition="x", cases=(("1", "a"), ("1", "end"))), "Name each case once"),
        (Transition("switch", ("a",), condition="x", cases=(("1", "a"), ("2", "end"))), "do not fit together"),
        (Transition("switch", ("a", "end"), cases=(("1", "a"), ("2", "end"))), "needs the name of an artifact"),
    ],
)
def test_malformed_transitions(broken: Transition, message: str) -> None:
    flow = graph(VALID["linear"])
    flow["start"].transition = broken
    with pytest.raises(LintWarn, match=message):
        lint(flow)


def test_advice_is_in_the_language_of_the_flow() -> None:
    with pytest.raises(
        LintWarn, match=re.escape('before it: step(step = "join", join = TRUE, ...) with next_step = "end"')
    ):
        lint(graph("start > a b\na > end\nb > end\nend", language="r"))


def test_flow_name_is_checked() -> None:
    flow = graph("start")
    flow.name = "my flow"
    with pytest.raises(LintWarn, match="'my flow'"):
        lint(flow)


def test_parameters_are_checked_too() -> None:
    flow = graph("start")
    flow.parameters = [ParameterDef("tags")]
    with pytest.raises(MetaflowException, match="'tags': the name is reserved"):
        lint(flow)


def test_long_flows_pass_without_recursion() -> None:
    names = ["start", *(f"s{i}" for i in range(5000)), "end"]
    lines = [f"{a} > {b}" for a, b in itertools.pairwise(names)]
    lint(graph("\n".join([*lines, "end"])))


def test_splits_say_what_each_join_closes() -> None:
    splits = find_splits(graph(VALID["foreach in one branch"]))
    assert splits.closed_by == {"a": "i", "start": "j"}
    assert splits.around["w"] == (("start", "a"), ("a", "w"))
    assert splits.around["i"] == (("start", "a"),)
    assert splits.around["end"] == ()


# --- random graphs ---------------------------------------------------------------------------------------------------


def execute(flow: FlowDef, rng: random.Random) -> Counter[str]:
    """Go through the graph as a scheduler would; fails unless every join is complete and `end` runs once."""
    Frames = tuple[tuple[int, int, int], ...]  # of (number of the split, branch, branches)
    waiting: list[tuple[str, Frames]] = [(flow.start.name, ())]
    inputs: dict[tuple[str, int], set[int]] = {}
    ran: Counter[str] = Counter()
    per_context: Counter[tuple[str, Frames]] = Counter()
    splits = 0
    while waiting:
        name, frames = waiting.pop(rng.randrange(len(waiting)))
        step = flow[name]
        if step.is_join:
            split, branch, count = frames[-1]
            got = inputs.setdefault((name, split), set())
            assert branch not in got, f"{name} gets a branch twice"
            got.add(branch)
            if len(got) < count:
                continue
            del inputs[name, split]
            frames = frames[:-1]
        ran[name] += 1
        if step.is_end:
            assert frames == ()
            continue
        assert step.transition is not None
        kind, targets = step.transition.kind, step.targets
        if kind == "switch":
            target = rng.choice([case for _, case in step.transition.cases])
            if ran[name] > 20:
                target = next(t for t in targets if t != name)
            if target != name:
                per_context[name, frames] += 1
            waiting.append((target, frames))
        else:
            per_context[name, frames] += 1
            if kind == "linear":
                waiting.append((targets[0], frames))
            else:
                splits += 1
                branches = targets if kind == "split" else targets * 2
                waiting += [(t, (*frames, (splits, i, len(branches)))) for i, t in enumerate(branches)]
    assert not inputs, f"joins wait for ever: {inputs}"
    assert ran[flow.end.name] == 1
    assert max(per_context.values(), default=1) == 1, "a step runs twice on the same branch"
    return ran


class _Builder:
    """Builds a random valid flow from its end to its start."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.flow = FlowDef("F", file="flow.py")
        self.number = 0
        self.flow.steps["end"] = StepDef("end")

    def build(self) -> FlowDef:
        first = self.chain("end", self.rng.randrange(4))
        self.flow.steps["start"] = StepDef("start", transition=transition(">", (first,)))
        return mark_ends(self.flow)

    def add(self, sign: str, targets: tuple[str, ...], join: bool = False) -> str:
        self.number += 1
        name = f"s{self.number}"
        step = StepDef(name, num_inputs=2 if join else 1, transition=transition(sign, targets))
        if sign == "|":
            self.flow[targets[0]].decorators.append(DecoratorSpec("parallel"))
        self.flow.steps[name] = step
        return name

    def chain(self, then: str, depth: int) -> str:
        for _ in range(self.rng.randint(1, 2)):
            then = self.item(then, depth)
        return then

    def item(self, then: str, depth: int) -> str:
        sign = self.rng.choice(">>*|?") if depth else ">"
        if sign in "*|":
            body = self.chain(self.add(">", (then,), join=True), depth - 1)
            if sign == "|":  # a gang's step must be reached by num_parallel alone
                body = self.add(">", (body,))
            return self.add(sign, (body,))
        if sign == "?":
            ways = [self.chain(then, depth - 1) for _ in range(2)]
            name = self.add("?", tuple(ways))
            if self.rng.random() < 0.3:
                self.flow[name].transition = transition("?", (*ways, name))
            return name
        if depth and self.rng.random() < 0.5:
            join = self.add(">", (then,), join=True)
            return self.add(">", tuple(self.chain(join, depth - 1) for _ in range(self.rng.randint(2, 3))))
        return self.add(">", (then,))


def mutate(flow: FlowDef, rng: random.Random) -> None:
    """Break the flow, mostly in ways that only the steps around can tell."""
    step = rng.choice(list(flow))
    names = [*flow.steps, "nowhere"]
    what = rng.randrange(10)
    if what == 0:
        step.num_inputs = rng.choice([0, 1, 2, 3])
    elif what == 1:
        step.transition = None
    elif what == 2 and len(flow.steps) > 1:
        del flow.steps[step.name]
    elif what == 3:
        step.transition = transition(rng.choice(">*|?"), tuple(rng.choices(names, k=rng.randint(1, 3))))
    elif step.transition is not None:
        other = rng.choice(list(flow))
        if what < 7 and other.transition is not None:  # two steps swap a target: branches cross
            one, two = list(step.targets), list(other.targets)
            i, j = rng.randrange(len(one)), rng.randrange(len(two))
            one[i], two[j] = two[j], one[i]
            step.transition = transition(_sign(step), tuple(one))
            other.transition = transition(_sign(other), tuple(two))
        else:  # one leads elsewhere
            targets = list(step.targets)
            targets[rng.randrange(len(targets))] = other.name
            step.transition = transition(_sign(step), tuple(targets))


def _sign(step: StepDef) -> str:
    return {"foreach": "*", "parallel": "|", "switch": "?"}.get(step.transition.kind if step.transition else "", ">")


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_random_valid_flows_pass_and_can_be_executed(rng: random.Random) -> None:
    flow = _Builder(rng).build()
    lint(flow)
    execute(flow, rng)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_passes_can_be_executed_and_nothing_else_is_raised(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(30):
        flow = _Builder(rng).build()
        for _ in range(rng.randint(1, 3)):
            mutate(flow, rng)
        try:
            lint(flow)
        except LintWarn:
            continue
        for _ in range(3):
            execute(flow, rng)
