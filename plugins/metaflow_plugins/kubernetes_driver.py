"""The driver's side of ``kubernetes_compute``."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from metaflow_core.engine.interface import JobNeeds

from metaflow_plugins.container_place import Attempt, ContainerPlace
from metaflow_plugins.kubernetes_connection import api_client, explained, reason
from metaflow_plugins.kubernetes_manifest import CONTAINER, StepPods
from metaflow_plugins.kubernetes_names import label_value, resource_name

LOOK_SECONDS = 30  # after which pods are listed anew: what no event has told is seen then
PAUSE = 0.5  # seconds before a call that failed is repeated
LOG_PATIENCE = 15.0  # seconds for which the end of a log may be late
GONE_PATIENCE = 2.0  # the same for a pod that is no more
IDLE_SECONDS = 300  # after which a log that tells nothing is asked for anew: the connection may be lost
SILENCE = 600.0  # seconds after which a cluster that does not answer, or makes no pod, has lost the tasks
REFUSED = 120.0  # seconds after which a pod that may not be made never will be
CONNECTIONS = 64
RUN_LABEL = "metaflow/driver"
ATTEMPT_LABEL = "metaflow/attempt"
# Reasons for which a container will never start, whatever one waits for.
NEVER_STARTS = {
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
}


class _Pod:
    """What is known of an attempt's pod."""

    def __init__(self) -> None:
        self.since = time.monotonic()  # without a pod
        self.name = ""
        self.read = 0  # bytes of its log
        self.outcome: tuple[int, str] | None = None  # once it has ended
        self.followed = False  # by a thread that reads its log
        self.whole = False  # its log was read to the end, after it had ended


