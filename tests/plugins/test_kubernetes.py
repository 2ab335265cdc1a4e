"""Steps as pods: the client talks to a server that has as much of the API as it uses, and runs pods as processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import kubernetes_validate
import pytest
from fake_kubernetes import VERSION, Cluster
from hypothesis import given
from hypothesis import strategies as st
from metaflow_core.decorators.interface import Needs
from metaflow_core.engine.interface import Job, JobNeeds, TaskExited, TaskRequest
from metaflow_core.errors import ComputeUnavailable, InvalidDecoratorAttribute
from metaflow_core.testing.compute import Running, wait
from metaflow_core.testing.remote_compute import RemoteComputeContract
from metaflow_plugins import kubernetes_driver
from metaflow_plugins.kubernetes_compute import Kubernetes
from metaflow_plugins.kubernetes_driver import KubernetesCompute
from metaflow_plugins.kubernetes_manifest import StepPods
from metaflow_plugins.kubernetes_names import is_label_value, label_value, resource_name

from tests.conftest import RunFlow

FLOW = """
import os, sys, time
from metaflow import FlowSpec, Parameter, catch, current, kubernetes, resources, retry, step, timeout
from helper import double

class PodFlow(FlowSpec):
    n = Parameter("n", default=2)

    @step
    def start(self):
        self.items = list(range(self.n))
        self.next(self.work, foreach="items")

    ABOVE
    @step
    def work(self):
        print("work", self.input, flush=True)
        print("to stderr", file=sys.stderr)
        BODY
        self.twice = double(self.input)
        self.place = os.getcwd()
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = sum(i.twice for i in inputs)
        self.places = [i.place for i in inputs]
        self.next(self.end)

    @step
    def end(self):
        print("total", self.total, self.places)

PodFlow()
"""


def flow(project: Path, above: str = "@kubernetes", body: str = "pass") -> str:
    (project / "helper.py").write_text("def double(x): return 2 * x")
    return FLOW.replace("ABOVE", above).replace("BODY", body)


@pytest.fixture
def team(project: Path, kubernetes: Cluster, team_database: str, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
    return kubernetes


def test_a_foreach(run_flow: RunFlow, project: Path, team: Cluster) -> None:
    result = run_flow(flow(project), "run", "--n", "3")
    assert re.search(r"\[1/work/\d+ \(pid \d+\)\] work 2", result.stdout)
    assert f"total 6 ['{team.folder}" in result.stdout
    assert "to stderr" in run_flow(project / "flow.py", "logs", "1/work", "--stderr").stdout
    assert "to stderr" not in run_flow(project / "flow.py", "logs", "1/work", "--stdout").stdout


@pytest.mark.slow
def test_what_a_pod_stores_after_its_driver_was_killed_counts(
    run_flow: RunFlow, project: Path, team: Cluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    body = f"while not os.path.exists({str(gate)!r}): time.sleep(0.05)"
    (project / "flow.py").write_text(flow(project, body=body))
    command = [sys.executable, "flow.py", "run", "--n", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    assert any("work 0" in line for line in process.stdout)
    process.kill()
    process.communicate()
    gate.touch()
    (pod,) = team.pods.values()
    assert pod.ended.wait(60)
    assert pod.document["status"]["phase"] == "Succeeded"
    result = run_flow(project / "flow.py", "resume")
    assert "total 0" in result.stdout
    assert "work 0" not in result.stdout
    assert len(team.jobs) == 1


@pytest.mark.slow
class TestKubernetes(RemoteComputeContract):
    @pytest.fixture
    def decorator(self, team: Cluster) -> str:
        return "kubernetes"


# --- the driver alone, with images that do something else ------------------------------------------------------------


def needs(**given: object) -> JobNeeds:
    return JobNeeds(["python"], None, Kubernetes(given, "step work").attributes)


Start = Callable[..., Running]


@pytest.fixture
def start(kubernetes: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts an attempt in an image; ``compute`` of what it gives is the driver."""
    opened = []

    def begin(image: str, **given: object) -> Running:
        compute = KubernetesCompute()
        job = Job(TaskRequest("1", "work", "2", 0), "no package", "my_flow.py", ".", "python", [], [], {})
        compute.open(lambda request: job, {"work": needs(image=image, **given)})
        opened.append(compute)
        return Running(compute, job.request)  # type: ignore[arg-type]

    yield begin
    for compute in opened:
        compute.close()


def exited(running: Running) -> TaskExited:
    wait(running.compute, running)
    event = running.events[-1]
    assert isinstance(event, TaskExited)
    return event


