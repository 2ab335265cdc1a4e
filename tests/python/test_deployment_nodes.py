"""Nodes of deployed flows, each a process of its own, give what ``run`` gives.

``plan_walker`` does what an orchestrator does: it starts nodes and repeats those that fail.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import plan_walker
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metaflow import Flow, Run, namespace
from metaflow_core.deployment.compile import given_file, parameter_text
from metaflow_core.graph.model import ParameterDef
from metaflow_core.graph.parameters import convert

from tests.conftest import RunFlow
from tests.python.test_random_graphs import Drawn, expected, flows, in_python

OTHER = {"METAFLOW_USER": "whoever"}  # on the machines of an orchestrator


def deploy(run_flow: RunFlow, script: str | Path, *words: str, name: str, env: dict[str, str] | None = None) -> Any:
    """Deploy it with options of ``create``, and return the plan."""
    run_flow(script, "toy", "create", *words, env=env)
    return plan_walker.plan_of(name)


def walk(plan: Any, run_id: str = "toy-1", env: dict[str, str] | None = None, **parameters: Any) -> plan_walker.Walker:
    walker = plan_walker.Walker(plan, run_id, {**OTHER, **(env or {})})
    walker.ended = walker.run(parameters)  # type: ignore[attr-defined]
    return walker


def results(pathspec: str) -> Counter[tuple[str, str]]:
    """The artifacts of all tasks, whatever the tasks are called."""
    run = Run(pathspec, _namespace_check=False)
    return Counter(
        (step.id, repr(sorted((one.id, one.data) for one in task)), repr(task.index) and task.finished)
        for step in run
        for task in step
    )


GRAPH = """
    import enum
    from metaflow import Config, FlowSpec, IncludeFile, JSONType, Parameter, current, project, step

    @project(name="shop")
    class GraphFlow(FlowSpec):
        cfg = Config("cfg", default_value='{"factor": 3}')
        alpha = Parameter("alpha", default=0.5)
        count = Parameter("count", default=2)
        flag = Parameter("flag", default=False)
        names = Parameter("names", default="x,y", separator=",")
        data = Parameter("data", type=JSONType, default='{"a": [1]}')
        text = Parameter("some-text", default="")
        notes = IncludeFile("notes", required=False)
        raw = IncludeFile("raw", is_text=False, required=False)
        table = IncludeFile("table", parser="json.loads", required=False)

        @step
        def start(self):
            self.factor = self.cfg.factor
            self.seen = [current.project_name, current.branch_name]
            self.sizes = list(range(1, self.count + 2))
            self.next(self.outer, foreach="sizes")

        @step
        def outer(self):
            self.inner = [f"{self.input}{c}" for c in "abc"[:self.input]]
            self.way = "odd" if self.input % 2 else "even"
            self.next(self.leaf, foreach="inner")

        @step
        def leaf(self):
            self.turn = getattr(self, "turn", 0) + 1
            self.kind = self.way
            self.next({"odd": self.odd, "even": self.even}, condition="kind")

        @step
        def odd(self):
            self.result = f"odd {self.input}"
            self.next(self.again)

        @step
        def even(self):
            self.result = f"even {self.input}"
            self.next(self.again)

        @step
        def again(self):
            self.turns = getattr(self, "turns", 0) + 1
            self.more = self.turns < len(self.input)
            self.next({True: self.again, False: self.met}, condition="more")

        @step
        def met(self):
            self.next(self.gather)

        @step
        def gather(self, inputs):
            self.merge_artifacts(inputs, include=["factor", "seen"])
            self.found = [(one.result, one.turns) for one in inputs]
            self.next(self.collect)

        @step
        def collect(self, inputs):
            self.merge_artifacts(inputs, include=["factor", "seen"])
            self.every = [one.found for one in inputs]
            self.next(self.fork)

        @step
        def fork(self):
            self.next(self.left, self.right)

        @step
        def left(self):
            self.side = self.factor * self.alpha
            self.next(self.sum)

        @step
        def right(self):
            self.side = len(self.every)
            self.next(self.sum)

        @step
        def sum(self, inputs):
            self.sides = [one.side for one in inputs]
            self.merge_artifacts(inputs, exclude=["side"])
            self.next(self.end)

        @step
        def end(self):
            self.all = [self.flag, self.names, self.data, self.text, self.notes, self.raw, self.table]

    if __name__ == "__main__":
        GraphFlow()
