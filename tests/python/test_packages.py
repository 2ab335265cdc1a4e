"""Code packages: which files they hold, that they are stored once, and how code is found again, compared, unpacked."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from metaflow import Run, Task, collect_garbage, namespace
from metaflow_core.engine import package as engine_package
from metaflow_core.engine.package import (
    Package,
    files_of_flow,
    package_of,
    undeployed,
    unpack,
    use_package,
)
from metaflow_core.errors import CommandException, MetaflowDataMissing, MetaflowException
from metaflow_core.graph.model import FlowDef
from metaflow_core.metadata import recording, unreachable
from metaflow_core.metadata.backend import open_backend
from metaflow_core.metadata.code_packages import StoredPackage, held_packages
from metaflow_core.store import project_files
from metaflow_core.store.interface import Storage
from metaflow_core.store.package_archive import extract, files_of
from metaflow_core.store.project_files import code_root

FLOW = """
from metaflow import FlowSpec, step


class TrainFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    TrainFlow()
"""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        put(folder / name, text)


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def names(script: Path) -> list[str]:
    """The files of the package of the flow in this file."""
    return list(files_of_flow(FlowDef("TrainFlow", file=str(script))).paths)


def stored(project: Path) -> list[str]:
    return sorted(path.name for path in (project / ".metaflow" / "data").rglob("*") if path.is_file())


@pytest.fixture
def metaflow(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command `metaflow code ...`."""

    def run(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        program = "from metaflow_core.cli.metaflow import main; main()"
        command = [sys.executable, "-c", program, "code", *args]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd or project, check=False)

    return run


# --- which files ------------------------------------------------------------------------------------------------------


def test_sources_of_both_languages_and_nothing_hidden_or_installed(project: Path, run_flow: Any) -> None:
    script = put(project / "flows" / "train.py", FLOW)
    taken = [
        "DESCRIPTION",
        "R/helpers.R",
        "flows/train.py",
        "lib/deep/er.r",
        "lib/with space é.py",
        "model.RDS",
        "pyproject.toml",
        "report.Rmd",
    ]
    left = [
        *(".env", ".hidden.py", ".git/hooks/x.py", "README.md", "data.csv", "secrets.json", "notebook.ipynb"),
        *("env/pyvenv.cfg", "env/lib/x.py", "mamba/conda-meta/history", "mamba/x.py", "lib/__pycache__/x.py"),
        *("node_modules/a/x.py", ".venv/x.py"),
    ]
    for name in (*taken, *left):
        if name != "flows/train.py":
            put(project / name, "secret")
    (project / "lib" / "two\nlines.py").touch()
    os.mkfifo(project / "lib" / "pipe.py")  # whoever opened it would wait for ever
    listed = run_flow(script, "package", "list")
    assert listed.stdout.splitlines() == sorted([*taken, '"lib/two\\nlines.py"'], key=lambda name: name.strip('"'))
    assert f"The project is {project}" in listed.stderr
    saved = project / "my code.tar.gz"
    run_flow(script, "package", "save", saved)
    with tarfile.open(saved) as tar:
        assert set(tar.getnames()) == {*taken, "lib/two\nlines.py"}


def test_more_endings(project: Path, run_flow: Any) -> None:
    script = put(project / "train.py", FLOW)
    write(project, **{"a.csv": "", "B.SQL": "", "c.txt": ""})

    def listed(*options: str, **variables: str) -> list[str]:
        return run_flow(script, *options, "package", "list", env=variables).stdout.split()

    assert listed() == ["train.py"]
    assert listed("--package-suffixes", ".csv, sql") == ["B.SQL", "a.csv", "train.py"]
    assert listed(METAFLOW_PACKAGE_SUFFIXES=".txt") == ["c.txt", "train.py"]
    put(project / ".metaflow" / "config.json", '{"METAFLOW_PACKAGE_SUFFIXES": ".csv"}')
    assert listed() == ["a.csv", "train.py"]
    wrong = run_flow(script, "--package-suffixes", "*.csv", "package", "list", check=False)
    assert wrong.returncode == 1 and "endings of files, such as .csv,.sql" in wrong.stderr


