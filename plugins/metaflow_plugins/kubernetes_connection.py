"""The connection to a cluster, and what is said when it fails."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from metaflow_core.errors import ComputeUnavailable, PluginError


def api_client(user: str, connections: int = 4) -> Any:
    """A client of the cluster that ``KUBECONFIG`` names, or in which this is a pod. ``user`` begins messages."""
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise PluginError(f"{user} needs the package kubernetes: pip install 'metaflow-tandem[kubernetes]'.") from error
    configuration = client.Configuration()
    configuration.connection_pool_maxsize = connections
    path = os.environ.get("KUBECONFIG") or os.path.expanduser(os.path.join("~", ".kube", "config"))
    try:
        if any(os.path.exists(one) for one in path.split(os.pathsep)):
            config.load_kube_config(config_file=path, client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise ComputeUnavailable(
            f"{user} does not know the cluster: {said}. Set KUBECONFIG to a file that names it (the one "
            f"looked for is {path}), or run in a pod."
        ) from None
    return client.ApiClient(configuration)


@contextmanager
def explained(start: str, page: str = "kubernetes") -> Iterator[None]:
    """Errors of the client in the user's terms. ``page`` of the documentation has what must be allowed."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (ApiException, HTTPError, OSError) as error:
        raise ComputeUnavailable(f"{start}: {reason(error, page)}") from None


def reason(error: Exception, page: str = "kubernetes") -> str:
    """What went wrong, as the end of a sentence, and what to do."""
    status = getattr(error, "status", None)
    said = " ".join(str(getattr(error, "reason", None) or error).split()).rstrip(".")
    with suppress(ValueError, TypeError, AttributeError):
        said = json.loads(error.body)["message"]  # type: ignore[attr-defined]
    if status == 401:
        return f"the cluster does not know who you are ({said}). Log in again, or see to the kubeconfig file."
    if status == 403:
        return f"you may not do that ({said}). docs/{page}.md lists what has to be allowed."
    if status is None:
        return f"the cluster does not answer ({said}). See to the network, and to the kubeconfig file."
    return f"{said} ({status})."
