"""Three steps that print a line each."""

from metaflow import FlowSpec, step


class PrintingFlow(FlowSpec):
    @step
    def start(self):
        print("one")
        self.next(self.middle)

    @step
    def middle(self):
        print("two")
        self.next(self.end)

    @step
    def end(self):
        print("three")


if __name__ == "__main__":
    PrintingFlow()
