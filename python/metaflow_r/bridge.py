"""What R can call: each function here becomes an R function in the environment ``core`` of the R package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metaflow_r import conditions, session

# rpy2 calls a Python function for as long as it is referenced from Python.
_kept: list[Any] = []


def export() -> None:
    """Hand R its functions. Called once, as soon as R and Python are in one process."""
    from rpy2.rinterface import rternalize

    from metaflow_r import (
        arguments,
        call_step,
        client,
        client_code,
        client_lineage,
        client_search,
        deployer,
        mutators,
        program,
        runner,
        task,
    )

    core = session.namespace()["the"]["core"]
    compiled_call = session.namespace()["compiled_call"]
    for module in (
        task,
        client,
        client_code,
        client_lineage,
        client_search,
        program,
        runner,
        deployer,
        call_step,
        arguments,
        mutators,
    ):
        for name, function in module.FOR_R.items():
            # Inside of `run` whole flows run, whose warnings are shown where they arise.
            exported = rternalize(_guarded(function if module is program else _heard(function)))
            _kept.append(exported)
            core[name] = compiled_call(exported)


def _heard(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the function tells of values goes to R with its result, to be a warning of R."""
    from metaflow_core.values import losses
    from rpy2.rinterface import NULL, ListSexpVector, StrSexpVector

    from metaflow_r.sexp import classed

    def call(*arguments: Any) -> Any:
        outer, losses.heard = losses.heard, {}
        try:
            result = function(*arguments)
            texts = list(losses.heard)
        finally:
            losses.heard = outer
        if not texts:
            return result
        return classed(ListSexpVector([NULL if result is None else result, StrSexpVector(texts)]), "metaflow_told")

    return call


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """An exception must not pass through R: it goes back as a value, and the R side raises it as a condition."""
    from inspect import Parameter, Signature
    from types import SimpleNamespace

    from rpy2.rinterface import NULL
    from rpy2.rinterface_lib import _rinterface_capi, openrlib

    # rpy2 can't return its own NULL to R, but what looks like any other value.
    null = SimpleNamespace(_sexpobject=_rinterface_capi.SexpCapsule(openrlib.rlib.R_NilValue))

    def call(*arguments: Any) -> Any:
        try:
            result = function(*arguments)
        except BaseException as error:
            return conditions.to_r(error)
        return null if result is None or result is NULL else result

    # rpy2 asks for the signature at every call; this answers at once.
    call.__signature__ = Signature([Parameter("arguments", Parameter.VAR_POSITIONAL)])  # type: ignore[attr-defined]
    return call
