"""``Runner``: flow files run from a program."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from textwrap import dedent

import pytest
from metaflow import Run, Runner, get_namespace
from metaflow.exception import MetaflowException

FLOW = """
    import pathlib, sys, time
    from metaflow import FlowSpec, Parameter, step

    class TrainFlow(FlowSpec):
        alpha = Parameter("alpha", default=0.5)
        names = Parameter("names", default="a", separator=",")
        wait = Parameter("wait", default="")
        verbose = Parameter("verbose", default=False)
        needed = Parameter("needed", type=int, required=True)

        @step
        def start(self):
            print("größer", self.alpha)
            print("a warning", file=sys.stderr)
            while self.wait and not pathlib.Path(self.wait).exists():
                time.sleep(0.01)
            self.next(self.end)

        @step
        def end(self):
            if self.needed < 0:
                raise ValueError("too little")

    if __name__ == "__main__":
        TrainFlow()
    """


@pytest.fixture
def flow(project: Path) -> str:
    (project / "train.py").write_text(dedent(FLOW), encoding="utf-8")
    return "train.py"


def test_a_run_with_parameters_and_options(flow: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Runner(flow, env={"METAFLOW_USER": "anne"}).run(
        needed=1, alpha=0.7, verbose=True, names="x,y z", tags=["a", "b c"], max_workers=1, decospecs=["retry"]
    ) as running:
        assert running.status == "successful"
        assert running.returncode == 0
        assert "größer 0.7" in running.stdout
        assert "a warning" in running.stdout or "a warning" in running.stderr
        run = running.run
    assert run == Run("TrainFlow/1", _namespace_check=False)
    assert get_namespace() == "user:tester"
    assert (run.data.alpha, run.data.verbose, run.data.names) == (0.7, True, ["x", "y z"])
    assert run.user_tags == {"a", "b c"}
    assert "user:anne" in run.system_tags
    assert "größer 0.7" in capfd.readouterr().out


def test_a_failed_run_is_resumed(flow: str, project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Runner(flow, show_output=False) as runner:
        failed = runner.run(needed=-1)
        assert failed.status == "failed"
        assert failed.returncode == 1
        assert failed.run.status == "failed"
        source = (project / flow).read_text()
        (project / flow).write_text(source.replace("self.needed < 0", "False"))
        resumed = runner.resume(origin_run_id=failed.run.id)
        assert resumed.status == "successful"
        assert resumed.run.origin_pathspec == failed.run.pathspec
        again = runner.resume("end", tags=["again"])
        assert again.run.user_tags == {"again"}
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"needed": 1, "alpah": 0.7}, "No such option '--alpah'"),
        ({"needed": "x"}, "Invalid value for '--needed'"),
        ({}, "Missing option '--needed'"),
    ],
)
def test_wrong_parameters_are_errors_before_anything_runs(
    flow: str, project: Path, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(MetaflowException, match=message):
        Runner(flow, show_output=False).run(**arguments)
    assert not (project / ".metaflow" / "metaflow.db").exists()

    async def start() -> None:
        await Runner(flow, show_output=False).async_run(**arguments)

    with pytest.raises(MetaflowException, match=message):
        asyncio.run(start())


def test_runs_at_the_same_time_and_their_logs(flow: str, project: Path) -> None:
    go = project / "go"

    async def two() -> None:
        async with Runner(flow, show_output=False) as runner:
            one, other = await asyncio.gather(*(runner.async_run(needed=1, wait=str(go)) for _ in range(2)))
            assert {one.run.id, other.run.id} == {"1", "2"}
            assert one.status == other.status == "running"
            await one.wait(timeout=0.01)
            assert one.status == "timeout"
            lines = []
            async for position, line in one.stream_log("stdout"):  # noqa: B007
                lines.append(line)
                if "größer" in line:
                    break
            go.touch()
            rest = [line async for _, line in one.stream_log("stdout", position)]
            assert "\n".join([*lines, *rest]) + "\n" == one.stdout
            assert rest[-1].endswith("Done!")
            await other.wait()
            assert [one.status, other.status] == ["successful", "successful"]

    asyncio.run(two())


def test_what_still_runs_is_stopped_and_nothing_stays_behind(
    flow: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = project / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))

    async def leave() -> Run:
        async with Runner(flow, show_output=False) as runner:
            return (await runner.async_run(needed=1, wait="never")).run

    assert asyncio.run(leave()).status == "interrupted"
    assert os.listdir(place) == []
    Runner(flow, show_output=False).run(needed=1)
    assert os.listdir(place) == []


def test_a_step_alone(flow: str, project: Path) -> None:
    (project / "others.py").write_text("ARTIFACTS = {'alpha': 0.25}\n")

    async def two(runner: Runner) -> None:
        one, other = await runner.async_spin("start"), await runner.async_spin("1/end")
        await asyncio.gather(one.wait(), other.wait())
        assert [one.status, other.status] == ["successful", "successful"]
        assert "größer 0.5" in [line async for _, line in one.stream_log("stdout")]
        with pytest.raises(MetaflowException, match="No such option '--alhpa'"):
            await (await runner.async_spin("start", alhpa=1)).wait()

    with Runner(flow, show_output=False) as runner:
        with pytest.raises(MetaflowException, match=r"You .tester. have no run of TrainFlow"):
            _ = runner.spin("start").task
        runner.run(needed=1, run_id_file="id.txt")
        assert (project / "id.txt").read_text() == "1"
        spun = runner.spin("start", artifacts_module="others.py", with_=["retry"], skip_decorators=False)
        assert spun.status == "successful"
        assert "größer 0.25" in spun.stdout
        assert (spun.task.pathspec, spun.task.data.alpha) == ("TrainFlow/1/start/1", 0.25)
        asyncio.run(two(runner))
    assert len(list(Run("TrainFlow/1").parent)) == 1
    assert not (project / ".metaflow_spin").exists()


def test_arguments_are_spelled_as_programs_can(project: Path) -> None:
    (project / "dashes.py").write_text(
        dedent(FLOW).replace('"names", default="a"', '"the-names", default="a"').replace("names =", "the_names =")
    )
    with Runner("dashes.py", show_output=False, quiet=True, pylint=False, with_=["retry:times=1"]) as runner:
        running = runner.run(needed=1, the_names=["a,b", "c"], max_num_splits=5, max_log_size=1)
        assert running.run.data.the_names == ["a,b", "c"]
        assert "Metaflow" not in running.stderr
    with pytest.raises(MetaflowException, match=r"Runner.. has no option 'metdata'. Did you mean 'metadata'?"):
        Runner("dashes.py", metdata="local")
    with pytest.raises(MetaflowException, match="quiet must be True or False, not 'yes'"):
        Runner("dashes.py", quiet="yes")
    with pytest.raises(MetaflowException, match="No such option '--max-worker'"):
        Runner("dashes.py", show_output=False).run(needed=1, max_worker=2)


def test_a_flow_in_r(r_project: Path) -> None:
    (r_project / "flow.R").write_text(
        'library(metaflow)\nmetaflow("RFlow") |> parameter("alpha", default = 0.5) |>\n'
        'step(step = "start", r_function = function(self) self$twice <- 2 * self$alpha, next_step = "end") |>\n'
        'step(step = "end") |> run()\n'
    )
    with Runner("flow.R", show_output=False).run(alpha=0.7) as running:
        assert running.run.data.twice == 1.4


def test_a_file_that_is_not_there(project: Path) -> None:
    with pytest.raises(MetaflowException, match=r"There is no flow file 'none\.py'"):
        Runner("none.py")
