"""Would an upgrade change the result? The same computation with two versions of pandas, side by side.

    python upgrade.py run

Each branch has packages of its own, the other steps have those of the Python that starts the flow. It needs uv:
pip install 'metaflow-tandem[uv]'
"""

from metaflow import FlowSpec, pypi, step


def summary(ages):
    import pandas as pd

    frame = pd.DataFrame({"age": ages, "group": ["young" if age < 40 else "old" for age in ages]})
    return pd.__version__, frame.groupby("group").mean()


class UpgradeFlow(FlowSpec):
    @step
    def start(self):
        self.ages = [23, 35, 41, 58, 62]
        self.next(self.now, self.then)

    @pypi(packages={"pandas": "2.2.3"})
    @step
    def now(self):
        self.version, self.result = summary(self.ages)
        self.next(self.compare)

    @pypi(packages={"pandas": ">=3,<4"})
    @step
    def then(self):
        self.version, self.result = summary(self.ages)
        self.next(self.compare)

    @step
    def compare(self, inputs):
        now, then = inputs.now, inputs.then
        same = now.result.round(9).to_dict() == then.result.round(9).to_dict()
        print(f"pandas {now.version} and {then.version}: {'the same' if same else 'not the same'}")
        self.same = same
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    UpgradeFlow()
