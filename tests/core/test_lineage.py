"""Which artifacts of other runs a run has read, who has read its own, and what ran."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from metaflow_core.errors import MetaflowNamespaceMismatch, MetaflowNotFound
from metaflow_core.results import Run, default_namespace, namespace

SOURCE = """
from metaflow import FlowSpec, step

class SourceFlow(FlowSpec):
    @step
    def start(self):
        self.model, self.scale, self.unread = {"a": 1}, 2.5, 3
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    SourceFlow()
"""

READER = """
import os, threading
from metaflow import DataArtifact, Flow, FlowSpec, Parameter, Run, Task, current, retry, step

class ReaderFlow(FlowSpec):
    fail = Parameter("fail", default=False)

    @step
    def start(self):
        run = Flow("SourceFlow").latest_run
        assert run.data.scale == run.data.scale == Task(f"{run.pathspec}/end/2").data.scale
        assert run["start"].task["unread"].size == 0  # what is known of a value is not the value
        thread = threading.Thread(target=DataArtifact(f"{run.pathspec}/start/1/model").to_arrow)
        thread.start()
        thread.join()
        self.own = 5
        self.next(self.middle)

    @retry(times=1)
    @step
    def middle(self):
        assert Run(f"ReaderFlow/{current.run_id}")["start"].task.data.own == 5
        assert Run("SourceFlow/1")["start"].task.data.scale == 2.5
        if current.retry_count == 0:
            raise ValueError("once more")
        self.next(self.end)

    @step
    def end(self):
        if self.fail:
            Run("SourceFlow/1").data.model
            raise ValueError("this one fails")

if __name__ == "__main__":
    ReaderFlow()
