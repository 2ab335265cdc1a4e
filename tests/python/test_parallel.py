"""Gangs: ``num_parallel`` tasks of one step that run at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from metaflow import Run, Task

FLOW = """
    import os, time
    from metaflow import FlowSpec, current, parallel, step

    class GangFlow(FlowSpec):
        @step
        def start(self):
            self.next(self.train, num_parallel=3)

        @parallel
        @step
        def train(self):
            # Every member waits until all are there, which only ends when they run at once.
            open(f"here-{current.parallel.node_index}", "w").close()
            while not all(os.path.exists(f"here-{i}") for i in range(current.parallel.num_nodes)):
                time.sleep(0.01)
            self.place = tuple(current.parallel)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.places = [i.place for i in inputs]
            self.next(self.end)

        @step
        def end(self):
            print(self.places)

    if __name__ == "__main__":
        GangFlow()
"""


def test_a_gang_runs_at_once_and_knows_its_members(run_flow: Any) -> None:
    result = run_flow(FLOW, "run", "--max-workers", "3")
    assert "[('127.0.0.1', 3, 0), ('127.0.0.1', 3, 1), ('127.0.0.1', 3, 2)]" in result.stdout
    tried = run_flow("flow.py", "spin", "train").stdout
    assert re.search(r"self.place = \('127.0.0.1', 3, \d\)", tried), "a member alone, on the inputs that it had"


def test_a_gang_needs_as_many_workers(run_flow: Any) -> None:
    result = run_flow(FLOW, "run", "--max-workers", "2", check=False)
    assert result.returncode == 1
    assert "num_parallel=3 needs as many workers, and there are 2. Raise it: --max-workers 3" in result.stdout


def test_options_come_from_the_environment(run_flow: Any) -> None:
    run_flow(FLOW, "run", env={"METAFLOW_RUN_TAG": "one two", "METAFLOW_RUN_WITH": "retry:times=1"})
    listed = run_flow("flow.py", "tag", "list", "--run-id", "1")
    assert {"one", "two"} <= set(listed.stdout.split())


# Node 0 is finished before, and node 2 waits for node 1, which fails in the attempts that FAILS names.
FAILING = """
    import os, time
    from pathlib import Path
    from metaflow import FlowSpec, catch, current, parallel, retry, step

    def wait_for(name):
        while not Path(name).exists():
            time.sleep(0.01)

    class FailingGang(FlowSpec):
        @step
        def start(self):
            self.next(self.train, num_parallel=3)

        # more decorators
        @parallel
        @step
        def train(self):
            node, attempt = current.parallel.node_index, current.retry_count
            print(f"node {node} attempt {attempt}", flush=True)
            self.mark = f"{node}.{attempt}"
            if str(attempt) in os.environ.get("FAILS", ""):
                Path(f"here-{self.mark}").touch()
                if node == 1:
                    wait_for(f"here-2.{attempt}")
                    while not any(task.index == 0 and task.finished for task in current.run["train"]):
                        time.sleep(0.01)
                    raise ValueError("told to")
                if node == 2:
                    wait_for("never")
            self.next(self.use)

        @step
        def use(self):
            self.mark = getattr(self, "mark", "none")
            print("used", self.mark)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.marks = [i.mark for i in inputs]
            self.failures = [str(getattr(i, "failure", None)) for i in inputs]
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        FailingGang()
"""


def test_a_gang_fails_as_one_and_is_repeated_as_one(run_flow: Any) -> None:
    script = FAILING.replace("# more decorators", "@retry(times=2)")
    result = run_flow(script, "run", "--max-workers", "3", env={"FAILS": "0 1"})
    assert sorted(re.findall(r"node \d attempt \d", result.stdout)) == [
        f"node {node} attempt {attempt}" for node in range(3) for attempt in range(3)
    ]
    assert Run("FailingGang/1")["end"].task.data.marks == ["0.2", "1.2", "2.2"]
    stopped = next(task for task in Run("FailingGang/1")["train"] if task.index == 2)
    assert re.search(r"Stopped, because the task 1/train/\d of its gang", Task(stopped.pathspec, 0).stderr)
    assert sorted(re.findall(r"used (\S+)", result.stdout)) == ["0.2", "1.2", "2.2"], "nothing of the attempts before"


def test_a_gang_that_failed_for_good_is_resumed_as_one(run_flow: Any, project: Path) -> None:
    failed = run_flow(FAILING, "run", env={"FAILS": "0"}, check=False)
    assert failed.returncode == 1
    assert "used" not in failed.stdout, "what follows a finished member waits for the gang"
    said = run_flow("flow.py", "resume", "--dry-run").stdout
    assert re.search(r"train +3 tasks run again .*: its tasks run at once, and not all of them were finished", said)
    resumed = run_flow("flow.py", "resume")
    assert len(re.findall(r"node \d attempt 0", resumed.stdout)) == 3
    assert Run("FailingGang/2")["end"].task.data.marks == ["0.0", "1.0", "2.0"]


def test_a_gang_is_caught_as_one(run_flow: Any) -> None:
    script = FAILING.replace("# more decorators", '@catch(var="failure")')
    run_flow(script, "run", env={"FAILS": "0"})
    run = Run("FailingGang/1")
    assert run["end"].task.data.marks == ["0.0", "1.0", "none"]
    none, told, stopped = run["end"].task.data.failures
    assert none == "None" and "ValueError: told to" in told and "of its gang has failed" in stopped
    assert sorted(task.status for task in run["train"]) == ["caught", "caught", "done"]


def test_a_gang_whose_member_is_killed(run_flow: Any) -> None:
    script = FAILING.replace('raise ValueError("told to")', "os.kill(os.getpid(), 9)")
    result = run_flow(script.replace("# more decorators", "@retry(times=1)"), "run", env={"FAILS": "0"})
    assert "killed by signal 9" in result.stdout
    assert Run("FailingGang/1")["end"].task.data.marks == ["0.1", "1.1", "2.1"]


TWO = """
    import time
    from pathlib import Path
    from metaflow import FlowSpec, current, parallel, step

    class TwoGangs(FlowSpec):
        @step
        def start(self):
            self.next(self.a, self.b, self.c)

        @step
        def a(self):
            self.next(self.gang_a, num_parallel=2)

        @step
        def b(self):
            self.next(self.gang_b, num_parallel=2)

        @step
        def c(self):
            self.next(self.join)

        @parallel
        @step
        def gang_a(self):
            self.meet()
            self.next(self.join_a)

        @parallel
        @step
        def gang_b(self):
            self.meet()
            self.next(self.join_b)

        @step
        def join_a(self, inputs):
            self.next(self.join)

        @step
        def join_b(self, inputs):
            self.next(self.join)

        @step
        def join(self, inputs):
            self.next(self.end)

        @step
        def end(self):
            pass

        def meet(self):
            Path(f"{current.step_name}-{current.parallel.node_index}").touch()
            while len(list(Path().glob(f"{current.step_name}-*"))) < 2:
                time.sleep(0.01)

    if __name__ == "__main__":
        TwoGangs()
"""


def test_gangs_do_not_begin_in_part(run_flow: Any) -> None:
    """One worker after the other gets free: the halves of two gangs would wait for each other."""
    run_flow(TWO, "run", "--max-workers", "2")
