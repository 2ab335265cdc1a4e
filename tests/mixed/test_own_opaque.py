"""METAFLOW_OPAQUE_ARTIFACTS=own: values whose loading runs code are loaded from own runs, not from those of others."""

from __future__ import annotations

from typing import Any

FLOW = """
    from metaflow import FlowSpec, step

    class Model:
        def __reduce__(self):
            return (print, ("CODE OF THE WRITER RAN",))

    class TrustFlow(FlowSpec):
        @step
        def start(self):
            self.model = Model()
            self.scale = lambda x: 2 * x
            self.number = 7
            self.next(self.end)

        @step
        def end(self):
            from pathlib import Path
            if Path("fail").exists():
                raise ValueError("as asked")
            print("scaled", self.scale(4))

    if __name__ == "__main__":
        TrustFlow()
"""
READ = """
from metaflow import Flow, namespace
namespace(None)
data = Flow("TrustFlow")["1"]["start"].task.data
print("number", data.number)
for name in ("model", "scale"):
    try:
        getattr(data, name)
        print("loaded", name)
    except Exception as error:
        print(type(error).__name__, error)
"""
OWN = {"METAFLOW_OPAQUE_ARTIFACTS": "own"}


def test_code_of_others_does_not_run(run_flow: Any, project: Any) -> None:
    result = run_flow(FLOW, "run", user="anne", env=OWN)
    assert "scaled 8" in result.stdout
    mine = run_flow(READ, user="anne", env=OWN, name="read.py").stdout
    assert "CODE OF THE WRITER RAN" in mine and "loaded scale" in mine
    others = run_flow("read.py", user="bob", env=OWN).stdout
    assert "number 7" in others
    assert "CODE OF THE WRITER RAN" not in others and "loaded" not in others
    assert others.count("UnreadableArtifact TrustFlow/1/start/") == 2
    assert "METAFLOW_OPAQUE_ARTIFACTS=own forbids that for runs of others, and this one is of anne" in others
    assert "loaded scale" in run_flow("read.py", user="bob").stdout


def test_what_was_taken_over_from_others(run_flow: Any, project: Any) -> None:
    """A resumed run of mine has values of the run that it continues; resuming mine again changes nothing of that."""
    (project / "fail").touch()
    run_flow(FLOW, "run", user="anne", check=False)
    (project / "fail").unlink()
    resumed = run_flow("flow.py", "resume", "--origin-run-id", "1", user="bob", env=OWN, check=False)
    assert resumed.returncode == 1
    assert "this one is of anne" in resumed.stdout + resumed.stderr
    assert "scaled 8" in run_flow("flow.py", "resume", "--origin-run-id", "1", user="anne", env=OWN).stdout
    again = run_flow("flow.py", "resume", "--origin-run-id", "2", user="bob", env=OWN, check=False)
    assert again.returncode == 1
    assert "scaled 8" in run_flow("flow.py", "resume", "--origin-run-id", "2", user="bob").stdout


def test_a_step_of_others_that_is_tried(run_flow: Any) -> None:
    run_flow(FLOW, "run", user="anne")
    tried = run_flow("flow.py", "spin", "TrustFlow/1/end", user="bob", env=OWN, check=False)
    assert "this one is of anne" in tried.stdout + tried.stderr
    assert "scaled" not in tried.stdout


R_READ = """
library(metaflow)
set_namespace(NULL)
data <- task_client$new("TrustFlow/1/start/1")$data
cat("number", data$number, "\\n")
tryCatch({ data$scale; cat("loaded\\n") },
  metaflow_unreadable_artifact = function(e) cat("refused", conditionMessage(e), "\\n"))
"""


def test_in_r_too(run_flow: Any, run_r: Any) -> None:
    run_flow(FLOW, "run", user="anne")
    others = run_r(R_READ, name="read.R", user="bob", env=OWN).stdout
    assert "number 7" in others and "refused" in others and "this one is of anne" in others
    assert "loaded" in run_r("read.R", user="anne", env=OWN).stdout
