"""Python's lock is held while R evaluates: R code may use reticulate, which calls Python and takes no lock."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_is_released_at_exit = False


class _HoldingLock:
    """The library of R as rpy2 sees it, except for the function by which it evaluates: cffi would release the lock."""

    def __init__(self, library: Any, evaluate: Any) -> None:
        self._library = library
        self.R_tryEval = evaluate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._library, name)
        if callable(found):  # variables of R change, functions are looked up once
            setattr(self, name, found)
        return found


def release_at_exit() -> None:
    """Let go of the lock when the program ends, which is R. Called once Arrow has threads that read for it.

    Arrow waits for these threads when the program ends, and each of them waits for the lock when it has data of
    Python's to give back. Handlers run in the reverse order in which they were registered, so this one runs before
    Arrow's.
    """
    global _is_released_at_exit
    if _is_released_at_exit:
        return
    _is_released_at_exit = True
    register = ctypes.CDLL(None).__cxa_atexit
    register.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    register(ctypes.cast(ctypes.pythonapi.PyEval_SaveThread, ctypes.c_void_p), None, None)


def hold() -> None:
    """Have R evaluate with the lock held. reticulate from 1.29 on takes the lock itself, and gets it then too."""
    from rpy2.rinterface_lib import openrlib

    if isinstance(openrlib.rlib, _HoldingLock):
        return
    path = os.path.join(str(openrlib.R_HOME), "lib", "libR.so")
    function = ctypes.PyDLL(path if os.path.exists(path) else None).R_tryEval
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    function.restype = ctypes.c_void_p
    ffi = openrlib.ffi

    def evaluate(call: Any, environment: Any, failed: Any) -> Any:
        address = function(*(int(ffi.cast("uintptr_t", pointer)) for pointer in (call, environment, failed)))
        return ffi.cast("SEXP", address or 0)

    openrlib.rlib = _HoldingLock(openrlib.rlib, evaluate)
