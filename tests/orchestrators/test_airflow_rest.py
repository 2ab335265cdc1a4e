"""Talking to Airflow's REST API, as a server that answers what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from metaflow_core.deployment.interface import Deployment
from metaflow_core.deployment.plan import DeploymentPlan, PlanNode
from metaflow_core.errors import CommandException, MetaflowException, MetaflowNotFound
from metaflow_plugins.airflow_document import mark, run_id
from metaflow_plugins.airflow_orchestrator import Airflow

PASSWORD = "geheim"
Answer = tuple[int, Any]


class Server:
    """Answers as ``answers`` says, by method and path; ``asked`` is what was asked for."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Callable[[], Answer]] = {
            "POST /auth/token": (201, {"access_token": "a-token"}),
            "GET /api/v2/dags": (200, {"dags": []}),
            "GET /api/v2/importErrors": (200, {"import_errors": []}),
        }
        self.asked: list[tuple[str, Any]] = []
        self.url = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, project: Path) -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            key = f"{self.command} {self.path.partition('?')[0]}"
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told.asked.append((key, json.loads(body) if body else None))
            assert key.endswith("/auth/token") or self.headers["Authorization"] == "Bearer a-token"
            found = told.answers.get(key, (404, {"detail": "Not found"}))
            status, answer = found() if callable(found) else found
            self.send_response(status)
            if status == 307:
                self.send_header("Location", answer)
            self.end_headers()
            self.wfile.write(answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    told.url = f"http://127.0.0.1:{http.server_port}"
    monkeypatch.setenv("METAFLOW_AIRFLOW_REST_API", told.url + "/")
    monkeypatch.setenv("METAFLOW_AIRFLOW_USER", "anne")
    monkeypatch.setenv("METAFLOW_AIRFLOW_PASSWORD", PASSWORD)
    yield told
    http.shutdown()
    http.server_close()


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "dags"
    folder.mkdir()
    monkeypatch.setenv("METAFLOW_AIRFLOW_DAGS_FOLDER", str(folder))
    return folder


PLAN = DeploymentPlan("F", "F", "airflow", {"start": PlanNode("start", "end", (), is_start=True)}, id=5, owner="anne")
OPTIONS = {"file": None, "wait": 20.0}


def deployment(dags: Path, **plan: Any) -> Deployment:
    info = {"file": str(dags / "F.py")}
    return Deployment(5, "F", "F", "airflow", "anne", 0, "F", info, {"workflow_timeout": None, **plan})


def dag_run(name: str, state: str, note: str | None = None, seconds: int = 10) -> dict[str, Any]:
    return {
        "dag_run_id": name,
        "state": state,
        "note": note,
        "start_date": "2026-01-01T00:00:00Z",
        "end_date": None if state == "running" else f"2026-01-01T00:00:{seconds:02}.5Z",
    }


def test_a_deployment(server: Server, dags: Path) -> None:
    """It is over when Airflow knows this very version, and not one before it."""
    versions = iter(["version 4.", "version 4.", mark(PLAN)])
    server.answers["GET /api/v2/dags/F/details"] = lambda: (200, {"doc_md": next(versions)})
    server.answers["PATCH /api/v2/dags/F"] = (200, {})
    airflow = Airflow()
    airflow.prepare(PLAN, OPTIONS)
    done = airflow.deploy(PLAN, "the file", OPTIONS)
    assert done.handle == "F" and (dags / "F.py").read_text() == "the file"
    assert server.asked[-1] == ("PATCH /api/v2/dags/F", {"is_paused": False})


@pytest.mark.parametrize("before", [None, "what was there"])
def test_what_airflow_can_not_read_is_taken_back(server: Server, dags: Path, before: str | None) -> None:
    old = {"import_error_id": 1, "filename": "F.py", "timestamp": "then", "stack_trace": "an old one"}
    new = {"import_error_id": 2, "filename": "F.py", "timestamp": "now", "stack_trace": "ImportError: no Airflow here"}
    if before:
        (dags / "F.py").write_text(before)

    def errors() -> Answer:
        read = (dags / "F.py").exists() and (dags / "F.py").read_text() == "the file"
        return 200, {"import_errors": [old, new] if read else [old]}

    server.answers["GET /api/v2/importErrors"] = errors
    with pytest.raises(MetaflowException, match="can't read the DAG file:\nImportError: no Airflow here"):
        Airflow().deploy(PLAN, "the file", OPTIONS)
    assert ((dags / "F.py").read_text() if (dags / "F.py").exists() else None) == before
    assert [path.name for path in dags.iterdir()] == (["F.py"] if before else [])


def test_files_in_a_store(server: Server, dags: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("METAFLOW_AIRFLOW_DAGS_FOLDER", "memory://airflow/dags/")
    server.answers["GET /api/v2/dags/F/details"] = (200, {"doc_md": mark(PLAN)})
    server.answers["PATCH /api/v2/dags/F"] = (200, {})
    done = Airflow().deploy(PLAN, "the file", OPTIONS)
    assert fsspec.filesystem("memory").cat_file("/airflow/dags/F.py") == b"the file"
    Airflow().delete(deployment(dags)._replace(info=done.info), {})
    assert not fsspec.filesystem("memory").exists("/airflow/dags/F.py")


def test_runs(server: Server, dags: Path) -> None:
    """Pages are read until the run is found; notes and times tell why a run has failed."""
    runs = [dag_run(f"m{number}", "success") for number in range(100)]
    runs += [dag_run("t", "failed", "Terminated with Metaflow by anne"), dag_run("l", "failed", seconds=30)]
    runs += [dag_run("f", "failed"), dag_run("r", "running")]
    pages = [{"dag_runs": runs[:100]}, {"dag_runs": runs[100:]}]
    asked = iter(pages * 20)
    server.answers["GET /api/v2/dags/F/dagRuns"] = lambda: (200, next(asked))
    airflow, here = Airflow(), deployment(dags, workflow_timeout=20.0)
    for name, status in {"t": "terminated", "l": "timed-out", "f": "failed", "r": "running"}.items():
        found = airflow.status(here, run_id("F", name), {})
        assert (found.status, found.handle) == (status, name)
    assert [one.handle for one in airflow.list_runs(here, ["failed", "timed-out"], {})] == ["l", "f"]
    assert airflow.list_runs(here, ["failed"], {})[0].started_at == 1767225600.0
    with pytest.raises(MetaflowNotFound, match="no run airflow-nonesuch"):
        airflow.status(here, "airflow-nonesuch", {})


def test_a_run_is_started_and_ended(server: Server, dags: Path) -> None:
    airflow, here = Airflow(), deployment(dags)
    server.answers["POST /api/v2/dags/F/dagRuns"] = (200, dag_run("manual+1", "running"))
    started = airflow.trigger(here, {"alpha": "0.5"}, {})
    assert server.asked[-1][1] == {"logical_date": None, "conf": {"alpha": "0.5"}}
    server.answers["GET /api/v2/dags/F/dagRuns"] = (200, {"dag_runs": [dag_run("manual+1", "running")]})
    server.answers["PATCH /api/v2/dags/F/dagRuns/manual%2B1"] = (200, {})
    assert airflow.terminate(here, started.run_id, {}).status == "terminated"
    assert server.asked[-1][1]["state"] == "failed"
    server.answers["GET /api/v2/dags/F/dagRuns"] = (200, {"dag_runs": [dag_run("manual+1", "success")]})
    assert airflow.terminate(here, started.run_id, {}).status == "succeeded"
    assert server.asked[-1][0].startswith("GET")


def test_a_deployment_goes(server: Server, dags: Path) -> None:
    """The DAG is paused first, so that nothing starts while it goes; what is gone already is no error."""
    (dags / "F.py").write_text("x")
    server.answers["GET /api/v2/dags/F"] = (200, {})
    server.answers["PATCH /api/v2/dags/F"] = (200, {})
    server.answers["DELETE /api/v2/dags/F"] = (409, {"detail": "Task instances of dag with id: 'F' are still running"})
    Airflow().delete(deployment(dags), {})
    assert [key.split()[0] for key, _ in server.asked] == ["POST", "GET", "PATCH", "DELETE"]
    assert not (dags / "F.py").exists()
    Airflow().delete(deployment(dags), {})
    server.answers.clear()
    server.answers["POST /auth/token"] = (201, {"access_token": "a-token"})
    Airflow().delete(deployment(dags), {})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {"detail": "Invalid credentials"}), "does not accept who you are"),
        ((403, {"detail": "Forbidden"}), "does not allow you to GET /api/v2/dags"),
        ((307, "http://elsewhere/login"), "sends elsewhere, to http://elsewhere/login"),
        ((422, {"detail": [{"msg": "no good"}]}), "answers 422: .*no good"),
        ((500, "a page"), "answers 500: Internal Server Error"),
        ((200, "<html>"), "is not the REST API of Airflow 3"),
        ((200, {}), "is not the REST API of Airflow 3"),
        ((200, []), "is not the REST API of Airflow 3"),
    ],
)
def test_what_is_wrong_is_said(server: Server, dags: Path, answer: Answer, said: str) -> None:
    server.answers["GET /api/v2/dags"] = answer
    with pytest.raises(MetaflowException, match=said) as caught:
        Airflow().prepare(PLAN, OPTIONS)
    assert PASSWORD not in str(caught.value)


