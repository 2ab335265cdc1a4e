"""`@secrets` from AWS Secrets Manager, as moto's server plays it: in Python and in R."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from metaflow import Run

FLOW = """
    import os
    from metaflow import FlowSpec, secrets, step

    class Cloud(FlowSpec):
        @secrets({arguments})
        @step
        def start(self):
            self.found = {{k: len(v) for k, v in os.environ.items() if k.startswith(("DB_", "PLAIN_", "BLOB"))}}
            print("password", os.environ.get("DB_PASSWORD"), "token", os.environ.get("PLAIN_TOKEN"))
            self.next(self.end)

        @step
        def end(self):
            print("later", os.environ.get("DB_PASSWORD"))

    if __name__ == "__main__":
        Cloud()
"""


class Vault:
    """Secrets of a test, on moto's server, under a prefix of their own."""

    def __init__(self, endpoint: str) -> None:
        import botocore.session

        self.client = botocore.session.get_session().create_client(
            "secretsmanager",
            endpoint_url=endpoint,
            region_name="eu-central-1",
            aws_access_key_id="tester",
            aws_secret_access_key="the-secret-key",
        )
        self.prefix = f"test-{uuid.uuid4().hex}"

    def put(self, name: str, value: object) -> tuple[str, str]:
        """Its name and its ARN."""
        kind = "SecretBinary" if isinstance(value, bytes) else "SecretString"
        text = value if isinstance(value, (bytes, str)) else json.dumps(value)
        made = self.client.create_secret(Name=f"{self.prefix}/{name}", **{kind: text})
        return made["Name"], made["ARN"]


