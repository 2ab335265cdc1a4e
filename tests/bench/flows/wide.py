"""A foreach of `--width` elements; says how soon its first child began, and what the join took to read them."""

import resource
import time

from metaflow import FlowSpec, Parameter, step


def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class WideFlow(FlowSpec):
    width = Parameter("width", type=int, default=1000)

    @step
    def start(self):
        self.items = range(self.width)
        self.split_at = time.time()
        self.next(self.work, foreach="items")

    @step
    def work(self):
        self.began_at = time.time()
        self.square = self.input**2
        self.next(self.join)

    @step
    def join(self, inputs):
        began, before = time.time(), megabytes()
        assert inputs[len(inputs) - 1].square == (self.width - 1) ** 2
        one = time.time() - began
        assert sum(i.square for i in inputs) == sum(i * i for i in range(self.width))
        gathered = time.time() - began - one
        print(f"first_child {inputs[0].began_at - inputs[0].split_at:.3f} s")
        print(f"one_input {one:.4f} s")
        print(f"all_inputs {gathered:.3f} s")
        print(f"join_growth {megabytes() - before:.1f} MB")
        print(f"join_start {before:.1f} MB")
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    WideFlow()