def test_who_and_where(server: Server, dags: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_AIRFLOW_PASSWORD", "")
    with pytest.raises(MetaflowException, match="wants to know who you are"):
        Airflow().prepare(PLAN, OPTIONS)
    monkeypatch.setenv("METAFLOW_AIRFLOW_TOKEN", "a-token")
    Airflow().prepare(PLAN, OPTIONS)
    monkeypatch.setenv("METAFLOW_AIRFLOW_REST_API", "http://127.0.0.1:1")
    with pytest.raises(MetaflowException, match=r"can.t be reached: .*refused"):
        Airflow().prepare(PLAN, OPTIONS)
    monkeypatch.setenv("METAFLOW_AIRFLOW_REST_API", "")
    with pytest.raises(CommandException, match="Say where the DAG file is to be written"):
        Airflow().prepare(PLAN, OPTIONS)
    with pytest.raises(CommandException, match="Set METAFLOW_AIRFLOW_REST_API"):
        Airflow().list_runs(deployment(dags), [], {})


def test_an_answer_without_a_token(server: Server, dags: Path) -> None:
    server.answers["POST /auth/token"] = (201, {"token": "a-token"})
    with pytest.raises(MetaflowException, match="is not the REST API of Airflow 3"):
        Airflow().prepare(PLAN, OPTIONS)


def test_only_a_dag_file_is_replaced(project: Path) -> None:
    options = {**OPTIONS, "file": "flow.py"}
    (project / "flow.py").write_text("from metaflow import FlowSpec")
    with pytest.raises(CommandException, match=r"flow.py is no DAG file of Metaflow's and would be lost"):
        Airflow().prepare(PLAN, options)
    assert (project / "flow.py").read_text() == "from metaflow import FlowSpec"
    (project / "flow.py").write_text(Airflow().render(PLAN, options))
    Airflow().prepare(PLAN, options)


def test_a_file_is_all_there_is(project: Path) -> None:
    """Without an address of Airflow, the file is written; deleting the deployment removes it."""
    options = {**OPTIONS, "file": "flow_dag.py"}
    Airflow().prepare(PLAN, options)
    done = Airflow().deploy(PLAN, "the file", options)
    assert done.info == {"file": str(project / "flow_dag.py")} and "flow_dag.py" in done.notes[0]
    with pytest.raises(MetaflowException, match=r"nowhere.dag.py can.t be written: No such file or directory"):
        Airflow().deploy(PLAN, "the file", {**OPTIONS, "file": "nowhere/dag.py"})
    Airflow().delete(deployment(project)._replace(info=done.info), {})
    assert not (project / "flow_dag.py").exists()
