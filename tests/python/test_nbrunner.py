"""``NBRunner``: a flow that is defined in a notebook's cell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from metaflow import FlowSpec, NBDeployer, NBRunner, Run
from metaflow.exception import CommandException

FLOW = """
    %env NOTE=1
    from __future__ import annotations
    import helpers
    from metaflow import FlowSpec, NBRunner, Parameter, step
    try:
        import no_such_module
    except ImportError:
        no_such_module = None
    FACTOR = 2; print("in the cell")
    files = !ls
    def twice(x):
        !echo a magic in a function
        return x * FACTOR

    class NoteFlow(FlowSpec):
        alpha = Parameter("alpha", default=0.5)
        fail = Parameter("fail", default="")

        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            import os, pathlib
            if self.fail and pathlib.Path(self.fail).exists():
                raise ValueError("asked to fail")
            self.größe = twice(self.alpha)
            self.helped = helpers.HELP
            self.folder = os.getcwd()
            print("in the flow")

    runner = NBRunner(NoteFlow, metadata="local")
    run = runner.nbrun(alpha=21, tags=["a"])
    print(run, run.data.größe, run.data.helped, run.user_tags)
    """
CELLS = [
    "import os; number = 40",
    FLOW,
    "made = [f for f in os.listdir() if f.endswith('.py')]; print(sorted(made))",
    """
    text = list(run.source.values())[0]
    print('NBRunner(' in text, text.splitlines().index('class NoteFlow(FlowSpec):'))
    """,
    "runner.cleanup(); print([f for f in os.listdir() if 'NoteFlow' in f])",
    """
    runner = NBRunner(NoteFlow, show_output=False, env={'METAFLOW_USER': 'anne'})
    open('marker', 'w').close()
    failed = runner.nbrun(fail='marker')
    os.remove('marker')
    resumed = runner.nbresume()
    print(failed.status, resumed.status, resumed.origin_pathspec, 'user:anne' in resumed.system_tags)
    """,
    """
    running = await runner.async_run(alpha=3)
    await running.wait()
    print(running.status, running.run.data.größe)
    """,
    """
    os.makedirs('below/deeper')
    open('below/helpers.py', 'w').write('HELP = "below"')
    with NBRunner(NoteFlow, False, base_dir='below') as other:
        print(other.run().run.data.helped, os.listdir('below/deeper'))
    """,
    """
    class UsesFlow(FlowSpec):
        @step
        def start(self):
            self.x = number
            self.next(self.end)
        @step
        def end(self):
            pass
    """,
    """
    %%capture
    from metaflow import FlowSpec, step
    class TimedFlow(FlowSpec):
        @step
        def start(self):
            self.next(self.end)
        @step
        def end(self):
            self.done = True
    """,
    "print(NBRunner(TimedFlow, False).nbrun().data.done)",
    """
    def tell(flow, **options):
        try:
            NBRunner(flow, **options)
        except Exception as error:
            print(type(error).__name__, error)
    import json
    tell(UsesFlow); tell(type('Made', (FlowSpec,), {})); tell(5); tell(FlowSpec); tell(NoteFlow, base_dir='nowhere')
    import in_a_file; tell(in_a_file.FileFlow)
    """,
]


def outputs(cell: Any) -> str:
    for output in cell.outputs:
        assert output.output_type == "stream", output.get("evalue", output)
    return "".join(output.text for output in cell.outputs if output.name == "stdout")


@pytest.fixture
def notebook(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], list[str]]:
    """Run cells in a Jupyter kernel, and return what each has printed."""
    for module in ("ipykernel", "nbclient", "nbformat"):
        pytest.importorskip(module)
    import nbclient
    import nbformat

    kernel = project / "jupyter" / "kernels" / "python_of_the_test"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "P", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(project / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(project / "ipython"))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")

    def run(cells: list[str]) -> list[str]:
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(dedent(code).strip()) for code in cells])
        nbclient.NotebookClient(book, kernel_name="python_of_the_test", timeout=120).execute()
        return [outputs(cell) for cell in book.cells]

    return run


def test_a_flow_of_a_notebook(notebook: Callable[[list[str]], list[str]], project: Path) -> None:
    (project / "helpers.py").write_text("HELP = 'helped'")
    (project / "in_a_file.py").write_text("from metaflow import FlowSpec\nclass FileFlow(FlowSpec):\n    pass\n")
    printed = notebook(CELLS)
    _, flow, files, source, cleaned, resumed, awaited, below, _, _, timed, told = printed
    assert flow.startswith("env: NOTE=1\nin the cell\n")
    assert "in the flow" in flow
    assert flow.endswith("Run('NoteFlow/1') 42.0 helped frozenset({'a'})\n")
    assert flow.count("in the cell") == 1
    assert files == "['.NoteFlow.py', 'helpers.py', 'in_a_file.py']\n"
    # A traceback names the line of the cell.
    assert source == f"False {FLOW.strip().splitlines().index('    class NoteFlow(FlowSpec):')}\n"
    assert cleaned == "[]\n"
    assert resumed == "failed completed NoteFlow/2 True\n"
    assert awaited == "successful 6.0\n"
    assert below == "below []\n"
    assert timed == "True\n"
    assert told.splitlines() == [
        "CommandException The cell that defines UsesFlow uses FlowSpec, number, step, which other cells define. It "
        "runs in a process of its own, as a file: put its imports, and all it needs, into the same cell.",
        "CommandException No cell of this notebook defines the class Made at its top level. Run the cell with "
        "`class Made(...)` again.",
        "CommandException NBRunner takes a flow's class, such as NBRunner(TrainFlow), not 5.",
        "CommandException NBRunner takes a flow's class, such as NBRunner(TrainFlow), not <class "
        "'metaflow.flowspec.FlowSpec'>.",
        "CommandException There is no folder 'nowhere' to run the flow in.",
        f"CommandException FileFlow comes from the module in_a_file, not from a cell of this notebook. Use its "
        f"file: Runner('{project}/in_a_file.py').",
    ]
    assert not [file.name for file in project.rglob(".*Flow*.py")]  # the kernel has ended
    assert Run("NoteFlow/1").data.folder == str(project)


IN_A_FILE = """
from __future__ import annotations
import pathlib, time
from metaflow import FlowSpec, Parameter, step

