"""Every hook and each of its arguments is documented; what is built in is a plugin like any other."""

from __future__ import annotations

import inspect

import pytest
from metaflow_core import hookspecs
from metaflow_core.plugins import manager

HOOKS = [
    function
    for _, function in inspect.getmembers(hookspecs, inspect.isfunction)
    if hasattr(function, "metaflow_tandem_spec")
]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
def test_hook_is_documented(hook: object) -> None:
    documentation = inspect.getdoc(hook) or ""
    assert documentation.endswith(".")
    for argument in inspect.signature(hook).parameters:  # type: ignore[arg-type]
        assert f"``{argument}``" in documentation, f"{argument} is not documented"


def test_hooks_are_found() -> None:
    assert len(HOOKS) >= 9


def test_what_is_built_in_is_registered_like_any_plugin() -> None:
    names = {name for name, _ in manager().list_name_plugin()}
    assert {"local_storage", "local_compute", "sqlite", "python_runtime"} <= names
