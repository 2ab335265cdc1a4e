"""What moto's interpreter of state machines lacks of AWS Step Functions and EventBridge, for the server of tests.

Its service tasks pass parameters on as they stand in the machine, and Step Functions spells them in its own way; a job
of Batch goes on when its execution is stopped; a rule starts no execution.
"""

from __future__ import annotations

import json
import re
import threading
from typing import Any

SECONDS_BETWEEN_LOOKS = 0.1  # at the jobs of an execution


def install() -> None:
    """Change moto in this process."""
    from moto.core.config import default_user_config
    from moto.events.models import Rule
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
        state_task_service_callback as sync,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import (
        StateTaskService,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_batch import (
        StateTaskServiceBatch,
    )

    default_user_config["stepfunctions"]["execute_state_machine"] = True
    sync._DELAY_SECONDS_SYNC_CONDITION_CHECK = SECONDS_BETWEEN_LOOKS
    StateTaskService._normalise_parameters = _normalise_parameters
    StateTaskService._normalise_response = _normalise_response
    StateTaskServiceBatch._build_sync_resolver = _terminating(StateTaskServiceBatch._build_sync_resolver)
    StateTaskServiceBatch._eval_sync = _without_token(StateTaskServiceBatch._eval_sync)
    Rule.send_to_targets = _sending(Rule.send_to_targets)


def _shapes(task: Any, service: str | None, action: str | None) -> tuple[Any, Any]:
    from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for
    from moto.stepfunctions.parser.utils import camel_to_snake_case

    client = boto_client_for("us-east-1", task._get_boto_service_name(service))
    name = client.meta.method_to_api_mapping[camel_to_snake_case(action or task.resource.api_action)]
    operation = client.meta.service_model.operation_model(name)
    return operation.input_shape, operation.output_shape


def _normalise_parameters(
    self: Any, parameters: dict[str, Any], boto_service_name: str | None = None, service_action_name: str | None = None
) -> None:
    self._to_boto_request(parameters, _shapes(self, boto_service_name, service_action_name)[0])


def _normalise_response(
    self: Any, response: Any, boto_service_name: str | None = None, service_action_name: str | None = None
) -> None:
    if self.resource.condition is not None and "JobQueue" in response:
        return  # the outcome of a job that has been waited for, which has been made ready
    self._from_boto_response(response, _shapes(self, boto_service_name, service_action_name)[1])


def _without_token(wait: Any) -> Any:
    """No job answers by a token, and of one that is repeated moto believes that it does not answer in time."""

    def changed(self: Any, **given: Any) -> Any:
        return wait(self, **{**given, "callback_endpoint": None})

    return changed


def _terminating(build: Any) -> Any:
    """Step Functions ends the jobs of an execution that is stopped, and those beside an iteration that has failed."""

    def changed(self: Any, env: Any, **given: Any) -> Any:
        job = env.stack[-1]["JobId"]
        look = build(self, env=env, **given)
        ended = threading.Event()

        def end() -> None:
            while env.is_running():
                if ended.wait(SECONDS_BETWEEN_LOOKS):
                    return
            from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

            boto_client_for("us-east-1", "batch").terminate_job(jobId=job, reason="The execution was stopped.")

        def changed_look() -> Any:
            try:
                found = look()
            except Exception:
                ended.set()
                raise
            if found is not None:
                ended.set()
            return found

        threading.Thread(target=end, daemon=True).start()
        return changed_look

    return changed


def _sending(send: Any) -> Any:
    """Rules start executions, too."""

    def changed(self: Any, original_event: dict[str, Any], transform_input: bool = True) -> None:
        machines = [target for target in self.targets if ":states:" in target["Arn"]]
        if not machines:
            send(self, original_event, transform_input)
            return
        if self.state != "ENABLED" or not self.event_pattern.matches_event(original_event):
            return
        from datetime import datetime, timezone

        from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

        event = dict(original_event)
        event["time"] = datetime.fromtimestamp(float(event["time"]), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        for target in machines:
            given = transformed(target["InputTransformer"], event) if "InputTransformer" in target else target["Input"]
            boto_client_for("us-east-1", "stepfunctions").start_execution(
                stateMachineArn=target["Arn"], input=given, name=f"{event['id']}_{target['Id']}"
            )

    return changed


def transformed(transformer: dict[str, Any], event: dict[str, Any]) -> str:
    """The input that EventBridge makes of an event: the values of paths, as JSON, for their names in the template."""
    values = {}
    for name, path in transformer["InputPathsMap"].items():
        found: Any = event
        for key in path.removeprefix("$.").split("."):
            found = found[key]
        values[name] = json.dumps(found)
    text = re.sub("<([A-Za-z0-9_-]+)>", lambda match: values[match[1]], transformer["InputTemplate"])
    json.loads(text)  # EventBridge starts nothing with anything else
    return text
