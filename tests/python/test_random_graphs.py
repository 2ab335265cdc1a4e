"""Flows of random shape, in Python and in R: what runs, in which order, with which inputs, and after a failure.

A flow is drawn as nested blocks. Each task appends a mark to ``trace``, and a join puts those of its inputs in
parentheses, so that the last ``trace`` tells all tasks, their inputs and the order of these. What it should be, a few
lines of recursion say.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metaflow import Flow, namespace
from metaflow_core.engine.plan import Plan, Work
from metaflow_core.graph.ends import mark_ends
from metaflow_core.graph.lint import lint
from metaflow_core.graph.model import DecoratorSpec, FlowDef, StepDef, Transition
from metaflow_core.graph.render import flow_to_dot, flow_to_mermaid, flow_to_text

Blocks = tuple["Block", ...]


@dataclass(frozen=True)
class Block:
    """``kind`` is step, split, foreach, gang, switch or loop; ``count`` its elements, or how often the loop runs."""

    kind: str
    parts: tuple[Blocks, ...] = ()
    count: int = 0


@dataclass
class Step:
    """A step of a drawn flow; ``indices`` below are those of the foreaches around a task."""

    name: str
    kind: str
    targets: tuple[str, ...]
    count: int = 0
    in_gang: bool = False

    def case(self, indices: list[int], turn: int) -> int:
        """Which of its targets a switch or a loop chooses."""
        if self.kind == "loop":
            return 0 if turn < self.count + sum(indices) % 2 else 1
        return (self.count + sum(indices)) % len(self.targets)


@dataclass
class Drawn:
    """Steps of a flow, by name, made from blocks from the last one to the first."""

    blocks: Blocks
    steps: dict[str, Step] = field(default_factory=dict)
    names: dict[int, tuple[str, str]] = field(default_factory=dict)  # of a block: its first and its last step

    def __post_init__(self) -> None:
        self._add("end", "step", ())
        self._add("start", "step", (self._build(self.blocks, "end"),))

    def _add(self, name: str, kind: str, targets: tuple[str, ...], count: int = 0) -> str:
        self.steps[name] = Step(name, kind, targets, count)
        return name

    def _build(self, blocks: Blocks, after: str) -> str:
        for block in reversed(blocks):
            after = self._build_block(block, after)
        return after

    def _build_block(self, block: Block, after: str) -> str:
        number = len(self.steps)
        name = f"{block.kind}_{number}"
        if block.kind == "step":
            return self._add(name, "step", (after,))
        if block.kind in ("loop", "switch"):  # neither may lead straight into a join
            meet = self._add(f"meet_{number}", "step", (after,))
            if block.kind == "loop":
                return self._add(name, "loop", (name, meet), block.count)
            return self._add(name, "switch", tuple(self._build(part, meet) for part in block.parts), block.count)
        join = self._add(f"join_{number}", "join", (after,))
        targets = tuple(self._build(part, join) for part in block.parts)
        if block.kind == "gang":
            self.steps[targets[0]].in_gang = True
        return self._add(name, block.kind, targets, block.count)


# --- what a flow should do --------------------------------------------------------------------------------------------


def expected(drawn: Drawn) -> tuple[str, list[str]]:
    """The trace at the end, and the marks in the order in which one task at a time runs."""
    order: list[str] = []

    def mark(name: str, indices: list[int], turn: int = 0) -> str:
        order.append(mark_of(name, indices, turn))
        return order[-1]

    def walk(name: str, stop: str | None, trace: str, indices: list[int]) -> tuple[str, str]:
        """From a step up to, and without, a join that closes the split around it: that join, and the trace."""
        while name != stop:
            step = drawn.steps[name]
            if step.kind == "join":
                return name, trace
            turn = 0
            trace = f"{trace} {mark(name, indices)}"
            while step.kind == "loop" and step.case(indices, turn + 1) == 0:
                turn += 1
                trace = f"{trace} {mark(name, indices, turn)}"
            if step.kind in ("switch", "loop"):
                name = step.targets[step.case(indices, turn + 1)]
            elif step.kind in ("split", "foreach", "gang"):
                if step.kind == "split":
                    ends = [walk(target, None, trace, indices) for target in step.targets]
                else:
                    ends = [walk(step.targets[0], None, trace, [*indices, i]) for i in range(step.count)]
                name = ends[0][0]
                trace = f"{mark(name, indices)}({','.join(end for _, end in ends)})"
                name = drawn.steps[name].targets[0]
            elif step.targets:
                name = step.targets[0]
            else:
                break
        return name, trace

    return walk("start", None, "", [])[1], order


def mark_of(name: str, indices: list[int], turn: int) -> str:
    return f"{name}/{'.'.join(map(str, indices))}" + (f"/{turn}" if turn else "")


# --- drawing ----------------------------------------------------------------------------------------------------------


def blocks(depth: int, gangs: bool = True) -> st.SearchStrategy[Blocks]:
    plain = st.just(Block("step"))
    loop = st.integers(1, 3).map(lambda n: Block("loop", (), n))
    if depth == 0:
        return st.lists(st.one_of(plain, loop), min_size=1, max_size=2).map(tuple)
    inner = blocks(depth - 1, gangs)
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    count = st.integers(1, 3)
    kinds = [
        plain,
        loop,
        several.map(lambda parts: Block("split", parts)),
        st.builds(lambda parts, n: Block("switch", parts, n), several, count),
        st.builds(lambda part, n: Block("foreach", (part,), n), inner, count),
    ]
    if gangs:
        kinds.append(st.builds(lambda part, n: Block("gang", ((Block("step"), *part),), n), inner, st.integers(2, 3)))
    return st.lists(st.one_of(kinds), min_size=1, max_size=2).map(tuple)


def flows(depth: int, most: int, gangs: bool = True) -> st.SearchStrategy[Drawn]:
    """Flows with splits at least, and at most so many tasks."""
    drawn = blocks(depth, gangs).map(Drawn)
    return drawn.filter(lambda flow: 5 <= len(expected(flow)[1]) <= most and len(flow.steps) > 5)


# --- the plan alone ---------------------------------------------------------------------------------------------------


def flow_def(drawn: Drawn) -> FlowDef:
    found = {}
    for step in drawn.steps.values():
        kind: Any = {"step": "linear", "join": "linear", "loop": "switch", "gang": "parallel"}.get(step.kind, step.kind)
        transition = None
        if step.kind in ("switch", "loop"):
            cases = tuple((str(i), target) for i, target in enumerate(step.targets))
            transition = Transition("switch", tuple(dict.fromkeys(step.targets)), condition="way", cases=cases)
        elif step.targets:
            foreach = "items" if kind == "foreach" else None
            parallel = step.count if kind == "parallel" else None
            transition = Transition(kind, step.targets, foreach=foreach, num_parallel=parallel)
        decorators = [DecoratorSpec("parallel")] if step.in_gang else []
        found[step.name] = StepDef(
            step.name, transition=transition, num_inputs=1 + (step.kind == "join"), decorators=decorators
        )
    return mark_ends(FlowDef("Random", dict(reversed(found.items()))))


def carried_out(drawn: Drawn, choose: Callable[[int], int]) -> tuple[str, list[str]]:
    """The trace and the order of marks when, of the tasks that run, ``choose`` says which ends next."""
    plan = Plan(flow_def(drawn))
    plan.start(0)
    running: list[tuple[int, Work]] = []
    traces, turns, places = {0: ""}, {0: 0}, {0: ("", [0])}
    order: list[str] = []
    last = ""
    while True:
        while (work := plan.next(0.0)) is not None:
            pk = len(traces)
            running.append((pk, work))
            step = drawn.steps[work.step]
            indices = [frame[2] for frame in work.frames if frame[1] == "foreach"]
            before = work.parents[0]
            places[pk] = (step.name, indices)
            turns[pk] = turns[before] + 1 if step.kind == "loop" and places[before] == places[pk] else 0
            order.append(mark_of(step.name, indices, turns[pk]))
            if step.kind == "join":
                traces[pk] = f"{order[-1]}({','.join(traces[parent] for parent in work.parents)})"
            else:
                traces[pk] = f"{traces[before]} {order[-1]}"
        if not running:
            return last, order
        pk, work = running.pop(choose(len(running)))
        last = traces[pk]
        plan.finished(pk, str(pk), work.frames, _result(drawn.steps[work.step], work, turns[pk]))


def _result(step: Step, work: Work, turn: int) -> dict[str, Any] | None:
    if not step.targets:
        return None
    if step.kind in ("switch", "loop"):
        indices = [frame[2] for frame in work.frames if frame[1] == "foreach"]
        return {"kind": "switch", "targets": [step.targets[step.case(indices, turn + 1)]], "num_splits": None}
    kind = {"step": "linear", "join": "linear", "gang": "parallel"}.get(step.kind, step.kind)
    return {"kind": kind, "targets": list(step.targets), "num_splits": step.count or None}


@given(drawn=flows(3, 200), seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_plan_gives_every_join_its_inputs_in_order_whoever_ends_first(drawn: Drawn, seed: int) -> None:
    lint(flow_def(drawn))
    trace, order = expected(drawn)
    found, ran = carried_out(drawn, random.Random(seed).randrange)
    assert found == trace
    assert sorted(ran) == sorted(order)


@given(drawn=flows(3, 60))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_step_and_case_is_shown(drawn: Drawn) -> None:
    flow = flow_def(drawn)
    text, dot, mermaid = flow_to_text(flow), flow_to_dot(flow), flow_to_mermaid(flow)
    arrows = sum(len(set(step.targets)) for step in drawn.steps.values())
    assert dot.count(" -> ") == arrows == sum("->" in line for line in mermaid.splitlines())
    assert all(f"Step {name}" in text for name in drawn.steps)


# --- real runs --------------------------------------------------------------------------------------------------------

PYTHON = """
import os
from metaflow import FlowSpec, parallel, step

