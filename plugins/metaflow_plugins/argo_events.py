"""Tells events to the webhook of an event source of Argo Events."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from metaflow_core import settings
from metaflow_core.errors import MetaflowException
from metaflow_core.names import masked

ATTEMPTS = 3
SECONDS = 10.0  # for which an answer is waited for


def publish(event: Mapping[str, Any]) -> bool:
    """Post the event. Without an address there is nobody to tell: False.

    Whoever posts the same to this address starts the flows that wait for an event of this name.
    """
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    address = settings.get("ARGO_EVENTS_WEBHOOK_URL")
    if not address:
        return False
    if not address.startswith(("http://", "https://")):
        raise MetaflowException(
            f"METAFLOW_ARGO_EVENTS_WEBHOOK_URL must begin with http:// or https://: {masked(address)}."
        )
    body = json.dumps({"time": time.time_ns() // 1000, "payload": {}, **event}).encode()
    for attempt in range(ATTEMPTS):
        try:
            with urlopen(Request(address, body, {"Content-Type": "application/json"}), timeout=SECONDS):
                return True
        except OSError as error:
            refused = isinstance(error, HTTPError) and error.code < 500
            if refused or attempt == ATTEMPTS - 1:
                raise MetaflowException(
                    f"The event {event['name']} could not be published at {masked(address)}: {error}. "
                    f"What waits for it was not started."
                ) from None
            time.sleep(2**attempt)
    return False
