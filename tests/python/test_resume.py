"""`resume`: what is taken over, what runs again, and from which run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow, Run, default_namespace
from metaflow.exception import MetaflowNamespaceMismatch

FLOW = """
    import os
    from pathlib import Path
    from metaflow import FlowSpec, Parameter, current, step

    class Again(FlowSpec):
        base = Parameter("base", default=10)
        # more parameters

        @step
        def start(self):
            self.count("start")
            self.items = [1, 2, 3]
            print("start has", self.base)
            self.next(self.work, self.side)

        @step
        def work(self):
            self.next(self.each, foreach="items")

        @step
        def each(self):
            self.count(f"each-{self.input}")
            self.fail("each", self.input)
            self.square = self.input ** 2 + self.base
            self.next(self.join)

        @step
        def join(self, inputs):
            self.count("join")
            self.fail("join")
            self.squares = [i.square for i in inputs]
            self.next(self.both)

        @step
        def side(self):
            self.count("side")
            self.next(self.both)

        @step
        def both(self, inputs):
            self.count("both")
            self.squares = inputs.join.squares
            self.next(self.end)

        @step
        def end(self):
            self.count("end")
            self.origin = current.origin_run_id
            self.fail("end")

        def count(self, what):
            with open("bodies", "a") as file:
                print(what, file=file)

        def fail(self, step, item=None):
            if (Path("fail").read_text() if Path("fail").exists() else "") == f"{step}{item or ''}":
                raise RuntimeError("told to")

    if __name__ == "__main__":
        Again()
"""


@pytest.fixture
def fails_at(project: Path, run_flow: Any) -> Callable[..., Any]:
    """Run the flow so that it fails at a place; then put right what made it fail."""

    def run(place: str, *arguments: str, script: str = FLOW) -> Any:
        (project / "fail").write_text(place)
        result = run_flow(script, *(arguments or ("run",)), check=False)
        assert result.returncode == (1 if place else 0), result.stdout + result.stderr
        (project / "fail").write_text("")
        ran(project)
        return result

    return run


@pytest.fixture
def own_namespace() -> Iterator[None]:
    """The namespace is of the process: leave it as it was."""
    default_namespace()
    yield
    default_namespace()


def ran(project: Path) -> list[str]:
    """The bodies that were executed since the last call."""
    path = project / "bodies"
    found = sorted(path.read_text().split()) if path.exists() else []
    path.write_text("")
    return found


def squares(run: Run) -> list[int]:
    return run["end"].task.data.squares


def test_of_a_foreach_only_the_failed_sibling_runs(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("each2", "run", "--base", "20")
    result = run_flow("flow.py", "resume")
    assert "Resuming Again/1." in result.stderr
    assert "Workflow resuming from run 1 (run-id 2):" in result.stdout
    assert "5 finished tasks taken over from run 1." in result.stdout
    assert ran(project) == ["both", "each-2", "end", "join"]
    run = Run("Again/2")
    assert squares(run) == [21, 24, 29], "the parameter is that of the origin"
    assert run.successful
    assert run["end"].task.data.origin == "1"


def test_a_failed_join(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("join")
    run_flow("flow.py", "resume")
    assert ran(project) == ["both", "end", "join"]
    assert squares(Run("Again/2")) == [11, 14, 19]


def test_a_named_step(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("")
    run_flow("flow.py", "resume", "each")
    assert ran(project) == ["both", "each-1", "each-2", "each-3", "end", "join"]
    run_flow("flow.py", "resume", "side", "--origin-run-id", "1")
    assert ran(project) == ["both", "end", "side"]
    run_flow("flow.py", "resume", "start", "--origin-run-id", "1")
    assert len(ran(project)) == 8
    assert all(squares(run) == [11, 14, 19] for run in Flow("Again"))


def test_a_named_step_before_the_one_that_failed(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("end")
    run_flow("flow.py", "resume", "both")
    assert ran(project) == ["both", "end"]


def test_the_latest_run_is_the_default_also_when_it_was_resumed(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("each2")
    fails_at("join", "resume")
    result = run_flow("flow.py", "resume")
    assert "Resuming Again/2." in result.stderr
    assert ran(project) == ["both", "end", "join"]
    run = Run("Again/3")
    assert squares(run) == [11, 14, 19]
    assert run["end"].task.data.origin == "2"
    assert [run["start"].task.origin_pathspec, run["end"].task.origin_pathspec] == ["Again/2/start/1", None]


def test_traces_of_the_origin(fails_at: Any, run_flow: Any) -> None:
    fails_at("join")
    run_flow("flow.py", "resume")
    first, second = Run("Again/1"), Run("Again/2")
    assert first.origin_pathspec is None
    assert second.origin_pathspec == "Again/1"
    cloned, new = second["start"].task, second["join"].task
    assert cloned.origin_pathspec == first["start"].task.pathspec
    assert cloned.metadata_dict["origin-run-id"] == "1"
    assert cloned.metadata_dict["origin-task-id"] == "1"
    assert new.origin_pathspec is None
    assert "origin-run-id" not in new.metadata_dict
    assert cloned.stdout == "start has 10\n", "the log of a task that was taken over can be read"
    assert run_flow("flow.py", "logs", "2/start").stdout.endswith("start has 10\n")
    ids = [task.id for step in second for task in step]
    assert len(ids) == len(set(ids)), "new tasks get ids of their own"
    assert {task.pathspec for task in new.parent_tasks} == {task.pathspec for task in second["each"]}


def test_changed_code(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("each2")
    run_flow(FLOW.replace("** 2", "** 3"), "resume")
    assert squares(Run("Again/2")) == [11, 18, 19], "what was taken over is not calculated again"


def test_a_new_parameter_gets_its_default(fails_at: Any, run_flow: Any) -> None:
    fails_at("join", "run", "--base", "5")
    changed = FLOW.replace("# more parameters", 'more = Parameter("more", default="new")').replace(
        "[i.square for i in inputs]", "[self.base, self.more]"
    )
    run_flow(changed, "resume")
    assert squares(Run("Again/2")) == [5, "new"]


def test_a_changed_graph(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("end")
    changed = FLOW.replace(
        """            self.squares = inputs.join.squares
            self.next(self.end)
