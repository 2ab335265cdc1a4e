"""Train a model of a penguin's weight on the penguins of one day. Made to run again and again.

python train.py run --day 1
"""

from pathlib import Path

from metaflow import FlowSpec, Parameter, step

DATA = Path(__file__).resolve().parents[1] / "data" / "penguins.csv"


class TrainFlow(FlowSpec):
    """Fit body mass on flipper length, and measure the error on penguins that the fit has not seen."""

    day = Parameter("day", help="Which day's sample to train on", default=1)
    size = Parameter("size", help="Penguins in a day's sample", default=60)

    @step
    def start(self):
        """Draw the day's sample."""
        import pandas as pd

        penguins = pd.read_csv(DATA).dropna(subset=["flipper_length_mm", "body_mass_g"])
        self.sample = penguins.sample(self.size, random_state=self.day)
        self.held_out = penguins.drop(self.sample.index)
        self.next(self.train)

    @step
    def train(self):
        """Fit the line."""
        import numpy as np

        slope, intercept = np.polyfit(self.sample["flipper_length_mm"], self.sample["body_mass_g"], deg=1)
        self.model = {"slope": float(slope), "intercept": float(intercept)}
        self.next(self.end)

    @step
    def end(self):
        """Measure the mean error, in grams."""
        predicted = self.model["slope"] * self.held_out["flipper_length_mm"] + self.model["intercept"]
        self.error = float((predicted - self.held_out["body_mass_g"]).abs().mean())
        print(f"day {self.day}: wrong by {self.error:.1f} g on average")


if __name__ == "__main__":
    TrainFlow()
