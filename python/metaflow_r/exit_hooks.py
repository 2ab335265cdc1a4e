"""R functions that are called when a run has ended."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import Any

from metaflow_r import conditions, forked, session
from metaflow_r.text import strings, text


class RHook:
    """An R function, to be called from Python as ``@exit_hook`` does."""

    language = "r"

    def __init__(self, function: Any) -> None:
        self._function = function
        labelled = "metaflow_label" in function.list_attrs()
        self.__name__ = text(function.do_slot("metaflow_label")) if labelled else "function"
        needed = session.helper("needed_arguments")(function)
        names = strings(needed.names) if len(needed) else []
        self.__signature__ = Signature(
            [
                Parameter("arguments", Parameter.VAR_POSITIONAL)
                if name == "..."
                else Parameter(f"argument_{i}", Parameter.POSITIONAL_ONLY, default=Parameter.empty if must else None)
                for i, (name, must) in enumerate(sorted(zip(names, needed, strict=True), key=_order))
            ]
        )

    def __repr__(self) -> str:
        return f"the R function {self.__name__}"

    def __call__(self, run: Any = None) -> None:
        from rpy2.rinterface import StrSexpVector

        is_fork = forked.enter()
        try:
            given = StrSexpVector([] if run is None else [run.pathspec])
            outcome = session.helper("try_call")(session.helper("call_hook"), self._function, given)
            if int(outcome[0].typeof) != 10:
                raise conditions.RError(text(outcome[0]), [])
        finally:
            if is_fork:
                forked.leave()


def _order(argument: tuple[str, Any]) -> tuple[bool, bool]:
    """As Python has them: what must be given stands before what need not."""
    name, must = argument
    return name == "...", not must
