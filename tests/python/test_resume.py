"""`resume`: what is taken over, what runs again, and from which run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
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


@pytest.mark.both_databases
def test_of_a_foreach_only_the_failed_sibling_runs(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("each2", "run", "--base", "20")
    result = run_flow("flow.py", "resume")
    assert "Resuming Again/1, which failed." in result.stderr
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
    assert "Resuming Again/2, which failed." in result.stderr
    assert ran(project) == ["both", "end", "join"]
    run = Run("Again/3")
    assert Flow("Again").latest_run == Flow("Again").latest_successful_run == run
    assert squares(run) == [11, 14, 19]
    assert run["end"].task.data.origin == "2"
    start = run["start"].task
    assert [start.origin_pathspec, run["end"].task.origin_pathspec] == ["Again/2/start/1", None]
    assert (start.stdout, start.metadata_dict["origin-run-id"]) == ("start has 10\n", "2")
    run_flow("flow.py", "resume", "both", "--origin-run-id", "Again/1")
    assert Run("Again/4").origin_pathspec == "Again/1", "an earlier one can be named, as an id or as a pathspec"


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


SWITCH = """
    from metaflow import FlowSpec, step

    class Choose(FlowSpec):
        @step
        def start(self):
            self.way = "left"
            self.next({"left": self.left, "right": self.right}, condition="way")

        @step
        def left(self):
            print("body of left")
            self.next(self.goal)

        @step
        def right(self):
            self.next(self.goal)

        @step
        def goal(self):
            print("body of goal")
            self.next(self.after)

        @step
        def after(self):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Choose()
"""


def test_a_step_runs_again_when_what_led_to_it_does(run_flow: Any) -> None:
    run_flow(SWITCH, "run")
    # From `left`, which was taken, the changed flow comes to `goal` no more; what it led to then can't be taken over.
    changed = SWITCH.replace(
        'print("body of left")\n            self.next(self.goal)',
        'print("body of left")\n            self.next(self.after)',
    )
    assert changed != SWITCH
    resumed = run_flow(changed, "resume").stdout
    assert "body of left" in resumed and "body of goal" not in resumed
    assert [step.id for step in Run("Choose/2")] == ["end", "after", "left", "start"]


def test_another_first_step(run_flow: Any) -> None:
    run_flow(SWITCH, "run")
    renamed = SWITCH.replace("        @step\n        def start", "        @step(start=True)\n        def begin")
    run_flow(renamed, "resume")
    assert [step.id for step in Run("Choose/2")] == ["end", "after", "goal", "left", "begin"]


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


def test_parameters_can_not_be_given(run_flow: Any) -> None:
    run_flow(FLOW, "run")
    result = run_flow("flow.py", "resume", "end", "--base", "3", check=False)
    assert result.returncode == 2
    assert "--base can't be given: the parameters are those of the run that is resumed." in result.stderr
    assert "No such option '--bose'" in run_flow("flow.py", "resume", "--bose", "3", check=False).stderr


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


def preview(result: Any) -> list[tuple[str, str]]:
    """The steps of a dry run, each with what it says."""
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in result.stdout.splitlines()[1:]]


def test_dry_run(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("each2", "run", "--max-workers", "1")
    result = run_flow("flow.py", "resume", "--dry-run")
    assert result.stdout.startswith("Resuming Again/1, which failed. A resumed run would do this:\n")
    # Depth first and one at a time: of the three only the first two were begun, and of `side` nothing.
    assert preview(result) == [
        ("start", "1 task taken over (start/1)"),
        ("work", "1 task taken over (work/2)"),
        ("each", "1 task taken over (each/3); 1 runs again: each/4 failed (RuntimeError); 1 runs: not reached"),
        ("join", "runs: it was not reached"),
        ("side", "runs: it was not reached"),
        ("both", "runs: it was not reached"),
        ("end", "runs: it was not reached"),
    ]
    named = run_flow("flow.py", "resume", "work", "--dry-run")
    assert dict(preview(named)) | {
        "start": "1 task taken over (start/1)",
        "work": "1 task runs again (work/2): it was asked for",
        "each": "2 tasks run again (each/3, each/4): it follows work",
        "join": "runs: it follows work",
    } == dict(preview(named))
    assert ran(project) == []
    assert [run.id for run in Flow("Again")] == ["1"]


def test_dry_run_does_what_it_says(fails_at: Any, run_flow: Any, project: Path) -> None:
    fails_at("each2")
    said = preview(run_flow("flow.py", "resume", "--dry-run"))
    run_flow("flow.py", "resume")
    resumed = Run("Again/2")
    for step, text in said:
        taken = sorted(task.origin_pathspec for task in resumed[step] if task.origin_pathspec)
        assert taken == sorted(f"Again/1/{name}" for name in re.findall(rf"{step}/\d+", text.partition(";")[0]))


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
    said = dict(preview(run_flow("flow.py", "resume", "--dry-run")))
    assert (
        said["turn"].startswith("6 tasks taken over; 1 runs again: turn/") and "failed (RuntimeError)" in said["turn"]
    )
    assert said["fan"].startswith("1 task taken over (fan/") and said["fan"].endswith(
        "; the rest runs: it follows turn"
    )
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


WIDE = """
    from pathlib import Path
    from metaflow import FlowSpec, Parameter, step

    class Wide(FlowSpec):
        width = Parameter("width", default=100)

        @step
        def start(self):
            self.items = list(range(self.width))
            self.next(self.work, foreach="items")

        @step
        def work(self):
            if self.input == self.width - 2 and not Path("go").exists():
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