"""


@pytest.mark.both_databases
def test_a_graph_with_parameters_of_each_kind_gives_what_run_gives(run_flow: RunFlow, project: Path, toy: Path) -> None:
    text = "a'b\"c $(touch x) {{workflow.name}} %s\n\ttab ü"
    (project / "notes.txt").write_text(text, encoding="utf-8")
    (project / "raw.bin").write_bytes(bytes(range(256)))
    (project / "table.json").write_text('{"rows": [1, "2"]}')
    before = ["--branch", "fixed", "--config-value", "cfg", '{"factor": 5}']
    words = ["--alpha", "0.25", "--flag", "--names", "n 1,n2", "--data", '"text"', "--some-text", text]
    words += ["--notes", "notes.txt", "--raw", "raw.bin", "--table", "table.json"]
    run_flow(GRAPH, *before, "run", *words)
    created = run_flow("flow.py", *before, "toy", "create", "--tag", "nightly")
    token = created.stdout.split("production:")[1].split()[0]
    run_flow("flow.py", "--branch", "fixed", "toy", "trigger", *words)
    assert results("GraphFlow/toy-1") == results("GraphFlow/1")
    run = Run("GraphFlow/toy-1", _namespace_check=False)
    assert run.data.all == [True, ["n 1", "n2"], "text", text, text, bytes(range(256)), {"rows": [1, "2"]}]
    assert run.data.seen == ["shop", "test.fixed"] and run.data.sides == [1.25, 3]
    assert run.user_tags == {"nightly"}
    expected = {f"production:{token}", "project:shop", "project_branch:test.fixed", "runtime:toy"}
    assert expected <= run.system_tags
    namespace("user:tester")
    assert [run.id for run in Flow("GraphFlow")] == ["1"], "production is apart"


FAILING = """
    import os, signal, sys, time
    from pathlib import Path
    from metaflow import FlowSpec, Parameter, catch, current, exit_hook, retry, secrets, step, timeout

    def tell(run):
        with open(os.environ["TOLD"], "a") as file:
            file.write(f"{run.pathspec} {run.status}\\n")

    @exit_hook(on_success=[tell], on_error=[tell])
    class FailingFlow(FlowSpec):
        fail = Parameter("fail", default=False)

        @secrets(sources=["env.PW"])
        @retry(times=2, minutes_between_retries=0)
        @step
        def start(self):
            print("the password", os.environ["PW"])
            if current.retry_count == 1:
                raise ValueError("once")
            if current.retry_count < 1:
                os._exit(3)
            self.tries = current.retry_count
            self.next(self.raises, self.killed, self.late)

        @catch(var="error")
        @step
        def raises(self):
            self.reached = True
            raise KeyError("caught")
            self.next(self.join)

        @catch(var="error")
        @retry(times=1, minutes_between_retries=0)
        @step
        def killed(self):
            os.kill(os.getpid(), signal.SIGKILL)
            self.next(self.join)

        @catch(var="error")
        @timeout(seconds=1)
        @step
        def late(self):
            time.sleep(60)
            self.next(self.join)

        @step
        def join(self, inputs):
            self.errors = [[one.error.type.split(".")[-1], str(one.error.exception)] for one in inputs]
            self.tries = [one.tries for one in inputs]
            self.next(self.end)

        @step
        def end(self):
            if self.fail and not os.environ.get("REPAIRED"):
                raise ValueError("asked to fail")
            self.attempt = current.retry_count

    if __name__ == "__main__":
        FailingFlow()