@pytest.fixture
def vault(moto_server: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    environment = {
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "the-secret-key",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto_server.endpoint,
        "AWS_ENDPOINT_URL_STS": moto_server.endpoint,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Vault(moto_server.endpoint)


@pytest.fixture
def fetch(run_flow: Any) -> Callable[..., dict[str, int]]:
    """Runs the flow with these sources, and gives the lengths of the variables that the step has found."""

    def run(*sources: object, **options: Any) -> dict[str, int]:
        run_flow(FLOW.format(arguments=f"sources={list(sources)!r}"), "run", **options)
        found: dict[str, int] = Run("Cloud/1")["start"].task.data.found
        return found

    return run


def stored(project: Path) -> bytes:
    return b"".join(file.read_bytes() for file in (project / ".metaflow").rglob("*") if file.is_file())


def test_each_kind_of_secret(vault: Vault, run_flow: Any, project: Path) -> None:
    database, _ = vault.put("database", {"DB_PASSWORD": "correct-horse", "DB_PORT": 5432, "DB_TLS": True})
    plain, _ = vault.put("plain-token", "t0ken-of-anne")
    blob, _ = vault.put("blob", b"\x00\xff\x00\xff")
    _, arn = vault.put("raw", {"DB_PASSWORD": "not-used"})
    sources: list[Any] = [f"aws-secrets-manager.{name}" for name in (database, plain, blob)]
    sources.append({"type": "aws-secrets-manager", "id": arn, "options": {"json": False, "env_var_name": "DB_RAW"}})
    result = run_flow(FLOW.format(arguments=f"sources={sources!r}"), "run")
    task = Run("Cloud/1")["start"].task
    assert task.data.found == {"DB_PASSWORD": 13, "DB_PORT": 4, "DB_TLS": 4, "PLAIN_TOKEN": 13, "DB_RAW": 27, "BLOB": 8}
    assert task.stdout == "password *** token ***\n"
    assert Run("Cloud/1")["end"].task.stdout == "later None\n"
    for value in ("correct-horse", "t0ken-of-anne"):
        assert value not in result.stdout + result.stderr
        assert value.encode() not in stored(project)


def test_binary_secrets_are_base64(vault: Vault, fetch: Callable[..., dict[str, int]]) -> None:
    name, _ = vault.put("blob", b"\x00\xff\x00\xff")
    assert fetch({"type": "aws-secrets-manager", "id": name, "options": {"env_var_name": "BLOB_X"}}) == {"BLOB_X": 8}


def test_only_some_keys_and_an_older_version(vault: Vault, fetch: Callable[..., dict[str, int]]) -> None:
    name, _ = vault.put("database", {"DB_PASSWORD": "old", "DB_USER": "anne"})
    vault.client.put_secret_value(SecretId=name, SecretString='{"DB_PASSWORD": "newer"}')
    options = {"keys": ["DB_PASSWORD"], "version_stage": "AWSPREVIOUS"}
    assert fetch({"type": "aws-secrets-manager", "id": name, "options": options}) == {"DB_PASSWORD": 3}


def test_a_default_provider(vault: Vault, fetch: Callable[..., dict[str, int]]) -> None:
    """As in Metaflow's documents: the name of the secret alone."""
    name, _ = vault.put("database.v1", {"DB_PASSWORD": "correct-horse"})
    env = {"METAFLOW_DEFAULT_SECRETS_BACKEND_TYPE": "aws-secrets-manager", "DB_USER": "anne"}
    assert fetch(name, "env.DB_USER", env=env) == {"DB_PASSWORD": 13, "DB_USER": 4}


def test_a_role_is_assumed(vault: Vault, run_flow: Any) -> None:
    name, _ = vault.put("database", {"DB_PASSWORD": "correct-horse"})
    role = "arn:aws:iam::123456789012:role/reader"
    run_flow(FLOW.format(arguments=f"sources=['aws-secrets-manager.{name}'], role={role!r}"), "run")
    assert Run("Cloud/1")["start"].task.data.found == {"DB_PASSWORD": 13}
    # It is really asked for: an STS that nobody answers for.
    env = {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9", "METAFLOW_DEFAULT_SECRETS_ROLE": role}
    result = run_flow(FLOW.format(arguments=f"sources=['aws-secrets-manager.{name}']"), "run", env=env, check=False)
    assert "the service does not answer" in result.stdout and "127.0.0.1:9" in result.stdout


def test_the_endpoint_and_the_region_are_settings(
    vault: Vault, run_flow: Any, moto_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = vault.put("database", {"DB_PASSWORD": "correct-horse"})
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")
    flow = FLOW.format(arguments=f"sources=['aws-secrets-manager.{name}']")
    endpoint = {"METAFLOW_AWS_SECRETS_MANAGER_ENDPOINT_URL": moto_server.endpoint}
    result = run_flow(flow, "run", env=endpoint, check=False)
    assert "no region is set. Set METAFLOW_AWS_SECRETS_MANAGER_DEFAULT_REGION" in result.stdout
    run_flow(flow, "run", env={**endpoint, "METAFLOW_AWS_SECRETS_MANAGER_DEFAULT_REGION": "eu-central-1"})
    assert Run("Cloud/2")["start"].task.data.found == {"DB_PASSWORD": 13}


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (None, {}, "there is none of this name in the region"),
        ("hush-hush", {"json": True}, "is no JSON object, and @secrets asks for one"),
        ('{"DB_PASSWORD": "hush-hush"', {"json": True}, "is no JSON object"),
        ({"DB_PASSWORD": ["hush-hush"]}, {}, "the value of DB_PASSWORD is no text and no number"),
        ({"DB_PASSWORD": "hush-hush"}, {"keys": ["DB_USER"]}, "has no DB_USER, which @secrets asks for"),
        (b"hush-hush", {"json": True}, "is binary, and @secrets asks for JSON"),
        ({"DB=": "hush-hush"}, {}, "gives 'DB=', which can't name a variable"),
    ],
)
def test_secrets_that_can_not_be_used(
    vault: Vault, run_flow: Any, value: object, options: dict[str, Any], message: str
) -> None:
    name = f"{vault.prefix}/absent" if value is None else vault.put("odd", value)[0]
    source = {"type": "aws-secrets-manager", "id": name, "options": options}
    result = run_flow(FLOW.format(arguments=f"sources=[{source!r}]"), "run", check=False)
    assert result.returncode == 1
    assert message in result.stdout
    assert name in result.stdout
    assert "hush" not in result.stdout + result.stderr
    assert message in Run("Cloud/1")["start"].task.exception.exception


def test_a_variable_that_is_there_is_kept_unless_told_otherwise(vault: Vault, run_flow: Any) -> None:
    name, _ = vault.put("database", {"DB_PASSWORD": "correct-horse"})
    arguments = f"sources=['aws-secrets-manager.{name}']"
    env = {"DB_PASSWORD": "of-the-shell"}
    result = run_flow(FLOW.format(arguments=arguments), "run", env=env, check=False)
    assert "gives DB_PASSWORD, which the environment of the task has already" in result.stdout
    run_flow(FLOW.format(arguments=arguments + ", allow_override=True"), "run", env=env)
    assert Run("Cloud/2")["start"].task.data.found == {"DB_PASSWORD": 13}


@pytest.fixture
def refusing() -> Iterator[Callable[[str], str]]:
    """The address of a server that answers everything with an error of this code."""
    servers: list[HTTPServer] = []

    def start(code: str) -> str:
        class Refuse(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                body = json.dumps({"__type": code, "message": "said the server"}).encode()
                self.send_response(400)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Refuse)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "AccessDeniedException",
            "may not read it: secretsmanager:GetSecretValue has to be allowed. (said the server)",
        ),
        ("ExpiredTokenException", "the AWS credentials are expired or wrong"),
        ("DecryptionFailure", "DecryptionFailure: said the server"),
    ],
)
def test_what_the_service_refuses(run_flow: Any, refusing: Callable[[str], str], code: str, message: str) -> None:
    env = {
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "the-secret-key",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "METAFLOW_AWS_SECRETS_MANAGER_ENDPOINT_URL": refusing(code),
    }
    flow = FLOW.format(arguments="sources=['aws-secrets-manager.x']")
    result = run_flow(flow, "run", env=env, check=False)
    assert result.returncode == 1
    assert f"The secret x of AWS Secrets Manager can't be had: {'' if code[0] != 'A' else 'who runs the task '}" in (
        result.stdout
    )
    assert message in result.stdout
    assert "Traceback" not in result.stderr


