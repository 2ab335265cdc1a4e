"""Predict with the model that is deployed.

python predict.py run --flippers 190,210
"""

import json
from pathlib import Path

from metaflow import FlowSpec, Parameter, step


class PredictFlow(FlowSpec):
    """How heavy are penguins with these flippers?"""

    flippers = Parameter("flippers", help="Flipper lengths in mm", separator=",", default="190,210")

    @step
    def start(self):
        """Read the deployed model, and remember which run it is from."""
        self.model = json.loads(Path("serving", "model.json").read_text())
        self.model_run = self.model["run"]
        self.next(self.end)

    @step
    def end(self):
        """Predict."""
        self.grams = [self.model["slope"] * float(mm) + self.model["intercept"] for mm in self.flippers]
        for mm, grams in zip(self.flippers, self.grams, strict=True):
            print(f"{mm} mm: {grams:.0f} g, says {self.model_run}")


if __name__ == "__main__":
    PredictFlow()
