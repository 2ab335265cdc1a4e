"""The plan of a run, without any process: what is ready, in which order, and what a resumed run leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from metaflow_core.engine.plan import Plan, Work
from metaflow_core.graph.model import FlowDef, StepDef, Transition


def flow(*steps: tuple[str, Transition | None, int]) -> FlowDef:
    """A flow of ``(name, transition, number of arguments)``."""
    made = {name: StepDef(name, transition=transition, num_inputs=inputs) for name, transition, inputs in steps}
    first, last = steps[0][0], steps[-1][0]
    made[first].is_start, made[last].is_end = True, True
    return FlowDef("F", made)


def run(plan: Plan, results: dict[str, dict[str, Any]]) -> list[Work]:
    """Carry out the whole plan, one task after the other; returns the work in its order."""
    plan.start(0)
    done: list[Work] = []
    while (work := plan.next(0.0)) is not None:
        done.append(work)
        plan.finished(len(done), str(len(done)), work.frames, results.get(work.step))
    return done


def linear(target: str) -> dict[str, Any]:
    return {"kind": "linear", "targets": [target]}


BRANCHES = flow(
    ("start", Transition("split", ("a", "b")), 1),
    ("a", Transition("linear", ("join",)), 1),
    ("b", Transition("linear", ("join",)), 1),
    ("join", Transition("linear", ("end",)), 2),
    ("end", None, 1),
)
BRANCHED = {
    "start": {"kind": "split", "targets": ["a", "b"]},
    "a": linear("join"),
    "b": linear("join"),
    "join": linear("end"),
}


def test_branches_start_in_the_order_of_next_and_join_in_it() -> None:
    done = run(Plan(BRANCHES), BRANCHED)
    assert [work.step for work in done] == ["start", "a", "b", "join", "end"]
    assert list(done[3].parents) == [2, 3]


def test_a_join_orders_its_inputs_whoever_comes_first() -> None:
    plan = Plan(BRANCHES)
    plan.start(0)
    assert plan.next(0.0) is not None
    plan.finished(1, "1", [], BRANCHED["start"])
    a, b = plan.next(0.0), plan.next(0.0)
    assert a is not None
    assert b is not None
    plan.finished(12, "3", b.frames, linear("join"))
    assert plan.next(0.0) is None, "a join waits for all"
    plan.finished(11, "2", a.frames, linear("join"))
    join = plan.next(0.0)
    assert join is not None
    assert (join.step, list(join.parents), join.frames) == ("join", [11, 12], [])


FOREACH = flow(
    ("start", Transition("foreach", ("work",), foreach="x"), 1),
    ("work", Transition("linear", ("join",)), 1),
    ("join", Transition("linear", ("end",)), 2),
    ("end", None, 1),
)


def test_a_foreach_makes_its_children_when_it_is_their_turn() -> None:
    plan = Plan(FOREACH)
    plan.start(0)
    plan.next(0.0)
    plan.finished(1, "1", [], {"kind": "foreach", "targets": ["work"], "num_splits": 10**12})
    first = plan.next(0.0)
    assert first is not None
    assert (first.step, first.split_index, first.frames) == ("work", 0, [["1", "foreach", 0, 10**12]])
    assert plan.waiting


def test_what_a_resumed_run_has_is_left_out() -> None:
    plan = Plan(FOREACH, taken_over={(0, "start", -1), (1, "work", 0), (1, "work", 2)})
    plan.start(0)
    plan.finished(1, "1", [], {"kind": "foreach", "targets": ["work"], "num_splits": 4})
    left = []
    while (work := plan.next(0.0)) is not None:
        left.append(work.split_index)
    assert left == [1, 3]


@pytest.mark.parametrize(("now", "ready"), [(4.9, False), (5.0, True)])
def test_a_retry_waits_for_its_time(now: float, ready: bool) -> None:
    plan = Plan(FOREACH)
    plan.retry([Work("work", [], 0, [], task_pk=7, attempt=1)], 5.0)
    assert plan.next_time(after=0.0) == 5.0
    assert plan.waiting
    assert (plan.next(now) is not None) == ready


def test_an_inner_foreach_is_finished_before_the_next_element_of_the_outer_one() -> None:
    nested = flow(
        ("start", Transition("foreach", ("outer",), foreach="x"), 1),
        ("outer", Transition("foreach", ("inner",), foreach="y"), 1),
        ("inner", Transition("linear", ("inner_join",)), 1),
        ("inner_join", Transition("linear", ("outer_join",)), 2),
        ("outer_join", Transition("linear", ("end",)), 2),
        ("end", None, 1),
    )
    results = {
        "start": {"kind": "foreach", "targets": ["outer"], "num_splits": 2},
        "outer": {"kind": "foreach", "targets": ["inner"], "num_splits": 2},
        "inner": linear("inner_join"),
        "inner_join": linear("outer_join"),
        "outer_join": linear("end"),
    }
    once = ["outer", "inner", "inner", "inner_join"]
    assert [work.step for work in run(Plan(nested), results)] == ["start", *once, *once, "outer_join", "end"]


GANGS = flow(
    ("start", Transition("split", ("a", "b")), 1),
    ("a", Transition("parallel", ("gang",), num_parallel=2), 1),
    ("gang", Transition("linear", ("gathered",)), 1),
    ("gathered", Transition("linear", ("join",)), 2),
    ("b", Transition("linear", ("join",)), 1),
    ("join", Transition("linear", ("end",)), 2),
    ("end", None, 1),
)


def test_a_gang_waits_for_room_for_all_of_it_and_so_does_what_is_behind() -> None:
    plan = Plan(GANGS)
    plan.start(0)
    assert plan.next(0.0) is not None
    plan.finished(1, "1", [], {"kind": "split", "targets": ["a", "b"]})
    a = plan.next(0.0, free=2)
    assert a is not None and a.step == "a"
    plan.finished(2, "2", a.frames, {"kind": "parallel", "targets": ["gang"], "num_splits": 2})
    assert plan.next(0.0, free=1) is None
    found = [plan.next(0.0, free=2), plan.next(0.0, free=1), plan.next(0.0, free=0)]
    assert [work and work.step for work in found] == ["gang", "gang", "b"]
    members = [work for work in found[:2] if work is not None]
    plan.retry([member.again() for member in members], 5.0)
    assert plan.next(6.0, free=1) is None
    again = [plan.next(6.0, free=2), plan.next(6.0, free=1)]
    assert [work and (work.attempt, work.frames[-1][2]) for work in again] == [(1, 0), (1, 1)]