class TrainFlow(FlowSpec):
    alpha = Parameter("alpha", default=1)

    @step
    def start(self):
        print("alpha is", self.alpha)
        while self.alpha == 7 and not pathlib.Path("go").exists():
            time.sleep(0.02)
        self.next(self.end)

    @step
    def end(self):
        self.half = 84 / self.alpha

if __name__ == "__main__":
    TrainFlow()
"""


def test_runners_of_files_beside_the_event_loop_of_a_notebook(
    notebook: Callable[[list[str]], list[str]], project: Path
) -> None:
    (project / "train.py").write_text(IN_A_FILE)
    printed = notebook(
        [
            """
            import asyncio, pathlib
            from metaflow import Runner
            made = Runner('train.py').run(alpha=2)
            print(asyncio.get_running_loop().is_running(), made.status, made.run.data.half)
            """,
            """
            with Runner('train.py', show_output=False) as runner:
                running = await runner.async_run(alpha=7, tags=['a', 'b c'])
                print(running.status, running.returncode, running.run)
                async for position, line in running.stream_log('stdout'):
                    if 'alpha is 7' in line:  # the step waits for this
                        pathlib.Path('go').touch()
                await running.wait()
                print(running.status, running.run.data.half, sorted(running.run.user_tags))
            """,
            """
            runners = [Runner('train.py', show_output=False) for _ in range(2)]
            both = await asyncio.gather(*(one.async_run(alpha=n) for n, one in enumerate(runners, 3)))
            await asyncio.gather(*(one.wait() for one in both))
            print(sorted(one.run.data.half for one in both))
            """,
            """
            failed = Runner('train.py', show_output=False).run(alpha=0)
            print(failed.status, failed.returncode, 'ZeroDivisionError' in failed.stdout)
            resumed = await Runner('train.py', show_output=False).async_resume()
            await resumed.wait()
            print(resumed.status, resumed.run.origin_pathspec == failed.run.pathspec)
            """,
        ]
    )
    assert "] alpha is 2" in printed[0] and printed[0].endswith("True successful 42.0\n")
    assert printed[1] == "running None Run('TrainFlow/2')\nsuccessful 12.0 ['a', 'b c']\n"
    assert printed[2] == "[21.0, 28.0]\n"
    assert printed[3] == "failed 1 True\nfailed True\n"


def test_outside_of_a_notebook(project: Path) -> None:
    class HereFlow(FlowSpec):
        pass

    with pytest.raises(CommandException, match=r"this is none. For a flow in a file there is Runner\(\"flow.py\"\)"):
        NBRunner(HereFlow)


DEPLOYED = """
    from metaflow import FlowSpec, NBDeployer, step
    class NoteFlow(FlowSpec):
        @step
        def start(self):
            self.next(self.end)
        @step
        def end(self):
            self.done = True

    deployer = NBDeployer(NoteFlow, show_output=False)
    deployed = deployer.toy().create(tags=["a"])
    deployer.cleanup()
    """
AFTERWARDS = """
    import os
    done = deployed.trigger()
    print(done.status, done.run.data.done, done.run.user_tags, [f for f in os.listdir() if 'NoteFlow' in f])
    """


def test_a_flow_of_a_notebook_is_deployed(toy: Path, notebook: Callable[[list[str]], list[str]]) -> None:
    assert notebook([DEPLOYED, AFTERWARDS]) == ["", "succeeded True frozenset({'a'}) []\n"]


def test_outside_of_a_notebook_nothing_is_deployed() -> None:
    with pytest.raises(CommandException, match=r'NBDeployer takes flows .* there is Deployer\("flow.py"\)'):
        NBDeployer(type("Made", (FlowSpec,), {}))
