"""``Deployer``: flow files deployed from a program, to the orchestrator of ``plan_walker``, which needs no service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from metaflow import DeployedFlow, Deployer, Flow, Run, list_deployed_flows, namespace
from metaflow.exception import (
    CommandException,
    IncorrectProductionToken,
    MetaflowException,
    MetaflowNotFound,
    MetaflowUsageError,
)

FLOW = """
    import pathlib, time
    from metaflow import FlowSpec, IncludeFile, JSONType, Parameter, project, step

    @project(name="shop")
    class TrainFlow(FlowSpec):
        alpha = Parameter("alpha", default=0.5)
        names = Parameter("names", default="a", separator=",")
        data = Parameter("data", type=JSONType, default="{}")
        notes = IncludeFile("notes", required=False)
        wait = Parameter("wait", default="")

        @step
        def start(self):
            while self.wait and not pathlib.Path(self.wait).exists():
                time.sleep(0.01)
            self.next(self.end)

        @step
        def end(self):
            self.beta = self.alpha * 2

    if __name__ == "__main__":
        TrainFlow()
    """
NAME = "shop.user.tester.TrainFlow"


@pytest.fixture
def flow(project: Path, toy: Path) -> str:
    (project / "train.py").write_text(dedent(FLOW), encoding="utf-8")
    return "train.py"


def test_deploy_trigger_and_look_after(flow: str, project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = Deployer(flow).toy(shade="blue")  # type: ignore[operator]
    deployed = target.create(tags=["nightly"], max_workers=3)
    assert "replaced" not in capfd.readouterr().out
    assert (deployed.name, deployed.flow_name, deployed.orchestrator) == (NAME, "TrainFlow", "toy")
    assert deployed.handle == f"toy {NAME}"
    status = deployed.status()
    assert status["namespace"] == f"production:{deployed.production_token}"
    assert (status["owner"], status["branch"]) == ("tester", "user.tester")

    hostile = ["a,b", "", "ä'\"$(x)\n"]
    (project / "notes.txt").write_text("no\ntes")
    done = deployed.trigger(alpha=7, names=hostile, data={"x": [1, None]}, notes="notes.txt")
    assert done.status == "succeeded" and done.pathspec == f"TrainFlow/{done.run_id}"
    assert done.run == Run(done.pathspec, _namespace_check=False)
    assert done.run.successful and {"nightly", "runtime:toy"} <= done.run.tags
    found = done.run.data
    assert (found.alpha, found.beta, found.data, found.notes) == (7, 14, {"x": [1, None]}, "no\ntes")
    assert found.names == hostile
    namespace(f"production:{deployed.production_token}")
    assert Flow("TrainFlow").latest_run == done.run

    # A new version; the one that was there is found without the file of the flow.
    again = target.create()
    assert again.production_token == deployed.production_token
    assert "replaced" in capfd.readouterr().out
    (project / "train.py").unlink()
    for identifier in (NAME, f"toy {NAME}"):
        known = DeployedFlow.from_deployment(identifier)
        assert (known.name, known.production_token) == (NAME, deployed.production_token)
    second = known.trigger(later=True, wait="go")
    assert [run.run_id for run in known.list_runs()] == [second.run_id, done.run_id]
    assert [run.run_id for run in known.list_runs("succeeded", "failed")] == [done.run_id]
    assert second.status == "running" and known.run(second.run_id).handle == second.handle
    assert second.wait_for_run(timeout=60).id == second.run_id
    second.terminate()
    assert second.status == "terminated"
    known.delete()
    assert list_deployed_flows() == []
    with pytest.raises(MetaflowNotFound, match=f"Nothing is deployed as {NAME} on toy"):
        known.trigger()
    assert done.run is not None and done.run.successful


def test_what_is_wrong_is_said_before_anything_is_deployed(flow: str, project: Path, toy: Path) -> None:
    deployer: Any = Deployer(flow, show_output=False)
    with pytest.raises(AttributeError, match=r"no orchestrator 'step_fucntions'. Did you mean 'step_functions'\?"):
        deployer.step_fucntions()
    for options, message in (
        ({"max_wokers": 3}, r"toy\(\).create\(\) has no option 'max_wokers'. Did you mean 'max_workers'\?"),
        ({"max_workers": 0}, r"Invalid value for '--max-workers': 0 is not in the range"),
        ({"generate_new_token": 5}, "generate_new_token must be True or False, not 5"),
    ):
        with pytest.raises(MetaflowUsageError, match=message):
            deployer.toy().create(**options)
    with pytest.raises(MetaflowUsageError, match=r"Deployer\(\) has no option 'metdata'. Did you mean 'metadata'\?"):
        Deployer(flow, metdata="local")
    with pytest.raises(CommandException, match="There is no flow file"):
        Deployer("nowhere.py")
    assert not (toy / f"{NAME}.plan").exists()
    with pytest.raises(CommandException, match="The toy is broken"):
        deployer.toy(**{"break": True}).create()
    assert list_deployed_flows() == []
    (project / "refused.py").write_text(dedent(FLOW).replace("TrainFlow", "RefusedFlow"), encoding="utf-8")
    with pytest.raises(CommandException) as refused:
        Deployer("refused.py", show_output=False).toy().create()  # type: ignore[operator]
    assert str(refused.value) == "Toy can't do that: it is refused.\nTake another flow."

    deployed = deployer.toy().create()
    for parameters, message in (
        ({"alpah": 1}, "No such option '--alpah'"),
        ({"alpha": "x"}, "Invalid value for '--alpha': must be a number, not 'x'"),
        ({"notes": "nowhere.txt"}, "'nowhere.txt' can't be read"),
        ({"alpha": object()}, "Parameter 'alpha': <object object at .*> can't be given"),
        ({"names": {1, 2}}, "Parameter 'names': {1, 2} can't be given"),
        ({"names": b"a"}, "Parameter 'names': b'a' can't be given"),
        ({"data": {"x": object()}}, "Parameter 'data': .* can't be written as JSON"),
        ({"names": "a\0b"}, r"Parameter 'names': 'a\\x00b' has characters that can't be passed on"),
        ({"names": "\ud800"}, "Parameter 'names': .* has characters that can't be passed on"),
        ({"help": True}, "has no parameter 'help'"),
        ({"": 1}, "has no parameter ''"),
        ({"deployer_attribute_file": "x"}, "has no parameter 'deployer_attribute_file'"),
    ):
        with pytest.raises(MetaflowUsageError, match=message):
            deployed.trigger(**parameters)
    with pytest.raises(MetaflowUsageError, match=r"no status 'runing'. Did you mean 'running'\?"):
        deployed.list_runs("runing")
    assert deployed.list_runs() == []
    for wrong in ("--help", 5, None, "", "a b", "a\0"):
        with pytest.raises(MetaflowUsageError, match="takes the id of a run"):
            deployed.run(wrong)
    for look in (lambda: deployed.run("toy-9"), lambda: DeployedFlow.from_deployment("TrainFlw")):
        with pytest.raises(MetaflowNotFound):
            look()
    with pytest.raises(MetaflowUsageError, match=r"no orchestrator 'tyo'. Did you mean 'toy'\?"):
        list_deployed_flows("tyo")


def test_production_tokens(flow: str, tmp_path: Path) -> None:
    anne: Any = Deployer(flow, show_output=False, production=True)
    bob: Any = Deployer(
        flow, show_output=False, production=True, env={"METAFLOW_USER": "bob", "METAFLOW_HOME": str(tmp_path / "bob")}
    )
    deployed = anne.toy().create()
    with pytest.raises(IncorrectProductionToken, match="Ask tester for it"):
        bob.toy().create()
    with pytest.raises(IncorrectProductionToken, match="is not its production token"):
        bob.toy().create(authorize="guess")
    ours = DeployedFlow.from_deployment(deployed.name, env=bob.env)
    with pytest.raises(IncorrectProductionToken):
        ours.delete()
    assert bob.toy().create(authorize=deployed.production_token).production_token == deployed.production_token
    fresh = bob.toy().create(generate_new_token=True)
    assert fresh.production_token != deployed.production_token
    with pytest.raises(IncorrectProductionToken):
        anne.toy().create()
    assert [one.name for one in list_deployed_flows("toy", "TrainFlow")] == ["shop.prod.TrainFlow"]


def test_coroutines(flow: str) -> None:
    async def both() -> None:
        async with Deployer(flow, show_output=False) as deployer:
            deployed: DeployedFlow = await deployer.toy().async_create()  # type: ignore[operator]
            one, other = await asyncio.gather(*(deployed.async_trigger(alpha=i, later=True) for i in (1, 2)))
            runs = await asyncio.gather(*(run.async_wait_for_run(60) for run in (one, other)))
            assert {run.id for run in runs} == {one.run_id, other.run_id} == {"toy-1", "toy-2"}
            with pytest.raises(MetaflowUsageError, match="alpah"):
                await deployed.async_trigger(alpah=1)
            with pytest.raises(MetaflowException, match="has not begun within 0 seconds"):
                one.pathspec = "TrainFlow/toy-9"
                await one.async_wait_for_run(0)

    asyncio.run(both())