@pytest.mark.both_databases
def test_many_tasks_are_taken_over_in_one_go(run_flow: Any) -> None:
    run_flow(WIDE, "run", "--max-workers", "1", check=False)
    said = run_flow("flow.py", "resume", "--dry-run").stdout.splitlines()
    assert len(said) == 5 and max(map(len, said)) < 200, "however many tasks there are"
    again = "1 runs again: work/100 failed (RuntimeError); 1 runs: not reached"
    assert said[2].split(None, 1) == ["work", f"98 tasks taken over; {again}"]
    Path("go").touch()
    result = run_flow("flow.py", "resume")
    assert "99 finished tasks taken over" in result.stdout
    assert result.stdout.count("Task is starting.") == 4
    assert Flow("Wide").latest_run["end"].task.data.total == sum(range(100))
    assert len(list(Flow("Wide").latest_run["work"])) == 100


NESTED = """
    import os
    from metaflow import FlowSpec, step

    class Nested(FlowSpec):
        @step
        def start(self):
            self.outer = ["a", "b"]
            self.next(self.fan, foreach="outer")

        @step
        def fan(self):
            self.letter, self.numbers = self.input, [1, 2, 3]
            self.next(self.leaf, foreach="numbers")

        @step
        def leaf(self):
            self.label = f"{self.letter}{self.input}"
            print("leaf", self.label)
            if self.label in os.environ.get("FAIL", "").split():
                raise RuntimeError("told to")
            self.next(self.collect)

        @step
        def collect(self, inputs):
            self.names = [one.label for one in inputs]
            print("collect", *self.names)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.names = [one.names for one in inputs]
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Nested()
"""


def printed(result: Any) -> list[str]:
    """What leaves and inner joins printed."""
    return sorted(re.findall(r"\)\] ((?:leaf|collect) .*)", result.stdout))


def test_nested_foreach(run_flow: Any) -> None:
    run_flow(NESTED, "run", "--max-workers", "1", env={"FAIL": "b2"}, check=False)
    said = dict(preview(run_flow("flow.py", "resume", "--dry-run")))
    assert said["leaf"].startswith("4 tasks taken over (leaf/3, ") and said["leaf"].endswith("1 runs: not reached")
    assert said["collect"].endswith("; the rest runs: it follows leaf")
    resumed = run_flow("flow.py", "resume")
    assert printed(resumed) == ["collect b1 b2 b3", "leaf b2", "leaf b3"]
    run = Run("Nested/2")
    whole = [["a1", "a2", "a3"], ["b1", "b2", "b3"]]
    assert run.data.names == whole
    assert {task.data.label for task in run["leaf"] if task.origin_pathspec} == {"a1", "a2", "a3", "b1"}
    # The inner join of one letter alone; all of them; and a resumed run once more.
    named = printed(run_flow("flow.py", "resume", "collect"))
    assert named == ["collect a1 a2 a3", "collect b1 b2 b3"]
    inner = printed(run_flow("flow.py", "resume", "leaf", "--origin-run-id", "1"))
    assert [line for line in inner if line.startswith("leaf")] == [f"leaf {x}{n}" for x in "ab" for n in (1, 2, 3)]
    assert [run.data.names for run in Flow("Nested").runs() if run.successful] == [whole] * 3


CAUGHT = """
    from metaflow import FlowSpec, catch, step

    class Caught(FlowSpec):
        @step
        def start(self):
            self.next(self.risky)

        @catch(var="problem")
        @step
        def risky(self):
            print("body of risky")
            self.answer = 1 / 0
            self.next(self.end)

        @step
        def end(self):
            print("problem:", self.problem.type)

    if __name__ == "__main__":
        Caught()
"""


def test_a_failure_that_was_caught_is_taken_over(run_flow: Any) -> None:
    run_flow(CAUGHT, "run")
    resumed = run_flow("flow.py", "resume", "end").stdout
    assert "problem: ZeroDivisionError" in resumed and "body of risky" not in resumed
    task = Run("Caught/2")["risky"].task
    assert (task.status, task.exception.type, task.stdout) == ("caught", "ZeroDivisionError", "body of risky\n")