"""


def test_failures_are_handled_as_run_handles_them(run_flow: RunFlow, project: Path, toy: Path) -> None:
    env = {"TOLD": str(project / "told"), "PW": "0pen-sesame"}
    run_flow(FAILING, "run", env=env)
    plan = deploy(run_flow, "flow.py", name="FailingFlow", env=env)
    assert [plan[step].attempts for step in ("start", "raises", "killed", "late", "end")] == [3, 2, 3, 2, 1]
    walker = walk(plan, env=env)
    assert walker.ended, walker.output  # type: ignore[attr-defined]
    ours, theirs = (Run(f"FailingFlow/{run}", _namespace_check=False) for run in ("toy-1", "1"))
    assert ours["join"].task.data.errors == theirs["join"].task.data.errors
    assert ours.data.tries == theirs.data.tries == [2, 2, 2]
    assert ours["start"].task.current_attempt == theirs["start"].task.current_attempt == 2
    assert "0pen-sesame" not in walker.output + ours["start"].task.stdout and "the password ***" in walker.output
    assert Counter(step for step, _, status in walker.nodes if status) == {"start": 2, "killed": 1}

    failed = walk(plan, "toy-2", env, fail="True")
    assert not failed.ended  # type: ignore[attr-defined]
    assert "asked to fail" in failed.output
    assert Run("FailingFlow/toy-2", _namespace_check=False).status == "failed"
    assert failed.finish("failed") == 0  # the orchestrator's handler may come more than once
    told = (project / "told").read_text().splitlines()
    assert told == ["FailingFlow/1 completed", "FailingFlow/toy-1 completed", "FailingFlow/toy-2 failed"]

    # Resumed locally, in one's own namespace.
    env["REPAIRED"] = "1"
    run_flow("flow.py", "resume", "--origin-run-id", "toy-2", env=env)
    resumed = Run("FailingFlow/2")
    assert resumed.successful and resumed.origin_pathspec == "FailingFlow/toy-2"
    assert "user:tester" in resumed.system_tags
    assert not any(tag.startswith("production:") for tag in resumed.system_tags)
    assert resumed["start"].task.origin_pathspec == "FailingFlow/toy-2/start/0"


SMALL = """
    import os, time
    from pathlib import Path
    from metaflow import FlowSpec, JSONType, Parameter, current, exit_hook, step

    if os.environ.get("SLOW"):  # the process looks what is due, tells so, and is slow then
        from metaflow_core.deployment.due import Nodes

        def look(self, *place, quick=Nodes.look):
            found = quick(self, *place)
            Path(os.environ["SLOW"] + ".looked").touch()
            while not Path(os.environ["SLOW"]).exists():
                time.sleep(0.01)
            return found

        Nodes.look = look

    def tell(run):
        with open(os.environ["NOTES"] + ".ends", "a") as file:
            file.write(f"{run.id} {run.status}\\n")

    def note(self):
        with open(os.environ["NOTES"], "a") as file:
            file.write(f"{current.step_name}{current.retry_count} ")

    @exit_hook(on_success=[tell], on_error=[tell])
    class SmallFlow(FlowSpec):
        items = Parameter("items", type=JSONType, default="[1, 2]")
        text = Parameter("text", default="")

        @step
        def start(self):
            note(self)
            self.next(self.work, foreach="items")

        @step
        def work(self):
            note(self)
            while os.environ.get("WAIT") and not Path(os.environ["WAIT"]).exists():
                time.sleep(0.01)
            self.tries = current.retry_count
            self.next(self.join)

        @step
        def join(self, inputs):
            note(self)
            self.tries = [one.tries for one in inputs]
            self.next(self.end)

        @step
        def end(self):
            note(self)

    if __name__ == "__main__":
        SmallFlow()
"""


@pytest.fixture
def notes(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the steps of ``SMALL`` note what they do."""
    monkeypatch.setenv("NOTES", str(project / "notes"))
    (project / "notes").touch()
    return project / "notes"


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.both_databases
def test_nodes_that_are_repeated_killed_and_started_twice(
    run_flow: RunFlow, project: Path, toy: Path, notes: Path
) -> None:
    plan = deploy(run_flow, SMALL, "--with", "retry:times=1,minutes_between_retries=0", name="SmallFlow")
    assert plan["work"].attempts == 2
    walker = plan_walker.Walker(plan, "toy-1", OTHER)
    assert walker.node("start") == {"num_splits": 2} == walker.node("start")
    assert walker.paths("work") == ["0", "1"] and walker.paths("join") == [] == walker.paths("end")
    assert notes.read_text() == "start0 ", "what has ended is not run again"
    assert walker.node("join") is None and "0 of them have ended" in walker.output

    # The whole container is killed in the middle, and started again.
    go = str(project / "go")
    node = walker.process("work", "0", env={"WAIT": go})
    until(lambda: "work0" in notes.read_text())
    os.killpg(node.pid, signal.SIGKILL)
    node.wait()
    assert walker.node("work", "0") == {}
    assert notes.read_text().split() == ["start0", "work0", "work1"]

    # The orchestrator starts a node again that still runs: one of the two counts.
    twins = [walker.process("work", "1", env={"WAIT": go})]
    until(lambda: notes.read_text().split().count("work0") == 2)
    twins.append(walker.process("work", "1", env={"WAIT": go}))
    until(lambda: notes.read_text().split().count("work1") == 2)
    Path(go).touch()
    outputs = [twin.communicate(timeout=60)[0] for twin in twins]
    assert twins[1].returncode == 0, outputs
    assert walker.node("work", "1") == {}
    assert walker.node("join") == {} == walker.node("end")
    run = Run("SmallFlow/toy-1", _namespace_check=False)
    assert run.successful and run["join"].task.data.tries == [1, 1]
    assert [task.index for task in run["work"]] == [1, 0] and len(list(run["work"])) == 2


