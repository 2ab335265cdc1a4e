"""What the tasks of deployed flows tell AWS: what follows them, in a table of DynamoDB, and their end, as an event."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from metaflow_core.errors import MetaflowException

from metaflow_plugins.aws_calls import clients, explained
from metaflow_plugins.step_functions_names import KEY, MAX_EVENT_NAME, PAGE

SOURCE = "metaflow"  # of events, as EventBridge says it
# A state of Step Functions takes 256 KB, so that many indices are about 200 KB.
MOST_SPLITS = 35_000
KEPT_SECONDS = 400 * 86_400  # an execution may take a year


def write_result(table: str, flow: str, run_id: str, step: str, path: str, result: Mapping[str, Any]) -> None:
    """Write what the state machine reads next."""
    item = {KEY: {"S": f"{flow}/{run_id}/{step}/{path}"}, "ttl": {"N": str(int(time.time()) + KEPT_SECONDS)}}
    if "num_splits" in result:
        count = result["num_splits"]
        if count > MOST_SPLITS:
            raise MetaflowException(
                f"The foreach of step {step} has {count} elements, and AWS Step Functions can be told {MOST_SPLITS} at "
                f"most. Make a list of lists, with a foreach inside of a foreach."
            )
        item["indices"] = {"S": json.dumps(list(range(count)), separators=(",", ":"))}
    if "next" in result:
        item["next"] = {"S": result["next"]}
    (tables,) = clients(["dynamodb"], "AWS Step Functions", "Amazon DynamoDB can't be used")
    with explained(f"What follows step {step} can't be written to the table {table}", PAGE):
        tables.put_item(TableName=table, Item=item)


def put_event(event: Mapping[str, Any]) -> None:
    """Put the event on the default bus of EventBridge."""
    if len(event["name"]) > MAX_EVENT_NAME:
        return  # nothing waits for it: a deployment that would is refused
    (bus,) = clients(["events"], "AWS Step Functions", "Amazon EventBridge can't be used")
    entry = {"Source": SOURCE, "DetailType": event["name"], "Detail": json.dumps(event["payload"])}
    with explained("The event can't be put on the bus of Amazon EventBridge", PAGE):
        answer = bus.put_events(Entries=[entry])
    if answer.get("FailedEntryCount"):
        raise MetaflowException(f"Amazon EventBridge has refused it: {answer['Entries'][0].get('ErrorMessage')}.")
