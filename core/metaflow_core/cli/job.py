"""One task on a machine that has this package, and nothing else of the flow: ``python -m metaflow_core.cli.job``.

The environment variable ``METAFLOW_JOB`` holds a ``Job`` as JSON. The code package is fetched from the artifact store,
once per machine and user, and this process becomes the flow's ``step`` command; or ``launch``, which runs any number of
attempts of the run, where ``METAFLOW_JOB_SOCKET`` is a socket to who asks for them.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import tempfile
from collections.abc import Sequence

from metaflow_core.engine.interface import JOB_VARIABLE, SOCKET_VARIABLE, Job, TaskRequest
from metaflow_core.errors import MetaflowException
from metaflow_core.metadata.backend import open_backend
from metaflow_core.metadata.code_packages import unpack

FOLDER = "METAFLOW_JOB_FOLDER"  # where code packages are unpacked; by default in the temporary directory


def main() -> int:
    """Run the job. Returns only when it can't be started."""
    fields = json.loads(os.environ.pop(JOB_VARIABLE))
    job = Job(TaskRequest(*fields[0]), *fields[1:])
    os.environ.update(job.variables)
    try:
        root = code_folder(job.package)
    except MetaflowException as error:
        print(f"{error.headline}: {error}", file=sys.stderr)
        return 1
    os.chdir(os.path.join(root, job.folder))
    socket = os.environ.pop(SOCKET_VARIABLE, None)
    if socket is None:
        _end_with_parent()
        words = [*job.request.as_arguments(), "--claim"]
    else:
        words = ["launch", "--run-id", job.request.run_id, "--socket", socket]
    program = [os.path.join(root, job.script), *job.arguments]
    return become(job.language, [*program, *words, *job.task_arguments])


def code_folder(package: str) -> str:
    """Where the code package is unpacked, which is done unless it is there.

    Its code is run, so ``MetaflowException`` where somebody else may have put it: anybody can make a folder in the
    temporary directory, whose name is known beforehand.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        folder = os.path.join(tempfile.gettempdir(), f"metaflow-code-{os.getuid()}")
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise MetaflowException(f"The code can't be unpacked in {folder}: {error.strerror or error}.") from None
        _check_ours(folder)
    root = os.path.join(folder, package)
    if not os.path.lexists(root):
        backend = open_backend()
        backend.patient = True
        unpack(backend.storage, package, folder)
    _check_ours(root)
    return root


def _check_ours(folder: str) -> None:
    """``MetaflowException`` unless nobody but this user can have written into the folder."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        what = "is no directory"
    elif found.st_uid != os.getuid():
        what = "belongs to another user"
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        what = "can be written by other users"
    else:
        return
    raise MetaflowException(
        f"{folder} {what}, so the code in it is not run: it may be somebody else's. Remove it, or set {FOLDER} to a "
        f"directory of your own."
    )


def become(language: str, words: Sequence[str]) -> int:
    """Let this process go on as the flow's program. Returns only when that can't be started."""
    command = [*{"python": [sys.executable], "r": ["Rscript"]}[language], *words]
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} can't be started on {os.uname().nodename}: {error.strerror}.", file=sys.stderr)
        return 1


def _end_with_parent() -> None:
    """When the process that has started this one is killed, nobody would see this one end: it ends too.

    See prctl(2), PR_SET_PDEATHSIG; it holds for the program that this process becomes.
    """
    if sys.platform == "linux" and os.getppid() != 1:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
