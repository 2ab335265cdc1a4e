"""Fits a curve of growing degree until a further one no longer helps: a step that leads back to itself.

    python examples/switch.py run
    python examples/switch.py run --enough 0.01

Each turn is a task of its own, so each can be looked at afterwards, and `resume` continues in the turn that failed.
"""

from metaflow import FlowSpec, Parameter, step


def fitted(xs, ys, degree):
    """Coefficients of the least-squares polynomial, and its mean squared error."""
    import numpy

    curve = numpy.polynomial.Polynomial.fit(xs, ys, degree)
    return curve.convert().coef.tolist(), float(numpy.mean((curve(numpy.array(xs)) - ys) ** 2))


class AdaptiveFlow(FlowSpec):
    """Trains until it is good enough, then tells how it went."""

    enough = Parameter("enough", default=0.1, help="stop when a degree more cuts the error by less than this part")
    most = Parameter("most", default=8, help="the highest degree")

    @step
    def start(self):
        """Makes points on a wave."""
        self.xs = [i / 50 for i in range(100)]
        self.ys = [x**3 - 2 * x**2 + (0.1 if i % 2 else -0.1) for i, x in enumerate(self.xs)]
        self.degree, self.errors = 0, []
        self.next(self.train)

    @step
    def train(self):
        """Fits one degree more, and decides whether to go on."""
        self.degree += 1
        self.coefficients, error = fitted(self.xs, self.ys, self.degree)
        gain = 1 - error / self.errors[-1] if self.errors else 1.0
        self.errors = [*self.errors, error]
        print(f"degree {self.degree}: error {error:.4f}")
        if self.degree >= self.most:
            self.verdict = "limit"
        else:
            self.verdict = "better" if gain > self.enough or self.degree < 3 else "done"
        self.next({"better": self.train, "done": self.accept, "limit": self.warn}, condition="verdict")

    @step
    def accept(self):
        """Takes the last degree that helped."""
        self.best = self.degree - 1
        self.next(self.end)

    @step
    def warn(self):
        """The highest degree was reached, and it still helped."""
        print(f"no end in sight at degree {self.most}")
        self.best = self.degree
        self.next(self.end)

    @step
    def end(self):
        """Tells the result."""
        print(f"best degree: {self.best}, after {len(self.errors)} turns")


if __name__ == "__main__":
    AdaptiveFlow()
