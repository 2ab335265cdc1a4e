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


def test_the_search_finds(project: Path) -> None:
    assert found_in({"a": b"x" + PASSWORD.encode(), "b": b"nothing"}) == [f"{PASSWORD} in a"]
