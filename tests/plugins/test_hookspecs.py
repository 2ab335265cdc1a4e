"""Every hook, each of its arguments and every interface is documented; what is built in is a plugin like any other."""

from __future__ import annotations

import inspect
import re

import pytest
from metaflow_core import hookspecs
from metaflow_core.plugins import manager

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
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


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
def test_hook_and_what_it_gives_are_on_the_page(hook: object) -> None:
    signature = inspect.signature(hook)  # type: ignore[arg-type]
    assert f"\n| `{hook.__name__}({', '.join(signature.parameters)})` |" in PAGE  # type: ignore[attr-defined]
    for interface in re.findall(r"[A-Z]\w+", str(signature.return_annotation)):
        if interface not in ("None", "Sequence", "Callable", "Mapping", "Any", "DecoratorSpec"):
            assert f"\n| `{interface}` | `metaflow_core." in PAGE


def test_hooks_are_found() -> None:
    assert len(HOOKS) >= 9


def test_what_is_built_in_is_registered_like_any_plugin() -> None:
    names = {name for name, _ in manager().list_name_plugin()}
    assert {"local_storage", "local_compute", "sqlite", "python_runtime"} <= names
