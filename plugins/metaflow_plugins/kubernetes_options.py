"""What ``@kubernetes`` and the settings say about pods, checked and in one form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from metaflow_core import settings
from metaflow_core.errors import InvalidDecoratorAttribute
from metaflow_core.names import show

from metaflow_plugins.kubernetes_names import is_label_key, is_label_value


class PodOptions(NamedTuple):
    """Of the pods of a step."""

    image: str | None
    image_pull_policy: str | None
    image_pull_secrets: list[str]
    service_account: str | None
    namespace: str
    secrets: list[str]
    node_selector: dict[str, str]
    tolerations: list[dict[str, Any]]
    labels: dict[str, str]
    annotations: dict[str, str]
    volume_claims: dict[str, str]
    gpu_vendor: str
    guaranteed: bool
    security_context: dict[str, Any]


def pod_options(where: str, given: Mapping[str, Any]) -> PodOptions:
    """``where`` begins messages. ``InvalidDecoratorAttribute`` for what makes no sense."""
    read = _Reader(where, given)
    policy = read.text("image_pull_policy", "KUBERNETES_IMAGE_PULL_POLICY")
    if policy not in (None, "Always", "IfNotPresent", "Never"):
        read.refuse("image_pull_policy", "Always, IfNotPresent or Never", policy)
    qos = str(given["qos"] or "Burstable")
    if qos.lower() not in ("burstable", "guaranteed"):
        read.refuse("qos", "Burstable or Guaranteed", qos)
    context = given["security_context"] or {}
    if not isinstance(context, Mapping):
        read.refuse("security_context", "a mapping of names to values", context)
    labels = read.pairs("labels", "KUBERNETES_LABELS")
    selector = read.pairs("node_selector", "KUBERNETES_NODE_SELECTOR")
    annotations = read.pairs("annotations", "KUBERNETES_ANNOTATIONS")
    for key, found, has_labels in (
        ("labels", labels, True),
        ("node_selector", selector, True),
        ("annotations", annotations, False),
    ):
        for name, value in found.items():
            if not is_label_key(name) or (has_labels and not is_label_value(value)):
                read.refuse(key, "what Kubernetes takes: at most 63 letters, digits, -, _ and .", f"{name}={value}")
    claims = read.pairs("persistent_volume_claims", "KUBERNETES_PERSISTENT_VOLUME_CLAIMS")
    for claim, folder in claims.items():
        if not folder.startswith("/"):
            read.refuse("persistent_volume_claims", "absolute folders by the names of claims", f"{claim}={folder}")
    return PodOptions(
        image=read.text("image", "KUBERNETES_CONTAINER_IMAGE"),
        image_pull_policy=policy,
        image_pull_secrets=read.names("image_pull_secrets", "KUBERNETES_IMAGE_PULL_SECRETS"),
        service_account=read.text("service_account", "KUBERNETES_SERVICE_ACCOUNT"),
        namespace=read.text("namespace", "KUBERNETES_NAMESPACE") or "default",
        secrets=read.names("secrets", "KUBERNETES_SECRETS"),
        node_selector=selector,
        tolerations=read.tolerations(),
        labels=labels,
        annotations=annotations,
        volume_claims=claims,
        gpu_vendor=read.text("gpu_vendor", "KUBERNETES_GPU_VENDOR") or "nvidia",
        guaranteed=qos.lower() == "guaranteed",
        security_context=dict(context),
    )


class _Reader:
    """Finds each value in the decorator, else in its setting."""

    def __init__(self, where: str, given: Mapping[str, Any]) -> None:
        self._where = where
        self._given = given

    def refuse(self, key: str, expected: str, value: object) -> None:
        raise InvalidDecoratorAttribute(f"{self._where}: {key} must be {expected}, not {show(value)}.")

    def text(self, key: str, setting: str) -> str | None:
        value: str | None = self._value(key, setting)
        if value is not None and not isinstance(value, str):
            self.refuse(key, "text", value)
        return value

    def names(self, key: str, setting: str) -> list[str]:
        value = self._value(key, setting) or []
        listed = [one.strip() for one in value.split(",")] if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)) or not all(isinstance(one, str) and one for one in listed):
            self.refuse(key, "a list of names", value)
        return list(listed)

    def pairs(self, key: str, setting: str) -> dict[str, str]:
        value = self._value(key, setting) or {}
        if isinstance(value, Mapping):
            return {str(name): "" if one is None else str(one) for name, one in value.items()}
        listed = value.split(",") if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)) or not all(isinstance(one, str) and "=" in one for one in listed):
            self.refuse(key, "a mapping, or text such as name=value,name2=value2", value)
        return {name.strip(): one.strip() for name, _, one in (part.partition("=") for part in listed)}

    def tolerations(self) -> list[dict[str, Any]]:
        value: Any = self._value("tolerations", "KUBERNETES_TOLERATIONS") or []
        if isinstance(value, str):
            with suppress(ValueError):
                value = json.loads(value)
        known = {"key", "operator", "value", "effect", "tolerationSeconds"}
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(one, Mapping) and set(one) <= known for one in value
        ):
            self.refuse(
                "tolerations", f"a list of mappings with {', '.join(sorted(known))} (as JSON where it is text)", value
            )
        return [dict(one) for one in value]

    def _value(self, key: str, setting: str) -> Any:
        return self._given[key] if self._given[key] is not None else settings.get(setting)
