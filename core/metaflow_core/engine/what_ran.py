"""What a run records of its code and its surroundings, so that two runs can be compared later. No secrets: nothing of
the environment variables."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from metaflow_core.decorators.resolve import step_decorators

if TYPE_CHECKING:
    from metaflow_core.engine.environments import StepEnvironment
    from metaflow_core.engine.interface import LanguageRuntime
    from metaflow_core.graph.model import FlowDef

MAX_FILE = 1 << 20  # bytes; what is longer is data rather than code


def source_of(flow: FlowDef, runtimes: Mapping[str, LanguageRuntime]) -> str | None:
    """The text of the flow's file, and of those that its steps name, as JSON: ``{relative path: text}``.

    The flow's own file comes first, and paths are relative to its directory. The text is null for a file that is too
    long. A step whose function is in none of these files has its text under ``STEP()``.
    """
    files = dict.fromkeys(file for file in (flow.file, *(step.file for step in flow)) if file)
    folder = os.path.dirname(os.path.abspath(flow.file)) if flow.file else os.getcwd()
    texts: dict[str, str | None] = {}
    for file in files:
        try:
            texts[os.path.relpath(file, folder)] = _read(file)
        except (OSError, ValueError):  # a notebook's cell is no file; another drive has no relative path
            continue
    for step in flow:
        text = runtimes[step.language].source(flow, step)
        if text is not None:
            texts[f"{step.name}()"] = text
    return json.dumps(texts) if texts else None


def _read(file: str) -> str | None:
    if os.path.getsize(file) > MAX_FILE:
        return None
    with open(file, encoding="utf-8", errors="replace") as opened:
        return opened.read()


def written_secrets(flow: FlowDef) -> list[str]:
    """The secrets that are written in the code as arguments of decorators."""
    return [text for step in flow for decorator in step_decorators(step) for text in decorator.secret_arguments()]


def environment_of(
    runtimes: Mapping[str, LanguageRuntime],
    system_tags: Sequence[str],
    environments: Mapping[str, StepEnvironment],
) -> str:
    """Versions, platform and packages by language, and those of steps with packages of their own, as JSON."""
    system = os.uname()
    facts = {
        "platform": f"{system.sysname} {system.release} {system.machine}",
        "versions": dict(tag.split("_version:", 1) for tag in system_tags if "_version:" in tag),
        "packages": {language: runtime.packages() for language, runtime in runtimes.items()},
    }
    if environments:
        from metaflow_core.engine.environments import recorded

        facts.update(recorded(environments))
    return json.dumps(facts, sort_keys=True)
