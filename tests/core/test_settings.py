"""Settings: which place wins, and what is said about a wrong value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from metaflow_core import settings
from metaflow_core.errors import MetaflowException


def write(path: Path, **values: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({f"METAFLOW_{name}": value for name, value in values.items()}), encoding="utf-8")
    return path


@pytest.fixture
def home(project: Path) -> Path:
    return project.parent / "home" / ".metaflowconfig"


@pytest.fixture(autouse=True)
def in_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METAFLOW_USER")


def test_every_setting_has_a_valid_default_and_a_line_of_text(project: Path) -> None:
    for setting in settings.SETTINGS.values():
        assert settings.origin(setting.name) == ("environment" if setting.name == "HOME" else "default")
        assert setting.default is None or setting.parse(setting.default) == setting.default
        assert setting.doc.endswith(".")


def test_the_order_of_places(project: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[tuple[float, str]] = [(settings.get("HEARTBEAT_SECONDS"), settings.origin("HEARTBEAT_SECONDS"))]

    def look() -> None:
        places.append((settings.get("HEARTBEAT_SECONDS"), settings.origin("HEARTBEAT_SECONDS")))

    in_home = write(home / "config.json", HEARTBEAT_SECONDS=1)
    look()
    in_project = write(project / ".metaflow" / "config.json", HEARTBEAT_SECONDS=2)
    look()
    monkeypatch.setenv("METAFLOW_HEARTBEAT_SECONDS", "3")
    look()
    monkeypatch.setenv("METAFLOW_HEARTBEAT_SECONDS", "")
    look()
    assert places == [
        (10.0, "default"),
        (1.0, str(in_home)),
        (2.0, str(in_project)),
        (3.0, "environment"),
        (2.0, str(in_project)),
    ]


def test_the_project_file_is_searched_upward(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(project / ".metaflow" / "config.json", USER="anne")
    below = project / "a b" / "ü" / "c"
    (below / ".metaflow").mkdir(parents=True)  # a place for results, without settings
    monkeypatch.chdir(below)
    assert settings.get("USER") == "anne"
    assert settings.config_files() == [str(path)]


def test_profiles(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "config.json", USER="anne")
    write(home / "config_work.json", USER="will")
    assert settings.get("USER") == "anne"
    monkeypatch.setenv("METAFLOW_PROFILE", "work")
    assert settings.get("USER") == "will"
    monkeypatch.setenv("METAFLOW_PROFILE", "none")
    assert settings.get("USER") is None
    monkeypatch.setenv("METAFLOW_PROFILE", "../work")
    with pytest.raises(MetaflowException, match=r"METAFLOW_PROFILE .*'\.\./work'"):
        settings.get("USER")


def test_a_changed_file_counts_at_once(home: Path) -> None:
    path = write(home / "config.json", USER="anne")
    assert settings.get("USER") == "anne"
    write(path, USER="somebody")
    assert settings.get("USER") == "somebody"
    path.unlink()
    assert settings.get("USER") is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("RETRY_WAIT", "True", True),
        ("RETRY_WAIT", "0", False),
        ("RETRY_WAIT", "off", False),
        ("TASK_MEMORY_LIMIT", "2048", 2048),
        ("HEARTBEAT_SECONDS", "0.5", 0.5),
        ("LAUNCHER", "spawn", "spawn"),
        ("USER", "  ", "  "),
    ],
)
def test_text_from_the_environment_gets_its_type(
    name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"METAFLOW_{name}", text)
    found = settings.get(name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "value", "expects"),
    [
        ("RETRY_WAIT", "maybe", "true or false"),
        ("RETRY_WAIT", 2, "true or false"),
        ("RETRY_WAIT", [], "true or false"),
        ("TASK_MEMORY_LIMIT", "1.5", "a whole number, at least 1"),
        ("TASK_MEMORY_LIMIT", 1.5, "a whole number, at least 1"),
        ("TASK_MEMORY_LIMIT", True, "a whole number, at least 1"),
        ("TASK_MEMORY_LIMIT", 0, "a whole number, at least 1"),
        ("HEARTBEAT_SECONDS", "nan", "a number, at least 0.1"),
        ("HEARTBEAT_SECONDS", "inf", "a number, at least 0.1"),
        ("HEARTBEAT_SECONDS", "ten", "a number, at least 0.1"),
        ("LAUNCHER", "Fork", "one of fork, spawn"),
        ("USER", 7, "text"),
        ("USER", {"a": 1}, "text"),
        ("USER", "", "text"),
        ("DATASTORE_SYSROOT_LOCAL", "a\0b", "a path"),
    ],
)
def test_a_wrong_value_names_file_key_and_value(home: Path, name: str, value: object, expects: str) -> None:
    path = write(home / "config.json", **{name: value})
    with pytest.raises(MetaflowException) as caught:
        settings.get(name)
    assert str(caught.value) == f"METAFLOW_{name} in {path} must be {expects}, not {value!r}."


def test_a_wrong_value_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_LAUNCHER", "x" * 500)
    with pytest.raises(MetaflowException, match="METAFLOW_LAUNCHER in the environment must be one of fork, spawn"):
        settings.get("LAUNCHER")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON: Expecting value in line 1"),
        (b'{\n"METAFLOW_USER": anne}', "not valid JSON: Expecting value in line 2"),
        (b'["METAFLOW_USER"]', 'must hold a JSON object such as {"METAFLOW_USER": "anne"}, not list'),
        (b"\xff\xfe{}", "not UTF-8 text"),
        (b"[" * 200_000, "not valid JSON"),
    ],
)
def test_a_damaged_file_is_named(home: Path, content: bytes, message: str) -> None:
    home.mkdir()
    (home / "config.json").write_bytes(content)
    for _ in range(2):  # also when the first error was swallowed
        with pytest.raises(MetaflowException) as caught:
            settings.get("USER")
        assert str(home / "config.json") in str(caught.value)
        assert message in str(caught.value)


def test_a_byte_order_mark_is_no_damage(home: Path) -> None:
    home.mkdir()
    (home / "config.json").write_bytes(b'\xef\xbb\xbf{"METAFLOW_USER": "anne"}')
    assert settings.get("USER") == "anne"


def test_null_and_unknown_keys_are_passed_over(home: Path) -> None:
    write(home / "config.json", USER=None, OF_ANOTHER_VERSION=1)
    assert settings.get("USER") is None


def test_project_root(project: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.project_root() == str(project)
    below = project / "a b" / "ü"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert settings.project_root() == str(project)
    (below / ".metaflow").mkdir()
    assert settings.project_root() == str(below)
    monkeypatch.setenv("METAFLOW_DATASTORE_SYSROOT_LOCAL", "../other")
    assert settings.project_root() == str(project / "a b" / "other")
    monkeypatch.setenv("METAFLOW_DATASTORE_SYSROOT_LOCAL", "~/x")
    assert settings.project_root() == str(home.parent / "x")


def test_a_relative_path_in_a_file_starts_from_its_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / ".metaflow" / "config.json", DATASTORE_SYSROOT_LOCAL="results")
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    assert settings.project_root() == str(project / "results")


def test_without_any_metaflow_directory_the_working_directory_is_the_project(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    code = "from metaflow_core import settings; print(settings.project_root())"
    folder = tmp_path_factory.mktemp("empty")
    if any((above / ".metaflow").exists() for above in folder.parents):
        pytest.skip("a .metaflow above the temporary files")
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert result.stdout == f"{folder}\n"
    assert list(folder.iterdir()) == []


def test_a_deleted_working_directory(tmp_path: Path) -> None:
    code = """
import os, sys
os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])
from metaflow_core import settings
try: settings.project_root()
except settings.MetaflowException as error: print(error)
"""
    gone = tmp_path / "gone"
    gone.mkdir()
    result = subprocess.run([sys.executable, "-c", code, str(gone)], capture_output=True, text=True)
    assert result.stdout.startswith("The working directory can't be used: No such file or directory.")


def test_import_stays_light() -> None:
    code = "import sys; from metaflow_core import settings, identity; identity.user(); print(*sys.modules)"
    environment = {**os.environ, "METAFLOW_USER": "anne"}
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    ).stdout.split()
    assert {"metaflow_core.settings", "metaflow_core.identity"} <= set(loaded)
    assert not {"json", "inspect", "dataclasses", "subprocess", "tempfile", "importlib.metadata"} & set(loaded)