def status_of(pathspec: str) -> str:
    return Run(pathspec, _namespace_check=False).status


@pytest.mark.both_databases
def test_the_loser_of_two_processes_does_not_fail_the_run(
    run_flow: RunFlow, project: Path, toy: Path, notes: Path
) -> None:
    plan = deploy(run_flow, SMALL, name="SmallFlow")
    walker = plan_walker.Walker(plan, "toy-1", OTHER)
    assert walker.node("start") and walker.node("work", "1") == {}
    losers = []
    for turn in range(2):
        losers.append(walker.process("work", "0", env={"WAIT": str(project / f"go{turn}")}))
        until(lambda: len(notes.read_text().split()) == len(losers) + 2)
    (project / "go0").touch()  # the second has given it up, and runs
    assert losers[0].wait(60) == 1 and status_of("SmallFlow/toy-1") == "running"
    assert walker.node("work", "0") == {} == walker.node("join") == walker.node("end")
    assert status_of("SmallFlow/toy-1") == "completed"
    (project / "go1").touch()
    out = losers[1].communicate(timeout=60)[0]
    assert losers[1].returncode == 0 and "its result is dropped" in out, (
        "the node has ended well, which is what it tells"
    )
    assert out.splitlines()[-1] == "{}"
    run = Run("SmallFlow/toy-1", _namespace_check=False)
    assert run.status == "completed" and run["join"].task.data.tries == [2, 0]


@pytest.mark.both_databases
def test_a_node_ends_while_another_process_looks(run_flow: RunFlow, project: Path, toy: Path, notes: Path) -> None:
    plan = deploy(run_flow, SMALL, name="SmallFlow")
    walker = plan_walker.Walker(plan, "toy-1", OTHER)
    assert walker.node("start") and walker.node("work", "0") == {}
    first = walker.process("work", "1", env={"WAIT": str(project / "go")})
    until(lambda: notes.read_text().split().count("work0") == 2)
    second = walker.process("work", "1", env={"SLOW": str(project / "slow")})
    until((project / "slow.looked").exists)
    (project / "go").touch()
    assert first.wait(60) == 0
    (project / "slow").touch()
    out = second.communicate(timeout=60)[0]
    assert second.returncode == 0 and "has ended before" in out, out
    assert notes.read_text().split() == ["start0", "work0", "work0"], "it has run once"

    # So does the whole run, whose exit hooks are called once.
    assert walker.node("join") == {}
    last = walker.process("end", env={"SLOW": str(project / "end")})
    until((project / "end.looked").exists)
    assert walker.node("end") == {} and status_of("SmallFlow/toy-1") == "completed"
    (project / "end").touch()
    out = last.communicate(timeout=60)[0]
    assert last.returncode == 0 and "has ended before" in out, out
    assert status_of("SmallFlow/toy-1") == "completed"
    assert Path(f"{notes}.ends").read_text().splitlines() == ["toy-1 completed"]


