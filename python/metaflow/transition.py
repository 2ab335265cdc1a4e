"""Reads where a step leads from the `self.next(...)` at the end of its body."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from metaflow_core.graph.model import Location, StepDef, Transition, case_text

_KEYWORDS = ("foreach", "num_parallel", "condition")
_UNKNOWN = object()  # what is known only when the flow runs
_EXAMPLE = "{0}.next({{'value': {0}.step}}, condition='artifact')"


class _Problem(Exception):
    """What is wrong with the call, as a sentence."""


def read_transition(step: StepDef, node: ast.FunctionDef, constant: Callable[[ast.expr], Any]) -> None:
    """Set the transition of ``step``, or what is wrong with it; neither when its body does not call `self.next`.

    ``constant`` gives the value of an expression that is known before the flow runs, or raises ``LookupError``.
    """
    assert step.location is not None
    file = step.location.file
    self_name = (*node.args.posonlyargs, *node.args.args)[0].arg
    last = node.body[-1]
    if isinstance(last, ast.Expr) and _is_next(last.value, self_name):
        assert isinstance(last.value, ast.Call)
        location = Location(file, last.lineno)
        try:
            step.transition = _transition(last.value, self_name, location, constant)
        except _Problem as problem:
            step.problem, step.problem_location = str(problem), location
        return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and _is_next(inner, self_name):
            step.problem_location = Location(file, inner.lineno)
            step.problem = (
                f"it calls {self_name}.next(), but not as the last statement of its body. "
                f"Call it once, at the end, outside of any `if`, `for`, `with` or `try`."
            )
            return


def _is_next(node: ast.AST, self_name: str) -> bool:
    return isinstance(node, ast.Call) and _own_attribute(node.func, self_name) == "next"


def _own_attribute(node: ast.expr, self_name: str) -> str | None:
    """``x`` when the expression is ``self.x``."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == self_name:
        return node.attr
    return None


def _transition(call: ast.Call, self_name: str, location: Location, constant: Callable[[ast.expr], Any]) -> Transition:
    keywords = {}
    for keyword in call.keywords:
        if keyword.arg not in _KEYWORDS:
            given = ast.unparse(keyword.value) if keyword.arg is None else keyword.arg
            raise _Problem(f"{self_name}.next() does not take {given!r}. It takes {', '.join(_KEYWORDS)}.")
        keywords[keyword.arg] = keyword.value
    if len(keywords) > 1:
        raise _Problem(f"{self_name}.next() takes one of {' and '.join(keywords)}, not both.")

    def text(argument: str) -> str:
        value = _known(keywords[argument], constant)
        if not isinstance(value, str):
            raise _Problem(
                f"{argument}={ast.unparse(keywords[argument])} in {self_name}.next() must be the name of an artifact "
                f"in quotes, such as {argument}='items'."
            )
        return value

    if "condition" in keywords or any(isinstance(a, ast.Dict) for a in call.args):
        cases = _cases(call, self_name, constant)
        if "condition" not in keywords:
            other = next(iter(keywords), None)
            raise _Problem(
                f"a choice of steps can't be combined with {other}."
                if other
                else f"a choice of steps needs a condition: {_EXAMPLE.format(self_name)}."
            )
        targets = tuple(dict.fromkeys(target for _, target in cases))
        return Transition("switch", targets, condition=text("condition"), cases=cases, location=location)
    targets = tuple(_target(argument, self_name) for argument in call.args)
    if not targets:
        raise _Problem(f"{self_name}.next() names no step. Name one, such as {self_name}.next({self_name}.end).")
    if "foreach" in keywords:
        return Transition("foreach", targets, foreach=text("foreach"), location=location)
    if "num_parallel" in keywords:
        count = _known(keywords["num_parallel"], constant)
        return Transition("parallel", targets, num_parallel=count if type(count) is int else None, location=location)
    return Transition("linear" if len(targets) == 1 else "split", targets, location=location)


def _target(node: ast.expr, self_name: str) -> str:
    name = _own_attribute(node, self_name)
    if name is None:
        raise _Problem(f"{self_name}.next() takes steps of the flow, such as {self_name}.end, not {ast.unparse(node)}.")
    return name


def _cases(call: ast.Call, self_name: str, constant: Callable[[ast.expr], Any]) -> tuple[tuple[str, str], ...]:
    if len(call.args) != 1 or not isinstance(call.args[0], ast.Dict):
        raise _Problem(f"condition= needs one dict of steps: {_EXAMPLE.format(self_name)}.")
    cases: dict[str, str] = {}
    for key, value in zip(call.args[0].keys, call.args[0].values, strict=True):
        try:
            known = constant(key) if key is not None else _UNKNOWN
        except LookupError:
            known = _UNKNOWN
        if known is _UNKNOWN:
            raise _Problem(
                f"The cases in {self_name}.next() must be written out, such as {{'small': {self_name}.quick}}, not "
                f"{ast.unparse(call.args[0])}."
            )
        text = case_text(known)
        if text in cases:
            raise _Problem(f"{self_name}.next() has the case {text!r} twice.")
        cases[text] = _target(value, self_name)
    return tuple(cases.items())


def _known(node: ast.expr, constant: Callable[[ast.expr], Any]) -> Any:
    try:
        return constant(node)
    except LookupError:
        return None
