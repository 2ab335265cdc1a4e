"""How heavy is a penguin, given its flippers? One fit per species, side by side.

python examples/penguins.py run
"""

from pathlib import Path

from metaflow import FlowSpec, Parameter, step


class PenguinsFlow(FlowSpec):
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

    @step
    def fit(self):
        """Fit a line to one species."""
        import numpy as np

        of_species = self.penguins[self.penguins["species"] == self.input]
        flipper, mass = of_species["flipper_length_mm"], of_species["body_mass_g"]
        slope, _ = np.polyfit(flipper, mass, deg=1)
        self.row = {
            "species": self.input,
            "penguins": len(of_species),
            "flipper_mm": round(float(flipper.mean()), 1),
            "mass_g": round(float(mass.mean()), 1),
            "g_per_mm": round(float(slope), 1),
            "r_squared": round(float(np.corrcoef(flipper, mass)[0, 1] ** 2), 3),
        }
        print(f"{self.input}: {self.row['g_per_mm']} g more per mm of flipper")
        self.next(self.join)

    @step
    def join(self, inputs):
        """Gather the fits into one table, the species with the steepest line first."""
        import pandas as pd

        table = pd.DataFrame([one.row for one in inputs])
        self.summary = table.sort_values("g_per_mm", ascending=False, ignore_index=True)
        self.next(self.end)

    @step
    def end(self):
        """Show the table. It stays in the run, as `summary`."""
        print(self.summary.to_string(index=False))


if __name__ == "__main__":
    PenguinsFlow()
