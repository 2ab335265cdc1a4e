"""Evaluation at R's top level, without a call around it."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_evaluate: Any = None


def evaluate(expression: Any, environment: Any) -> str | None:
    """Evaluate an R expression in an R environment. When an error or a jump has ended it: what R says of the error.

    R prints nothing of an error. Python's lock is held, as in :mod:`metaflow_r.gil`.
    """
    from rpy2.rinterface_lib import openrlib
    from rpy2.rinterface_lib._rinterface_capi import _geterrmessage

    failed = ctypes.c_int(0)
    addresses = [int(openrlib.ffi.cast("uintptr_t", one.__sexp__._cdata)) for one in (expression, environment)]
    load()(*addresses, ctypes.byref(failed))
    return str(_geterrmessage()) if failed.value else None


def load() -> Any:
    global _evaluate
    if _evaluate is None:
        from rpy2.rinterface_lib import openrlib

        path = os.path.join(str(openrlib.R_HOME), "lib", "libR.so")
        _evaluate = ctypes.PyDLL(path if os.path.exists(path) else None).R_tryEvalSilent
        _evaluate.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        _evaluate.restype = ctypes.c_void_p
    return _evaluate
