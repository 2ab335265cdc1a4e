"""What AWS Batch is told of a step and of its attempts: job definitions and what each job overrides in them.

https://docs.aws.amazon.com/batch/latest/APIReference/API_RegisterJobDefinition.html
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from metaflow_core import settings
from metaflow_core.engine.interface import JobNeeds, TaskRequest
from metaflow_core.errors import ComputeUnavailable, InvalidDecoratorAttribute
from metaflow_core.names import show

from metaflow_plugins.container_job import COMMAND
from metaflow_plugins.container_needs import Size, size_of, temporary_folder

MOST_OVERRIDES = 8192  # characters of JSON, a limit of ECS, which runs the jobs of Batch
SHORTEST_TIMEOUT = 60  # seconds, a limit of Batch
LOG_GROUP = "/aws/batch/job"


class StepJob(NamedTuple):
    """What all jobs of a step have in common."""

    queue: str
    definition: dict[str, Any]  # to be registered, without its name
    resources: list[dict[str, str]]
    variables: Mapping[str, str]
    tags: Mapping[str, str]
    size: Size
    log_group: str | None  # None: its log can't be read

    @property
    def name(self) -> str:
        """Of the definition. Equal ones have the same name, so each is registered once."""
        text = json.dumps(self.definition, sort_keys=True)
        return f"metaflow-{hashlib.sha256(text.encode()).hexdigest()[:40]}"

    @property
    def image(self) -> str:
        return str(self.definition["containerProperties"]["image"])


def queue_of(step: str, needs: JobNeeds) -> str:
    queue = needs.attributes["queue"] or settings.get("BATCH_JOB_QUEUE")
    if not queue:
        raise ComputeUnavailable(
            f"@batch on step {step} needs a job queue. Set METAFLOW_BATCH_JOB_QUEUE, or say @batch(queue='my-queue')."
        )
    return str(queue)


def step_job(step: str, needs: JobNeeds, fargate: bool) -> StepJob:
    """The jobs of a step. ``fargate``: its queue's machines are not ours."""
    given = needs.attributes
    size = size_of(needs)
    image = given["image"] or settings.get("BATCH_CONTAINER_IMAGE")
    if not image:
        raise ComputeUnavailable(
            f"@batch on step {step} needs an image that has metaflow-tandem. Set METAFLOW_BATCH_CONTAINER_IMAGE, or "
            "say @batch(image='my-image')."
        )
    container: dict[str, Any] = {"image": image, "command": COMMAND, "resourceRequirements": _resources(size, fargate)}
    roles = {
        "jobRoleArn": given["iam_role"] or settings.get("ECS_S3_ACCESS_IAM_ROLE"),
        "executionRoleArn": given["execution_role"] or settings.get("ECS_FARGATE_EXECUTION_ROLE"),
    }
    container.update({key: role for key, role in roles.items() if role})
    log_group = _add_log(container, given)
    secrets = _secrets()
    if secrets:
        container["secrets"] = secrets
    variables: Mapping[str, str] = {}
    if fargate:
        _add_fargate(step, container, given, size)
    else:
        variables = _add_linux(container, needs, size)
        _add_volumes(step, container, given)
    definition = {
        "type": "container",
        "containerProperties": container,
        "retryStrategy": {"attempts": 1},
        "platformCapabilities": ["FARGATE" if fargate else "EC2"],
    }
    tags = {str(key): str(value) for key, value in (given["aws_batch_tags"] or {}).items()}
    return StepJob(queue_of(step, needs), definition, _resources(size, fargate), variables, tags, size, log_group)


def submission(
    job: StepJob, definition: str, request: TaskRequest, variables: Mapping[str, str], name: str
) -> dict[str, Any]:
    """The arguments of ``submit_job``. ``definition`` is an ARN, ``variables`` are those of the attempt."""
    variables = {**job.variables, **variables}
    overrides = {
        "command": COMMAND,
        "environment": [{"name": key, "value": value} for key, value in variables.items()],
        "resourceRequirements": job.resources,
    }
    length = len(json.dumps(overrides, separators=(",", ":")))
    if length > MOST_OVERRIDES:
        raise ComputeUnavailable(
            f"The description of the task takes {length} characters, and AWS Batch takes {MOST_OVERRIDES}. What makes "
            f"it long are options of the command line and settings: put them into the image's environment, or files."
        )
    found: dict[str, Any] = {
        "jobName": name,
        "jobQueue": job.queue,
        "jobDefinition": definition,
        "containerOverrides": overrides,
    }
    if job.tags:
        found.update(tags=dict(job.tags), propagateTags=True)
    if request.seconds is not None:
        # Should nobody be there any more who ends it in time.
        found["timeout"] = {"attemptDurationSeconds": max(SHORTEST_TIMEOUT, math.ceil(request.seconds) + 60)}
    return found