KILLED = """
    import os, time
    from pathlib import Path
    from metaflow import FlowSpec, step

    class Killed(FlowSpec):
        @step
        def start(self):
            self.next(self.work, foreach="items")

        items = ["quick", "slow"]

        @step
        def work(self):
            self.pid = os.getpid()
            if self.input == "slow" and not Path("go").exists():
                print("slow is asleep", flush=True)
                time.sleep(600)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.pids = [one.pid for one in inputs]
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Killed()
"""


def test_a_run_whose_driver_was_killed(run_flow: Any, project: Path) -> None:
    (project / "flow.py").write_text(dedent(KILLED))
    command = [sys.executable, "flow.py", "run", "--max-workers", "1"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        assert any("slow is asleep" in line for line in driver.stdout)
        said = run_flow("flow.py", "resume", "--dry-run")
        assert "Resuming Killed/1, which is still running: what it finishes from now on" in said.stdout
    finally:
        driver.kill()
        driver.wait()
        driver.stdout.close()
    (project / "go").touch()
    said = run_flow("flow.py", "resume", "--dry-run")
    assert "Resuming Killed/1, which was killed." in said.stdout
    # The task saw the end of its driver, or had no time to: either way it has no result.
    assert re.search(r"1 task taken over \(work/2\); 1 runs again: work/3 (was not finished|failed)", said.stdout)
    resumed = run_flow("flow.py", "resume")
    assert "Resuming Killed/1, which was killed." in resumed.stderr
    first, second = Run("Killed/1"), Run("Killed/2")
    quick = next(task for task in first["work"] if task.index == 0)
    assert (first.status, second.status) == ("lost", "completed")
    assert second.data.pids[0] == quick.data.pid, "what was finished was not calculated again"


GANG = """
    from pathlib import Path
    from metaflow import FlowSpec, current, parallel, step

    class Gang(FlowSpec):
        @step
        def start(self):
            self.next(self.train, num_parallel=3)

        @parallel
        @step
        def train(self):
            print("train", current.parallel.node_index, flush=True)
            if current.parallel.node_index == 1 and not Path("go").exists():
                raise RuntimeError("told to")
            self.next(self.join)

        @step
        def join(self, inputs):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Gang()
"""


def test_a_gang_runs_again_as_a_whole(run_flow: Any, project: Path) -> None:
    run_flow(GANG, "run", check=False)
    said = dict(preview(run_flow("flow.py", "resume", "--dry-run")))
    assert said["train"].endswith("): its tasks run at once, and not all of them were finished")
    assert said["join"] == "runs: it follows train"
    (project / "go").touch()
    refused = run_flow("flow.py", "resume", "--max-workers", "2", check=False)
    assert refused.returncode == 1 and "num_parallel=3 needs as many workers, and there are 2." in refused.stderr
    resumed = run_flow("flow.py", "resume")
    assert sorted(re.findall(r"train \d", resumed.stdout)) == ["train 0", "train 1", "train 2"]
    assert [run.id for run in Flow("Gang")] == ["2", "1"]
    assert "train" not in run_flow("flow.py", "resume", "join").stdout
    refused = run_flow("flow.py", "resume", "train", "--max-workers", "2", check=False)
    assert "num_parallel=3 needs as many workers" in refused.stderr


STORED = """
    from metaflow import FlowSpec, IncludeFile, Parameter, step

    def computed(context):
        print("computing a default")
        return 7

    class Stored(FlowSpec):
        table = IncludeFile("table", default="table.txt")
        number = Parameter("number", type=int, default=computed)

        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            print("has", self.table.strip(), self.number)

    if __name__ == "__main__":
        Stored()
"""


def test_parameters_of_the_origin_are_not_computed_or_read_again(run_flow: Any, project: Path) -> None:
    (project / "table.txt").write_text("of then\n")
    assert "has of then 5" in run_flow(STORED, "run", "--number", "5").stdout
    (project / "table.txt").unlink()
    resumed = run_flow("flow.py", "resume", "end").stdout
    assert "has of then 5" in resumed and "computing" not in resumed


def test_the_namespace_of_a_resumed_run(run_flow: Any) -> None:
    """``--namespace`` is that of the client in its tasks; its tags stay those of who resumed it."""
    script = """
        from metaflow import FlowSpec, current, get_namespace, step

        class Spaces(FlowSpec):
            @step
            def start(self):
                self.next(self.end)

            @step
            def end(self):
                print("sees", get_namespace(), "as", current.namespace)

        if __name__ == "__main__":
            Spaces()
    """
    run_flow(script, "run")
    assert "sees user:will as user:tester" in run_flow("flow.py", "resume", "end", "--namespace", "user:will").stdout
    assert "sees None as user:tester" in run_flow("flow.py", "resume", "end", "--namespace", "").stdout
    assert "sees user:tester as user:tester" in run_flow("flow.py", "resume", "end").stdout
    assert ["user:will" in run.tags for run in Flow("Spaces")] == [False] * 4
