"""What an R that was forked must not share with the R it comes from."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_origin = 0  # the process in which R was made ready
_libr: Any = None


def remember() -> None:
    """Note which process R belongs to. Called in that process, before any fork."""
    global _origin, _libr
    from rpy2.rinterface_lib import openrlib

    _origin = os.getpid()
    path = os.path.join(str(openrlib.R_HOME), "lib", "libR.so")
    _libr = ctypes.CDLL(path) if os.path.exists(path) else ctypes.CDLL(None)


def enter() -> bool:
    """Make a fork an R of its own, if this is one: with a temporary directory that it may remove, as R does when it
    crashes. Whether this is a fork."""
    if os.getpid() == _origin:
        return False
    shared = ctypes.c_char_p.in_dll(_libr, "R_TempDir")
    before = os.environ.get("TMPDIR")
    try:
        if shared.value:
            os.environ["TMPDIR"] = os.fsdecode(shared.value)  # inside the other one, which goes when the run has ended
            shared.value = None
            _libr.R_reInitTempDir(0)
        ctypes.c_int.in_dll(_libr, "R_isForkedChild").value = 1
    finally:
        if before is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = before
    return True


def leave() -> None:
    """Remove the fork's temporary directory. R would start a shell for it, which takes longer than a small task."""
    path = os.fsdecode(ctypes.c_char_p.in_dll(_libr, "R_TempDir").value or b"")
    try:
        os.rmdir(path)
    except OSError:
        import shutil

        shutil.rmtree(path, ignore_errors=True)


def wake_from_sleep(microseconds: int) -> None:
    """How often R looks at its time limit while it sleeps; 0 is R's own way, which does not."""
    ctypes.c_int.in_dll(_libr, "R_wait_usec").value = microseconds
