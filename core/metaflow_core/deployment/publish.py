"""Publishing events for flows on the local orchestrator."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from metaflow_core import identity
from metaflow_core.deployment.events import fields_of
from metaflow_core.errors import MetaflowException
from metaflow_core.metadata.events import publish
from metaflow_core.names import MAX_NAME, show
from metaflow_core.results import provider


def publish_event(name: str, payload: Mapping[str, Any] | None = None, id: str | None = None) -> str:
    """Publish an event, which starts flows that are deployed with ``@trigger(event=name)`` and ``local create``.

    Returns its id, by default a new one. An event of the same name and id counts once, so it may be published again
    when it is not known whether that worked. ``MetaflowException`` for a name that can name no event, and for a payload
    that is no dict, or that JSON can't express.

        publish_event("data_updated", {"table": "sales", "rows": 100})
    """
    if not isinstance(name, str) or not name or name != name.strip() or not name.isprintable() or len(name) > MAX_NAME:
        raise MetaflowException(
            f"{show(name)} can't name an event: use printable text without blanks around it, at most {MAX_NAME} "
            f"characters."
        )
    if name.startswith("metaflow."):
        raise MetaflowException(f"{name!r} can't be published: events named metaflow... are ends of runs.")
    id = str(uuid.uuid4()) if id is None else id
    if not isinstance(id, str) or not id or len(id) > MAX_NAME or not id.isprintable():
        raise MetaflowException(
            f"{show(id)} can't be the id of an event: use printable text, at most {MAX_NAME} characters."
        )
    fields = fields_of(payload)
    try:
        text = json.dumps(fields, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MetaflowException(
            f"The event {name!r} was not published: JSON can't express its payload: {error}."
        ) from None
    if "\\u0000" in text:
        raise MetaflowException(f"The event {name!r} was not published: a text in its payload has a NUL character.")
    publish(provider.backend().db, name, id, "event", fields, identity.user())
    return id
