"""What a task writes to stdout and to stderr is logged in the order in which it was written."""

from __future__ import annotations

from typing import Any

FLOW = """
    import sys
    from metaflow import FlowSpec, step

    class TurnsFlow(FlowSpec):
        @step
        def start(self):
            for i in range(100):
                print(i, file=sys.stderr if i % 2 else sys.stdout)
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        TurnsFlow()
"""


def test_two_streams_keep_their_order(run_flow: Any) -> None:
    result = run_flow(FLOW, "--quiet", "run", env={"PYTHONUNBUFFERED": ""})
    shown = [line.rsplit("] ", 1)[1] for line in result.stdout.splitlines() if "/start/" in line]
    assert [text for text in shown if text.isdigit()] == [str(i) for i in range(100)]
    assert run_flow("flow.py", "logs", "1/start").stdout.split() == [str(i) for i in range(100)]
