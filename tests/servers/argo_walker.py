"""Does what Argo Workflows would do with a WorkflowTemplate, as far as the plugin uses it; a pod is a process.

Text is replaced as Argo does it, and as often: first what belongs to the workflow, in all of its specification, then
what belongs to a task or a template, so that text of a user's that looks like a reference would be replaced, or be an
error. What is not known is an error too.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
DEEPEST = 100  # templates in templates
ROOT = "/tmp/metaflow-result"  # each container has a folder of its own for it


class Failed(Exception):
    """An error of Argo, not of a program."""


class Pod(NamedTuple):
    """What has run."""

    template: str
    path: str
    code: int
    log: str


class Outcome(NamedTuple):
    phase: str  # Succeeded, Failed, Error, Skipped, Omitted
    outputs: Mapping[str, str] = {}


class Walker:
    """One workflow. ``machine`` is the environment of a container without variables, ``secrets`` the cluster's."""

    def __init__(
        self,
        template: Mapping[str, Any],
        workflow: Mapping[str, Any],
        folder: Path,
        machine: Mapping[str, str],
        secrets: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.name = workflow["metadata"]["name"]
        self.folder, self.machine, self.secrets = folder, machine, secrets or {}
        self.pods: list[Pod] = []
        self.errors: list[str] = []
        self.shutdown = threading.Event()
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._exiting = False
        given = {one["name"]: one["value"] for one in workflow["spec"].get("arguments", {}).get("parameters", [])}
        known = {one["name"]: one["value"] for one in template["spec"]["arguments"]["parameters"]}
        assert set(given) <= set(known), given
        values = {f"workflow.parameters.{name}": value for name, value in {**known, **given}.items()}
        self._globals = {**values, "workflow.name": self.name}
        self.spec = replaced(template["spec"], self._globals)
        self.templates = {one["name"]: one for one in self.spec["templates"]}
        self._room = threading.Semaphore(self.spec["parallelism"])

    def run(self) -> str:
        """Walk the workflow to its end, and return its phase."""
        seconds = self.spec.get("activeDeadlineSeconds")
        timer = threading.Timer(seconds or 0, self.stop)
        if seconds is not None:
            timer.start()
        phase = self._execute(self.spec["entrypoint"], {}, 0).phase
        timer.cancel()
        with self._lock:
            self._exiting = True
        self.templates = {name: replaced(one, {"workflow.status": phase}) for name, one in self.templates.items()}
        self._execute(self.spec["onExit"], {}, 0)
        return phase

    def stop(self) -> None:
        """End all pods but those of the exit handler, and start no other: ``shutdown: Stop``."""
        self.shutdown.set()
        with self._lock:
            processes = [] if self._exiting else list(self._processes)
        for process in processes:
            _end(process)

    def ran(self, template: str) -> list[Pod]:
        """The pods of a template."""
        return [pod for pod in self.pods if pod.template == template]

    # --- templates -------------------------------------------------------------------------------------------------

    def _execute(self, name: str, inputs: Mapping[str, str], depth: int) -> Outcome:
        try:
            if depth > DEEPEST:
                raise Failed("Maximum recursion depth exceeded.")
            template = self.templates[name]
            wanted = [one["name"] for one in template.get("inputs", {}).get("parameters", [])]
            if sorted(wanted) != sorted(inputs):
                raise Failed(f"{name} takes {wanted} and got {list(inputs)}")
            template = replaced(template, {f"inputs.parameters.{key}": value for key, value in inputs.items()})
            if "dag" in template:
                return self._dag(template["dag"]["tasks"], depth)
            if "steps" in template:
                return self._steps(template["steps"], depth)
            if "suspend" in template:
                return Outcome("Succeeded")
            return self._container(template, inputs.get("path", ""))
        except Failed as error:
            self.errors.append(f"{name}: {error}")
            return Outcome("Error")

    def _steps(self, steps: list[list[dict[str, Any]]], depth: int) -> Outcome:
        for together in steps:
            for step in together:
                if not _when(step.get("when")):
                    continue
                outcome = self._execute(step["template"], {}, depth + 1)
                if outcome.phase != "Succeeded":
                    return Outcome("Failed")
        return Outcome("Succeeded")

    def _dag(self, tasks: list[dict[str, Any]], depth: int) -> Outcome:
        """Tasks wait for all that they name; after a failure none is started."""
        waiting = {task["name"]: task for task in tasks}
        done: dict[str, Outcome] = {}
        changed = threading.Condition()
        running: set[str] = set()

        def work(task: dict[str, Any]) -> None:
            try:
                outcome = self._task(task, done, depth)
            except Failed as error:
                self.errors.append(f"{task['name']}: {error}")
                outcome = Outcome("Error")
            with changed:
                done[task["name"]] = outcome
                running.discard(task["name"])
                changed.notify_all()

        with changed:
            while waiting or running:
                failed = any(outcome.phase in ("Failed", "Error") for outcome in done.values())
                if failed or self._stopped():
                    waiting = {}
                ready = [task for task in waiting.values() if _named(task) <= set(done)]
                for task in ready:
                    del waiting[task["name"]]
                    if not _depends(task, done):
                        done[task["name"]] = Outcome("Omitted")
                        continue
                    running.add(task["name"])
                    threading.Thread(target=work, args=(task,)).start()
                if not ready and running:
                    changed.wait()
                elif not ready and waiting:
                    raise Failed(f"nothing leads to {list(waiting)}")
        bad = any(outcome.phase in ("Failed", "Error") for outcome in done.values()) or len(done) < len(tasks)
        return Outcome("Failed" if bad else "Succeeded")

    def _task(self, task: dict[str, Any], done: Mapping[str, Outcome], depth: int) -> Outcome:
        values = {
            f"tasks.{name}.outputs.parameters.{key}": value
            for name, outcome in done.items()
            for key, value in outcome.outputs.items()
        }
        task = replaced(task, values)
        if not _when(task.get("when")):
            return Outcome("Skipped")
        if "withSequence" not in task:
            return self._execute(task["template"], _arguments(task), depth + 1)
        count = int(_resolved(task.pop("withSequence")["count"]))
        each = [replaced(task, {"item": str(number)}) for number in range(count)]
        with ThreadPoolExecutor(max(1, count)) as pool:
            outcomes = list(pool.map(lambda one: self._execute(one["template"], _arguments(one), depth + 1), each))
        phases = {outcome.phase for outcome in outcomes}
        return Outcome("Succeeded" if phases <= {"Succeeded"} else "Failed")

    # --- pods ------------------------------------------------------------------------------------------------------

    def _stopped(self) -> bool:
        return self.shutdown.is_set() and not self._exiting

    def _container(self, template: dict[str, Any], path: str) -> Outcome:
        strategy = template.get("retryStrategy", {"limit": "0"})
        for _ in range(int(strategy["limit"]) + 1):
            with self._room:
                if self._stopped():
                    return Outcome("Failed")
                code, root = self._pod(template, path)
            if code == 0:
                return Outcome("Succeeded", _outputs(template, root))
        return Outcome("Failed")

    def _pod(self, template: dict[str, Any], path: str) -> tuple[int, Path]:
        container = template["container"]
        text = json.dumps(container)
        if "{{" in text:
            raise Failed(f"unresolved: {TAG.findall(text)}")
        with self._lock:
            root = self.folder / f"{self.name}-{len(list(self.folder.iterdir()))}"
            (root / "tmp").mkdir(parents=True)
        environment = dict(self.machine)
        for source in container.get("envFrom", []):
            environment.update(self.secrets[source["secretRef"]["name"]])
        given: dict[str, str] = {}
        for one in container["env"]:
            given[one["name"]] = expanded(one["value"], given)
        given = {key: _own(value, root) for key, value in given.items()}
        environment.update({**given, "HOME": str(root), "TMPDIR": str(root / "tmp")})
        with open(root / "log", "wb") as log, self._lock:
            process = subprocess.Popen(
                container["command"],
                env=environment,
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._processes.add(process)
        try:
            code = process.wait(template.get("activeDeadlineSeconds"))
        except subprocess.TimeoutExpired:
            _end(process)
            code = process.wait()
        with self._lock:
            self._processes.discard(process)
            self.pods.append(Pod(template["name"], path, code, (root / "log").read_text("utf-8", "replace")))
        return code, root


def replaced(document: Any, values: Mapping[str, str]) -> Any:
    """References that have a value are replaced, in the JSON of the document; others stay."""

    def value(match: re.Match[str]) -> str:
        try:
            tag = json.loads(f'"{match[1]}"').strip()
        except ValueError:
            raise Failed(f"no reference: {match[0]}") from None
        if tag.startswith("="):
            raise Failed(f"an expression: {tag}")
        return json.dumps(values[tag])[1:-1] if tag in values else match[0]

    return json.loads(TAG.sub(value, json.dumps(document)))


def expanded(value: str, known: Mapping[str, str]) -> str:
    """A value of a variable as Kubernetes makes it.

    >>> expanded("$(A) $$(A) $(B) $$ $5", {"A": "1"})
    '1 $(A) $(B) $ $5'
    """
    return re.sub(
        r"\$\$|\$\(([^)]*)\)",
        lambda match: "$" if match[0] == "$$" else known.get(match[1], match[0]),
        value,
    )


def _own(value: str, root: Path) -> str:
    return f"{root}{value}" if value.startswith(ROOT) else value


def _arguments(task: Mapping[str, Any]) -> dict[str, str]:
    return {one["name"]: _resolved(one["value"]) for one in task.get("arguments", {}).get("parameters", [])}


def _resolved(text: str) -> str:
    if "{{" in text:
        raise Failed(f"unresolved: {text}")
    return text


def _named(task: Mapping[str, Any]) -> set[str]:
    return set(re.findall(r"([A-Za-z0-9-]+)\.[A-Z]", task.get("depends", "")))


def _depends(task: Mapping[str, Any], done: Mapping[str, Outcome]) -> bool:
    """The value of the expression, once all that it names has ended."""
    if "depends" not in task:
        return True
    words = {"&&": "and", "||": "or", "(": "(", ")": ")"}
    python = []
    for word in re.findall(r"[A-Za-z0-9-]+\.[A-Za-z]+|&&|\|\||[()]|\S+", task["depends"]):
        if word in words:
            python.append(words[word])
        else:
            name, _, result = word.partition(".")
            phase = {"Errored": "Error"}.get(result, result)
            python.append(str(done[name].phase == phase))
    return bool(eval(" ".join(python), {"__builtins__": {}}))


def _when(text: str | None) -> bool:
    if text is None:
        return True
    match = re.fullmatch(r"'([^']*)' (==|!=) '([^']*)'", _resolved(text))
    if match is None:
        raise Failed(f"Invalid 'when' expression '{text}'")
    return (match[1] == match[3]) == (match[2] == "==")


def _outputs(template: Mapping[str, Any], root: Path) -> dict[str, str]:
    found = {}
    for parameter in template.get("outputs", {}).get("parameters", []):
        place = Path(_own(parameter["valueFrom"]["path"], root))
        if not place.exists():
            raise Failed(f"{place} was not written")
        found[parameter["name"]] = place.read_text()
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a pod to end, and end it when it does not."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    end = time.monotonic() + 5
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