IGNORED = {
    ".gitignore": "# comment\n*.tmp.py\n/build/\n!keep.tmp.py\nlogs/\n!logs/kept.py\ndata/*\n!data/keep.py\n\\#x.py\n"
    "**/gen/\n",
    "src/.gitignore": "!*.tmp.py\n/local.py\nnested/**/b.py\n",
    "src/nested/.gitignore": "!b.py\n[ab]c.py\n",
    "bad/.gitignore": "!\n\\\nx.py  \n",
}
TREE = (
    *("a.py", "a.tmp.py", "keep.tmp.py", "build/x.py", "src/build/x.py", "logs/kept.py", "data/keep.py", "data/no.py"),
    *("#x.py", "src/a.tmp.py", "src/local.py", "src/deep/local.py", "src/nested/b.py", "src/nested/deep/b.py"),
    *("src/nested/ac.py", "src/nested/cc.py", "x/gen/y.py", "x/y/gen/z.py", "bad/x.py", "bad/y.py", "data/sub/keep.py"),
)


def test_gitignore_means_what_it_means_to_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, **IGNORED, **dict.fromkeys(TREE, ""))
    script = put(project / "flow.py", FLOW)
    git = shutil.which("git")
    monkeypatch.setenv("PATH", "/nowhere")  # it needs no git
    found = names(script)
    assert {"keep.tmp.py", "data/keep.py", "src/a.tmp.py", "src/build/x.py", "src/nested/b.py"} < set(found)
    assert not {"a.tmp.py", "build/x.py", "logs/kept.py", "data/no.py", "src/local.py", "bad/x.py"} & set(found)
    if git is not None:
        subprocess.run([git, "init", "-q"], cwd=project, check=True)
        answer = subprocess.run(
            [git, "ls-files", "-z", "--others", "--exclude-standard", "*.py"],
            cwd=project,
            check=True,
            capture_output=True,
            text=True,
        )
        assert sorted(found) == sorted(answer.stdout.split("\0")[:-1])


def test_the_flow_itself_is_always_there_and_rules_above_the_project_count(project: Path) -> None:
    (project / ".git").mkdir()
    write(project, **{".gitignore": "flow*\n*.gen.py\n", "sub/pyproject.toml": "", "sub/a.gen.py": "", "sub/b.py": ""})
    script = put(project / "sub" / "flow", FLOW)  # ignored, and of an ending that is not taken
    assert names(script) == ["b.py", "flow", "pyproject.toml"]
    hidden = put(project / "sub" / ".TrainFlow.py", FLOW)  # as NBRunner makes it
    assert names(hidden) == [".TrainFlow.py", "b.py", "pyproject.toml"]


def test_links_never_lead_out_of_the_project_nor_round_and_round(project: Path, run_flow: Any) -> None:
    inside, outside = project / "inside", project / "outside"
    script = put(inside / "flows" / "train.py", FLOW)
    write(inside, **{".metaflow-root": "", "lib/a.py": "A = 1"})
    write(outside, **{"secret.py": "", "folder/b.py": ""})
    (inside / "flows" / "lib").symlink_to("../lib")
    (inside / "flows" / "again.py").symlink_to("../lib/a.py")
    (inside / "lib" / "up").symlink_to("..")
    (inside / "self").symlink_to("self")
    (inside / "out.py").symlink_to(outside / "secret.py")
    (inside / "folder").symlink_to(outside / "folder")
    listed = run_flow(script, "package", "list")
    assert listed.stdout.split() == ["flows/again.py", "flows/lib/a.py", "flows/train.py", "lib/a.py"]
    left_out = [line.rpartition(": ")[2] for line in listed.stderr.splitlines() if "Not in the package" in line]
    assert sorted(left_out) == [str(inside / "folder"), str(inside / "out.py")]
    run = run_flow(script, "run", "--package-code")
    assert f"Not in the code package, because it is outside of the project: {inside / 'folder'}" in run.stderr
    with Package(FlowDef("TrainFlow", file=str(script))) as package:
        assert [file.name for file in files_of(package.archive.tar()) if file.data == b"A = 1"] == [
            "flows/again.py",
            "flows/lib/a.py",
            "lib/a.py",
        ]