@pytest.mark.both_databases
def test_two_processes_find_the_same_due(run_flow: RunFlow, project: Path, toy: Path, notes: Path) -> None:
    plan = deploy(run_flow, SMALL, name="SmallFlow")
    walker = plan_walker.Walker(plan, "toy-1", OTHER)
    assert walker.node("start")
    dead = walker.process("work", "1", env={"WAIT": str(project / "never")})
    until(lambda: "work0" in notes.read_text())
    os.killpg(dead.pid, signal.SIGKILL)
    dead.wait()
    for path in "01":  # both would make the task, then both would make its next attempt
        twins = [walker.process("work", path, env={"SLOW": str(project / (path + twin))}) for twin in "ab"]
        for twin in "ab":
            until((project / f"{path}{twin}.looked").exists)
        for twin in "ab":
            (project / f"{path}{twin}").touch()
        outputs = [twin.communicate(timeout=60)[0] for twin in twins]
        assert 0 in [twin.returncode for twin in twins], outputs
        assert "database" not in "".join(outputs), outputs
    assert walker.node("join") == {} == walker.node("end")
    run = Run("SmallFlow/toy-1", _namespace_check=False)
    assert run.successful and [len(list(run[step])) for step in ("start", "work", "join", "end")] == [1, 2, 1, 1]


def test_two_processes_begin_a_node_at_once(run_flow: RunFlow, toy: Path, notes: Path) -> None:
    plan = deploy(run_flow, SMALL, name="SmallFlow")
    walker = plan_walker.Walker(plan, "toy-1", OTHER)
    for step in ("start", "join"):
        if step == "join":
            assert walker.node("work", "0") == {} == walker.node("work", "1")
        twins = [walker.process(step) for _ in range(2)]
        outputs = [twin.communicate(timeout=60)[0] for twin in twins]
        assert 0 in [twin.returncode for twin in twins], outputs
        assert "Traceback" not in "".join(outputs), outputs
    assert walker.node("end") == {}
    run = Run("SmallFlow/toy-1", _namespace_check=False)
    assert run.successful and [len(list(run[step])) for step in ("start", "work", "join", "end")] == [1, 2, 1, 1]


def test_an_empty_foreach_and_bad_parameters_fail_with_the_usual_message(
    run_flow: RunFlow, toy: Path, notes: Path
) -> None:
    empty = run_flow(SMALL, "run", "--items", "[]", check=False)
    message = "foreach='items' is empty, there is nothing to run."
    assert message in empty.stdout + empty.stderr
    plan = deploy(run_flow, "flow.py", name="SmallFlow")
    walker = walk(plan, items="[]")
    assert not walker.ended and message in walker.output  # type: ignore[attr-defined]
    assert Run("SmallFlow/toy-1", _namespace_check=False).status == "failed"
    for text, told in (
        ("[1]", "is no JSON object. It was '[1]', and must have values by name"),
        ("{x", "is no JSON: Expecting property name"),
        ('{"items": "[1]", "text": hi}', "is no JSON at parameter 'text'"),
        ("[" * 100_000, "is nested too deeply"),
    ):
        walker = plan_walker.Walker(plan, "toy-9", OTHER)
        process = walker.process("start", parameters=text)
        out = process.communicate(timeout=60)[0]
        assert process.returncode == 2 and told in out and "Traceback" not in out, out
        assert "Parameters: items, text." in out and "Run toy-9 has not begun" in _finish(walker)
    for number, (parameters, told) in enumerate(
        (({"items": "{"}, "must be JSON"), ({"itmes": "[]"}, "'itmes'"), ({"text": {"a": 1}}, "'text'")), 2
    ):
        walker = walk(plan, f"toy-{number}", **parameters)  # type: ignore[arg-type]
        assert not walker.ended and told in walker.output, walker.output  # type: ignore[attr-defined]
        assert "Traceback" not in walker.output
        # The handler of the end does not hide the reason with an error of its own.
        assert "There is no run" not in walker.output and f"Run toy-{number} has not begun" in walker.output
        assert walker.finish("failed") == 0


def _finish(walker: plan_walker.Walker) -> str:
    assert walker.finish("failed") == 0
    return walker.output


