"""As much of the API of Kubernetes as a driver of tasks uses, over HTTP; a pod is a process with a folder of its own.

What is created is checked against the published schema. A pod's process has of the environment only what its manifest
says, with credentials for the object store that stand for a service account's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from object_stores import ObjectStore

VERSION = "1.31"  # of the schema
# Images that have something else than metaflow-tandem.
IMAGES = {
    "empty": "echo no such module; exit 1",
    "sleeps": "echo begun; sleep 1000",
    "prints": "for i in $(seq 1000); do echo line $i; done; echo '[exit] 0'",
}


class Pod:
    """A pod of a Job; ``document`` is what the API shows of it."""

    def __init__(self, cluster: Cluster, job: dict[str, Any]) -> None:
        self.cluster = cluster
        template = job["spec"]["template"]
        self.spec = template["spec"]
        self.name = f"{job['metadata']['name'][:57]}-pod00"
        self.log = cluster.folder / f"{self.name}.log"
        self.log.touch()
        self.process: subprocess.Popen[bytes] | None = None
        self.ended = threading.Event()
        self.reason = ""  # for which its end is told, where that is not the process
        self.document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": self.name, "namespace": job["metadata"]["namespace"]},
            "spec": self.spec,
            "status": {"phase": "Pending"},
        }
        cluster.tell("ADDED", self.document)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        container = self.spec["containers"][0]
        image, command = container["image"], container["command"]
        try:
            environment = self.environment(container)
        except KeyError as error:
            self.wait_for("CreateContainerConfigError", f"secret {error} not found")
            return
        if image == "missing":
            self.wait_for("ErrImagePull", "pull access denied")
            self.wait_for("ImagePullBackOff", 'Back-off pulling image "missing"')
            return
        if image in IMAGES:
            command = ["sh", "-c", IMAGES[image]]
        folder = self.cluster.folder / self.name
        folder.mkdir()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**environment, "HOME": str(folder), "TMPDIR": str(folder)},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.change("Running", {"running": {"startedAt": now()}})
        code = self.process.wait()
        self.ended.set()
        terminated = {"exitCode": code if code >= 0 else 128 - code, "finishedAt": now()}
        if self.reason == "OOMKilled":
            terminated["reason"] = "OOMKilled"
        elif self.reason:
            self.document["status"].update(reason=self.reason, message="The node had condition: [DiskPressure].")
        self.change("Succeeded" if code == 0 else "Failed", {"terminated": terminated})

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        found = dict(self.cluster.machine)
        for source in container.get("envFrom", []):
            found.update(self.cluster.secrets[source["secretRef"]["name"]])
        return {**found, **{one["name"]: one["value"] for one in container["env"]}}

    def wait_for(self, reason: str, message: str) -> None:
        self.change("Pending", {"waiting": {"reason": reason, "message": message}})

    def change(self, phase: str, state: dict[str, Any]) -> None:
        image = self.spec["containers"][0]["image"]
        status = {"name": "task", "image": image, "imageID": "", "ready": False, "restartCount": 0, "state": state}
        self.document["status"].update(phase=phase, containerStatuses=[status])
        self.cluster.tell("MODIFIED", self.document)

    def end(self, reason: str = "", number: int = signal.SIGKILL) -> None:
        """End the processes of the pod, as ``reason`` (``Evicted``, ``OOMKilled``)."""
        self.reason = reason
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def delete(self, seconds: float) -> None:
        """Ask the pod to end, end it after ``seconds``, and then forget it."""

        def work() -> None:
            if self.process is not None:
                self.end(number=signal.SIGTERM if seconds else signal.SIGKILL)
                if not self.ended.wait(seconds):
                    self.end()
                    self.ended.wait(30)
            self.cluster.forget(self)

        threading.Thread(target=work, daemon=True).start()


class Cluster:
    """``jobs`` are the manifests that were taken; ``refuse`` is a status with which the next ones are not."""

    def __init__(self, folder: Path, store: ObjectStore) -> None:
        self.folder = folder
        self.machine = {**store.environment, "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]}
        del self.machine["METAFLOW_S3_ENDPOINT_URL"]  # a setting, which the driver has to pass on
        self.secrets: dict[str, dict[str, str]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, Pod] = {}
        self.refuse: tuple[int, str] | None = None
        self.no_pods = ""  # why the next jobs get none, or "nothing is said", "given up"
        self.events: list[tuple[int, str, dict[str, Any]]] = []
        self.changed = threading.Condition()
        self.cut = 0  # how many logs are cut off in the middle
        self.closed = False

    def tell(self, kind: str, document: dict[str, Any]) -> None:
        with self.changed:
            document["metadata"]["resourceVersion"] = str(len(self.events) + 1)
            self.events.append((len(self.events) + 1, kind, json.loads(json.dumps(document))))
            self.changed.notify_all()

    def forget(self, pod: Pod) -> None:
        if self.pods.pop(pod.name, None) is not None:
            self.tell("DELETED", pod.document)

    def create(self, job: dict[str, Any]) -> None:
        import kubernetes_validate

        kubernetes_validate.validate(job, VERSION, strict=True)
        self.jobs[job["metadata"]["name"]] = job
        if self.no_pods:
            return
        pod = Pod(self, job)
        self.pods[pod.name] = pod

    def delete_job(self, name: str, seconds: float | None) -> None:
        job = self.jobs[name]
        job["deleted"] = True
        grace = job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] if seconds is None else seconds
        for pod in list(self.pods.values()):
            if pod.name.startswith(name[:57]):
                pod.delete(grace)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.cluster.refuse is not None:
            self.fail(*self.cluster.refuse)
            return
        self.cluster.create(job)
        self.answer(job, 201)

    def do_DELETE(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        *_, kind, name = url.path.split("/")
        found = parse_qs(url.query).get("gracePeriodSeconds") or [json.loads(body or b"{}").get("gracePeriodSeconds")]
        seconds = None if found[0] is None else float(found[0])
        if name not in (self.cluster.jobs if kind == "jobs" else self.cluster.pods):
            self.fail(404, f'{kind} "{name}" not found')
        elif kind == "jobs":
            self.cluster.delete_job(name, seconds)
            self.answer({"kind": "Status", "status": "Success"})
        else:
            self.cluster.pods[name].delete(10 if seconds is None else seconds)
            self.answer({"kind": "Status", "status": "Success"})

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        if parts[3] == "forbidden":
            self.fail(403, 'pods is forbidden: User "anne" cannot list resource "pods"')
        elif parts[-2] == "jobs":
            self.send_job(parts[-1])
        elif parts[-1] == "events":
            self.send_events(asked["fieldSelector"])
        elif parts[-1] == "log":
            self.send_log(self.cluster.pods[parts[-2]])
        elif asked.get("watch"):
            self.watch(parts[3], asked)
        else:
            wanted = [
                pod.document for pod in list(self.cluster.pods.values()) if self.fits(pod.document, parts[3], asked)
            ]
            version = str(len(self.cluster.events))
            self.answer(
                {"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": version}, "items": wanted}
            )

    def fits(self, pod: Mapping[str, Any], namespace: str, asked: Mapping[str, str]) -> bool:
        key, _, value = asked["labelSelector"].partition("=")
        return pod["metadata"]["namespace"] == namespace and pod["metadata"].get("labels", {}).get(key) == value

    def watch(self, namespace: str, asked: Mapping[str, str]) -> None:
        seen, end = int(asked["resourceVersion"]), time.monotonic() + float(asked["timeoutSeconds"])
        self.begin("application/json")
        while time.monotonic() < end and not self.cluster.closed:
            with self.cluster.changed:
                if len(self.cluster.events) == seen:
                    self.cluster.changed.wait(0.5)
                new = self.cluster.events[seen:]
            seen += len(new)
            for _, kind, document in new:
                if self.fits(document, namespace, asked):
                    self.chunk(json.dumps({"type": kind, "object": document}).encode() + b"\n")
        self.chunk(b"")

    def send_job(self, name: str) -> None:
        job = self.cluster.jobs.get(name)
        if job is None or job.get("deleted"):
            self.fail(404, f'jobs "{name}" not found')
            return
        conditions = []
        if self.cluster.no_pods == "given up":
            conditions = [
                {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "Job was active too long"}
            ]
        self.answer({**job, "status": {"conditions": conditions}})

    def send_events(self, selector: str) -> None:
        kind, name = (part.partition("=")[2] for part in selector.split(","))
        event = {
            "metadata": {"name": f"{name}.1", "namespace": "default"},
            "involvedObject": {"kind": kind, "name": name},
            "type": "Warning",
            "reason": "FailedCreate",
            "message": self.cluster.no_pods,
        }
        found = [event] if self.cluster.no_pods not in ("", "nothing is said") else []
        self.answer({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": found})

    def send_log(self, pod: Pod) -> None:
        self.begin("text/plain")
        with open(pod.log, "rb") as file:
            while not self.cluster.closed:
                over = pod.ended.is_set()
                data = file.read()
                if data and self.cluster.cut:
                    self.cluster.cut -= 1
                    self.chunk(data[: len(data) // 2 + 1])
                    self.close_connection = True
                    self.connection.close()
                    return
                if data:
                    self.chunk(data)
                elif over:
                    break
                time.sleep(0.02)
        self.chunk(b"")

    def begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def fail(self, code: int, message: str) -> None:
        self.answer({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message, "code": code}, code)

    def answer(self, document: Mapping[str, Any], code: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that has gone
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@pytest.fixture
def kubernetes(seaweedfs: ObjectStore, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster, and settings with which this process, and those that it starts, use it and an object store."""
    folder = tmp_path / "pods"
    folder.mkdir()
    cluster = Cluster(folder, seaweedfs)
    server = QuietServer(("127.0.0.1", 0), type("OfCluster", (Handler,), {"cluster": cluster}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
    monkeypatch.setenv("METAFLOW_KUBERNETES_CONTAINER_IMAGE", "team/image:1")
    yield cluster
    cluster.closed = True
    for pod in list(cluster.pods.values()):
        pod.end()
    server.shutdown()
    server.server_close()
