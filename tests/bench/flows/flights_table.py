"""The table of flights, saved by one step and read by the next."""

import os

import pandas as pd
from metaflow import FlowSpec, step


class TableFlow(FlowSpec):
    @step
    def start(self):
        self.table = pd.read_pickle(os.environ["FLIGHTS"])
        self.next(self.end)

    @step
    def end(self):
        self.delay = float(self.table["arr_delay"].mean())


if __name__ == "__main__":
    TableFlow()
