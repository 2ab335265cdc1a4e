"""200 MB of float64, saved by one step and read by the next."""

import numpy as np
from metaflow import FlowSpec, step


class ArrayFlow(FlowSpec):
    @step
    def start(self):
        self.x = np.random.default_rng(0).standard_normal(25_000_000)
        self.next(self.end)

    @step
    def end(self):
        self.total = float(self.x.sum())


if __name__ == "__main__":
    ArrayFlow()
