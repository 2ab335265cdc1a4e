"""``metaflow status`` and ``metaflow configure``, run as a user runs them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from metaflow_core import __version__
from metaflow_core.cli.metaflow import main
from metaflow_core.metadata.backend import open_backend

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def metaflow(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``metaflow ARGS`` in this process, which is quicker than in one of its own."""

    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        monkeypatch.setattr("sys.argv", ["metaflow", *map(str, args)])
        with pytest.raises(SystemExit) as exit:
            main()
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(args, int(exit.value.code or 0), out, err)

    return run


@pytest.fixture
def home(project: Path) -> Path:
    return project.parent / "home" / ".metaflowconfig"


def test_version_and_help(metaflow: Command) -> None:
    assert metaflow("--version").stdout == f"metaflow-tandem {__version__}\n"
    for command in ("configure", "doctor", "status"):
        assert command in metaflow("--help").stdout
        assert metaflow(command, "--help").returncode == 0
    assert metaflow("no-such-command").returncode == 2


def test_a_command_loads_only_what_it_needs(project: Path) -> None:
    code = (
        "import sys\n"
        "from metaflow_core.cli.metaflow import main\n"
        "sys.argv = ['metaflow', 'configure', 'show', 'LAUNCHER']\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded[0] == "fork"
    assert not {"pyarrow", "numpy", "pandas", "fsspec", "rich", "sqlite3", "metaflow_core.cli.doctor"} & set(loaded)


# --- status


def test_status_of_a_new_project_makes_nothing(metaflow: Command, project: Path) -> None:
    result = metaflow("status")
    assert result.returncode == 0
    lines = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert lines["user"] == "tester"
    assert lines["namespace"] == "user:tester"
    assert lines["project"].startswith(f"{project} (the nearest directory with .metaflow")
    assert lines["metadata"] == f"sqlite:///{project}/.metaflow/metaflow.db (default)"
    assert lines["artifacts"] == f"{project}/.metaflow (default)"
    assert lines["results"] == "none yet"
    assert "\x1b" not in result.stdout
    assert list((project / ".metaflow").iterdir()) == []


def test_status_counts_and_says_what_decided(metaflow: Command, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_backend()
    for flow in ("A", "B"):
        backend.db.execute("INSERT INTO flows (name, created_at) VALUES (?, 0)", (flow,))
    backend.db.execute("INSERT INTO runs (flow_pk, id, owner, status, created_at) VALUES (1, '1', 'x', 'failed', 0)")
    backend.close()
    assert "2 flows with 1 run\n" in metaflow("status").stdout
    monkeypatch.setenv("METAFLOW_DATASTORE_SYSROOT_LOCAL", str(project / "new place"))
    monkeypatch.setenv("METAFLOW_PRODUCTION_TOKEN", "abc")
    text = metaflow("status").stdout
    assert f"{project}/new place (METAFLOW_DATASTORE_SYSROOT_LOCAL in the environment)" in text
    assert "production:abc" in text
    assert "none yet" in text


def test_status_goes_on_without_a_user(metaflow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER"):
        monkeypatch.delenv(variable, raising=False)
    result = metaflow("status")
    assert result.returncode == 0
    assert "export METAFLOW_USER" in result.stdout
    assert "none yet" in result.stdout


def test_status_shows_a_damaged_database_and_no_password(
    metaflow: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".metaflow" / "metaflow.db").write_bytes(b"no database at all" * 100)
    assert "file is not a database" in metaflow("status").stdout
    monkeypatch.setenv("METAFLOW_METADATA_URL", "nosuch://anne:geheim@host/db?password=geheim")
    result = metaflow("status")
    assert "nosuch://anne:***@host/db?password=***" in result.stdout
    assert "geheim" not in result.stdout + result.stderr


def test_an_error_has_no_traceback(metaflow: Command, project: Path) -> None:
    (project / ".metaflow" / "config.json").write_text("{")
    result = metaflow("status")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "config.json is not valid JSON" in result.stderr
    assert "Traceback" not in result.stderr


def test_colour_only_when_asked(metaflow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in metaflow("status").stdout
    monkeypatch.setenv("METAFLOW_COLOR", "always")
    assert "\x1b" in metaflow("status").stdout


# --- configure


def test_set_show_unset(metaflow: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METAFLOW_USER")
    path = home / "config.json"
    assert metaflow("configure", "set", "USER", "anne").stdout == f"METAFLOW_USER is set to anne in {path}\n"
    metaflow("configure", "set", "metaflow_retry_wait", "yes")
    metaflow("configure", "set", "TASK_MEMORY_LIMIT", "100")
    expected = {"METAFLOW_USER": "anne", "METAFLOW_RETRY_WAIT": True, "METAFLOW_TASK_MEMORY_LIMIT": 100}
    assert json.loads(path.read_text()) == expected
    assert metaflow("configure", "show", "USER").stdout == "anne\n"
    assert str(path) in metaflow("configure", "show").stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in home.iterdir()] == ["config.json"]
    metaflow("configure", "unset", "USER")
    assert "METAFLOW_USER" not in json.loads(path.read_text())
    assert "is not set in" in metaflow("configure", "unset", "USER").stdout


def test_profiles_and_projects(metaflow: Command, home: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metaflow("configure", "set", "USER", "at work", "--profile", "work")
    assert json.loads((home / "config_work.json").read_text()) == {"METAFLOW_USER": "at work"}
    (project / "sub" / ".metaflow").mkdir(parents=True)
    metaflow("configure", "set", "LAUNCHER", "spawn", "--project")
    monkeypatch.chdir(project / "sub")
    metaflow("configure", "set", "USER", "all", "--project")
    # not a second file that would hide the first
    expected = {"METAFLOW_LAUNCHER": "spawn", "METAFLOW_USER": "all"}
    assert json.loads((project / ".metaflow" / "config.json").read_text()) == expected
    assert metaflow("configure", "set", "USER", "x", "--project", "--profile", "work").returncode == 2
    assert metaflow("configure", "set", "USER", "x", "--profile", "../work").returncode == 1


def test_a_stronger_place_is_mentioned(metaflow: Command, project: Path) -> None:
    assert "METAFLOW_USER in the environment is stronger" in metaflow("configure", "set", "USER", "anne").stderr
    metaflow("configure", "set", "LAUNCHER", "spawn", "--project")
    result = metaflow("configure", "set", "LAUNCHER", "fork")
    assert f"{project}/.metaflow/config.json is stronger" in result.stderr


def test_a_path_means_what_it_means_where_it_is_typed(metaflow: Command, project: Path) -> None:
    metaflow("configure", "set", "DATASTORE_SYSROOT_LOCAL", "über uns")
    assert metaflow("configure", "show", "DATASTORE_SYSROOT_LOCAL").stdout == f"{project}/über uns\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["set", "LAUNCH", "fork"], "There is no setting 'LAUNCH'. Did you mean LAUNCHER?"),
        (["set", "NOTHING_LIKE_IT", "1"], "`metaflow configure show` lists them"),
        (["set", "LAUNCHER", "thread"], "METAFLOW_LAUNCHER must be one of fork, spawn, not 'thread'."),
        (["set", "TASK_MEMORY_LIMIT", "lots"], "must be a whole number, at least 1, not 'lots'."),
        (["set", "USER", ""], "METAFLOW_USER must be text, not ''."),
        (["set", "HOME", "/x"], "export METAFLOW_HOME="),
        (["show", "LAUNCH"], "Did you mean LAUNCHER?"),
        (["unset", "LAUNCH"], "Did you mean LAUNCHER?"),
    ],
)
def test_wrong_use(metaflow: Command, home: Path, args: list[str], message: str) -> None:
    result = metaflow("configure", *args)
    assert result.returncode == 2
    assert message in " ".join(result.stderr.split())
    assert not home.exists()


def test_a_damaged_file_is_not_overwritten(metaflow: Command, home: Path) -> None:
    home.mkdir()
    (home / "config.json").write_text('{"METAFLOW_USER": "anne",}')
    result = metaflow("configure", "set", "LAUNCHER", "spawn")
    assert result.returncode == 1
    assert "is not valid JSON" in result.stderr
    assert (home / "config.json").read_text() == '{"METAFLOW_USER": "anne",}'


def test_keys_of_other_versions_and_links_are_kept(metaflow: Command, home: Path, project: Path) -> None:
    kept = project / "dotfiles.json"
    kept.write_text('{"METAFLOW_OF_TOMORROW": 1}')
    kept.chmod(0o640)
    home.mkdir()
    (home / "config.json").symlink_to(kept)
    metaflow("configure", "set", "LAUNCHER", "spawn")
    assert (home / "config.json").is_symlink()
    assert json.loads(kept.read_text()) == {"METAFLOW_OF_TOMORROW": 1, "METAFLOW_LAUNCHER": "spawn"}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    metaflow("configure", "unset", "OF_TOMORROW")
    assert json.loads(kept.read_text()) == {"METAFLOW_LAUNCHER": "spawn"}


def test_export_and_import(metaflow: Command, home: Path, project: Path) -> None:
    metaflow("configure", "set", "USER", "Jörg")
    metaflow("configure", "set", "HEARTBEAT_SECONDS", "5")
    exported = metaflow("configure", "export").stdout
    (project / "settings.json").write_text(exported)
    result = metaflow("configure", "import", "settings.json", "--profile", "copy")
    assert result.stdout == f"2 settings imported into {home / 'config_copy.json'}\n"
    assert (home / "config_copy.json").read_text() == exported


def test_import_is_all_or_nothing(metaflow: Command, home: Path, project: Path) -> None:
    source = project / "settings.json"
    for content, code in [
        ('{"METAFLOW_USER": "anne", "METAFLOW_LAUNCHER": 7}', 2),
        ('["METAFLOW_USER"]', 1),
        ("{", 1),
    ]:
        source.write_text(content)
        assert metaflow("configure", "import", source).returncode == code
        assert not home.exists()
    assert metaflow("configure", "import", "no-such-file").returncode == 2
    source.write_text('{"METAFLOW_USER": "anne", "METAFLOW_SERVICE_URL": "x", "USER": "y", "METAFLOW_LAUNCHER": null}')
    result = metaflow("configure", "import", source)
    assert result.returncode == 0
    assert result.stderr == "Not known here and left out: METAFLOW_SERVICE_URL, USER\n"
    assert json.loads((home / "config.json").read_text()) == {"METAFLOW_USER": "anne"}


def test_a_home_that_is_no_directory(metaflow: Command, home: Path) -> None:
    home.write_text("a file")
    result = metaflow("configure", "set", "LAUNCHER", "spawn")
    assert result.returncode == 1
    assert "config.json can't be written" in result.stderr
    assert "Nothing was changed." in result.stderr
    assert os.listdir(home.parent) == [home.name]
