"""`--width` tasks that do nothing. The last step fails when FAIL_AT_END is set, so that resume has work."""

import os

from metaflow import FlowSpec, Parameter, step


class ForeachFlow(FlowSpec):
    width = Parameter("width", type=int, default=50)

    @step
    def start(self):
        self.items = list(range(self.width))
        self.next(self.work, foreach="items")

    @step
    def work(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.count = len(list(inputs))
        self.next(self.end)

    @step
    def end(self):
        if os.environ.get("FAIL_AT_END"):
            raise RuntimeError("asked to fail")


if __name__ == "__main__":
    ForeachFlow()
