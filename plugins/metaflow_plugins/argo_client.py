"""Objects of Argo in a namespace of a Kubernetes cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from metaflow_core.errors import MetaflowException, MetaflowNotFound

from metaflow_plugins.kubernetes_connection import api_client, explained

GROUP, VERSION = "argoproj.io", "v1alpha1"
KINDS = {
    "Workflow": "workflows",
    "WorkflowTemplate": "workflowtemplates",
    "CronWorkflow": "cronworkflows",
    "Sensor": "sensors",
}
ATTEMPTS = 3
SECONDS = 30  # for which an answer is waited for
PAGE = 200  # objects at a time


class Argo:
    """The objects of one namespace."""

    def __init__(self, namespace: str) -> None:
        api = api_client("argo-workflows")
        from kubernetes import client

        self.namespace = namespace
        self._api = client.CustomObjectsApi(api)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._ask("get", kind, name)
            return found
        except MetaflowNotFound:
            return None

    def create(self, document: dict[str, Any]) -> dict[str, Any]:
        """The object as the cluster has it; one that is there was created by a request whose answer was lost."""
        kind, name = document["kind"], document["metadata"]["name"]
        found = self._ask("create", kind, body=document)
        return found or self.get(kind, name) or document

    def replace(self, document: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
        """Put ``document`` in the place of ``known``, unless somebody else has changed that since."""
        version = {"resourceVersion": known["metadata"]["resourceVersion"]}
        changed = {**document, "metadata": {**document["metadata"], **version}}
        found: dict[str, Any] = self._ask("replace", document["kind"], document["metadata"]["name"], body=changed)
        return found

    def patch(self, kind: str, name: str, change: dict[str, Any]) -> dict[str, Any]:
        """``change`` is merged into the object. ``MetaflowNotFound`` when there is none."""
        found: dict[str, Any] = self._ask("patch", kind, name, body=change)
        return found

    def delete(self, kind: str, name: str) -> None:
        """Nothing happens when it is gone already."""
        try:
            self._ask("delete", kind, name)
        except MetaflowNotFound:
            return

    def list(self, kind: str, label: str) -> Iterator[dict[str, Any]]:
        """Those with a label, ``key=value``."""
        more: dict[str, Any] = {}
        while True:
            page = self._ask("list", kind, label_selector=label, limit=PAGE, **more)
            yield from page["items"]
            rest = page["metadata"].get("continue")
            if not rest:
                return
            more = {"_continue": rest}

    def _ask(self, what: str, kind: str, name: str | None = None, **given: Any) -> Any:
        """``MetaflowNotFound`` when there is no such object; None for one that the request before has created."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        call: Callable[..., Any] = getattr(self._api, f"{what}_namespaced_custom_object")
        words = [GROUP, VERSION, self.namespace, KINDS[kind], *([] if name is None else [name])]
        shown = f"the {kind} {name}" if name is not None else f"a {kind}" if what == "create" else f"every {kind}"
        with explained(f"Kubernetes did not {what} {shown} in the namespace {self.namespace}", "argo-workflows"):
            for attempt in range(ATTEMPTS):
                try:
                    return call(*words, **given, _request_timeout=SECONDS)
                except (ApiException, HTTPError, OSError) as error:
                    status = getattr(error, "status", None)
                    if status == 404:
                        self._missing(kind, name, str(getattr(error, "body", "")))
                    if status == 409 and what == "create" and attempt:
                        return None
                    if (status is not None and status != 429 and status < 500) or attempt == ATTEMPTS - 1:
                        raise
                time.sleep(attempt + 1)
        return None

    def _missing(self, kind: str, name: str | None, body: str) -> None:
        if name is not None and '"NotFound"' in body:
            raise MetaflowNotFound(f"There is no {kind} {name} in the namespace {self.namespace}.")
        product = "Argo Events" if kind == "Sensor" else "Argo Workflows"
        raise MetaflowException(f"The cluster does not know what a {kind} is: {product} is not installed in it.")
