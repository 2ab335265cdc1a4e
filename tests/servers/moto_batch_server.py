"""All of moto's services at one address, in which jobs of AWS Batch are processes of the server and need no Docker.

Each job has a folder of its own as home, working directory and place of temporary files, and of the environment only
what its job definition and its submission give it, with the credentials that a job's role would. What it prints is in
its CloudWatch stream while it runs, stdout and stderr together, as with the log driver ``awslogs``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from typing import Any

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "the-secret-key",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
GRACE_SECONDS = 5.0
# Images that have something else than metaflow-tandem; what is killed in the others was lost, or wanted too much.
IMAGES = {
    "empty": "echo no such module; exit 1",
    "bare": "exit 127",
    "sleeps": "echo begun; sleep 1000",
    "spot": "echo begun; kill -9 $$",
    "greedy": "echo begun; kill -9 $$",
}


def environment_of(job: Any, folder: str) -> dict[str, str]:
    container = job.job_definition.container_properties
    given = {one["name"]: one["value"] for one in container.get("environment", [])}
    given.update({one["name"]: one["value"] for one in job.container_overrides.get("environment", [])})
    for secret in container.get("secrets", []):
        import boto3

        client = boto3.client(
            "secretsmanager",
            endpoint_url=f"http://127.0.0.1:{os.environ['MOTO_PORT']}",
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        )
        given[secret["name"]] = client.get_secret_value(SecretId=secret["valueFrom"])["SecretString"]
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    machine = {"PATH": path, "HOME": folder, "TMPDIR": folder, "AWS_BATCH_JOB_ID": job.job_id}
    with open(os.path.join(os.environ["MOTO_JOBS"], "image.json")) as file:  # what images set
        return {**machine, **json.load(file), **CREDENTIALS, **given}


def container_details(job: Any) -> dict[str, Any]:
    """Instead of that of moto, which does not tell how a container has ended."""
    found = {"logStreamName": job.log_stream_name, "exitCode": job.exit_code}
    if "OutOfMemoryError" in (job.job_stopped_reason or ""):
        found["reason"] = job.job_stopped_reason
    overrides = {name: job.container_overrides.get(name, []) for name in ("command", "environment")}
    return {**overrides, **{name: value for name, value in found.items() if value is not None}}


def run(job: Any) -> None:
    """Instead of ``Job.run`` of moto, in a thread of the job's own."""
    from moto.batch.models import JobStatus

    for status in (JobStatus.SUBMITTED, JobStatus.RUNNABLE):
        job.status = status
        time.sleep(0.05)
        if job.stop:
            job._mark_stopped(success=False)
            return
    image = job.job_definition.container_properties["image"]
    if image == "missing":
        job.job_stopped_reason = "CannotPullContainerError: pull access denied for missing"
        job._mark_stopped(success=False)
        return
    folder = tempfile.mkdtemp(prefix="job-", dir=os.environ["MOTO_JOBS"])
    group, job.log_stream_name = job._log_group, job._stream_name
    job._log_backend.ensure_log_group(group)
    job._log_backend.ensure_log_stream(group, job.log_stream_name)
    command = job.container_overrides.get("command") or job.job_definition.container_properties["command"]
    if image in IMAGES:
        command = ["sh", "-c", IMAGES[image]]
    process = subprocess.Popen(
        command,
        env=environment_of(job, folder),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    job.job_started_at = datetime.now()
    job.status = JobStatus.RUNNING
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    rest, asked_at = b"", 0.0
    while True:
        ended = process.poll() is not None
        data = process.stdout.read() or b""
        *lines, rest = (rest + data).split(b"\n")
        if ended and rest:
            lines, rest = [*lines, rest], b""
        events = [
            {"timestamp": int(time.time() * 1000), "message": line.decode("utf-8", "replace")} for line in lines if line
        ]
        if events:
            job._log_backend.put_log_events(group, job.log_stream_name, events)
        if ended:
            break
        if job.stop:
            asked_at = asked_at or time.monotonic()
            late = time.monotonic() > asked_at + GRACE_SECONDS
            os.killpg(process.pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.05)
    code = process.returncode
    job.exit_code = code if code >= 0 else 128 - code
    if image == "spot":
        job.job_stopped_reason = "Host EC2 (instance i-0123456789abcdef0) terminated."
        job.exit_code = None
    if image == "greedy":
        job.job_stopped_reason = "OutOfMemoryError: Container killed due to memory usage"
    job._mark_stopped(success=code == 0 and not job.stop)


def main() -> None:
    import moto_step_functions
    from moto import server
    from moto.batch.models import Job

    moto_step_functions.install()
    Job.run = run
    Job._container_details = container_details
    server.main(["-H", "127.0.0.1", "-p", os.environ["MOTO_PORT"]])


if __name__ == "__main__":
    main()
