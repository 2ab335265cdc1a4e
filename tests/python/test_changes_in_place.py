"""A change of a loaded artifact in place is kept, also where the values are equal."""

from __future__ import annotations

FLOW = """
import numpy as np
from metaflow import FlowSpec, step

class ReorderFlow(FlowSpec):
    @step
    def start(self):
        self.small = {"a": 1, "b": 2}
        self.large = {str(i): i for i in range(3000)}
        self.parts = {"grid": np.arange(2000), "n": 5}
        self.looked_at = {"grid": np.arange(2000.0), "names": ["x"] * 100}
        self.next(self.change)

    @step
    def change(self):
        for numbers in (self.small, self.large):
            first = next(iter(numbers))
            numbers[first] = numbers.pop(first)
        self.parts["grid"] = self.parts["grid"].astype("int32")
        self.parts["n"] = np.int64(5)
        assert self.looked_at["names"][0] == "x"
        self.next(self.end)

    @step
    def end(self):
        print(list(self.small), next(iter(self.large)), self.parts["grid"].dtype, type(self.parts["n"]).__name__)

if __name__ == "__main__":
    ReorderFlow()
"""

LOOK = """
from metaflow import Flow
run = Flow("ReorderFlow").latest_run
for name in ("small", "large", "parts", "looked_at"):
    print(name, len({step.task[name].sha for step in run}))
"""


def test_a_change_of_order_or_width_is_kept_and_what_was_only_read_is_not_stored_again(run_flow):
    result = run_flow(FLOW, "run")
    assert "['b', 'a'] 1 int32 int64" in result.stdout
    found = run_flow(LOOK, name="look.py").stdout.split()
    assert found == ["small", "2", "large", "2", "parts", "2", "looked_at", "1"]