class RandomFlow(FlowSpec):
    def mark(self, name, turn=0):
        self.indices = [level[0] for level in self.foreach_stack()]
        mark = f"{name}/{'.'.join(map(str, self.indices))}" + (f"/{turn}" if turn else "")
        with open("bodies", "a") as file:
            file.write(mark + "\\n")
        if os.environ.get("FAIL") == mark:
            raise RuntimeError("told to")
        return mark

    def add(self, name, turn=0):
        self.trace = f"{getattr(self, 'trace', '')} {self.mark(name, turn)}"

    def take(self, name, inputs):
        self.merge_artifacts(inputs, include=["constant"])
        assert self.constant == 7
        self.trace = f"{self.mark(name)}({','.join([i.trace for i in inputs])})"

STEPS
if __name__ == "__main__":
    RandomFlow()
"""


def in_python(drawn: Drawn) -> str:
    def of(step: Step) -> Iterator[str]:
        if step.in_gang:
            yield "@parallel"
        yield "@step"
        yield f"def {step.name}(self{', inputs' if step.kind == 'join' else ''}):"
        to = [f"self.{target}" for target in step.targets]
        next_ = f"self.next({', '.join(to)}"
        if step.name == "start":
            yield "    self.constant = 7"
        if step.kind == "join":
            yield f"    self.take({step.name!r}, inputs)"
        elif step.kind == "loop":
            yield f"    self.turn_{step.name} = getattr(self, 'turn_{step.name}', -1) + 1"
            yield f"    self.add({step.name!r}, self.turn_{step.name})"
            yield f"    self.more = self.turn_{step.name} + 1 < {step.count} + sum(self.indices) % 2"
            next_ = f"self.next({{True: {to[0]}, False: {to[1]}}}, condition='more'"
        else:
            yield f"    self.add({step.name!r})"
        if step.kind == "foreach":
            yield f"    self.items = range({step.count})"
            next_ += ", foreach='items'"
        elif step.kind == "gang":
            next_ += f", num_parallel={step.count}"
        elif step.kind == "switch":
            yield f"    self.way = ({step.count} + sum(self.indices)) % {len(to)}"
            next_ = f"self.next({{{', '.join(f'{i}: {one}' for i, one in enumerate(to))}}}, condition='way'"
        if step.targets:
            yield f"    {next_})"

    text = "\n\n".join("\n".join(of(step)) for step in reversed(drawn.steps.values()))
    return PYTHON.replace("STEPS", indent(text, "    "))


R = """
library(metaflow)
mark <- function(self, name, turn = 0) {
  self$indices <- vapply(foreach_stack(self), function(level) level[[1]], 1L)
  mark <- paste0(name, "/", paste(self$indices, collapse = "."), if (turn) paste0("/", turn))
  cat(mark, "\\n", file = "bodies", append = TRUE, sep = "")
  if (Sys.getenv("FAIL") == mark) stop("told to")
  mark
}
add <- function(self, name, turn = 0) {
  self$trace <- paste(if ("trace" %in% names(self)) self$trace else "", mark(self, name, turn))
}
take <- function(name) function(self, inputs) {
  merge_artifacts(self, inputs, include = "constant")
  stopifnot(self$constant == 7)
  traces <- paste(unlist(gather_inputs(inputs, "trace")), collapse = ",")
  self$trace <- paste0(mark(self, name), "(", traces, ")")
}
metaflow("RandomFlow") |>
STEPS
  run()