def job_name(*parts: str) -> str:
    """
    >>> job_name("TrainFlow", "12", "train", "3", "0"), job_name("Übung", "1")
    ('TrainFlow-12-train-3-0', 'bung-1')
    """
    text = re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(parts))
    return text.lstrip("-_")[:128] or "task"


def _resources(size: Size, fargate: bool) -> list[dict[str, str]]:
    cpu = f"{size.cpu:g}" if fargate else str(max(1, math.ceil(size.cpu)))
    found = [{"type": "VCPU", "value": cpu}, {"type": "MEMORY", "value": str(math.ceil(size.memory))}]
    return [*found, {"type": "GPU", "value": str(size.gpu)}] if size.gpu else found


def _add_log(container: dict[str, Any], given: Mapping[str, Any]) -> str | None:
    options = given["log_options"] or {}
    if not isinstance(options, Mapping):  # "name=value", and several of them, are what the public API takes
        listed = [options] if isinstance(options, str) else options
        options = dict(str(one).replace(":", "=", 1).split("=", 1) for one in listed)
    driver = given["log_driver"]
    if driver or options:
        container["logConfiguration"] = {"logDriver": driver or "awslogs", "options": dict(options)}
    return str(options.get("awslogs-group", LOG_GROUP)) if driver in (None, "awslogs") else None


def _secrets() -> list[dict[str, str]]:
    """Those of the setting: variables that ECS fills from AWS Secrets Manager or the Parameter Store."""
    text = settings.get("BATCH_SECRETS") or ""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, source = part.partition("=")
        if not equals or not name or not source:
            raise ComputeUnavailable(
                "METAFLOW_BATCH_SECRETS must list variables and ARNs, as in "
                "PGPASSWORD=arn:aws:secretsmanager:eu-central-1:123456789012:secret:runs-AbCdEf."
            )
        found.append({"name": name.strip(), "valueFrom": source.strip()})
    return found


def _add_linux(container: dict[str, Any], needs: JobNeeds, size: Size) -> Mapping[str, str]:
    given = needs.attributes
    wanted = {
        "sharedMemorySize": size.shared_memory,
        "maxSwap": given["max_swap"],
        "swappiness": given["swappiness"],
    }
    linux: dict[str, Any] = {key: int(value) for key, value in wanted.items() if value is not None}
    folder = temporary_folder(needs, size.memory)
    if folder is not None:
        linux["tmpfs"] = [{"containerPath": folder[0], "size": folder[1]}]
    if linux:
        container["linuxParameters"] = linux
    return folder[2] if folder else {}


def _add_volumes(step: str, container: dict[str, Any], given: Mapping[str, Any]) -> None:
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    host = given["host_volumes"] or []
    for path in [host] if isinstance(host, str) else host:
        volumes.append({"name": f"host{len(volumes)}", "host": {"sourcePath": str(path)}})
        mounts.append({"sourceVolume": volumes[-1]["name"], "containerPath": str(path)})
    efs = given["efs_volumes"] or {}
    if not isinstance(efs, Mapping):
        raise InvalidDecoratorAttribute(
            f"@batch on step {step}: efs_volumes must give the folder of each file system by its id, not {show(efs)}."
        )
    for system, path in efs.items():
        volumes.append({"name": f"efs{len(volumes)}", "efsVolumeConfiguration": {"fileSystemId": str(system)}})
        mounts.append({"sourceVolume": volumes[-1]["name"], "containerPath": str(path)})
    if volumes:
        container.update(volumes=volumes, mountPoints=mounts)


def _add_fargate(step: str, container: dict[str, Any], given: Mapping[str, Any], size: Size) -> None:
    refused = {
        "gpu": size.gpu,
        "shared_memory": size.shared_memory,
        "host_volumes": given["host_volumes"],
        "max_swap": given["max_swap"],
        "swappiness": given["swappiness"],
        "use_tmpfs": given["use_tmpfs"] or given["tmpfs_size"],
    }
    for key, value in refused.items():
        if value:
            raise ComputeUnavailable(
                f"Step {step} asks for {key}={value}, and its queue has machines of Fargate, which can't have that. "
                f"Choose a queue of EC2: @batch(queue='...')."
            )
    if "executionRoleArn" not in container:
        raise ComputeUnavailable(
            f"The queue of step {step} has machines of Fargate, which need an execution role. Set "
            "METAFLOW_ECS_FARGATE_EXECUTION_ROLE, or say @batch(execution_role='arn:aws:iam::...')."
        )
    container["networkConfiguration"] = {"assignPublicIp": "ENABLED"}
    if given["ephemeral_storage"] is not None:
        container["ephemeralStorage"] = {"sizeInGiB": int(given["ephemeral_storage"])}