def test_without_credentials(run_flow: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    env = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true"}
    result = run_flow(FLOW.format(arguments="sources=['aws-secrets-manager.x']"), "run", env=env, check=False)
    assert "there are no AWS credentials (Unable to locate credentials). Set AWS_PROFILE" in result.stdout


def test_without_the_sdk(run_flow: Any, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "botocore.py").write_text("raise ImportError('no SDK here')")
    env = {"PYTHONPATH": str(tmp_path / "site")}
    result = run_flow(FLOW.format(arguments="sources=['aws-secrets-manager.x']"), "run", env=env, check=False)
    assert 'pip install "metaflow-tandem[aws]"' in result.stdout


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"type": "aws-secrets-manager"}, 'needs an id, as in "aws-secrets-manager.my-secret"'),
        ({"type": "aws-secrets-manager", "id": "x", "options": {"regoin": "x"}}, "does not take the option 'regoin'"),
        ({"type": "aws-secrets-manager", "id": "x", "options": {"json": "yes"}}, "json of a source of the type aws-"),
        ({"type": "aws-secrets-manager", "id": "x", "options": {"keys": [1]}}, "must be a list of names"),
        ("aws-secret-manager.x", "Known: aws-secrets-manager, env, file, inline"),
    ],
)
def test_what_can_not_work_is_refused_before_the_run(run_flow: Any, source: object, message: str) -> None:
    result = run_flow(FLOW.format(arguments=f"sources=[{source!r}]"), "run", check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert message in " ".join(result.stderr.split())


R_FLOW = """
library(metaflow)
metaflow("Cloud") |>
  step(
    secrets(sources = list("aws-secrets-manager.{name}", list(
      type = "aws-secrets-manager", id = "{plain}", options = list(env_var_name = "PLAIN_TOKEN")
    ))),
    step = "start", next_step = "end", r_function = function(self) {{
      cat("password", Sys.getenv("DB_PASSWORD"), "token", Sys.getenv("PLAIN_TOKEN"), "\\n")
      self$size <- nchar(c(Sys.getenv("DB_PASSWORD"), Sys.getenv("PLAIN_TOKEN")))
    }}
  ) |>
  step(step = "end") |>
  run()
"""


def test_in_r(vault: Vault, run_r: Any) -> None:
    name, _ = vault.put("database", {"DB_PASSWORD": "correct-horse"})
    plain, _ = vault.put("plain", "t0ken")
    result = run_r(R_FLOW.format(name=name, plain=plain), "run")
    assert "password *** token ***" in result.stdout
    assert "correct-horse" not in result.stdout
    assert list(Run("Cloud/1").data.size) == [13, 5]
