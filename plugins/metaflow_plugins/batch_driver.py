"""The driver's side of ``batch_compute``, and the only part of it that imports the AWS SDK."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from metaflow_core.engine.interface import JobNeeds
from metaflow_core.errors import ComputeUnavailable

from metaflow_plugins.aws_calls import clients, explained, reason
from metaflow_plugins.batch_job import StepJob, job_name, queue_of, step_job, submission
from metaflow_plugins.container_place import Attempt, ContainerPlace

AT_ONCE = 100  # jobs that one call describes, a limit of Batch
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between looks at the jobs
LOG_PATIENCE = 15.0  # seconds for which the end of a log may be late
SILENCE = 600.0  # seconds after which a service that does not answer has lost the tasks
NO_EXIT_CODE = -9  # of a process that was ended from outside


class _BatchAttempt:
    """What was read of an attempt's job."""

    def __init__(self) -> None:
        self.log: str | None = None  # the name of its stream
        self.token: str | None = None  # where to read on in it
        self.ended_at: float | None = None


class BatchCompute(ContainerPlace):
    """Jobs are looked at by one thread, many at a time."""

    name = "batch"

    def connect(self, steps: Mapping[str, JobNeeds]) -> None:
        self._batch, self._logs = clients(["batch", "logs"], "@batch", "AWS Batch can't be used")
        self._seen: dict[str, _BatchAttempt] = {}
        queues = {step: queue_of(step, needs) for step, needs in steps.items()}
        fargate = check_queues(self._batch, queues)
        self._jobs = {step: step_job(step, needs, fargate[queues[step]]) for step, needs in steps.items()}
        self._definitions = {step: register(self._batch, step, job) for step, job in self._jobs.items()}

    def submit(self, attempt: Attempt) -> None:
        request = attempt.request
        job = self._jobs[request.step]
        wanted = submission(
            job, self._definitions[request.step], request, dict([attempt.variable]), job_name(*attempt.names)
        )
        with explained(f"AWS Batch did not take the task to the queue {job.queue}"):
            self._seen[request.key] = _BatchAttempt()
            attempt.id = self._batch.submit_job(**wanted)["jobId"]

    def stop(self, attempt: Attempt) -> None:
        self._batch.terminate_job(jobId=attempt.id, reason="Stopped by metaflow.")

    def watch(self) -> None:
        pause, answered = FIRST_PAUSE, time.monotonic()
        while not self.closed.wait(pause):
            attempts = [attempt for attempt in self.attempts() if attempt.id]
            moved = len(attempts) == 0
            try:
                for start in range(0, len(attempts), AT_ONCE):
                    moved |= self._look(attempts[start : start + AT_ONCE])
                answered = time.monotonic()
            except Exception as error:
                if time.monotonic() > answered + SILENCE:
                    for attempt in attempts:
                        self.end(attempt, 1, f"AWS Batch can't be asked about its job {attempt.id}: {reason(error)}")
            pause = FIRST_PAUSE if moved else min(LONGEST_PAUSE, pause * 1.3)

    # --- what happens ----------------------------------------------------------------------------------------------

    def _look(self, attempts: Sequence[Attempt]) -> bool:
        """Whether something has happened."""
        jobs = self._batch.describe_jobs(jobs=[attempt.id for attempt in attempts])["jobs"]
        by_id = {job["jobId"]: job for job in jobs}
        moved = False
        for attempt in attempts:
            job = by_id.get(attempt.id)
            if job is not None and not attempt.ended:
                moved |= self._follow(attempt, job)
        return moved

    def _follow(self, attempt: Attempt, job: Mapping[str, Any]) -> bool:
        moved, status = False, job["status"]
        seen = self._seen[attempt.request.key]
        if status in ("RUNNING", "SUCCEEDED", "FAILED") and job.get("startedAt"):
            moved |= not attempt.started
            self.tell_started(attempt)
        seen.log = job.get("container", {}).get("logStreamName") or seen.log
        if seen.log is not None and attempt.exit is None:
            moved |= self._read_log(attempt, seen, self._jobs[attempt.request.step].log_group)
        if status in ("SUCCEEDED", "FAILED"):
            seen.ended_at = seen.ended_at or time.monotonic()
            late = seen.log is not None and attempt.exit is None and not attempt.unwanted
            if not late or time.monotonic() > seen.ended_at + LOG_PATIENCE:
                self._end(attempt, job)
            return True
        if attempt.exit is not None:  # Batch will notice, too
            self.end_as_logged(attempt, self._jobs[attempt.request.step].size.memory)
        return moved

    def _read_log(self, attempt: Attempt, seen: _BatchAttempt, group: str | None) -> bool:
        from botocore.exceptions import ClientError

        moved = False
        while group is not None:
            wanted = {"logGroupName": group, "logStreamName": seen.log, "startFromHead": True}
            if seen.token is not None:
                wanted["nextToken"] = seen.token
            try:
                page = self._logs.get_log_events(**wanted)
            except ClientError as error:
                if error.response["Error"]["Code"] == "ResourceNotFoundException":  # nothing was written yet
                    break
                raise
            for event in page["events"]:
                self.write_line(attempt, event["message"].encode())
                moved = True
            if page["nextForwardToken"] == seen.token or not page["events"]:
                seen.token = page["nextForwardToken"]
                break
            seen.token = page["nextForwardToken"]
        return moved

    def _end(self, attempt: Attempt, job: Mapping[str, Any]) -> None:
        self._seen.pop(attempt.request.key, None)
        step = self._jobs[attempt.request.step]
        container = job.get("container", {})
        code = container.get("exitCode")
        code = 128 - code if code is not None and code > 128 else code
        reasons = [str(text) for text in (job.get("statusReason"), container.get("reason")) if text]
        if attempt.unwanted:
            self.end(attempt, -9 if attempt.forced else -15)
        elif any("OutOfMemory" in reason for reason in reasons):
            self.end(attempt, NO_EXIT_CODE, self.out_of_memory(attempt, step.size.memory))
        elif attempt.exit is not None:
            self.end_as_logged(attempt, step.size.memory)
        elif job["status"] == "SUCCEEDED":
            self.end(attempt, 0)
        else:
            self.end(attempt, NO_EXIT_CODE if code is None else code, _cause(attempt.id, step, code, reasons))


