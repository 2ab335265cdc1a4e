"""R in this process: started here, or attached to when R hosts the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

from metaflow_core.errors import MetaflowException

from metaflow_r import forked, gil

STACK_BYTES = 512 << 20
_helpers: dict[str, Any] = {}
_namespace: Any = None
_hosted = False
_started = False


class RNotAvailable(MetaflowException):
    """R, rpy2 or the R package metaflow can't be used here."""

    headline = "R can't be used"
    condition = "metaflow_r_not_available"


def is_hosted() -> bool:
    """Whether R has started this Python."""
    return _hosted or f"PID={os.getpid()}:" in os.environ.get("R_SESSION_INITIALIZED", "")


def start() -> None:
    """Have R ready. Nothing happens when it is; ``RNotAvailable`` says what is missing."""
    global _started, _hosted
    if _started:
        return
    _hosted = is_hosted()
    if not _hosted:
        _deepen_stack()
        _use_utf8()
        _find_r()
    rinterface = _rpy2()
    # Without rpy2's callbacks R writes to the standard streams itself, unbuffered, and never waits for Python.
    try:
        with _interrupts_stay(rinterface) if _hosted else nullcontext():
            rinterface.initr(interactive=False, _want_setcallbacks=False)
    except Exception as error:
        raise RNotAvailable(_MISFIT.format(type(error).__name__, error)) from error
    if not _hosted:
        _separate_streams()
    _started = True
    try:
        gil.hold()
        _load_package(rinterface)
        forked.remember()
    except BaseException:
        _started = False
        raise


def _separate_streams() -> None:
    """Messages and warnings go to the standard error stream, as R's own program sends them; rpy2 has undone that."""
    import ctypes

    from rpy2.rinterface_lib import openrlib

    name = "__stderrp" if sys.platform == "darwin" else "stderr"
    stream = ctypes.c_void_p.in_dll(ctypes.CDLL(None), name).value
    openrlib.rlib.R_Consolefile = openrlib.ffi.cast("FILE *", stream)


@contextmanager
def _interrupts_stay(rinterface: Any) -> Iterator[None]:
    """rpy2 makes interrupts Python's when it starts. In a session of R they stay R's, or its loops would not end."""
    known = rinterface.signal
    rinterface.signal = SimpleNamespace(
        signal=lambda number, handler: None, SIGINT=known.SIGINT, default_int_handler=known.default_int_handler
    )
    try:
        yield
    finally:
        rinterface.signal = known


def _use_utf8() -> None:
    """In the locale "C", that of cron and containers, Python takes texts as UTF-8; R does when it is told to."""
    import locale

    variable = "LC_ALL" if os.environ.get("LC_ALL") else "LC_CTYPE"
    given = os.environ.get(variable) or os.environ.get("LANG") or "C"
    before = locale.setlocale(locale.LC_CTYPE)
    for name in ("C.UTF-8", "en_US.UTF-8") if given in ("C", "POSIX") else ():
        try:
            locale.setlocale(locale.LC_CTYPE, name)
        except locale.Error:
            continue
        os.environ[variable] = name
        break
    else:
        locale.setlocale(locale.LC_CTYPE, before)


_MISFIT = "R was not found, or rpy2 does not fit it ({}: {}). `metaflow doctor` says what to install."


def _find_r() -> None:
    """Complain when there is no R: rpy2 would tell of it in its own words."""
    import shutil

    if not os.environ.get("R_HOME") and os.name == "posix" and shutil.which("R") is None:
        raise RNotAvailable("Steps written in R need R, which was not found. Install R, put it on PATH or set R_HOME.")


def _rpy2() -> Any:
    try:
        import rpy2.rinterface as rinterface
    except ImportError as error:
        raise RNotAvailable(
            f"Steps written in R need the Python package rpy2, which can't be imported here ({error}). "
            f"Install it, in the version that fits the R: `metaflow doctor` says which."
        ) from error
    except Exception as error:  # rpy2 looks for R when it is imported
        raise RNotAvailable(_MISFIT.format(type(error).__name__, error)) from error
    return rinterface


def _deepen_stack() -> None:
    """An R that is started here checks only how deep expressions are nested, and that takes more stack than usual."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != resource.RLIM_INFINITY and soft < STACK_BYTES:
        wanted = STACK_BYTES if hard == resource.RLIM_INFINITY else min(STACK_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))


def _load_package(rinterface: Any) -> None:
    global _namespace
    base = rinterface.baseenv
    try:
        _namespace = base["loadNamespace"](rinterface.StrSexpVector(["metaflow"]))
        if not _hosted:  # functions in R files use it without naming it
            base["library"](
                rinterface.StrSexpVector(["metaflow"]), **{"character.only": rinterface.BoolSexpVector([True])}
            )
    except Exception as error:
        raise RNotAvailable(
            f"The R package metaflow can't be loaded in the R at {r_home()} ({_one_line(error)}). "
            f"Install it: `make setup` does, and so does `R CMD INSTALL` on the directory of this project."
        ) from error
    from metaflow_r import bridge

    bridge.export()


def r_home() -> str:
    from rpy2.rinterface_lib import openrlib

    return str(openrlib.R_HOME)


def r_version() -> str:
    """The version of R, such as ``4.2.2``."""
    start()
    return str(helper("r_version")()[0])


def helper(name: str) -> Any:
    """The function ``name`` of the R package, which need not be exported."""
    found = _helpers.get(name)
    if found is None:
        start()
        found = _helpers[name] = _namespace[name]
    return found


def namespace() -> Any:
    """The namespace of the R package."""
    start()
    return _namespace


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def settle() -> None:
    """Collect R's garbage before tasks are forked: in a task that would touch, and so copy, all that R holds."""
    from metaflow_r import evaluate

    evaluate.load()  # what each task would look up for itself
    for name in ("ready_step", "ended_step"):
        helper(name)
    helper("settle")()


def loaded() -> bool:
    """Whether R runs in this process, without starting it."""
    return "rpy2.rinterface" in sys.modules and (_started or is_hosted())
