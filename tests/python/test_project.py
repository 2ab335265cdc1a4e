"""`@project`: which branch a run belongs to, what its tasks and its tags tell, and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from metaflow import Run, Runner
from metaflow.exception import MetaflowException
from metaflow_core.decorators.project import MAX_LENGTH, is_project_word, user_word

# As the article prints it.
PROJECT_FLOW = """
from metaflow import FlowSpec, step, project, current

@project(name='example_project')
class ProjectFlow(FlowSpec):

    @step
    def start(self):
        print('project name:', current.project_name)
        print('project branch:', current.branch_name)
        print('is this a production run?', current.is_production)
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == '__main__':
    ProjectFlow()
"""


def lines(output: str) -> list[str]:
    """What the tasks have printed."""
    return [line.split(")] ")[1] for line in output.splitlines() if ")] " in line and "Task " not in line]


@pytest.mark.parametrize(
    ("options", "branch", "is_production"),
    [
        ([], "user.anne", False),
        (["--production"], "prod", True),
        (["--branch", "better_version"], "test.better_version", False),
        (["--branch", "better_version", "--production"], "prod.better_version", True),
    ],
)
def test_branches_of_the_article(run_flow: Any, options: list[str], branch: str, is_production: bool) -> None:
    ran = run_flow(PROJECT_FLOW, *options, "run", user="anne", name="project_flow.py")
    assert lines(ran.stdout) == [
        "project name: example_project",
        f"project branch: {branch}",
        f"is this a production run? {is_production}",
    ]
    assert f"Project example_project, branch {branch}.\n" in ran.stderr
    run = Run("ProjectFlow/1", _namespace_check=False)
    assert {"project:example_project", f"project_branch:{branch}", "user:anne"} <= run.system_tags
    assert not run.user_tags


FULL = """
    from metaflow import FlowSpec, current, project, step

    @project({arguments})
    class Full(FlowSpec):
        @step
        def start(self):
            import sys
            self.words = sys.argv
            self.told = [
                current.project_name, current.branch_name, current.is_production, current.is_user_branch,
                current.project_flow_name, "project_name" in current, current.get("branch_name"),
            ]
            self.next(self.work, foreach="told")

        @step
        def work(self):
            self.branch = current.branch_name
            self.next(self.join)

        @step
        def join(self, inputs):
            self.branches = sorted({{one.branch for one in inputs}} | {{current.branch_name}})
            from pathlib import Path
            assert Path("repaired").exists()
            self.next(self.end)

        @step
        def end(self):
            print("branches", self.branches, current.branch_name)

    if __name__ == "__main__":
        Full()
