"""Publishing events to Argo Events."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

from metaflow_core import settings
from metaflow_core.errors import MetaflowException
from metaflow_core.names import masked, show

_ATTEMPTS = 3
_SECONDS = 10.0  # to wait for an answer
_DEPLOYED = "METAFLOW_DEPLOYMENT_ID"  # in the environment of what an orchestrator runs


class ArgoEvent:
    """An event for flows with ``@trigger`` that are deployed to Argo Workflows.

        ArgoEvent("data_updated").publish({"table": "sales", "rows": 100})

    ``url`` is the webhook of Argo Events, by default the setting ``METAFLOW_ARGO_EVENTS_WEBHOOK_URL``. It is sent a
    JSON object with ``name``, ``id``, ``time`` (microseconds since 1970), ``type`` and ``payload``, whose values JSON
    can express. ``access_token`` is sent along, as a bearer token.
    """

    def __init__(
        self,
        name: str,
        url: str | None = None,
        payload: Mapping[str, Any] | None = None,
        access_token: str | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise MetaflowException(f"An event is named by a text, not {show(name)}.")
        self._name = name
        self._url = url
        self._payload: dict[str, Any] = dict(payload or {})
        self._token = access_token

    def add_to_payload(self, key: str, value: Any) -> ArgoEvent:
        """Add a field, and return the event."""
        self._payload[str(key)] = value
        return self

    def safe_publish(self, payload: Mapping[str, Any] | None = None, ignore_errors: bool = True) -> str | None:
        """As :meth:`publish`, but only in a flow that an orchestrator runs: on a laptop nothing happens."""
        return self.publish(payload, force=False, ignore_errors=ignore_errors)

    def publish(
        self, payload: Mapping[str, Any] | None = None, force: bool = True, ignore_errors: bool = True
    ) -> str | None:
        """Send the event, with more fields if ``payload`` has some. Returns its id.

        Nothing waits for the flows that it starts. When it can't be sent, that is said on stderr and None is returned,
        or with ``ignore_errors=False`` it is a ``MetaflowException``. Without ``force`` only deployed flows send it.
        """
        if not force and not os.environ.get(_DEPLOYED):
            return None
        event = {
            "name": self._name,
            "id": str(uuid.uuid4()),
            "time": time.time_ns() // 1000,
            "type": "event",
            "payload": {**self._payload, **(payload or {})},
        }
        try:
            self._send(event)
        except MetaflowException as error:
            if not ignore_errors:
                raise
            print(f"{error} The program goes on.", file=sys.stderr)
            return None
        return str(event["id"])

    def _send(self, event: Mapping[str, Any]) -> None:
        import urllib.error
        import urllib.request

        url = self._url or settings.get("ARGO_EVENTS_WEBHOOK_URL")
        what = f"The event {self._name!r} was not published"
        if not url:
            raise MetaflowException(
                f"{what}: it is not known where Argo Events listens. "
                "Set METAFLOW_ARGO_EVENTS_WEBHOOK_URL, or give a url."
            )
        if not url.startswith(("http://", "https://")):
            raise MetaflowException(f"{what}: {masked(url)} is no address of a webhook. It begins with https://.")
        try:
            body = json.dumps(event, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise MetaflowException(f"{what}: its payload can't be written as JSON: {error}.") from None
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        for attempt in range(1, _ATTEMPTS + 1):
            request = urllib.request.Request(url, body, headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=_SECONDS):
                    return
            except urllib.error.HTTPError as error:
                error.close()
                reason, again = f"{masked(url)} answered {error.code} {error.reason}", error.code >= 500
            except OSError as error:
                reason, again = f"{masked(url)} did not answer: {getattr(error, 'reason', error)}", True
            if not again or attempt == _ATTEMPTS:
                raise MetaflowException(f"{what}: {reason}.")
            time.sleep(0.2 * attempt)
