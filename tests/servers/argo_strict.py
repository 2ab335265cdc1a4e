"""Whether objects of Argo are what its API documents: by hera's models, and by what they refer to.

The models accept keys that they do not know, so what they have read must be the same when it is written again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

NAME = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?")  # of templates and tasks
PARAMETER = re.compile(r"[-a-zA-Z0-9_]+")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
RESULTS = {"Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned"}
LONGEST_NAME = {"CronWorkflow": 52}


def check(document: Mapping[str, Any]) -> None:
    """``AssertionError`` for what Argo would refuse, or would not understand."""
    kind = document["kind"]
    name = document["metadata"].get("name") or document["metadata"]["generateName"].rstrip("-")
    assert LABEL.fullmatch(name) and len(name) <= LONGEST_NAME.get(kind, 63), name
    for key, value in document["metadata"].get("labels", {}).items():
        assert re.fullmatch(r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]|", value), (key, value)
    if kind == "Sensor":
        _check_sensor(document)
        return
    import hera.workflows.models as models

    _round_trip(getattr(models, kind), document)
    if kind == "WorkflowTemplate":
        _Spec(document["spec"]).check()


def _round_trip(model: Any, document: Any) -> None:
    again = json.loads(model.model_validate(document).model_dump_json(by_alias=True, exclude_unset=True))
    wrong = list(_differences(document, again, ""))
    assert not wrong, wrong


def _differences(one: Any, other: Any, where: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if key not in one or key not in other:
                yield f"{where}.{key}"
            else:
                yield from _differences(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, both in enumerate(zip(one, other, strict=True)):
            yield from _differences(*both, f"{where}[{number}]")
    elif one != other or type(one) is not type(other):
        yield f"{where}: {one!r} was read as {other!r}"


def _check_sensor(document: Mapping[str, Any]) -> None:
    import hera.events.models as models

    copy = json.loads(json.dumps(document))
    assert (copy.pop("apiVersion"), copy.pop("kind")) == ("argoproj.io/v1alpha1", "Sensor")  # not in the model
    names = [dependency["name"] for dependency in document["spec"]["dependencies"]]
    assert len(set(names)) == len(names)
    for trigger in copy["spec"]["triggers"]:
        template = trigger["template"]
        resource = template["k8s"]["source"].pop("resource")  # any object: the model takes base64 there
        check(resource)
        assert set(re.findall(r"event-\d+", template["conditions"])) <= set(names)
        assert not re.sub(r"event-\d+( && )?", "", template["conditions"])
        for parameter in template["k8s"]["parameters"]:
            assert parameter["src"]["dependencyName"] in names
            place: Any = resource
            for key in parameter["dest"].split("."):
                place = place[int(key) if key.isdigit() else key]
    _round_trip(models.Sensor, copy)


class _Spec:
    """Of a workflow template."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = spec
        self.templates = {template["name"]: template for template in spec["templates"]}
        self.arguments = [one["name"] for one in spec.get("arguments", {}).get("parameters", [])]

    def check(self) -> None:
        assert len(self.templates) == len(self.spec["templates"]), "two templates have one name"
        assert self.spec["entrypoint"] in self.templates and self.spec["onExit"] in self.templates
        assert len(set(self.arguments)) == len(self.arguments)
        for name in self.arguments:
            assert PARAMETER.fullmatch(name), name
        used = {self.spec["entrypoint"], self.spec["onExit"]}
        for template in self.spec["templates"]:
            assert NAME.fullmatch(template["name"]) and len(template["name"]) <= 128
            used |= {task["template"] for task in _tasks(template)}
            self._check_template(template)
        assert used == set(self.templates), "a template that nobody uses"

    def _check_template(self, template: Mapping[str, Any]) -> None:
        inputs = [one["name"] for one in template.get("inputs", {}).get("parameters", [])]
        kinds = [kind for kind in ("dag", "steps", "container", "suspend") if kind in template]
        assert len(kinds) == 1, kinds
        before: set[str] = set()
        tasks = {task["name"]: task for task in _tasks(template)}
        assert len(tasks) == len(list(_tasks(template)))
        normal = {name.replace("-", "_") for name in tasks}  # as expressions have them
        assert len(normal) == len(tasks)
        for task in _tasks(template):
            assert NAME.fullmatch(task["name"]) and not task["name"][0].isdigit()
            called = self.templates[task["template"]]
            given = [one["name"] for one in task.get("arguments", {}).get("parameters", [])]
            assert given == [one["name"] for one in called.get("inputs", {}).get("parameters", [])]
            if "depends" in task:
                words = re.findall(r"[A-Za-z0-9-]+\.[A-Za-z]+|&&|\|\||[()]|\S+", task["depends"])
                for word in words:
                    if word not in ("&&", "||", "(", ")"):
                        name, _, result = word.partition(".")
                        assert name in tasks and result in RESULTS, word
            self._check_tags(task, inputs, tasks, self._ancestors(task, tasks), "withSequence" in task)
            before.add(task["name"])
        for task in tasks.values():
            assert task["name"] not in self._ancestors(task, tasks), "tasks that wait for each other"
        rest = {key: value for key, value in template.items() if key not in ("dag", "steps")}
        self._check_tags(rest, inputs, {}, set(), False)
        for parameter in template.get("outputs", {}).get("parameters", []):
            assert parameter["valueFrom"]["path"].startswith("/tmp/")

    def _ancestors(self, task: Mapping[str, Any], tasks: Mapping[str, Any]) -> set[str]:
        found: set[str] = set()
        waiting = [task]
        while waiting:
            for name in re.findall(r"([A-Za-z0-9-]+)\.[A-Z]", waiting.pop().get("depends", "")):
                if name not in found:
                    found.add(name)
                    waiting.append(tasks[name])
        return found

    def _check_tags(
        self, document: Any, inputs: list[str], tasks: Mapping[str, Any], known: set[str], has_items: bool
    ) -> None:
        text = json.dumps(document, ensure_ascii=False)
        tags = TAG.findall(text)
        assert text.count("{{") == len(tags), text
        for tag in tags:
            kind, _, rest = tag.partition(".")
            if tag in ("workflow.name", "workflow.status") or (tag == "item" and has_items):
                continue
            elif tag.startswith("workflow.parameters."):
                assert tag[len("workflow.parameters.") :] in self.arguments, tag
            elif tag.startswith("inputs.parameters."):
                assert tag[len("inputs.parameters.") :] in inputs, tag
            elif kind == "tasks":
                name, _, output = rest.partition(".")
                assert name in known, tag
                outputs = self.templates[tasks[name]["template"]].get("outputs", {}).get("parameters", [])
                assert output in {f"outputs.parameters.{one['name']}" for one in outputs}, tag
            else:
                raise AssertionError(f"nothing is known of {tag!r}")


def _tasks(template: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from template.get("dag", {}).get("tasks", [])
    for together in template.get("steps", []):
        yield from together