@pytest.mark.parametrize("marker", [".metaflow-root", "pyproject.toml", "DESCRIPTION", "renv.lock", "my.Rproj", ".git"])
def test_the_project_is_the_nearest_directory_that_is_marked(project: Path, marker: str) -> None:
    script = put(project / "above" / "here" / "flows" / "train.py", FLOW)
    assert code_root(str(script)) == str(script.parent)
    put(project / "above" / ".metaflow-root")
    assert code_root(str(script)) == str(project / "above")
    put(project / "above" / "here" / marker)
    assert code_root(str(script)) == str(project / "above" / "here")


def test_a_home_directory_is_no_project_by_accident(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project))
    write(project, **{"pyproject.toml": "", "private.py": "", "train.py": FLOW, "sub/train.py": FLOW, "sub/lib.py": ""})
    write(
        project, **{".gitignore": "*\n", ".git/config": ""}
    )  # a home directory that is a repository, with a few files
    assert names(project / "sub" / "train.py") == ["lib.py", "train.py"]
    assert names(project / "train.py") == ["train.py"]  # and not all that is there
    (project / ".gitignore").unlink()
    put(project / ".metaflow-root")
    assert "private.py" in names(project / "train.py")


# --- limits and bad input ---------------------------------------------------------------------------------------------


def test_a_package_that_is_too_large_names_the_largest_files(project: Path, run_flow: Any) -> None:
    script = put(project / "train.py", FLOW)
    put(project / "big.csv", "x" * 2_500_000)
    put(project / "small.csv", "x" * 1_000)
    refused = run_flow(
        script,
        "--package-suffixes",
        "csv",
        "run",
        "--package-code",
        check=False,
        env={"METAFLOW_PACKAGE_MAX_SIZE": "2"},
    )
    assert refused.returncode == 1
    assert "big.csv (2.5 MB), small.csv (1.0 kB)" in refused.stderr
    assert "METAFLOW_PACKAGE_MAX_SIZE=3" in refused.stderr and "Traceback" not in refused.stderr
    assert "Workflow starting" not in refused.stdout
    assert run_flow(script, "run").returncode == 0  # the first run of the flow
    namespace(None)
    assert Run("TrainFlow/1").successful


def test_too_many_files(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = put(project / "train.py", FLOW)
    write(project, **{f"many/{number}.py": "" for number in range(20)})
    monkeypatch.setattr(project_files, "MAX_FILES", 10)
    with pytest.raises(MetaflowException, match=r"more than 10 files. Most are in many"):
        names(script)
    monkeypatch.setattr(project_files, "MAX_FOLDERS", 3)
    for number in range(5):
        put(project / f"dir{number}" / "x.txt")
    shutil.rmtree(project / "many")
    with pytest.raises(MetaflowException, match="more than 3 directories"):
        names(script)


def test_files_that_vanish_or_cannot_be_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = FlowDef("TrainFlow", file=str(put(project / "train.py", FLOW)))
    gone, closed = put(project / "gone.py"), put(project / "closed.py")
    found = files_of_flow

    def found_and_lost(flow: FlowDef) -> project_files.ProjectFiles:
        files = found(flow)
        gone.unlink()
        return files

    monkeypatch.setattr(engine_package, "files_of_flow", found_and_lost)
    with Package(flow) as package:
        assert [file.name for file in files_of(package.archive.tar())] == ["closed.py", "train.py"]
    monkeypatch.undo()
    real = open

    def refusing(path: Any, *args: Any, **kwargs: Any) -> Any:  # root may read everything
        if path == str(closed):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refusing)
    with pytest.raises(MetaflowException, match=r"closed.py can't be read: Permission denied"):
        Package(flow)


def test_names_that_are_no_text(project: Path) -> None:
    script = put(project / "train.py", FLOW)
    path = os.fsencode(project) + b"/caf\xe9.py"
    with open(path, "wb") as file:
        file.write(b"A = 1")
    with Package(FlowDef("TrainFlow", file=str(script))) as package:
        target = project / "there"
        extract(package.archive.tar(), str(target))
    assert sorted(os.listdir(os.fsencode(target))) == [b"caf\xe9.py", b"train.py"]


def test_a_flow_in_no_file_has_no_package(project: Path) -> None:
    for file in (None, "<ipython-input-1>"):
        with pytest.raises(CommandException, match="defined in a session and not in a file"):
            Package(FlowDef("TrainFlow", file=file))


