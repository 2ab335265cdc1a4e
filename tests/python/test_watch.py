"""``metaflow watch``: a command runs once per tag event, also for those of when nobody watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from metaflow import Flow

Watch = Callable[..., "subprocess.CompletedProcess[str]"]

METAFLOW = str(Path(sys.executable).parent / "metaflow")
FLOW = """
    import pathlib, time
    from metaflow import Flow, FlowSpec, Parameter, current, step

    class TrainFlow(FlowSpec):
        wait = Parameter("wait", default="")
        fail = Parameter("fail", default=False)

        @step
        def start(self):
            self.score = 0.9
            Flow(current.flow_name)[current.run_id].add_tag("candidate")
            while self.wait and not pathlib.Path(self.wait).exists():
                time.sleep(0.01)
            self.next(self.end)

        @step
        def end(self):
            if self.fail:
                raise ValueError("as asked")

    if __name__ == "__main__":
        TrainFlow()
    """


def command(*words: str, tag: str = "production") -> list[str]:
    return [METAFLOW, "watch", "--flow", "TrainFlow", "--tag", tag, "--interval", "0.01", *words]


@pytest.fixture
def watch(project: Path) -> Watch:
    """Runs ``metaflow watch`` to its end."""

    def run(*words: str, tag: str = "production", code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command(*words, tag=tag), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    return run


@pytest.fixture
def trained(run_flow: Callable[..., object]) -> None:
    """One run, ``TrainFlow/1``."""
    run_flow(FLOW, "run")


def acted(project: Path) -> list[str]:
    file = project / "acted.txt"
    return file.read_text().splitlines() if file.exists() else []


ACT = ("--", "sh", "-c", 'echo "$0" >> acted.txt', "{pathspec} {tag} {action} {status} {identity}")


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "nothing happened for a minute"
        time.sleep(0.01)


@pytest.mark.both_databases
def test_events_of_when_nobody_watched_are_acted_on_once(watch: Watch, trained: None, project: Path) -> None:
    run = Flow("TrainFlow")["1"]
    run.add_tag("production")
    watch("--once", "--name", "deploy", *ACT)
    assert acted(project) == [], "a new watcher begins with what comes"
    run.remove_tag("production")
    run.add_tag("production")
    run.add_tag("other")
    watch("--once", "--name", "deploy", *ACT)
    watch("--once", "--name", "deploy", *ACT)
    line = "TrainFlow/1 production added completed user:tester"
    assert acted(project) == [line]
    watch("--once", "--name", "all", "--from-beginning", *ACT)
    assert acted(project) == [line] * 3
    watch("--once", "--name", "gone", "--from-beginning", "--removed", *ACT)
    assert acted(project)[3:] == ["TrainFlow/1 production removed completed user:tester"]


def test_an_event_of_a_running_run_waits_for_its_end(
    watch: Watch, run_flow: Callable[..., object], project: Path
) -> None:
    run_flow(FLOW, "run")
    go = project / "go"
    process = subprocess.Popen(
        [sys.executable, "flow.py", "run", "--wait", str(go)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: any(run.id == "2" and "candidate" in run.user_tags for run in Flow("TrainFlow")))
        candidates = ["--once", "--from-beginning", "--name", "gate", *ACT]
        watch(*candidates, tag="candidate")
        assert [line.split()[0] for line in acted(project)] == ["TrainFlow/1"]
        watch("--running", "--once", "--from-beginning", "--name", "hasty", *ACT, tag="candidate")
        assert acted(project)[1:] == [
            "TrainFlow/1 candidate added completed user:tester",
            "TrainFlow/2 candidate added running user:tester",
        ]
        go.touch()
        assert process.wait(60) == 0
    finally:
        process.kill()
    watch(*candidates, tag="candidate")
    assert acted(project)[3:] == ["TrainFlow/2 candidate added completed user:tester"]


def test_runs_that_did_not_end_well_can_be_passed_over(
    watch: Watch, run_flow: Callable[..., object], project: Path
) -> None:
    run_flow(FLOW, "run", "--fail", "True", check=False)
    done = watch("--once", "--from-beginning", "--successful", *ACT, tag="candidate")
    assert "TrainFlow/1: candidate added, but the run is failed: passed over" in done.stdout
    assert acted(project) == []
    watch("--once", "--from-beginning", *ACT, tag="candidate")
    assert acted(project) == ["TrainFlow/1 candidate added failed user:tester"]


def test_two_watchers_of_one_name_share_the_events(trained: None, project: Path) -> None:
    run = Flow("TrainFlow")["1"]
    tags = [f"t{number}" for number in range(20)]
    run.add_tags(tags)
    words = [word for tag in tags for word in ("--tag", tag)]
    watchers = [
        subprocess.Popen(command(*words, "--name", "both", "--from-beginning", *ACT), stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    wait_for(lambda: len(acted(project)) >= len(tags))
    for watcher in watchers:
        watcher.send_signal(signal.SIGINT)
    assert [watcher.wait(60) for watcher in watchers] == [0, 0]
    assert [line.split()[1] for line in acted(project)] == tags


def test_a_command_that_was_interrupted_with_its_watcher_runs_again(watch: Watch, trained: None, project: Path) -> None:
    Flow("TrainFlow")["1"].add_tag("production")
    slow = ("--", "sh", "-c", "echo $$ >> begun.txt; while [ ! -e go ]; do sleep 0.01; done; echo x >> acted.txt")
    words = ["--name", "deploy", "--from-beginning", *slow]
    process = subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun = project / "begun.txt"
    wait_for(lambda: begun.exists() and begun.read_text().endswith("\n"))
    process.kill()
    process.wait()
    wait_for(lambda: not Path(f"/proc/{begun.read_text().strip()}").exists())
    (project / "go").touch()
    assert acted(project) == []
    done = watch("--once", *words)
    assert "TrainFlow/1: production added by user:tester, again: it was interrupted" in done.stdout
    assert acted(project) == ["x"]
    assert watch("--once", *words).stdout == ""


def test_an_interrupt_lets_the_command_end(trained: None, project: Path) -> None:
    Flow("TrainFlow")["1"].add_tags(["production"])
    slow = ("--", "sh", "-c", "touch begun; while [ ! -e go ]; do sleep 0.01; done; echo x >> acted.txt")
    process = subprocess.Popen(command("--from-beginning", *slow), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for((project / "begun").exists)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    notice = process.stderr.readline() + process.stderr.readline()
    assert b"Stopping when the command has ended" in notice
    (project / "go").touch()
    assert process.wait(60) == 0
    assert acted(project) == ["x"]


def test_a_failing_command_is_reported_and_does_not_run_again(watch: Watch, trained: None) -> None:
    Flow("TrainFlow")["1"].add_tag("production")
    words = ("--once", "--from-beginning", "--", "sh", "-c", "exit 3")
    assert "TrainFlow/1: the command failed, exit code 3" in watch(*words, code=1).stdout
    assert watch(*words).stdout == ""


def test_a_tag_reaches_the_command_as_it_is(watch: Watch, trained: None, project: Path) -> None:
    tag = "größe $(touch oops) `touch oops` {flow} ' \" ;"
    Flow("TrainFlow")["1"].add_tag(tag)
    done = watch("--once", "--from-beginning", "--", "printf", "%s\n", "[{tag}] {other} {}", tag=tag)
    assert f"[{tag}] {{other}} {{}}\n" in done.stdout
    done = watch("--once", "--from-beginning", "--", "printenv", "METAFLOW_EVENT_TAG", tag=tag)
    assert f"\n{tag}\n" in done.stdout
    assert not (project / "oops").exists()


def test_a_watcher_may_begin_before_the_first_run(watch: Watch, run_flow: Callable[..., object], project: Path) -> None:
    watch("--once", *ACT)
    run_flow(FLOW, "run", "--tag", "production")
    watch("--once", *ACT)
    assert acted(project) == ["TrainFlow/1 production added completed user:tester"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--", "no_such_command"], 1, "There is no command 'no_such_command' to run when a tag comes."),
        (["--flow", "a/b", "--", "true"], 2, "'a/b' is no name of a flow."),
        (["--tag", "", "--", "true"], 1, "A tag must not be empty."),
        (["--running", "--successful", "--", "true"], 2, "--running and --successful exclude each other."),
        ([], 2, "Missing argument 'COMMAND...'"),
    ],
)
def test_wrong_arguments(watch: Watch, project: Path, words: list[str], code: int, message: str) -> None:
    assert message in watch(*words, code=code).stderr
    assert not os.listdir(project / ".metaflow")
