"""A flow that is tested by CI on every pull request.

python flow.py run --rows 50
"""

from pathlib import Path

from metaflow import FlowSpec, Parameter, step

DATA = Path(__file__).resolve().parents[1] / "data" / "penguins.csv"


class CheckedFlow(FlowSpec):
    """Summarise the penguins, and refuse data that can't be right."""

    rows = Parameter("rows", help="How many penguins to read; a test reads a few", default=0)

    @step
    def start(self):
        """Load the measurements."""
        import pandas as pd

        self.penguins = pd.read_csv(DATA, nrows=self.rows or None).dropna()
        self.next(self.end)

    @step
    def end(self):
        """Check them."""
        heaviest = self.penguins["body_mass_g"].max()
        if not 1000 < heaviest < 10000:
            raise ValueError(f"A penguin of {heaviest} g?")
        self.summary = self.penguins.groupby("species")["body_mass_g"].mean()
        print(self.summary.to_string())


if __name__ == "__main__":
    CheckedFlow()