def test_a_secret_in_the_code_is_never_packaged(project: Path, run_flow: Any) -> None:
    source = '[{"type": "inline", "id": "db", "options": {"values": {"PASSWORD": "correct horse"}}}]'
    decorated = FLOW.replace("step\n\n\nclass", "secrets, step\n\n\nclass").replace(
        "@step\n    def start", f"@secrets(sources={source})\n    @step\n    def start"
    )
    script = put(project / "train.py", decorated)
    for arguments in (["run", "--package-code"], ["package", "save", "x.tar.gz"]):
        refused = run_flow(script, *arguments, check=False)
        assert refused.returncode == 1 and "train.py has the value of a secret in it" in refused.stderr
        assert "correct horse" not in refused.stderr + refused.stdout
    assert stored(project) == [] and not (project / "x.tar.gz").exists()
    run_flow(script, "run")
    namespace(None)
    code = Run("TrainFlow/1").code
    assert code is not None and code.flowspec is not None
    assert "correct horse" not in code.flowspec and "***" in code.flowspec


def test_a_store_that_cannot_be_written(project: Path, run_flow: Any) -> None:
    script = put(project / "train.py", FLOW)
    put(project / "file")
    refused = run_flow(script, "--datastore", project / "file" / "store", "run", "--package-code", check=False)
    assert refused.returncode == 1 and "Artifact store" in refused.stderr and "Traceback" not in refused.stderr
    assert "Workflow starting" not in refused.stdout


# --- stored once ------------------------------------------------------------------------------------------------------


def test_equal_projects_have_equal_packages(project: Path, run_flow: Any) -> None:
    def made(folder: Path, order: list[str]) -> dict[str, Any]:
        for name in order:
            put(folder / name, FLOW if name == "train.py" else name)
            os.utime(folder / name, (0, len(folder.name)))
        return dict(json.loads(run_flow(folder / "train.py", "package", "info", "--json").stdout))

    files = ["train.py", "b.R", "sub/c.py"]
    one, other = made(project / "one", files), made(project / "another", files[::-1])
    assert one["key"] == other["key"] and one["files"] == 3 and one["script"] == "train.py"
    assert (one["root"], other["root"]) == (str(project / "one"), str(project / "another"))
    put(project / "one" / "b.R", "changed")
    changed = made(project / "one", ["sub/c.py"])
    assert changed["key"] != one["key"]


