"""One step of an R flow as a function, as R's `call_step()` calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metaflow_r.program import read_flow
from metaflow_r.text import is_sexp, strings, text


def _call(data: Any, step: Any, artifacts: Any, inputs: Any, input: Any, index: Any) -> Any:
    """What the step has set, and where it leads. ``inputs`` is NULL, or a list of named lists."""
    from metaflow_core.engine.trial import Branch, Trial, run_trial
    from rpy2.rinterface import NULL

    from metaflow_r.client_values import to_r
    from metaflow_r.read import to_r as value_to_r
    from metaflow_r.sexp import named_list

    branches = None
    if inputs is not NULL:
        branches = []
        names = strings(inputs.names)
        for i, one in enumerate(inputs):
            values = _named(one)
            item, place = values.pop("input", None), values.pop("index", NULL)
            branches.append(Branch(values, names[i] if names else None, item, _whole(place)))
    trial = Trial(_named(artifacts), branches, None if input is NULL else input, _whole(index), "r")
    state = run_trial(read_flow(data), text(step), trial)
    leads = state.result() or {}
    return named_list(
        {
            "artifacts": named_list(
                {name: value if is_sexp(value) else value_to_r(value) for name, value in state.results().items()}
            ),
            "next_step": to_r(list(leads.get("targets", ()))),
            "num_splits": to_r(leads.get("num_splits")),
        }
    )


def _named(values: Any) -> dict[str, Any]:
    return dict(zip(strings(values.names), values, strict=True)) if len(values) else {}


def _whole(number: Any) -> int | None:
    from rpy2.rinterface import NULL

    return None if number is NULL or len(number) == 0 else int(number[0])


FOR_R: dict[str, Callable[..., Any]] = {"call_step": _call}