def check_queues(batch: Any, of_steps: Mapping[str, str]) -> dict[str, bool]:
    """Whether each queue has machines of Fargate. ``of_steps`` are the queues by step; ``batch`` is a client."""
    found = {}
    for queue in sorted(set(of_steps.values())):
        step = next(step for step, its in of_steps.items() if its == queue)
        with explained(f"The queue {queue} of step {step} can't be used"):
            known = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
            if not known:
                raise ComputeUnavailable(
                    f"AWS Batch has no job queue {queue}, which step {step} is to use, in the region "
                    f"{batch.meta.region_name}. Set METAFLOW_BATCH_JOB_QUEUE and AWS_DEFAULT_REGION."
                )
            if known[0]["state"] != "ENABLED" or known[0].get("status", "VALID") not in ("VALID", "UPDATING"):
                raise ComputeUnavailable(
                    f"The job queue {queue} of step {step} takes no jobs: its state is {known[0]['state']}, "
                    f"its status {known[0].get('status')}."
                )
            names = [each["computeEnvironment"] for each in known[0]["computeEnvironmentOrder"]]
            machines = batch.describe_compute_environments(computeEnvironments=names)["computeEnvironments"]
        kinds = [each.get("computeResources", {}).get("type", "EC2") for each in machines]
        found[queue] = any(kind.startswith("FARGATE") for kind in kinds)
    return found


def register(batch: Any, step: str, job: StepJob) -> str:
    """The ARN of the job definition, which is registered unless it is there."""
    with explained(f"The job definition of step {step} can't be registered"):
        known = batch.describe_job_definitions(jobDefinitionName=job.name, status="ACTIVE")["jobDefinitions"]
        if known:
            return str(max(known, key=lambda one: one["revision"])["jobDefinitionArn"])
        return str(batch.register_job_definition(jobDefinitionName=job.name, **job.definition)["jobDefinitionArn"])


def _cause(id: str, job: StepJob, code: int | None, reasons: Sequence[str]) -> str:
    """Why a job failed that was not ended by its own process, in the user's terms."""
    said = " ".join(reasons) or "no reason was given"
    if "Host EC2" in said:
        return f"The machine on which the AWS Batch job {id} ran was taken away ({said}): @retry runs the task again."
    if "CannotPull" in said:
        return (
            f"The image {job.image} can't be pulled ({said}). See to its name, and whether the machines of the queue "
            f"{job.queue} reach and may read its registry."
        )
    if "ResourceInitializationError" in said:
        return f"The container of the AWS Batch job {id} can't be set up ({said}). See to the execution role."
    if "exceeded timeout" in said:
        return f"The task ran longer than its @timeout, so AWS Batch ended its job {id}."
    if code in (126, 127):
        return f"The image {job.image} has no python3 that can be started (exit code {code}; {said})."
    if code is not None and code > 0:
        return (
            f"The AWS Batch job {id} ended with exit code {code} without running the task ({said}). See to it that the "
            f"image {job.image} has metaflow-tandem, in the version used here."
        )
    return f"The AWS Batch job {id} has failed: {said}."