@pytest.mark.parametrize(
    ("image", "given", "code", "message"),
    [
        ("missing", {}, 1, "The image missing can't be had (ImagePullBackOff: Back-off pulling image"),
        (
            "any",
            {"secrets": ["absent"]},
            1,
            "(CreateContainerConfigError: secret 'absent' not found). See to the secrets",
        ),
        ("empty", {}, 1, "ended with exit code 1 without running the task. See to it that the image empty has"),
    ],
)
def test_a_pod_that_can_not_run_the_task(
    start: Start, image: str, given: dict[str, object], code: int, message: str
) -> None:
    event = exited(start(image, **given))
    assert event.code == code
    assert message in event.message


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (
            "OOMKilled",
            "needed more memory than the 4096 MB of its container, and was killed. Ask for more: @resources(mem",
        ),
        ("Evicted", "was ended by Kubernetes: Evicted. The node had condition: [DiskPressure]."),
        ("DeadlineExceeded", "ran longer than its @timeout"),
    ],
)
def test_a_pod_that_is_ended(start: Start, kubernetes: Cluster, reason: str, message: str) -> None:
    running = start("sleeps")
    assert running.wait_for_output() == b"begun\n"
    next(iter(kubernetes.pods.values())).end(reason)
    event = exited(running)
    assert event.code == -9
    assert message in event.message


def test_a_pod_whose_node_is_lost(start: Start, kubernetes: Cluster) -> None:
    running = start("sleeps")
    running.wait_for_output()
    kubernetes.forget(next(iter(kubernetes.pods.values())))
    assert "was deleted, or its node was lost" in exited(running).message


@pytest.mark.parametrize(("force", "code"), [(False, -15), (True, -9)])
def test_kill_deletes_the_job(start: Start, kubernetes: Cluster, force: bool, code: int) -> None:
    running = start("sleeps")
    running.wait_for_output()
    running.compute.kill(running.request, force)
    assert exited(running) == TaskExited(running.request, code)
    assert all(job["deleted"] for job in kubernetes.jobs.values())


def test_a_log_that_is_cut_off_is_read_on(start: Start, kubernetes: Cluster) -> None:
    kubernetes.cut = 2
    running = start("prints")
    assert exited(running).code == 0
    assert running.output()[0] == b"".join(b"line %d\n" % i for i in range(1, 1001))


def test_a_cluster_that_refuses(start: Start, kubernetes: Cluster) -> None:
    kubernetes.refuse = (403, "pods is forbidden: exceeded quota")
    event = exited(start("any"))
    assert "did not take the task" in event.message
    assert "you may not do that (pods is forbidden: exceeded quota)" in event.message


QUOTA = 'Error creating: pods "x" is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=2, limited: cpu=2'
HOOK = 'Error creating: admission webhook "policy.example.org" denied the request: no such team'


@pytest.mark.parametrize(
    ("why", "code", "message"),
    [
        (QUOTA, 1, f"may not make the pod of the task (Job {{job}}): {QUOTA}"),
        (HOOK, 1, f"may not make the pod of the task (Job {{job}}): {HOOK}"),
        ("given up", -9, "has given up the Job {job} of the task: DeadlineExceeded. Job was active too long"),
        ("nothing is said", 1, "does not say why. See: kubectl describe job {job} -n default"),
    ],
)
def test_a_job_that_gets_no_pod(
    start: Start, kubernetes: Cluster, monkeypatch: pytest.MonkeyPatch, why: str, code: int, message: str
) -> None:
    for name in ("LOOK_SECONDS", "REFUSED", "SILENCE"):
        monkeypatch.setattr(kubernetes_driver, name, 1)
    kubernetes.no_pods = why
    event = exited(start("any"))
    (name,) = kubernetes.jobs
    assert event.code == code
    assert message.format(job=name) in event.message
    assert kubernetes.jobs[name]["deleted"]


def test_a_job_that_is_deleted_before_it_has_a_pod(
    start: Start, kubernetes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_driver, "LOOK_SECONDS", 1)
    kubernetes.no_pods = QUOTA
    running = start("any")
    while not kubernetes.jobs:
        time.sleep(0.01)
    next(iter(kubernetes.jobs.values()))["deleted"] = True
    assert "was deleted before it had a pod" in exited(running).message