class KubernetesCompute(ContainerPlace):
    """One thread watches the pods; each attempt that runs has another one, which reads its log."""

    name = "kubernetes"

    def connect(self, steps: Mapping[str, JobNeeds]) -> None:
        self._steps = {step: StepPods(step, needs) for step, needs in steps.items()}
        self._driver = os.urandom(8).hex()
        self._pods: dict[str, _Pod] = {}  # by the id of the attempt
        self._by_id: dict[str, Attempt] = {}
        from kubernetes import client

        api = api_client("@kubernetes", CONNECTIONS)
        self._core: Any = client.CoreV1Api(api)
        self._batch: Any = client.BatchV1Api(api)
        self._namespaces = sorted({pods.options.namespace for pods in self._steps.values()})
        for namespace in self._namespaces:
            with explained(f"The namespace {namespace} of the Kubernetes cluster can't be used"):
                self._core.list_namespaced_pod(namespace, label_selector=self._selector, limit=1)

    @property
    def _selector(self) -> str:
        return f"{RUN_LABEL}={self._driver}"

    def submit(self, attempt: Attempt) -> None:
        request, pods = attempt.request, self._steps[attempt.request.step]
        id = os.urandom(6).hex()
        name = resource_name("-".join(attempt.names), id)
        _, run, step, task, number = attempt.names
        labels = {
            "app.kubernetes.io/managed-by": "metaflow-tandem",
            "metaflow/run": label_value(run),
            "metaflow/step": label_value(step),
            "metaflow/task": label_value(f"{task}.{number}"),
            RUN_LABEL: self._driver,
            ATTEMPT_LABEL: id,
        }
        manifest = pods.manifest(name, labels, dict([attempt.variable]), request.seconds)
        self._pods[id], self._by_id[id] = _Pod(), attempt
        with explained(f"The Kubernetes cluster did not take the task (Job {name})"):
            self._batch.create_namespaced_job(pods.options.namespace, manifest)
        attempt.id = name

    def stop(self, attempt: Attempt) -> None:
        more = {"grace_period_seconds": 0} if attempt.forced else {}
        namespace = self._namespace(attempt)
        self._batch.delete_namespaced_job(attempt.id, namespace, propagation_policy="Background", **more)
        if attempt.forced:
            pod = next((self._pods[id].name for id, one in self._by_id.items() if one is attempt), "")
            if pod:
                self._core.delete_namespaced_pod(pod, namespace, **more)
        if not any(one is attempt and self._pods[id].name for id, one in list(self._by_id.items())):
            self._end(attempt, -15, "")  # no pod was made, so none will be seen to go

    def watch(self) -> None:
        """Namespaces are watched by a thread each; most often there is one."""
        for namespace in self._namespaces[1:]:
            threading.Thread(target=self._watch, args=(namespace,), daemon=True).start()
        self._watch(self._namespaces[0])

    def _namespace(self, attempt: Attempt) -> str:
        return self._steps[attempt.request.step].options.namespace

    # --- pods ------------------------------------------------------------------------------------------------------

    def _watch(self, namespace: str) -> None:
        from kubernetes.watch import Watch

        answered = time.monotonic()
        while not self.closed.is_set():
            try:
                listed = self._core.list_namespaced_pod(namespace, label_selector=self._selector)
                self._compare(namespace, listed.items)
                answered = time.monotonic()
                events = Watch().stream(  # type: ignore[no-untyped-call]
                    self._core.list_namespaced_pod,
                    namespace,
                    label_selector=self._selector,
                    resource_version=listed.metadata.resource_version,
                    timeout_seconds=LOOK_SECONDS,
                    _request_timeout=LOOK_SECONDS + 10,
                )
                for event in events:
                    if self.closed.is_set():
                        return
                    self._seen(event["object"], deleted=event["type"] == "DELETED")
            except Exception as error:  # the next round tells what was missed
                if time.monotonic() > answered + SILENCE:
                    for attempt in self.attempts():
                        self.end(attempt, 1, f"The Kubernetes cluster can't be asked about the task: {reason(error)}")
                self.closed.wait(PAUSE)

    def _compare(self, namespace: str, pods: list[Any]) -> None:
        """Take in a list of all pods: those that are not in it have gone."""
        for pod in pods:
            self._seen(pod, deleted=False)
        names = {pod.metadata.name for pod in pods}
        busy = [pod for pod in pods if pod.status.phase in ("Pending", "Running")]
        for id, known in list(self._pods.items()):
            attempt = self._by_id[id]
            if self._namespace(attempt) != namespace or attempt.ended:
                continue
            if known.name and known.name not in names:
                self._gone(attempt, known)
            elif not known.name and attempt.id and time.monotonic() > known.since + LOOK_SECONDS:
                outcome = self._without_pod(attempt, known, namespace, bool(busy))
                if outcome is not None and not known.name:
                    with suppress(Exception):
                        self._batch.delete_namespaced_job(attempt.id, namespace, propagation_policy="Background")
                    self._end(attempt, *outcome)

    def _seen(self, pod: Any, deleted: bool) -> None:
        id = (pod.metadata.labels or {}).get(ATTEMPT_LABEL, "")
        attempt, known = self._by_id.get(id), self._pods.get(id)
        if attempt is None or known is None or attempt.ended:
            return
        known.name = pod.metadata.name
        states = [status.state for status in pod.status.container_statuses or []]
        started = any(state.running or state.terminated for state in states)
        if started:
            self.tell_started(attempt)
            if not known.followed:
                known.followed = True
                threading.Thread(target=self._follow, args=(attempt, known), daemon=True).start()
        if pod.status.phase in ("Succeeded", "Failed"):
            self._over(attempt, known, self._outcome(attempt, pod), LOG_PATIENCE)
        elif deleted:
            self._gone(attempt, known)
        for state in states:
            if state.waiting is not None and state.waiting.reason in NEVER_STARTS:
                with suppress(Exception):
                    self.stop(attempt)
                said = " ".join((state.waiting.message or "").split())
                self._end(attempt, 1, self._never_starts(attempt, state.waiting.reason, said))

    def _without_pod(self, attempt: Attempt, known: _Pod, namespace: str, others: bool) -> tuple[int, str] | None:
        """How the attempt has ended whose Job has no pod; None: it has not, and one may still be made.

        ``others`` of this run have pods, so that a quota may have room when they end.
        """
        from kubernetes.client.exceptions import ApiException

        id, waited = attempt.id, time.monotonic() - known.since
        try:
            job = self._batch.read_namespaced_job(id, namespace)
        except ApiException as error:
            if error.status == 404:
                return -9, f"The Job {id} of the task was deleted before it had a pod."
            if error.status != 403:
                raise
            job = None
        if job is not None:
            for condition in job.status.conditions or []:
                if condition.type == "Failed" and condition.status == "True":
                    said = " ".join(f"{condition.reason}. {condition.message or ''}".split())
                    return -9, f"Kubernetes has given up the Job {id} of the task: {said}"
            if job.spec.suspend:  # something queues jobs, and will start it
                known.since = time.monotonic()
                return None
        try:
            events = self._core.list_namespaced_event(
                namespace, field_selector=f"involvedObject.kind=Job,involvedObject.name={id}"
            ).items
        except ApiException as error:
            if error.status != 403:
                raise
            events = []
        refusals = [one.message or "" for one in events if one.reason == "FailedCreate"]
        said = " ".join(refusals[-1].split()) if refusals else ""
        if "exceeded quota" in said and others:
            known.since = time.monotonic()
        elif said and waited > REFUSED:
            return 1, f"Kubernetes may not make the pod of the task (Job {id}): {said}"
        elif waited > SILENCE:
            return 1, (
                f"Kubernetes has made no pod for the task in {waited / 60:.0f} minutes, and does not say why. See: "
                f"kubectl describe job {id} -n {namespace}"
            )
        return None

    def _gone(self, attempt: Attempt, known: _Pod) -> None:
        message = "" if attempt.unwanted else f"The pod {known.name} of the task was deleted, or its node was lost."
        self._over(attempt, known, (-9, message), GONE_PATIENCE)

    def _over(self, attempt: Attempt, known: _Pod, outcome: tuple[int, str], patience: float) -> None:
        """The pod has ended; what reads its log tells so when it has all of it, or else it is told after a while."""
        if not known.followed:
            self._end(attempt, *outcome)
        elif known.outcome is None or patience == GONE_PATIENCE:
            known.outcome = known.outcome or outcome
            timer = threading.Timer(patience, self._end, (attempt, *known.outcome))
            timer.daemon = True
            timer.start()

    def _never_starts(self, attempt: Attempt, reason: str, said: str) -> str:
        image = self._steps[attempt.request.step].options.image
        if reason.startswith("CreateContainer"):
            return f"The container of the task can't be made ({reason}: {said}). See to the secrets that it names."
        return f"The image {image} can't be had ({reason}: {said}). See to its name, and to image_pull_secrets."

    def _outcome(self, attempt: Attempt, pod: Any) -> tuple[int, str]:
        """The exit code, and why a pod has failed that did not end by itself."""
        ended = [status.state.terminated for status in pod.status.container_statuses or [] if status.state.terminated]
        code = int(ended[0].exit_code) if ended else -9
        code = 128 - code if code > 128 else code
        if pod.status.phase == "Succeeded":
            return 0, ""
        if ended and ended[0].reason == "OOMKilled":
            return -9, self.out_of_memory(attempt, self._steps[attempt.request.step].size.memory)
        if pod.status.reason == "DeadlineExceeded":
            return -9, f"The task ran longer than its @timeout, so the pod {pod.metadata.name} was ended."
        if pod.status.reason:
            said = " ".join((pod.status.message or "").split())
            return -9, f"The pod {pod.metadata.name} of the task was ended by Kubernetes: {pod.status.reason}. {said}"
        if attempt.exit is None and code > 0:
            image = self._steps[attempt.request.step].options.image
            return code, (
                f"The pod {pod.metadata.name} ended with exit code {code} without running the task. See to it that the "
                f"image {image} has metaflow-tandem, in the version used here."
            )
        return code, ""

    def _end(self, attempt: Attempt, code: int, message: str) -> None:
        for id in [id for id, one in list(self._by_id.items()) if one is attempt]:
            self._by_id.pop(id, None)
            self._pods.pop(id, None)
        if attempt.unwanted:
            self.end(attempt, -9 if attempt.forced else -15)
        elif attempt.exit is not None:
            self.end_as_logged(attempt, self._steps[attempt.request.step].size.memory)
        else:
            self.end(attempt, code, message)

    # --- logs ------------------------------------------------------------------------------------------------------

    def _follow(self, attempt: Attempt, known: _Pod) -> None:
        """Read the log of a pod to its end; what was read before a lost connection is read again, and left out."""
        while not attempt.ended and not self.closed.is_set():
            over = known.outcome is not None
            with suppress(Exception):
                self._read(attempt, known)
            if attempt.exit is not None:
                self._end(attempt, 0, "")
                return
            # The last line is missing when the container was killed, and when its image has not run the task.
            if known.outcome is not None and (attempt.unwanted or (over and known.whole)):
                self._end(attempt, *known.outcome)
                return
            self.closed.wait(PAUSE)

    def _read(self, attempt: Attempt, known: _Pod) -> None:
        answer = self._core.read_namespaced_pod_log(
            known.name,
            self._namespace(attempt),
            container=CONTAINER,
            follow=True,
            _preload_content=False,
            _request_timeout=IDLE_SECONDS,
        )
        skip, rest = known.read, b""
        try:
            for chunk in answer.stream(amt=None):
                new, skip = chunk[skip:], max(0, skip - len(chunk))
                *lines, rest = (rest + new).split(b"\n")
                for line in lines:
                    known.read += len(line) + 1
                    self.write_line(attempt, line)
                if attempt.ended or attempt.exit is not None:
                    return
            if rest and known.outcome is not None:
                known.read += len(rest)
                self.write_line(attempt, rest)
            known.whole = known.outcome is not None
        finally:
            answer.release_conn()