@pytest.mark.both_databases
def test_a_run_goes_on_under_its_own_token_alone(run_flow: RunFlow, toy: Path, notes: Path) -> None:
    first = plan_walker.Walker(deploy(run_flow, SMALL, name="SmallFlow"), "toy-1", OTHER)
    assert first.node("start") and first.node("work", "0") == {}
    again = plan_walker.Walker(deploy(run_flow, "flow.py", name="SmallFlow"), "toy-1", OTHER)
    assert again.plan.id != first.plan.id and again.node("work", "1") == {}, "another version, the same token"

    # The orchestrator, which forgets what is deleted, has a run of the same name.
    run_flow("flow.py", "toy", "delete")
    plan = deploy(run_flow, "flow.py", "--generate-new-token", name="SmallFlow")
    other = plan_walker.Walker(plan, "toy-1", OTHER)
    before = notes.read_text()
    assert other.node("start") is None and other.node("join") is None
    assert other.output.count("SmallFlow/toy-1 is there already, from a deployment with another production token") == 2
    assert "Traceback" not in other.output and notes.read_text() == before
    assert other.finish("failed") == 0 and status_of("SmallFlow/toy-1") == "running"
    assert again.node("join") == {} == again.node("end") and status_of("SmallFlow/toy-1") == "completed"
    assert other.node("start") is None, "and not that it has ended before"
    assert walk(plan, "toy-2").ended  # type: ignore[attr-defined]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
HOSTILE = ["$(touch hacked)", "`id`", "{{workflow.name}}", "'\"\\", "-", "--help", "a\nb\r", "\u2028\x7f", "[1", "null"]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_texts_of_parameters_are_read_as_they_were_meant(data: Any) -> None:
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | texts, lambda x: st.lists(x) | st.dictionaries(texts, x)
    )
    for parameter, values in (
        (ParameterDef("p", "str"), texts),
        (ParameterDef("p", "str", separator=data.draw(st.text(min_size=1, max_size=2))), st.lists(texts)),
        (ParameterDef("p", "json"), json_values),
        (ParameterDef("p", "float"), st.floats(allow_nan=False, allow_infinity=False)),
        (ParameterDef("p", "int"), st.integers()),
        (ParameterDef("p", "bool"), st.booleans()),
    ):
        value = data.draw(values)
        assert convert(parameter, parameter_text(parameter, value)) == value
    for is_text, values in ((True, texts), (False, st.binary())):
        parameter = ParameterDef("p", "file", options={"is_text": is_text})
        value = data.draw(values)
        assert given_file(parameter, parameter_text(parameter, value)) == value


def test_hostile_texts_arrive(run_flow: RunFlow, project: Path, toy: Path, notes: Path) -> None:
    plan = deploy(run_flow, SMALL, name="SmallFlow")
    for number, text in enumerate(["".join(HOSTILE), "--help", "[1"], 1):
        walker = plan_walker.Walker(plan, f"toy-{number}", OTHER)
        told = walker.node("start", parameters=json.dumps({"text": text, "items": json.dumps(HOSTILE)}))
        assert told == {"num_splits": len(HOSTILE)}, walker.output
        task = Run(f"SmallFlow/toy-{number}", _namespace_check=False)["start"].task
        assert (task.data.text, task.data.items) == (text, HOSTILE)
    assert not list(Path("/").glob("hacked")) and not list(project.rglob("hacked"))


@given(drawn=flows(2, 12, gangs=False), where=st.integers(0, 1000))
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[*settings().phases][:3],
)
def test_random_graphs(run_flow: RunFlow, project: Path, toy: Path, drawn: Drawn, where: int) -> None:
    """A run that fails somewhere, and is then walked again from its start: each task has run once, but for that one."""
    trace, order = expected(drawn)
    bodies = project / "bodies"
    bodies.unlink(missing_ok=True)
    plan = deploy(run_flow, in_python(drawn).replace('"bodies"', repr(str(bodies))), name="RandomFlow")
    number = len(list(toy.glob("*.id"))) + 1
    (toy / f"toy-{number}.id").touch()
    place = order[where % len(order)]
    failed = walk(plan, f"toy-{number}", {"FAIL": place})
    assert not failed.ended, failed.output  # type: ignore[attr-defined]
    again = walk(plan, f"toy-{number}")
    assert again.ended, failed.output + again.output  # type: ignore[attr-defined]
    run = Run(f"RandomFlow/toy-{number}", _namespace_check=False)
    assert run.successful and run["end"].task.data.trace == trace
    counts = Counter(bodies.read_text().split())
    assert sorted(counts) == sorted(order)
    assert {mark for mark, count in counts.items() if count > 1} == {place}
