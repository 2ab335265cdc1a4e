"""Python functions of 04-both-languages.R."""

import pandas as pd


def load(self):
    self.table = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": [2.1, 3.9, 6.2, 7.8]})


def report(self):
    print(f"slope {self.slope:.2f}, from a model of the type {self.model.type}")