"""


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_run_resume_and_spin(run_flow: Any, project: Path, launcher: str) -> None:
    env = {"METAFLOW_LAUNCHER": launcher}
    source = FULL.format(arguments="name='fraud'")
    failed = run_flow(source, "--production", "run", env=env, check=False)
    assert failed.returncode == 1
    assert "--production" in next(line for line in failed.stderr.splitlines() if " resume" in line), failed.stderr
    told = Run("Full/1")["start"].task.data.told
    assert told == ["fraud", "prod", True, False, "fraud.prod.Full", True, "prod"]
    (project / "repaired").touch()
    # What is done again belongs to the branch that was asked for now.
    resumed = run_flow("flow.py", "--branch", "again", "resume", env=env)
    assert lines(resumed.stdout)[-1] == "branches ['prod', 'test.again'] test.again"
    assert "project_branch:test.again" in Run("Full/2").system_tags
    spun = run_flow("flow.py", "--branch", "tried", "spin", "start", env=env)
    assert "fraud.test.tried.Full" in spun.stdout


def test_branch_from_the_environment_and_arguments(run_flow: Any, project: Path) -> None:
    (project / "repaired").touch()
    source = FULL.format(arguments="name='fraud', branch='fixed', production=True")
    run_flow(source, "run")
    assert Run("Full/1")["start"].task.data.told[:5] == ["fraud", "prod.fixed", True, False, "fraud.prod.fixed.Full"]
    assert run_flow("flow.py", "--branch", "fixed", "run").returncode == 0
    twice = run_flow("flow.py", "--branch", "other", "run", check=False)
    assert twice.returncode == 1 and "given twice: --branch other, and branch='fixed'" in twice.stderr
    source = FULL.format(arguments="name='fraud'")
    run_flow(source, "run", env={"METAFLOW_BRANCH": "from_env", "METAFLOW_LAUNCHER": "spawn"})
    assert Run("Full/3").data.branches == ["test.from_env"]
    # A task on another machine has not the environment, so its command line says it.
    words = Run("Full/3")["start"].task.data.words
    assert words[words.index("--branch") + 1] == "from_env"
    run_flow("flow.py", "run", env={"METAFLOW_PRODUCTION": "false", "METAFLOW_LAUNCHER": "spawn"})
    assert Run("Full/4").data.branches == ["user.tester"]
    assert "--production" not in Run("Full/4")["start"].task.data.words


def test_from_a_program(project: Path) -> None:
    (project / "flow.py").write_text(PROJECT_FLOW)
    with Runner("flow.py", branch="better", production=True, show_output=False).run() as running:
        assert "project_branch:prod.better" in running.run.system_tags
    (project / "flow.py").write_text(PROJECT_FLOW.replace("@project(", "# @project("))
    with pytest.raises(MetaflowException, match="--branch is an option of flows with @project"):
        Runner("flow.py", branch="better", show_output=False).run()


@pytest.mark.parametrize(
    ("arguments", "options", "code", "says"),
    [
        ("", [], 1, "needs the name of the project"),
        ("name='Fraud-Detection'", [], 1, "not 'Fraud-Detection'. For example: fraud_detection"),
        ("name=3", [], 1, "not 3."),
        (f"name='{'a' * (MAX_LENGTH + 1)}'", [], 1, "at most 128 characters"),
        ("name='p', branch='a.b'", [], 1, "branch must be lowercase letters"),
        ("name='p', production='yes'", [], 1, "production must be true or false, not 'yes'"),
        ("name='p', branhc='b'", [], 1, "Did you mean 'branch'?"),
        ("name='p'", ["--branch", "a/../b"], 2, "'a/../b' can't name a branch"),
        ("name='p'", ["--branch", "Big Idea"], 2, "For example: big_idea"),
        ("name='p'", ["--branch", ""], 2, "'' can't name a branch"),
    ],
)
def test_wrong_names(run_flow: Any, arguments: str, options: list[str], code: int, says: str) -> None:
    refused = run_flow(FULL.format(arguments=arguments), *options, "run", check=False)
    assert refused.returncode == code and says in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr
    with pytest.raises(MetaflowException):
        Run("Full/1")


def test_options_without_a_project(run_flow: Any) -> None:
    source = PROJECT_FLOW.replace("@project(", "# @project(")
    for words in (["--branch", "b", "run"], ["--production", "run"], ["run", "--branch", "b"]):
        refused = run_flow(source, *words, check=False)
        option = next(word for word in words if word.startswith("--"))
        assert refused.returncode == 2
        assert f"{option} is an option of flows with @project, and this one has none." in refused.stderr
    misplaced = run_flow(PROJECT_FLOW, "run", "--branch", "b", check=False)
    assert "--branch goes before the command: flow.py --branch ... run" in misplaced.stderr


def test_twice(run_flow: Any) -> None:
    source = PROJECT_FLOW.replace("@project(", "@project(name='b')\n@project(")
    refused = run_flow(source, "run", check=False)
    assert "@project twice" in refused.stderr
    assert refused.returncode == 1


def test_name_from_a_config(run_flow: Any, project: Path) -> None:
    (project / "prod.json").write_text('{"project": "fraud_prod"}')
    source = PROJECT_FLOW.replace("@project(name='example_project')", "@project(name=config_expr('cfg.project'))")
    source = source.replace("import FlowSpec", "import Config, config_expr, FlowSpec")
    source = source.replace(
        "    @step\n    def start",
        "    cfg = Config('cfg', default_value={'project': 'fraud'})\n\n    @step\n    def start",
    )
    assert "project name: fraud" in lines(run_flow(source, "run").stdout)
    assert "project name: fraud_prod" in lines(run_flow("flow.py", "--config", "cfg", "prod.json", "run").stdout)


def test_outside_of_a_project(run_flow: Any) -> None:
    source = PROJECT_FLOW.replace("@project(", "# @project(")
    failed = run_flow(source, "run", check=False)
    assert "current has no 'project_name'" in failed.stdout + failed.stderr


@pytest.mark.parametrize(
    ("user", "word"),
    [
        ("anne", "anne"),
        ("anne.smith@x.com", "anne_smith_x_com"),
        ("Jörg Müller", "jorg_muller"),
        ("DOMAIN\\bob", "domain_bob"),
        ("../../etc", "______etc"),
    ],
)
def test_user_names(user: str, word: str) -> None:
    assert user_word(user) == word


def test_user_names_of_other_scripts_differ() -> None:
    names = ["李明", "王芳", "李明a", "王芳a", "---", "a" * 200, "a" * 199, "ß", "ﬁ"]
    words = [user_word(name) for name in names]
    assert len(set(words)) == len(names)
    assert all(is_project_word(word) for word in words), words


def test_the_branch_of_a_user_with_a_dotted_name(run_flow: Any) -> None:
    ran = run_flow(PROJECT_FLOW, "run", user="anne.smith@x.com")
    assert "project branch: user.anne_smith_x_com" in lines(ran.stdout)
    tags = Run("ProjectFlow/1", _namespace_check=False).system_tags
    assert {"user:anne.smith@x.com", "project_branch:user.anne_smith_x_com"} <= tags


def test_a_run_without_a_schedule_does_not_load_cron(run_flow: Any, project: Path) -> None:
    (project / "flow.py").write_text(PROJECT_FLOW)
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "flow.py", "run"], capture_output=True, text=True, check=True
    )
    loaded = re.findall(r"\| +(\S+)$", traced.stderr, re.MULTILINE)
    assert "metaflow_core.decorators.project" in loaded
    assert not {"cronsim", "zoneinfo", "metaflow_core.decorators.cron"} & set(loaded)
