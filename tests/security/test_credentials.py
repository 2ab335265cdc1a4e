"""Passwords and keys with which a run reaches its places are nowhere in what it leaves and says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from metaflow_plugins.s3_storage import S3Storage
from object_stores import SECRET

PASSWORD = "hush-of-anne"
SECRETS = (PASSWORD, SECRET, "wrong-hush", "wrong-key-of-anne")

FLOW = """
    import os, traceback
    from metaflow import FlowSpec, Parameter, step

    class SecretFlow(FlowSpec):
        how = Parameter("how", default="")

        @step
        def start(self):
            self.block = os.urandom(20_000)
            self.next(self.end)

        @step
        def end(self):
            if self.how == "raise":
                raise ValueError("as asked")
            if self.how == "client":
                from metaflow import Flow, metadata
                wrong = "wron" + "g-hush"
                for address in (os.environ["METAFLOW_METADATA_URL"].replace("hush-of", wrong + "-of"), f"postgresql://a:{wrong}@:x"):
                    try:
                        metadata(address)
                        print(Flow("SecretFlow").latest_run)
                    except Exception:
                        traceback.print_exc()
            if self.how == "exit":
                os._exit(3)

    if __name__ == "__main__":
        SecretFlow()
"""


@pytest.fixture
def anne(postgresql: Any, team_database: str) -> Iterator[str]:
    name, database = f"secretive_{os.getpid()}", team_database.rpartition("/")[2]
    postgresql.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    postgresql.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}", database)
    yield team_database.replace("owner@", f"{name}:{PASSWORD}@")
    postgresql.sql(f"DROP OWNED BY {name}", database)
    postgresql.sql(f"DROP ROLE {name}")


def found_in(texts: dict[str, bytes]) -> list[str]:
    return [f"{secret} in {place}" for place, text in texts.items() for secret in SECRETS if secret.encode() in text]


def everything(project: Path, store: str, database: str, postgresql: Any) -> dict[str, bytes]:
    """Every file of the project and of the home, every object, every row."""
    files = [path for path in project.parent.rglob("*") if path.is_file() and path.name != "config.json"]
    texts = {str(path): path.read_bytes() for path in files}
    storage = S3Storage(store)
    texts.update({f"object {key}": _unpacked(bytes(storage.read(key))) for key in storage.keys("")})
    name = database.rpartition("/")[2]
    for (table,) in postgresql.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name):
        rows = postgresql.sql(f"SELECT * FROM {table}", name)
        texts[f"table {table}"] = b"\n".join(
            bytes(value) if isinstance(value, (bytes, memoryview)) else str(value).encode()
            for row in rows
            for value in row
        )
    return texts


def _unpacked(content: bytes) -> bytes:
    import gzip

    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


@pytest.mark.slow
def test_secrets_are_nowhere(
    run_flow: Any, project: Path, s3: str, anne: str, postgresql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a file of the project too, which a code package could take.
    (project / ".metaflow" / "config.json").write_text(json.dumps({"METAFLOW_METADATA_URL": anne}))
    monkeypatch.setenv("METAFLOW_METADATA_URL", anne)
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    good = {"METAFLOW_DEFAULT_DATASTORE": s3}
    wrong = anne.replace(PASSWORD, "wrong-hush")
    attempts: list[tuple[int, tuple[str, ...], dict[str, str]]] = [
        (0, ("run", "--package-code"), good),
        (1, ("run", "--how", "raise"), good),
        (1, ("run", "--how", "exit"), good),
        (0, ("run", "--how", "client"), good),
        (0, ("resume", "end"), good),
        (1, ("--metadata", wrong, "run"), good),
        (1, ("run",), {"METAFLOW_METADATA_URL": wrong}),
        (1, ("run",), {"METAFLOW_METADATA_URL": re.sub(r":\d+/", ":1/", anne)}),
        (1, ("run",), {"AWS_SECRET_ACCESS_KEY": "wrong-key-of-anne"}),
        (1, ("run",), {"METAFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}),
        (1, ("run",), {"METAFLOW_DEFAULT_DATASTORE": "s3://No_Such_Bucket!/x"}),
    ]
    (project / "flow.py").write_text(dedent(FLOW))
    said: dict[str, bytes] = {}
    for code, arguments, environment in attempts:
        result = run_flow("flow.py", *arguments, env=environment, check=False)
        shown = result.stdout + result.stderr
        assert result.returncode == code, f"{arguments} {environment}\n{shown}"
        said[" ".join(arguments[-2:]) + str(sorted(environment))] = shown.encode()
    for command in (["status"], ["status", "--settings"], ["doctor"], ["runs"], ["configure", "list"]):
        shown = subprocess.run(
            [str(Path(sys.executable).with_name("metaflow")), *command], capture_output=True, text=True, check=False
        )
        said[" ".join(command)] = (shown.stdout + shown.stderr).encode()
    assert found_in(said) == []
    texts = everything(project, s3, anne, postgresql)
    assert any(place.startswith("object data/") for place in texts) and len(texts["table runs"]) > 0
    assert found_in(texts) == []


ADDRESS = "http://anne:hush-of-anne@127.0.0.1:9/x"
SET = {
    "METAFLOW_AIRFLOW_USER": "anne",
    **dict.fromkeys(("METAFLOW_AIRFLOW_PASSWORD", "METAFLOW_AIRFLOW_TOKEN"), PASSWORD),
    **dict.fromkeys(
        (
            "METAFLOW_AIRFLOW_REST_API",
            "METAFLOW_ARGO_EVENTS_WEBHOOK_URL",
            "METAFLOW_ARGO_WORKFLOWS_UI_URL",
            "METAFLOW_AWS_SECRETS_MANAGER_ENDPOINT_URL",
            "METAFLOW_S3_ENDPOINT_URL",
        ),
        ADDRESS,
    ),
    "METAFLOW_METADATA_URL": "postgresql://127.0.0.1:9/db?user=anne&password=hush-of-anne",
    "METAFLOW_DEFAULT_DATASTORE": "ftp://anne:hush-of-anne@127.0.0.1:9/x",
    "METAFLOW_AIRFLOW_DAGS_FOLDER": "ftp://anne:hush-of-anne@127.0.0.1:9/dags",
    "METAFLOW_BATCH_CONTAINER_IMAGE": "image",
    "METAFLOW_BATCH_JOB_QUEUE": "queue",
    "METAFLOW_KUBERNETES_CONTAINER_IMAGE": "image",
}


@pytest.mark.parametrize("orchestrator", ["airflow", "argo-workflows", "step-functions", "local"])
def test_no_setting_brings_a_secret_into_what_is_deployed(run_flow: Any, project: Path, orchestrator: str) -> None:
    shown = run_flow(FLOW, "--metadata", SET["METAFLOW_METADATA_URL"], orchestrator, "create", "--only-json", env=SET)
    assert "METAFLOW_DEFAULT_DATASTORE" in shown.stdout
    assert found_in({"document": (shown.stdout + shown.stderr).encode()}) == []
    assert "ftp://anne@127.0.0.1:9/x" in shown.stdout and "postgresql://127.0.0.1:9/db?user=anne" in shown.stdout


def test_no_command_shows_a_secret_of_the_settings(project: Path, tmp_path: Path) -> None:
    said: dict[str, bytes] = {}
    words: list[tuple[int, list[str]]] = [
        (0, ["status"]),
        (0, ["status", "--settings"]),
        (0, ["status", "--settings", "--json"]),
        (0, ["configure", "show"]),
        *((0, ["configure", "show", name.removeprefix("METAFLOW_")]) for name in SET),
        *((0, ["configure", "set", name, value]) for name, value in SET.items()),
        (2, ["configure", "set", "HEARTBEAT_SECONDS", ADDRESS]),
        (2, ["configure", "set", "HEARTBEAT_SECONDS", f"{'x' * 40} {ADDRESS}"]),
        (1, ["doctor"]),
        (1, ["deployments"]),
    ]
    for code, command in words:
        env = {**os.environ, **SET, "METAFLOW_HOME": str(tmp_path / "home")}
        shown = subprocess.run(
            [str(Path(sys.executable).with_name("metaflow")), *command],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert shown.returncode == code, (command, shown)
        said[" ".join(command[:3])] = (shown.stdout + shown.stderr).encode()
    assert found_in(said) == []


@pytest.mark.parametrize(
    "address", [ADDRESS, "http://anne:hush-of-anne/hush@127.0.0.1:9", "http://127.0.0.1:hush-of-anne"]
)
def test_an_address_that_can_not_be_used_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    from metaflow_core.errors import MetaflowException
    from metaflow_plugins import airflow_folder
    from metaflow_plugins.airflow_rest import Rest

    monkeypatch.setenv("METAFLOW_AIRFLOW_TOKEN", PASSWORD)
    with pytest.raises(MetaflowException, match="METAFLOW_AIRFLOW_REST_API") as caught:
        Rest(address).ask("GET", "/dags")
    with pytest.raises(MetaflowException) as unwritten:
        airflow_folder.write(address.replace("http", "ftp") + "/dags/x.py", b"x")
    said = f"{caught.value} {unwritten.value}"
    assert PASSWORD not in said or address.endswith(PASSWORD), said


def test_the_search_finds(project: Path) -> None:
    assert found_in({"a": b"x" + PASSWORD.encode(), "b": b"nothing"}) == [f"{PASSWORD} in a"]
