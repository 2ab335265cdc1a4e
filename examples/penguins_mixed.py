"""How heavy is a penguin, given its flippers? Cleaned in Python, fitted in R, reported in Python: one flow.

python examples/penguins_mixed.py run

The R functions are in penguins_mixed.R. The same question in Python alone is penguins.py.
"""

from pathlib import Path

from metaflow import FlowSpec, Parameter, r_step, step


class PenguinsMixedFlow(FlowSpec):
    """Fit body mass on flipper length for every species of the Palmer penguins, and compare."""

    data = Parameter(
        "data",
        help="CSV file with the penguins",
        default=str(Path(__file__).resolve().parent / "data" / "penguins.csv"),
    )

    @step
    def start(self):
        """Load the measurements, and leave out penguins that were not measured."""
        import pandas as pd

        penguins = pd.read_csv(self.data)
        measured = penguins.dropna(subset=["flipper_length_mm", "body_mass_g"])
        print(f"{len(penguins)} penguins, {len(penguins) - len(measured)} of them not measured")
        self.penguins = measured.reset_index(drop=True)
        self.species = sorted(self.penguins["species"].unique())
        self.next(self.fit, foreach="species")

    @r_step("penguins_mixed.R")
    def fit(self):
        """In R: fit a line to one species."""
        self.next(self.join)

    @r_step("penguins_mixed.R")
    def join(self, inputs):
        """In R: gather the fits into one data frame, the species with the steepest line first."""
        self.next(self.end)

    @step
    def end(self):
        """Show the data frame. It stays in the run, as `summary`."""
        print(self.summary.to_string(index=False))
        print(f"Each mm of flipper adds most to a {self.summary.species[0]}: {self.summary.g_per_mm[0]} g")


if __name__ == "__main__":
    PenguinsMixedFlow()
