"""Who runs a flow, and the tags that say so."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import metaflow_core
import pytest
from metaflow_core.errors import MetaflowException, MetaflowTaggingError, MetaflowUnknownUser
from metaflow_core.identity import identity, system_tags, user


@pytest.fixture(autouse=True)
def nobody(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER"):
        monkeypatch.delenv(variable, raising=False)


def test_the_order_of_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for variable in ("USER", "USERNAME", "SUDO_USER", "METAFLOW_USER"):
        monkeypatch.setenv(variable, f"from {variable}")
        found.append(user())
    assert found == ["from USER", "from USERNAME", "from SUDO_USER", "from METAFLOW_USER"]


def test_a_configuration_file_names_the_user_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody")
    (project / ".metaflow" / "config.json").write_text('{"METAFLOW_USER": "anne"}')
    assert user() == "anne"


def test_root_is_nobody_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "root")
    monkeypatch.setenv("SUDO_USER", "root")
    with pytest.raises(MetaflowUnknownUser, match="export METAFLOW_USER=<your name>"):
        user()
    monkeypatch.setenv("USERNAME", "anne")
    assert user() == "anne"
    monkeypatch.setenv("METAFLOW_USER", "root")
    assert user() == "root"


def test_nobody() -> None:
    with pytest.raises(MetaflowUnknownUser):
        identity()


@pytest.mark.parametrize("name", ["Jörg Müller", "DOMAIN\\anne", "anne@example.org", "安娜"])
def test_names_are_any_printable_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_USER", name)
    assert identity() == f"user:{name}"


@pytest.mark.parametrize("name", [" anne", "anne\n", "a\tb", "\x1b[31m", " ", "x" * 201, os.fsdecode(b"\xff")])
def test_other_names_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("USER", "METAFLOW_USER"):
        monkeypatch.setenv(variable, name)
        with pytest.raises(MetaflowException, match=f"^{variable} ") as caught:
            user()
        assert caught.value.message.isprintable()


def test_in_production_the_token_is_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for token in ("hello-0-abcd", "production:hello-0-abcd"):
        monkeypatch.setenv("METAFLOW_PRODUCTION_TOKEN", token)
        assert identity() == "production:hello-0-abcd"
    monkeypatch.setenv("METAFLOW_PRODUCTION_TOKEN", "x" * 600)
    with pytest.raises(MetaflowTaggingError):
        identity()


def test_system_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_USER", "anne")
    midnight = 1_592_611_200.0  # 2020-06-20 00:00 in UTC
    assert system_tags("airflow", now=midnight, r_version="4.2.2", project="fraud") == [
        "user:anne",
        "runtime:airflow",
        f"metaflow_version:{metaflow_core.__version__}",
        "python_version:" + ".".join(str(n) for n in sys.version_info[:3]),
        "r_version:4.2.2",
        "project:fraud",
        "date:2020-06-20",
    ]
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "UTC-10")  # where it is ten hours later
        time.tzset()
        assert "date:2020-06-19" in system_tags(now=midnight - 1)
    time.tzset()
    tags = system_tags()
    assert "runtime:dev" in tags
    assert re.fullmatch(r"date:\d{4}-\d\d-\d\d", tags[-1])