def test_the_project_as_it_was_when_the_run_started(project: Path, run_flow: Any) -> None:
    script = put(project / "flows" / "train.py", FLOW)
    write(project, **{"pyproject.toml": "", "lib.py": "VERSION = 1", "tool.sh": ""})
    (project / "lib.py").chmod(0o755)
    running = [
        subprocess.Popen([sys.executable, str(script), "run", "--package-code"], stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [one.wait(120) for one in running] == [0, 0]
    run_flow(script, "run", env={"METAFLOW_RUN_PACKAGE_CODE": "true"})
    assert len(stored(project)) == 1  # all three have the same code
    put(project / "lib.py", "VERSION = 2")
    run_flow(script, "run")
    assert len(stored(project)) == 1  # a run on this machine makes none
    namespace(None)
    code = Run("TrainFlow/1").code
    assert code is not None and code.complete and pickle.loads(pickle.dumps(code)) == code
    assert code.files == ["flows/train.py", "lib.py", "pyproject.toml"]
    assert code.script_name == "flows/train.py" and code.flowspec == FLOW
    assert code.path == f"data/{stored(project)[0][:2]}/{stored(project)[0]}"
    assert code.info["working_directory"] == "." and code.info["files"] == 3
    assert code.contents()["lib.py"] == b"VERSION = 1"
    with code.tarball as tar:
        assert {member.name: member.mode for member in tar}["lib.py"] == 0o755
    with code.extract() as folder:
        assert Path(folder, "lib.py").read_text() == "VERSION = 1"
    assert not os.path.exists(folder)
    assert Task("TrainFlow/1/start/1").code == code
    # What tasks and artifacts are listed by knows nothing of it.
    assert list(Task("TrainFlow/1/start/1").data) == ["name"]
    plain = Run("TrainFlow/4").code
    assert plain is not None and not plain.complete and plain.path is None
    assert plain.info == {"complete": False, "script": "train.py", "files": 1}
    assert plain.files == ["train.py"] and plain.flowspec == FLOW
    assert repr(plain) == "<code of TrainFlow/4: train.py, files: 1, recorded files only>"


def test_a_run_without_a_package_imports_nothing_for_it(project: Path) -> None:
    script = put(project / "train.py", FLOW)
    result = subprocess.run(
        [sys.executable, "-X", "importtime", str(script), "run"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "metaflow_core.engine.run" in imported
    assert (
        not {"pathspec", "tarfile", "tempfile", "metaflow_core.engine.package", "metaflow_core.results.code"} & imported
    )


def test_a_task_that_was_taken_over_has_the_code_of_the_run_in_which_it_ran(project: Path, run_flow: Any) -> None:
    failing = FLOW.replace("        pass", "        raise ValueError")
    script = put(project / "train.py", failing)
    assert run_flow(script, "run", check=False).returncode == 1
    put(script, FLOW)
    run_flow(script, "resume", "--package-code")
    namespace(None)
    codes = [Task(f"TrainFlow/2/{step}").code for step in ("start/1", "end/2")]
    assert [code.flowspec for code in codes if code] == [failing, FLOW]
    assert codes[1] == Run("TrainFlow/2").code


def test_what_runs_tasks_elsewhere_asks_for_a_package_and_unpacks_it_once(project: Path, run_flow: Any) -> None:
    script = put(project / "train.py", FLOW)
    run_flow(script, "run")
    flow, backend = FlowDef("TrainFlow", file=str(script)), open_backend()
    row = recording.find_run(backend.db, "TrainFlow", "1")
    package = package_of(flow, backend, row)
    put(project / "later.py")
    assert package_of(flow, backend, row) == package  # it is recorded
    assert (package.script, package.working_directory) == ("train.py", ".")
    worker = project / "worker"
    folders: list[str] = []
    threads = [
        threading.Thread(target=lambda: folders.append(unpack(backend.storage, package.key, str(worker))))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [str(worker / package.key)] * 6
    assert [path.name for path in worker.iterdir()] == [package.key]  # nothing is left of the others
    assert (worker / package.key / "train.py").read_text() == FLOW
    stamp = (worker / package.key).stat().st_mtime_ns
    unpack(backend.storage, package.key, str(worker))
    assert (worker / package.key).stat().st_mtime_ns == stamp
    path = project / ".metaflow" / "data" / package.key[:2] / package.key
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MetaflowDataMissing, match="is damaged"):
        unpack(backend.storage, package.key, str(project / "other"))
    assert not list((project / "other").iterdir()) if (project / "other").exists() else True
    path.unlink()
    with pytest.raises(MetaflowDataMissing, match="deleted"):
        unpack(backend.storage, package.key, str(project / "other"))
    backend.close()


def test_garbage_collection_keeps_a_package_as_long_as_a_run_has_it(project: Path, run_flow: Any) -> None:
    script = put(project / "train.py", FLOW)
    run_flow(script, "run", "--package-code")
    run_flow(script, "run")
    run_flow(script, "run")
    (key,) = stored(project)
    old = 1_000_000_000
    os.utime(project / ".metaflow" / "data" / key[:2] / key, (old, old))
    namespace(None)
    collect_garbage()
    code = Run("TrainFlow/1").code
    assert code is not None and code.complete and code.files == ["train.py"]
    collect_garbage("0h")
    assert Run("TrainFlow/3").successful
    backend = open_backend()
    assert not backend.db.execute("SELECT 1 FROM contents WHERE key = ?", (key,))
    backend.close()


def test_a_deployment_keeps_its_package_without_a_run(
    project: Path, run_flow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = put(project / "train.py", FLOW)
    flow, backend = FlowDef("TrainFlow", file=str(script)), open_backend()

    def grow_old() -> None:
        for key in stored(project):
            path = project / ".metaflow" / "data" / key[:2] / key
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 100 * 3600))
        collect_garbage()

    backend.db.execute("UPDATE schema_migrations SET applied_at = 0")  # else the files are older than the database

    def hold(deployment: str) -> StoredPackage:
        with Package(flow) as package:
            package.hold(backend, deployment)
            return package.stored

    first = hold("TrainFlow/production")
    other = hold(".odd name/é")
    assert first == other
    grow_old()
    assert stored(project) == [first.key]
    seen: list[set[str]] = []

    def not_yet(storage: Storage) -> set[str]:  # when the file is looked for first, nobody holds it
        seen.append(held_packages(storage))
        return set() if len(seen) == 1 else seen[-1]

    with monkeypatch.context() as patched:
        patched.setattr(unreachable, "held_packages", not_yet)
        grow_old()
    assert len(seen) > 1 and stored(project) == [first.key]
    put(project / "lib.py")
    second = hold("TrainFlow/production")
    undeployed(backend, ".odd name/é")
    undeployed(backend, "TrainFlow/production", but=[second.key])
    grow_old()
    assert stored(project) == [second.key]
    (project / "lib.py").unlink()
    run_flow(script, "run")
    row = recording.find_run(backend.db, "TrainFlow", "1")
    use_package(backend, row, second)
    use_package(backend, row, first)  # it has one
    undeployed(backend, "TrainFlow/production")
    grow_old()
    namespace(None)
    code = Run("TrainFlow/1").code
    assert code is not None and code.files == ["lib.py", "train.py"] and code.complete
    backend.close()


# --- getting it back --------------------------------------------------------------------------------------------------


def _tar(*members: tuple[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "/etc"
            tar.addfile(member)
    return data.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("../out.py", tarfile.REGTYPE)],
        [("/tmp/out.py", tarfile.REGTYPE)],
        [("a/../../out.py", tarfile.REGTYPE)],
        [("link", tarfile.SYMTYPE), ("link/out.py", tarfile.REGTYPE)],
        [("hard", tarfile.LNKTYPE)],
        [("device", tarfile.CHRTYPE)],
    ],
)
def test_a_package_that_reaches_out_of_its_directory_is_refused(
    project: Path, members: list[tuple[str, bytes]]
) -> None:
    with pytest.raises(MetaflowException, match="is refused"):
        extract(_tar(*members), str(project / "there"))
    assert not (project / "there").exists() and not (project / "out.py").exists()


def test_extracting_overwrites_nothing_and_follows_no_links(project: Path, run_flow: Any) -> None:
    script = put(project / "src" / "train.py", FLOW)
    put(project / "src" / "sub" / "lib.py", "1")
    run_flow(script, "run", "--package-code")
    namespace(None)
    code = Run("TrainFlow/1").code
    assert code is not None
    there, outside = project / "there", project / "outside"
    outside.mkdir()
    assert code.extract(there) == str(there)
    assert code.extract(there) == str(there)  # the same content
    put(there / "sub" / "lib.py", "mine")
    (there / "train.py").unlink()
    with pytest.raises(MetaflowException, match=r"other versions of 1 of these files: sub/lib.py. Nothing was written"):
        code.extract(there)
    assert not (there / "train.py").exists()
    code.extract(there, overwrite=True)
    assert (there / "sub" / "lib.py").read_text() == "1" and (there / "train.py").exists()
    shutil.rmtree(there / "sub")
    (there / "sub").symlink_to(outside)
    with pytest.raises(MetaflowException, match="a link there leads to"):
        code.extract(there, overwrite=True)
    assert not list(outside.iterdir())
    (there / "sub").unlink()
    target = put(outside / "target.py", "untouched")
    (there / "train.py").unlink()
    (there / "train.py").symlink_to(target)
    code.extract(there, overwrite=True)
    assert target.read_text() == "untouched" and not (there / "train.py").is_symlink()
    with pytest.raises(MetaflowException, match="no directory"):
        code.extract(target)


def test_recorded_files_keep_their_places(project: Path) -> None:
    from metaflow_core.results.code import _placed

    placed = _placed({"train.R": "a", "../lib/x.py": "b", "big.R": None, "end()": "c"})
    assert placed.files == {"flow/train.R": "a", "lib/x.py": "b", "flow/steps/end.R": "c"}
    assert placed.script == "flow/train.R"
    assert _placed({"start()": "f"}).script is None


def test_code_on_the_command_line(project: Path, run_flow: Any, metaflow: Any) -> None:
    script = put(project / "work" / "flows" / "train.py", FLOW)
    root = project / "work"
    write(
        root,
        **{"pyproject.toml": "", "lib/a.py": "one\ntwo", "lib/b.py": "b\n", "lib/with space.py": "x\n", "e.py": ""},
    )
    (root / "model.rds").write_bytes(b"\0\1")
    run_flow(script, "run", "--package-code")
    before = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    same = metaflow("diff", "TrainFlow/1", cwd=root / "lib")
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "")
    put(root / "lib" / "a.py", "one\n2\nthree\n")
    put(root / "lib" / "with space.py", "y\n")
    put(root / "lib" / "new\tone.py", "x")
    put(root / "notes.txt", "no code")
    (root / "lib" / "b.py").unlink()
    (root / "e.py").unlink()
    changed = metaflow("diff", "TrainFlow/1", cwd=root)
    assert changed.returncode == 0
    assert (
        "--- a/lib/a.py\n+++ b/lib/a.py\n@@ -1,2 +1,3 @@\n one\n-two\n\\ No newline at end of file\n+2\n"
        in changed.stdout
    )
    assert '--- /dev/null\n+++ "b/lib/new\\tone.py"\n' in changed.stdout and "notes.txt" not in changed.stdout
    assert metaflow("diff", "TrainFlow/1", "--exit-code", cwd=root).returncode == 1
    patch = metaflow("patch", "TrainFlow/1", cwd=root).stdout
    (root / "model.rds").write_bytes(b"\0\2")
    assert "Binary files a/model.rds and b/model.rds differ" in metaflow("diff", "TrainFlow/1", cwd=root).stdout
    (root / "model.rds").write_bytes(b"\0\1")
    (root / "notes.txt").unlink()
    programs = [program for program in (["git", "apply", "-"], ["patch", "-p1"]) if shutil.which(program[0])]
    for number, program in enumerate(programs):
        copy = shutil.copytree(root, project / f"copy{number}")
        subprocess.run(program, input=patch, text=True, cwd=copy, check=True)
        assert {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    (root / "lib" / "new\tone.py").unlink()
    assert metaflow("pull", "TrainFlow/1", "--dir", "work", "--overwrite").returncode == 0
    assert {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    run_flow(put(script, FLOW.replace("pass", "print(1)")), "run", "--package-code")
    runs = metaflow("diff-runs", "TrainFlow/1", "TrainFlow/2")
    assert "-        pass\n+        print(1)\n" in runs.stdout
    namespace(None)
    put(root / "lib" / "a.py", "three")
    (root / "model.rds").write_bytes(b"\0\3")
    run_flow(script, "run", "--package-code")
    assert list(Run("TrainFlow/1").diff(Run("TrainFlow/2")).code) == ["flows/train.py"]
    assert sorted(Run("TrainFlow/2").diff("3").code) == ["lib/a.py", "model.rds"]
    put(root / "lib" / "a.py", "one\ntwo")
    (root / "model.rds").write_bytes(b"\0\1")

    pulled = metaflow("pull", "TrainFlow/1")
    assert pulled.stdout == "7 files in TrainFlow_1_code\n"
    assert (project / "TrainFlow_1_code" / "flows" / "train.py").read_text() == FLOW
    put(project / "TrainFlow_1_code" / "e.py", "mine")
    refused = metaflow("pull", "TrainFlow/1/start/1", "--dir", "TrainFlow_1_code")
    assert refused.returncode == 1 and "other versions of 1 of these files: e.py" in refused.stderr
    assert metaflow("pull", "TrainFlow/1", "--dir", "TrainFlow_1_code", "--overwrite").returncode == 0
    nowhere = metaflow("diff", "TrainFlow/1")
    assert nowhere.returncode == 1 and "There is no flows/train.py here or above" in nowhere.stderr
    assert metaflow("diff", "TrainFlow/2", "--dir", "work").stdout == ""
    for wrong, message in (("TrainFlow/9", "no run"), ("TrainFlow", "Name what is meant as"), ("No/1", "no flow")):
        failed = metaflow("pull", wrong)
        assert failed.returncode == 1 and message in failed.stderr and "Traceback" not in failed.stderr
