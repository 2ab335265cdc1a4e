"""`current`, in and out of tasks; tags of the run that runs; `--namespace`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow, Run, current

FLOW = """
    import os
    from metaflow import Flow, FlowSpec, Parameter, current, get_namespace, retry, step

    outside = (current.is_running_flow, current.flow_name, current.run, current.tags, "run_id" in current)

    class Self(FlowSpec):
        alpha = Parameter("alpha", default=1)
        Beta = Parameter("be-ta", default="b")

        @retry(times=1)
        @step
        def start(self):
            if current.retry_count == 0:
                raise RuntimeError("once")
            self.outside = outside
            self.facts = {
                name: getattr(current, name)
                for name in ("flow_name", "run_id", "step_name", "task_id", "retry_count", "origin_run_id", "pathspec",
                             "namespace", "username", "is_running_flow")
            }
            self.parameters = sorted(current.parameter_names)
            self.tags = set(current.tags)
            self.own = (current.run.pathspec, current.task.pathspec)
            self.get = (current.get("step_name"), current.get("nothing", 7), "step_name" in current, "x" in current)
            self.temporary = (os.path.isdir(current.tempdir), os.access(current.tempdir, os.W_OK))
            self.known = sorted(dir(current))
            self.steps = sorted(current.graph["steps"])
            self.selected = get_namespace()
            run = Flow(current.flow_name)[current.run_id] if get_namespace() == "user:tester" else current.run
            run.add_tag("from_inside")
            run.remove_tag("first")
            self.tags_after = set(current.tags)
            try:
                current.nothing
            except AttributeError as error:
                self.message = str(error)
            try:
                current.run_id = "7"
            except AttributeError as error:
                self.message_set = str(error)
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Self()
"""


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_in_a_task(run_flow: Any, launcher: str) -> None:
    run_flow(FLOW, "run", "--tag", "first", env={"METAFLOW_LAUNCHER": launcher})
    run = Run("Self/1")
    data = run["start"].task.data
    assert data.outside == (False, None, None, None, False)
    assert data.facts == {
        "flow_name": "Self",
        "run_id": "1",
        "step_name": "start",
        "task_id": "1",
        "retry_count": 1,
        "origin_run_id": None,
        "pathspec": "Self/1/start/1",
        "namespace": "user:tester",
        "username": "tester",
        "is_running_flow": True,
    }
    assert len(data.parameters) == 2
    assert "alpha" in data.parameters
    assert {"first", "user:tester", "runtime:dev"} <= data.tags
    assert data.own == ("Self/1", "Self/1/start/1")
    assert data.get == ("start", 7, True, False)
    assert data.temporary == (True, True)
    fields = "is_running_flow flow_name run_id step_name task_id retry_count origin_run_id pathspec task run trigger namespace "  # noqa: E501
    assert data.known == sorted((fields + "username tags tempdir parameter_names graph get").split())
    assert data.steps == ["end", "start"]
    assert data.message.startswith("current has no 'nothing'. It has: ")
    assert "can't be set" in data.message_set
    assert "from_inside" in data.tags_after
    assert "first" not in data.tags_after
    assert run.user_tags == frozenset({"from_inside"})


def test_outside_of_a_task() -> None:
    assert not current.is_running_flow
    assert current.run is None
    assert current.task is None
    assert current.step_name is None
    assert current.get("step_name", "default") in (None, "default")
    assert "step_name" not in current
    with pytest.raises(AttributeError):
        _ = current.nothing


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
@pytest.mark.parametrize(("given", "selected"), [("user:other", "user:other"), ("", None)])
def test_namespace_in_tasks(run_flow: Any, given: str, selected: str | None, launcher: str) -> None:
    run_flow(FLOW, "run", "--namespace", given, env={"METAFLOW_LAUNCHER": launcher})
    run = Flow("Self").latest_run
    data = run["start"].task.data
    assert data.selected == selected
    assert data.facts["namespace"] == "user:tester", "the run belongs to who started it all the same"
    assert "user:tester" in run.system_tags


def test_run_id_file(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "run", "--run-id-file", "folder id")
    assert (project / "folder id").read_text() == "1"
