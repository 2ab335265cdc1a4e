"""Gangs: ``num_parallel`` tasks of one step that run at once."""

from __future__ import annotations

from typing import Any

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


def test_a_gang_needs_as_many_workers(run_flow: Any) -> None:
    result = run_flow(FLOW, "run", "--max-workers", "2", check=False)
    assert result.returncode == 1
    assert "num_parallel=3 needs as many workers, and there are 2. Raise it: --max-workers 3" in result.stdout


def test_options_come_from_the_environment(run_flow: Any) -> None:
    run_flow(FLOW, "run", env={"METAFLOW_RUN_TAG": "one two", "METAFLOW_RUN_WITH": "retry:times=1"})
    listed = run_flow("flow.py", "tag", "list", "--run-id", "1")
    assert {"one", "two"} <= set(listed.stdout.split())
