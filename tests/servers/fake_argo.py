"""A cluster with Argo Workflows and Argo Events, as far as the plugin uses them: over HTTP, with pods as processes.

What is created is checked strictly. A workflow is walked as soon as it is there; events that are posted to ``/events``
are given to the sensors.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import argo_strict
import pytest
from argo_walker import Walker
from fake_kubernetes import QuietServer, now
from object_stores import ObjectStore

KINDS = ("workflows", "workflowtemplates", "cronworkflows", "sensors")


class ArgoCluster:
    """``objects`` are by kind and name, ``walkers`` by the name of the workflow. ``refuse`` makes requests fail."""

    def __init__(self, folder: Path, machine: Mapping[str, str]) -> None:
        self.folder, self.machine = folder, dict(machine)
        self.secrets: dict[str, dict[str, str]] = {}
        self.objects: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self.kinds = set(KINDS)  # those that are installed
        self.walkers: dict[str, Walker] = {}
        self.walks = True
        self.refuse: dict[tuple[str, str], tuple[int, str]] = {}  # by method and kind
        self.lost = 0  # how many answers to a POST get lost
        self.requests: list[tuple[str, str]] = []
        self.arrived: dict[str, dict[str, Any]] = {}  # events that sensors keep, by sensor and dependency
        self.url = ""
        self._versions = 0
        self._threads: list[threading.Thread] = []

    def put(self, kind: str, document: dict[str, Any]) -> dict[str, Any]:
        """Store an object, and do what Argo does about it."""
        argo_strict.check(document)
        metadata = document["metadata"]
        if "name" not in metadata:
            metadata["name"] = f"{metadata['generateName']}{self._versions:05x}"
        self._versions += 1
        metadata["resourceVersion"] = str(self._versions)
        metadata.setdefault("creationTimestamp", now())
        is_new = metadata["name"] not in self.objects[kind]
        self.objects[kind][metadata["name"]] = document
        if kind == "workflows" and is_new:
            self._submit(document)
        return document

    def _submit(self, workflow: dict[str, Any]) -> None:
        template = self.objects["workflowtemplates"][workflow["spec"]["workflowTemplateRef"]["name"]]
        labels = workflow["metadata"].setdefault("labels", {})
        workflow["metadata"]["labels"] = {**template["spec"]["workflowMetadata"]["labels"], **labels}
        walker = Walker(template, workflow, self.folder, self.machine, self.secrets)
        self.walkers[workflow["metadata"]["name"]] = walker
        workflow["status"] = {}
        if self.walks:
            thread = threading.Thread(target=self._walk, args=(walker, workflow))
            self._threads.append(thread)
            thread.start()

    def _walk(self, walker: Walker, workflow: dict[str, Any]) -> None:
        workflow["status"] = {"phase": "Running", "startedAt": now()}
        try:
            phase = walker.run()
        except Exception as error:
            walker.errors.append(repr(error))
            phase = "Error"
        workflow["status"] = {**workflow["status"], "phase": phase, "finishedAt": now()}

    def wait(self) -> None:
        """Until every workflow has ended, those included that others have started."""
        while self._threads:
            self._threads.pop().join()

    def fire(self, name: str) -> None:
        """What a CronWorkflow does at its time."""
        spec = self.objects["cronworkflows"][name]["spec"]
        metadata = {"name": f"{name}-{int(time.time())}", "labels": spec["workflowMetadata"]["labels"]}
        self.put(
            "workflows",
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Workflow",
                "metadata": metadata,
                "spec": spec["workflowSpec"],
            },
        )

    def event(self, body: dict[str, Any]) -> None:
        """What sensors do with an event: those that a condition needs are kept until all are there, the latest each."""
        for name, sensor in list(self.objects["sensors"].items()):
            kept = self.arrived.setdefault(name, {})
            for dependency in sensor["spec"]["dependencies"]:
                if all(_fits(one, body) for one in dependency["filters"]["data"]):
                    kept[dependency["name"]] = body
            for trigger in sensor["spec"]["triggers"]:
                needed = trigger["template"]["conditions"].split(" && ")
                if set(needed) <= set(kept):
                    self.put("workflows", _resource(trigger["template"]["k8s"], kept))
                    for dependency in needed:
                        del kept[dependency]


def _fits(filter: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    first, key = filter["path"].split(".")
    assert (first, filter["type"]) == ("body", "string")
    return any(re.search(value, str(body.get(key, ""))) for value in filter["value"])


def _resource(k8s: Mapping[str, Any], events: Mapping[str, Any]) -> dict[str, Any]:
    assert k8s["operation"] == "create"
    resource: dict[str, Any] = json.loads(json.dumps(k8s["source"]["resource"]))
    for parameter in k8s["parameters"]:
        text = _rendered(parameter["src"]["dataTemplate"], events[parameter["src"]["dependencyName"]])
        *keys, last = (int(key) if key.isdigit() else key for key in parameter["dest"].split("."))
        place: Any = resource
        for key in keys:
            place = place[key]
        assert parameter["operation"] == "append"
        place[last] += text
    return resource


def _rendered(template: str, body: Mapping[str, Any]) -> str:
    """A template of Go with functions of sprig, of which it has as many as are used."""

    def action(match: re.Match[str]) -> str:
        first, *calls = re.findall(r'(?:[^|"]|"(?:[^"\\]|\\.)*")+', match[1])
        assert first.strip() == ".Input.body"
        value: Any = body
        for call in calls:
            name, *arguments = re.findall(r'\w+|"(?:[^"\\]|\\.)*"', call)
            if name == "toJson":
                value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
            else:
                assert name == "replace"
                value = value.replace(*map(ast.literal_eval, arguments))
        return str(value)

    return re.sub(r"\{\{(.*?)\}\}", action, template)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: ArgoCluster

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        if url.path == "/events":
            self.cluster.event(json.loads(body))
            self.answer(200, {})
            return
        parts = url.path.strip("/").split("/")
        assert parts[:4] == ["apis", "argoproj.io", "v1alpha1", "namespaces"], parts
        namespace, kind, name = parts[4], parts[5], parts[6] if len(parts) > 6 else None
        self.cluster.requests.append((self.command, kind))
        refused = self.cluster.refuse.get((self.command, kind))
        if namespace == "forbidden":
            refused = (403, f'{kind}.argoproj.io is forbidden: User "anne" cannot do that')
        if refused is not None:
            self.fail(*refused)
        elif kind not in self.cluster.kinds:
            self.answer(404, "404 page not found\n")
        elif name is not None and name not in self.cluster.objects[kind]:
            self.fail(404, f'{kind}.argoproj.io "{name}" not found', "NotFound")
        else:
            getattr(self, f"do_{self.command.lower()}_to")(kind, name, json.loads(body or b"null"), parse_qs(url.query))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def do_get_to(self, kind: str, name: str | None, body: Any, query: Mapping[str, list[str]]) -> None:
        if name is not None:
            self.answer(200, self.cluster.objects[kind][name])
            return
        key, _, value = query["labelSelector"][0].partition("=")
        fitting = [
            one for one in self.cluster.objects[kind].values() if one["metadata"].get("labels", {}).get(key) == value
        ]
        start, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0])
        more = {"continue": str(start + limit)} if start + limit < len(fitting) else {}
        self.answer(200, {"kind": "List", "metadata": more, "items": fitting[start : start + limit]})

    def do_post_to(self, kind: str, name: None, body: Any, query: object) -> None:
        if body["metadata"]["name"] in self.cluster.objects[kind]:
            self.fail(409, f"{body['metadata']['name']} exists", "AlreadyExists")
            return
        made = self.cluster.put(kind, body)
        if self.cluster.lost:
            self.cluster.lost -= 1
            self.close_connection = True
            self.connection.close()
            return
        self.answer(201, made)

    def do_put_to(self, kind: str, name: str, body: Any, query: object) -> None:
        known = self.cluster.objects[kind][name]
        if body["metadata"].get("resourceVersion") != known["metadata"]["resourceVersion"]:
            self.fail(409, "the object has been modified", "Conflict")
        else:
            self.answer(200, self.cluster.put(kind, body))

    def do_patch_to(self, kind: str, name: str, body: Any, query: object) -> None:
        assert self.headers["Content-Type"] == "application/merge-patch+json", self.headers["Content-Type"]
        assert body == {"spec": {"shutdown": "Stop"}}
        workflow = self.cluster.objects[kind][name]
        workflow["spec"] = {**workflow["spec"], **body["spec"]}
        threading.Thread(target=self.cluster.walkers[name].stop).start()
        self.answer(200, workflow)

    def do_delete_to(self, kind: str, name: str, body: Any, query: object) -> None:
        del self.cluster.objects[kind][name]
        self.answer(200, {"kind": "Status", "status": "Success"})

    def fail(self, code: int, message: str, reason: str = "") -> None:
        self.answer(code, {"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code})

    def answer(self, code: int, document: Any) -> None:
        body = (document if isinstance(document, str) else json.dumps(document)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(cluster: ArgoCluster) -> QuietServer:
    server = QuietServer(("127.0.0.1", 0), type("OfCluster", (Handler,), {"cluster": cluster}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
    return server


def connect(cluster: ArgoCluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings with which this process, and those that it starts, use the cluster."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": cluster.url}}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
    monkeypatch.setenv("METAFLOW_KUBERNETES_CONTAINER_IMAGE", "team/image:1")
    monkeypatch.setenv("METAFLOW_ARGO_EVENTS_EVENT_SOURCE", "webhook")
    monkeypatch.setenv("METAFLOW_ARGO_EVENTS_EVENT", "metaflow-event")
    monkeypatch.setenv("METAFLOW_ARGO_EVENTS_WEBHOOK_URL", f"{cluster.url}/events")


@pytest.fixture
def argo_api(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArgoCluster]:
    """A cluster that takes objects and walks nothing."""
    cluster = ArgoCluster(tmp_path, {})
    cluster.walks = False
    server = serve(cluster)
    connect(cluster, tmp_path, monkeypatch)
    yield cluster
    server.shutdown()
    server.server_close()


@pytest.fixture
def argo(
    project: Path, seaweedfs: ObjectStore, s3: str, team_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ArgoCluster]:
    """A cluster that walks workflows, and a store and a database that its pods share with this machine."""
    folder = tmp_path / "pods"
    folder.mkdir()
    machine = {**seaweedfs.environment, "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]}
    del machine["METAFLOW_S3_ENDPOINT_URL"]  # a setting, which the deployment has to pass on
    cluster = ArgoCluster(folder, machine)
    server = serve(cluster)
    connect(cluster, tmp_path, monkeypatch)
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    yield cluster
    for walker in cluster.walkers.values():
        walker.stop()
    cluster.wait()
    server.shutdown()
    server.server_close()