"""


@pytest.fixture(autouse=True)
def my_namespace(project: Path) -> Any:
    default_namespace()
    yield
    default_namespace()


def rows(reads: Any) -> list[tuple[str, str, str, str]]:
    return [(read.artifact, read.run_pathspec, read.step, read.task) for read in reads]


@pytest.mark.both_databases
def test_reads_of_other_runs_are_known_on_both_sides(run_flow: Any) -> None:
    run_flow(SOURCE, "run", name="source.py")
    run_flow(READER, "run", name="reader.py")
    run = Run("ReaderFlow/1")
    assert rows(run.inputs) == [
        ("SourceFlow/1/end/2/scale", "SourceFlow/1", "start", "ReaderFlow/1/start/1"),
        ("SourceFlow/1/start/1/model", "SourceFlow/1", "start", "ReaderFlow/1/start/1"),
        ("SourceFlow/1/start/1/scale", "SourceFlow/1", "middle", "ReaderFlow/1/middle/2"),
    ]
    first = run.inputs[0]
    assert first.run == Run("SourceFlow/1")
    assert run.created_at <= first.at <= run["start"].task.finished_at  # type: ignore[union-attr, operator]
    assert run.consumers == []
    source = Run("SourceFlow/1")
    assert source.inputs == []
    assert rows(source.consumers) == [(a, "ReaderFlow/1", s, t) for a, _, s, t in rows(run.inputs)]
    assert {read.run for read in source.consumers} == {run}
    assert pickle.loads(pickle.dumps(run.inputs)) == run.inputs
    assert pickle.loads(pickle.dumps(run.inputs))[0].run == source
    # printed
    assert repr(run.inputs).splitlines()[0].split() == ["ARTIFACT", "READ", "BY", "SINCE"]
    assert "SourceFlow/1/end/2/scale    ReaderFlow/1/start/1" in repr(run.inputs)
    assert "<td" in run.inputs._repr_html_() and "SourceFlow/1/end/2/scale" in run.inputs._repr_html_()
    assert repr(source.inputs) == "[]"

    command = [str(Path(sys.executable).with_name("metaflow")), "lineage"]
    printed = subprocess.run([*command, "ReaderFlow/1"], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("Inputs of ReaderFlow/1\n  ARTIFACT")
    assert printed.endswith("Consumers of ReaderFlow/1: none\n")
    data = json.loads(subprocess.run([*command, "SourceFlow/1", "--json"], capture_output=True, check=True).stdout)
    assert [read["task"] for read in data["consumers"]] == [task for *_, task in rows(source.consumers)]
    wrong = subprocess.run([*command, "SourceFlow"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (1, "") and "FLOW/RUN" in wrong.stderr


def test_a_failed_task_has_read_too_and_resume_takes_reads_over(run_flow: Any) -> None:
    run_flow(SOURCE, "run", name="source.py")
    run_flow(READER, "run", "--fail", "True", name="reader.py", check=False)
    failed = Run("ReaderFlow/1")
    assert failed.status == "failed"
    assert rows(failed.inputs)[-1] == (
        "SourceFlow/1/end/2/model",
        "SourceFlow/1",
        "end",
        "ReaderFlow/1/end/3",
    )
    resumed = run_flow(READER.replace('raise ValueError("this', 'print("this'), "resume", name="reader.py")
    assert "Done!" in resumed.stdout
    before, after = failed.inputs, Run("ReaderFlow/2").inputs
    assert [(read.artifact, read.step) for read in after] == [(read.artifact, read.step) for read in before]
    assert {read.task.split("/")[1] for read in after} == {"2"}
    assert after[0].at == before[0].at  # taken over
    assert after[-1].at > before[-1].at  # read again
    assert len({read.run_pathspec for read in Run("SourceFlow/1").consumers}) == 2
    # The new run has its own source.
    assert "raise" in failed.source["reader.py"].split("def end")[1]  # type: ignore[union-attr]
    assert "raise" not in Run("ReaderFlow/2").source["reader.py"].split("def end")[1]  # type: ignore[union-attr]


def test_spawned_tasks_forks_and_other_databases(run_flow: Any, project: Path, tmp_path: Path) -> None:
    run_flow(SOURCE, "run", name="source.py")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / ".metaflow").mkdir(parents=True)
    run_flow(SOURCE, "run", name="source.py", env={"METAFLOW_DATASTORE_SYSROOT_LOCAL": str(elsewhere)})
    run_flow(
        f"""
        import os
        from metaflow import FlowSpec, Run, default_metadata, metadata, step

        class PlacesFlow(FlowSpec):
            @step
            def start(self):
                assert Run("SourceFlow/1").data.scale == 2.5
                child = os.fork()
                if child == 0:
                    Run("SourceFlow/1").data.model
                    os._exit(0)
                os.waitpid(child, 0)
                metadata({str(elsewhere)!r})
                assert Run("SourceFlow/1").data.unread == 3
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            PlacesFlow()
        """,
        "run",
        env={"METAFLOW_LAUNCHER": "spawn"},
    )
    assert [read.artifact for read in Run("PlacesFlow/1").inputs] == ["SourceFlow/1/end/2/scale"]


def test_lineage_shows_every_namespace_and_opening_obeys_it(run_flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run_flow(SOURCE, "run", name="source.py", user="will")
    run_flow(READER, "run", "--namespace", "", name="reader.py")
    (read, *_) = Run("ReaderFlow/1").inputs
    assert read.run_pathspec == "SourceFlow/1"
    with pytest.raises(MetaflowNamespaceMismatch, match="user:will"):
        _ = read.run
    namespace(None)
    (read, *_) = Run("ReaderFlow/1").inputs
    assert read.run.successful
    # What was read is known also when it does not exist any more.
    run = read.run
    run._db.execute("PRAGMA foreign_keys = OFF")
    run._db.execute("DELETE FROM runs WHERE pk = ?", (run._row.pk,))
    (read, *_) = Run("ReaderFlow/1").inputs
    assert read.artifact == "SourceFlow/1/end/2/scale"
    with pytest.raises(MetaflowNotFound, match="SourceFlow/1"):
        _ = read.run


def test_what_ran_is_recorded_and_no_secrets(run_flow: Any, project: Path) -> None:
    big = "# " + "x" * (1 << 20) + "\n" + SOURCE
    run_flow(SOURCE, "run", name="source.py", env={"MY_PASSWORD": "hush-hush"})
    run_flow(SOURCE, "run", name="source.py")
    run_flow(big, "run", name="source.py")
    run = Run("SourceFlow/1")
    assert run.source == {"source.py": SOURCE}
    assert Run("SourceFlow/3").source == {"source.py": None}
    environment = run.environment
    assert environment["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert environment["platform"].startswith("Linux ") or sys.platform != "linux"
    from importlib.metadata import version

    packages = environment["packages"]["python"]
    assert {name: packages[name] for name in ("click", "pyarrow", "metaflow-tandem")} == {
        name: version(name) for name in ("click", "pyarrow", "metaflow-tandem")
    }
    stored = run._db.execute("SELECT text FROM texts")
    assert len(stored) == 3  # two sources, one environment: equal ones are stored once
    assert not any("hush-hush" in row[0] or "MY_PASSWORD" in row[0] for row in stored)


def test_a_run_of_which_nothing_was_recorded(history: Any) -> None:
    history.run()
    assert (Run("F/1").source, Run("F/1").environment, Run("F/1").inputs) == ({}, {}, [])
