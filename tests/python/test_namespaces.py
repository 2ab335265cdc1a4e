"""Namespaces of real runs: --namespace inside tasks, production tokens, resume across namespaces."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

TRAIN = """
from metaflow import FlowSpec, step

class TrainFlow(FlowSpec):

    @step
    def start(self):
        from metaflow import current
        self.model = current.username
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    TrainFlow()
"""

USE = """
from metaflow import FlowSpec, step

class UseFlow(FlowSpec):

    @step
    def start(self):
        from metaflow import Flow, current, default_namespace, get_namespace
        from metaflow.exception import MetaflowNamespaceMismatch
        try:
            found = Flow('TrainFlow').latest_run['start'].task.data.model
        except MetaflowNamespaceMismatch:
            found = None
        print('seen in', get_namespace(), 'is the model of', found)
        print('identity', current.namespace, 'tags', sorted(t for t in current.tags if ':' in t)[-1])
        self.next(self.end)

    @step
    def end(self):
        from metaflow import default_namespace
        print('default', default_namespace())

if __name__ == "__main__":
    UseFlow()
"""


def test_a_flow_reads_another_namespace_by_option(run_flow: Any) -> None:
    run_flow(TRAIN, "run", user="will", name="train.py")
    run_flow("train.py", "run", user="zoe")
    expected = {
        (): "seen in user:anne is the model of None",
        ("--namespace", "user:will"): "seen in user:will is the model of will",
        ("--namespace", ""): "seen in None is the model of zoe",
        ("--namespace", "no such tag"): "seen in no such tag is the model of None",
    }
    for options, line in expected.items():
        ran = run_flow(USE, "run", *options, user="anne", name="use.py").stdout
        assert line in ran
        # The run stays Anne's, and her identity is what it was.
        assert "identity user:anne tags user:anne" in ran
        assert "default user:anne" in ran


def test_system_tags_of_a_run(run_flow: Any) -> None:
    run_flow(TRAIN, "run", "--tag", "mine", user="anne", name="train.py")
    run_flow("train.py", "run", user="anne", env={"METAFLOW_PRODUCTION_TOKEN": "trainflow-0-abcd"})
    look = """
        import sys
        from metaflow import Flow, namespace
        from metaflow_core import __version__
        namespace(None)
        for run in Flow('TrainFlow'):
            facts = dict(tag.split(':') for tag in run.system_tags)
            assert facts.pop('metaflow_version') == __version__
            assert facts.pop('python_version') == '.'.join(map(str, sys.version_info[:3]))
            assert facts.pop('date') == run.created_at.strftime('%Y-%m-%d')
            print(sorted(facts.items()), sorted(run.user_tags))
            start = run['start']
            assert start.tags == start.task.tags == start.task['model'].tags == run.tags
    """
    assert run_flow(look, user="will", name="look.py").stdout.splitlines() == [
        "[('production', 'trainflow-0-abcd'), ('runtime', 'dev')] []",
        "[('runtime', 'dev'), ('user', 'anne')] ['mine']",
    ]


def test_nobody_runs_nothing(run_flow: Any, monkeypatch: Any) -> None:
    for variable in ("SUDO_USER", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    for user in ("", "root"):
        refused = run_flow(TRAIN, "run", user=None, env={"USER": user}, check=False, name="train.py")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "export METAFLOW_USER=<your name>" in refused.stderr and "Traceback" not in refused.stderr
    assert "user:root" in run_flow("train.py", "run", user="root").stderr


@pytest.mark.both_databases
def test_tags_from_inside_a_running_task(run_flow: Any) -> None:
    script = """
        from metaflow import Flow, FlowSpec, current, step
        from metaflow.exception import MetaflowTaggingError

        class ModelFlow(FlowSpec):
            @step
            def start(self):
                run = Flow(current.flow_name)[current.run_id]
                run.add_tag('promising_model')
                run.replace_tags(['from outside'], ['seen'])
                assert 'seen' in current.tags and 'from outside' not in current.tags
                try:
                    run.remove_tag(current.namespace)
                except MetaflowTaggingError as error:
                    print("refused:", error)
                self.next(self.end)

            @step
            def end(self):
                print("sees", *sorted(current.run.user_tags))

        if __name__ == "__main__":
            ModelFlow()
    """
    ran = run_flow(script, "run", "--tag", "from outside", user="anne", name="model.py").stdout
    assert "refused: System tags can't be removed: 'user:anne'" in ran
    assert "sees promising_model seen" in ran
    # Whose results the task reads does not matter: its own run it can always open.
    elsewhere = run_flow("model.py", "run", "--namespace", "user:will", user="anne").stdout
    assert "sees promising_model seen" in elsewhere
    history = run_flow("model.py", "--quiet", "tag", "list", "--history", "--flat", "--run-id", "1").stdout
    assert [line.split("\t")[1:] for line in history.splitlines()] == [
        ["added", "from outside", "user:anne"],
        ["added", "promising_model", "user:anne"],
        ["removed", "from outside", "user:anne"],
        ["added", "seen", "user:anne"],
    ]


def test_production_runs_belong_to_the_token_and_to_nobody(run_flow: Any) -> None:
    production = {"METAFLOW_PRODUCTION_TOKEN": "trainflow-0-abcd"}
    run_flow(TRAIN, "run", user="anne", name="train.py")
    run_flow("train.py", "run", user="anne", env=production)
    look = """
        from metaflow import Flow, Run, default_namespace, namespace
        print(default_namespace(), [run.id for run in Flow('TrainFlow')])
        namespace('production:trainflow-0-abcd')
        run = Flow('TrainFlow').latest_run
        print(run.id, sorted(tag for tag in run.system_tags if tag.startswith(('user:', 'production:'))))
    """
    assert run_flow(look, user="anne", name="look.py").stdout.splitlines() == [
        "user:anne ['1']",
        "2 ['production:trainflow-0-abcd']",
    ]
    # In production the default namespace is the production one.
    seen = run_flow("look.py", user="anne", env=production).stdout
    assert seen.startswith("production:trainflow-0-abcd ['2']\n")


def test_a_run_of_someone_else_is_resumed_into_ones_own_namespace(run_flow: Any) -> None:
    production = {"METAFLOW_PRODUCTION_TOKEN": "trainflow-0-abcd"}
    run_flow(TRAIN, "run", user="will", env=production, name="train.py")
    # By default one's own runs are resumed, and what production ran is not one's own, whoever deployed it.
    for user in ("anne", "will"):
        refused = run_flow("train.py", "resume", "end", user=user, check=False)
        assert refused.returncode == 1 and f"You ({user}) have no run of TrainFlow" in refused.stderr
    resumed = run_flow("train.py", "resume", "end", "--origin-run-id", "1", user="anne")
    assert "Resuming TrainFlow/1 of production:trainflow-0-abcd, which is complete." in resumed.stderr
    look = """
        from metaflow import Flow
        run = Flow('TrainFlow').latest_run
        task = run['start'].task
        print(run.id, run.origin_pathspec, task.origin_pathspec, task.data.model)
        print(run['end'].task.origin_pathspec, task.metadata_dict['origin-run-id'])
        print('production:trainflow-0-abcd' in run.tags, 'user:anne' in run.tags)
    """
    assert run_flow(look, user="anne", name="look.py").stdout.splitlines() == [
        "2 TrainFlow/1 TrainFlow/1/start/1 will",
        "None 1",
        "False True",
    ]


def test_which_namespaces_there_are(run_flow: Any) -> None:
    run_flow(TRAIN, "run", "--tag", "xyz_features", user="will", name="train.py")
    run_flow("train.py", "run", "--tag", "xyz_features", user="anne")
    look = """
        from metaflow import list_namespaces
        print([(info.namespace, info.runs, info.owners) for info in list_namespaces("TrainFlow")])
    """
    expected = [("user:anne", 1, ("anne",)), ("user:will", 1, ("will",)), ("xyz_features", 2, ("anne", "will"))]
    assert run_flow(look, name="look.py").stdout == f"{expected}\n"
    command = [sys.executable, "-c", "from metaflow_core.cli.metaflow import main; main()", "namespaces"]
    listed = subprocess.run([*command, "TrainFlow"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [
        ["NAMESPACE", "RUNS"],
        ["user:anne", "1"],
        ["user:will", "1"],
        ["xyz_features", "2"],
    ]
    assert listed[3].endswith("  anne, will")
    assert "date:" in subprocess.run([*command, "--all"], capture_output=True, text=True, check=True).stdout
    absent = subprocess.run([*command, "Nope"], capture_output=True, text=True, check=False)
    assert (absent.returncode, absent.stdout) == (1, "") and "'Nope'" in absent.stderr