def test_a_quota_that_this_run_fills_is_waited_for(
    start: Start, kubernetes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOOK_SECONDS", "REFUSED"):
        monkeypatch.setattr(kubernetes_driver, name, 1)
    first = start("sleeps")
    first.wait_for_output()
    kubernetes.no_pods = QUOTA
    second = Running(first.compute, first.request._replace(task_id="3"))
    time.sleep(4)
    assert not any(isinstance(event, TaskExited) for event in second.compute.events())
    next(iter(kubernetes.pods.values())).end()
    wait(second.compute, first, second)
    assert "exceeded quota" in second.events[-1].message  # type: ignore[union-attr]


def test_a_cluster_that_can_not_be_used(kubernetes: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_with(**given: object) -> None:
        KubernetesCompute().open(lambda request: None, {"work": needs(**given)})  # type: ignore[arg-type,return-value]

    with pytest.raises(ComputeUnavailable, match=r"The namespace forbidden .* can't be used: you may not do that"):
        open_with(namespace="forbidden")
    monkeypatch.delenv("METAFLOW_KUBERNETES_CONTAINER_IMAGE")
    with pytest.raises(ComputeUnavailable, match="@kubernetes on step work needs an image that has metaflow-tandem"):
        open_with()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ComputeUnavailable, match=r"does not know the cluster: .* Set KUBECONFIG"):
        open_with(image="any")


# --- manifests -------------------------------------------------------------------------------------------------------


def manifest(asked: Needs | None = None, seconds: float | None = None, **given: object) -> dict[str, object]:
    attributes = Kubernetes({"image": "team/image:1", **given}, "step work").attributes
    return StepPods("work", JobNeeds(["python"], asked, attributes)).manifest("name", {}, {"A": "b"}, seconds)


def test_everything_in_a_manifest(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_KUBERNETES_TOLERATIONS", '[{"key": "spot", "operator": "Exists"}]')
    monkeypatch.setenv("METAFLOW_KUBERNETES_SECRETS", "database,other")
    made = manifest(
        Needs(cpu=0.5, memory=9000, gpu=2, disk=20000),
        30,
        cpu=2,
        image_pull_policy="Always",
        image_pull_secrets=["registry"],
        service_account="runner",
        node_selector="kind=big",
        labels={"team": "one"},
        annotations={"example.org/note": "any text, even this"},
        use_tmpfs=True,
        tmpfs_size=100,
        persistent_volume_claims={"data": "/data"},
        shared_memory=64,
        port=8080,
        security_context={"runAsUser": 1000},
        gpu_vendor="amd",
    )
    kubernetes_validate.validate(made, VERSION, strict=True)
    spec = made["spec"]
    assert isinstance(spec, dict)
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (0, 86400)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["activeDeadlineSeconds"] == 630
    assert pod["serviceAccountName"] == "runner"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["nodeSelector"] == {"kind": "big"}
    assert pod["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    container = pod["containers"][0]
    assert container["resources"] == {
        "requests": {"cpu": "2000m", "memory": "9000M", "ephemeral-storage": "20000M"},
        "limits": {"memory": "9000M", "amd.com/gpu": "2"},
    }
    assert container["envFrom"] == [{"secretRef": {"name": "database"}}, {"secretRef": {"name": "other"}}]
    assert {"name": "TMPDIR", "value": "/metaflow_temp"} in container["env"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/metaflow_temp", "/dev/shm", "/data"]


def test_little_in_a_manifest(project: Path) -> None:
    made = manifest(qos="guaranteed")
    kubernetes_validate.validate(made, VERSION, strict=True)
    resources = made["spec"]["template"]["spec"]["containers"][0]["resources"]  # type: ignore[index]
    assert resources["requests"] == resources["limits"]
    assert "activeDeadlineSeconds" not in json.dumps(made)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": {"team": "one two"}}, "labels must be what Kubernetes takes: at most 63 letters"),
        ({"node_selector": "big"}, "node_selector must be a mapping, or text such as name=value"),
        ({"tolerations": "spot"}, "tolerations must be a list of mappings"),
        ({"tolerations": [{"keys": "spot"}]}, "tolerations must be a list of mappings with effect, key"),
        ({"persistent_volume_claims": {"data": "data"}}, "absolute folders"),
        ({"image_pull_policy": "Sometimes"}, "image_pull_policy must be Always, IfNotPresent or Never"),
        ({"qos": "best"}, "qos must be Burstable or Guaranteed"),
        ({"secrets": [1]}, "secrets must be a list of names"),
        ({"image": 3}, "image must be text"),
        ({"port": 70000}, "port must be a whole number from 1 to 65535"),
    ],
)
def test_arguments_that_make_no_sense(project: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidDecoratorAttribute, match=re.escape(message)):
        Kubernetes(given, "step work").check(None, None)  # type: ignore[arg-type]


@given(st.text())
def test_any_text_becomes_a_value_of_a_label_and_a_name(text: str) -> None:
    assert is_label_value(label_value(text))
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", resource_name(text, "0123456789ab"))
