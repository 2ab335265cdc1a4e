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
from metaflow_core.deployment.events import fields_of
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
    can express. ``access_token`` is sent along, as a bearer token, without blanks around it, and to no other server:
    one that sends elsewhere is an error. ``MetaflowException`` when ``name`` is no text, or ``payload`` no dict.
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
        self._payload: dict[str, Any] = fields_of(payload)
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
        id = str(uuid.uuid4())
        try:
            fields = {**self._payload, **fields_of(payload)}
            url = self._url or settings.get("ARGO_EVENTS_WEBHOOK_URL")
            if not url:
                raise MetaflowException(
                    f"The event {self._name!r} was not published: it is not known where Argo Events listens. "
                    "Set METAFLOW_ARGO_EVENTS_WEBHOOK_URL, or give a url."
                )
            post({"name": self._name, "id": id, "type": "event", "payload": fields}, url, self._token)
        except MetaflowException as error:
            if not ignore_errors:
                raise
            print(f"{error} The program goes on.", file=sys.stderr)
            return None
        return id


def post(event: Mapping[str, Any], url: str, access_token: str | None = None) -> None:
    """Post an event with ``name`` and ``id`` to the webhook. ``MetaflowException`` when it did not arrive.

    Whoever posts the same starts the flows that wait for an event of this name.
    """
    import urllib.error
    import urllib.request
    from http.client import HTTPException, InvalidURL

    from metaflow_core.deployment.no_redirects import NoRedirects

    what = f"The event {event['name']!r} was not published"
    try:
        body = json.dumps({"time": time.time_ns() // 1000, "payload": {}, **event}, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise MetaflowException(f"{what}: its payload can't be written as JSON: {error}.") from None
    headers = {"Content-Type": "application/json"}
    if access_token:
        headers["Authorization"] = f"Bearer {_checked(access_token, what)}"
    opener = urllib.request.build_opener(NoRedirects)
    for attempt in range(_ATTEMPTS):
        try:
            if not isinstance(url, str) or not url.startswith(("http://", "https://")):
                raise ValueError
            with opener.open(urllib.request.Request(url, body, headers), timeout=_SECONDS):
                return
        except urllib.error.HTTPError as error:
            error.close()
            reason, again = f"{masked(url)} answered {error.code} {error.reason}", error.code >= 500
            if 300 <= error.code < 400:
                elsewhere = masked(str(error.headers.get("Location")))
                reason = f"{masked(url)} sends elsewhere, to {elsewhere}. Give the address where Argo Events is"
        except (ValueError, InvalidURL):  # whose text may be a part of a password
            shown = masked(url) if isinstance(url, str) else show(url)
            raise MetaflowException(
                f"{what}: {shown} is no address of a webhook. It begins with https://, and what is no letter, digit or "
                f"sign of an address is written as %20."
            ) from None
        except (OSError, HTTPException) as error:
            reason, again = f"{masked(url)} did not answer: {getattr(error, 'reason', error)}", True
        if not again or attempt == _ATTEMPTS - 1:
            raise MetaflowException(f"{what}: {reason}.")
        time.sleep(2**attempt)


def _checked(token: object, what: str) -> str:
    """The token as it can be sent. What is none is not shown: a part of it may be right."""
    text = token.strip() if isinstance(token, str) else ""
    if not text or not text.isascii() or not text.isprintable():
        raise MetaflowException(f"{what}: its access_token is no text of printable ASCII characters in one line.")
    return text