"""


def in_r(drawn: Drawn) -> str:
    def of(step: Step) -> str:
        name, turn = step.name, f"turn_{step.name}"
        body = f'add(self, "{name}")'
        to = [f'"{target}"' for target in step.targets]
        leads = f"next_step = c({', '.join(to)})" if to else ""
        if name == "start":
            body += "; self$constant <- 7"
        if step.kind == "loop":
            body = (
                f'self${turn} <- if ("{turn}" %in% names(self)) self${turn} + 1 else 0; '
                f'add(self, "{name}", self${turn}); '
                f"self$more <- self${turn} + 1 < {step.count} + sum(self$indices) %% 2"
            )
            leads = f'next_step = list(`TRUE` = {to[0]}, `FALSE` = {to[1]}), condition = "more"'
        elif step.kind == "foreach":
            body += f"; self$items <- seq_len({step.count})"
            leads += ', foreach = "items"'
        elif step.kind == "gang":
            leads += f", num_parallel = {step.count}"
        elif step.kind == "switch":
            body += f"; self$way <- ({step.count} + sum(self$indices)) %% {len(to)}"
            cases = ", ".join(f"`{i}` = {one}" for i, one in enumerate(to))
            leads = f'next_step = c({cases}), condition = "way"'
        function = f'take("{name}")' if step.kind == "join" else f"function(self) {{ {body} }}"
        parts = [f'step = "{name}"', f"r_function = {function}", leads]
        parts += ["join = TRUE"] * (step.kind == "join") + ["parallel()"] * step.in_gang
        return f"  step({', '.join(part for part in parts if part)}) |>"

    return R.replace("STEPS", "\n".join(of(step) for step in reversed(drawn.steps.values())))


def check_run(drawn: Drawn, run: Callable[..., Any], script: str, where: int) -> None:
    """Run it as a whole, one task at a time; then so that it fails at a mark, and resume it: the same result."""
    trace, order = expected(drawn)
    workers = ["--max-workers", str(max([1, *(step.count for step in drawn.steps.values() if step.kind == "gang")]))]
    bodies = Path("bodies")
    bodies.unlink(missing_ok=True)
    run(script, "--quiet", "run", *workers)
    whole = Flow("RandomFlow").latest_run
    assert whole["end"].task.data.trace == trace
    ran = bodies.read_text().split()
    assert ran == order if workers[1] == "1" else sorted(ran) == sorted(order)
    check_relatives(whole)

    place = order[where % len(order)]
    bodies.unlink()
    failed = run(script, "--quiet", "run", *workers, env={"FAIL": place}, check=False)
    assert failed.returncode == 1, failed.stdout
    run(script, "--quiet", "resume", *workers)
    resumed = Flow("RandomFlow").latest_run
    assert resumed.successful and resumed["end"].task.data.trace == trace
    counts = Counter(bodies.read_text().split())
    in_gang = drawn.steps[place.split("/")[0]].in_gang
    assert sorted(counts) == sorted(order)
    repeated = {mark.split("/")[0] if in_gang else mark for mark, count in counts.items() if count > 1}
    assert repeated == {place.split("/")[0] if in_gang else place}, "what had finished was not run again"
    check_relatives(resumed)


def check_relatives(run: Any) -> None:
    """Tasks know those that led to them, and to which they led."""
    tasks = {task.pathspec: task for step in run for task in step}
    assert len({task.id for task in tasks.values()}) == len(tasks)
    pairs = {(parent.pathspec, name) for name, task in tasks.items() for parent in task.parent_tasks}
    assert pairs == {(name, child.pathspec) for name, task in tasks.items() for child in task.child_tasks}
    for step in run:
        assert {one.id for one in step.parent_steps} == {
            parent.split("/")[2] for parent, child in pairs if child.split("/")[2] == step.id
        }


FEW = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@pytest.fixture
def everywhere() -> Iterator[None]:
    namespace(None)
    yield


@given(drawn=flows(3, 25), where=st.integers(0, 1000))
@FEW
def test_runs_in_python_whole_and_resumed(run_flow: Any, everywhere: None, drawn: Drawn, where: int) -> None:
    Path("flow.py").write_text(in_python(drawn))
    check_run(drawn, run_flow, "flow.py", where)


@given(drawn=flows(3, 25), where=st.integers(0, 1000))
@settings(FEW, max_examples=1)
def test_runs_in_r_whole_and_resumed(run_r: Any, everywhere: None, drawn: Drawn, where: int) -> None:
    Path("flow.R").write_text(in_r(drawn))
    check_run(drawn, run_r, "flow.R", where)