""",
        """            self.squares = inputs.join.squares
            self.next(self.between)

        @step
        def between(self):
            self.count("between")
            self.next(self.end)
""",
    )
    assert "between" in changed
    run_flow(changed, "resume")
    assert ran(project) == ["between", "both", "end"]


def test_a_removed_branch(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("end")
    changed = FLOW.replace("self.next(self.work, self.side)", "self.next(self.work)")
    begin, side = changed.index("        @step\n        def side"), changed.index("        @step\n        def both")
    changed = changed[:begin] + changed[side:]
    changed = changed.replace("def both(self, inputs)", "def both(self)").replace("inputs.join.squares", "self.squares")
    run_flow(changed, "resume")
    assert "start" in ran(project), "its next was changed"
    assert squares(Run("Again/2")) == [11, 14, 19]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "There is no step 'nowhere' to resume from. Steps: start, work, each, join, side, both, end."),
        (("--origin-run-id", "99"), "There is no run Again/99."),
        (("--origin-run-id", "../1"), "There is no run"),
        ((), "Run Again/1 is complete, there is nothing to resume. Name the step"),
    ],
)
def test_what_can_not_be_resumed(fails_at: Any, run_flow: Any, arguments: tuple[str, ...], message: str) -> None:
    fails_at("")
    result = run_flow("flow.py", "resume", *arguments, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert [run.id for run in Flow("Again")] == ["1"], "nothing was registered"


def test_nothing_to_resume(run_flow: Any) -> None:
    result = run_flow(FLOW, "resume", check=False)
    assert result.returncode == 1
    assert "You (tester) have no run of Again in this project that could be resumed." in result.stderr


def test_another_user_s_run(
    fails_at: Any, run_flow: Any, project: Path, monkeypatch: pytest.MonkeyPatch, own_namespace: None
) -> None:
    fails_at("join")
    refused = run_flow("flow.py", "resume", user="other", check=False)
    assert refused.returncode == 1
    run_flow("flow.py", "resume", "--origin-run-id", "1", user="other")
    assert ran(project) == ["both", "end", "join"]
    with pytest.raises(MetaflowNamespaceMismatch):
        Run("Again/2")
    monkeypatch.setenv("METAFLOW_USER", "other")
    default_namespace()
    run = Run("Again/2")
    assert "user:other" in run.system_tags
    assert "user:tester" not in run.system_tags


def test_tags_are_those_of_the_new_run(fails_at: Any, run_flow: Any) -> None:
    fails_at("join", "run", "--tag", "old")
    run_flow("flow.py", "resume", "--tag", "new")
    assert Run("Again/2").user_tags == frozenset({"new"})


def test_dry_run(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("each2")
    result = run_flow("flow.py", "resume", "--dry-run")
    assert [line.split(None, 1) for line in result.stdout.splitlines()] == [
        ["Resuming", "Again/1 would do this:"],
        ["start", "1 task taken over"],
        ["work", "1 task taken over"],
        ["each", "2 tasks taken over, 1 not: failed or unfinished"],
        ["join", "runs: it was not reached"],
        ["side", "1 task taken over"],
        ["both", "runs: it was not reached"],
        ["end", "runs: it was not reached"],
    ]
    named = run_flow("flow.py", "resume", "work", "--dry-run").stdout
    assert "runs again: it was asked for" in named
    assert "it follows work" in named
    assert ran(project) == []
    assert [run.id for run in Flow("Again")] == ["1"]


def test_run_id_file(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("join")
    run_flow("flow.py", "resume", "--run-id-file", "id")
    assert (project / "id").read_text() == "2"


LOOP = """
    import json
    from pathlib import Path
    from metaflow import FlowSpec, step

    class Loop(FlowSpec):
        @step
        def start(self):
            self.outer = ["a", "b"]
            self.next(self.inner, foreach="outer")

        @step
        def inner(self):
            self.letter, self.rounds = self.input, 0
            self.next(self.turn)

        @step
        def turn(self):
            self.rounds += 1
            with open("turns", "a") as file:
                print(self.letter, self.rounds, file=file)
            if (self.letter, self.rounds) == ("b", 3) and not Path("go").exists():
                raise RuntimeError("told to")
            self.more = "yes" if self.rounds < 4 else "no"
            self.next({"yes": self.turn, "no": self.fan}, condition="more")

        @step
        def fan(self):
            self.numbers = [1, 2]
            self.next(self.leaf, foreach="numbers")

        @step
        def leaf(self):
            self.found = f"{self.letter}{self.rounds}{self.input}"
            self.next(self.join_leaves)

        @step
        def join_leaves(self, inputs):
            self.found = [i.found for i in inputs]
            self.next(self.join)

        @step
        def join(self, inputs):
            self.found = sum([i.found for i in inputs], [])
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Loop()
"""


def test_recursion_in_a_foreach(run_flow: Any, project: Path) -> None:
    run_flow(LOOP, "run", "--max-workers", "1", check=False)
    (project / "go").touch()
    (project / "turns").write_text("")
    run_flow("flow.py", "resume")
    turns = (project / "turns").read_text().split("\n")
    assert "b 1" not in turns
    assert "b 2" not in turns
    assert "b 3" in turns
    run = Flow("Loop").latest_run
    assert run["end"].task.data.found == ["a41", "a42", "b41", "b42"]
    assert len(list(run["turn"])) == 8
    ids = [int(task.id) for step in run for task in step]
    assert len(ids) == len(set(ids))


def test_many_tasks_are_taken_over_in_one_go(run_flow: Any) -> None:
    script = """
        from pathlib import Path
        from metaflow import FlowSpec, step

        class Wide(FlowSpec):
            @step
            def start(self):
                self.items = list(range(300))
                self.next(self.work, foreach="items")

            @step
            def work(self):
                if self.input == 299 and not Path("go").exists():
                    raise RuntimeError("told to")
                self.value = self.input
                self.next(self.join)

            @step
            def join(self, inputs):
                self.total = sum(i.value for i in inputs)
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Wide()
    """
    run_flow(script, "run", "--max-num-splits", "300", check=False)
    Path("go").touch()
    result = run_flow("flow.py", "resume", "--max-num-splits", "300")
    assert "300 finished tasks taken over" in result.stdout
    assert result.stdout.count("Task is starting.") == 3
    assert Flow("Wide").latest_run["end"].task.data.total == sum(range(300))
    assert len(list(Flow("Wide").latest_run["work"])) == 300
