"""The configs of a flow on its command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from metaflow_core.decorators.resolve import has_mutators
from metaflow_core.errors import MetaflowException, MetaflowUsageError
from metaflow_core.graph.configs import given_configs, read_configs, set_configs
from metaflow_core.graph.model import ConfigDef, FlowDef
from metaflow_core.graph.parameters import check_parameters
from metaflow_core.metadata import recording
from metaflow_core.metadata.backend import Backend
from metaflow_core.metadata.contents import content, stored
from metaflow_core.values import decode

# These take the configs of a run that is there already.
_OF_A_RUN = ("resume", "step", "spin", "exit-hook", "node", "paths", "finish", "deployed-run")
# These do nothing for which the configs matter.
_WITHOUT = ("show", "output-dot", "output-mermaid", "dump", "logs", "tag", "runs", "card", "version", "help")

# These do nothing but look after what is deployed; the name of it may depend on a config.
_OF_A_DEPLOYMENT = ("trigger", "list-runs", "status", "terminate", "delete")

# These do when a mutator decides by them what is shown.
_SHOWN = ("show", "output-dot", "output-mermaid")


def settle_configs(flow: FlowDef, options: Mapping[str, Any], words: list[str]) -> None:
    """Give the flow its configs, when the command that ``words`` begin with needs them.

    ``options`` are those before the command.
    """
    paths, values = options["config"], options["config_value"]
    command = words[0]
    if command == "resume" and (paths or values):
        option = "--config" if paths else "--config-value"
        raise MetaflowUsageError(
            f"{option} can't be given: the configs are those of the run that is resumed. "
            f"To choose them, start a run of its own: {option} {(paths or values)[0][0]} ... run"
        )
    given = given_configs(flow, paths, values, {} if command in _OF_A_RUN else os.environ)
    if command in _OF_A_RUN or (command in _WITHOUT and not (command in _SHOWN and has_mutators(flow))):
        return
    if "--help" in words or (len(words) > 1 and words[1] in _OF_A_DEPLOYMENT):  # which is there even if a file is not
        with suppress(MetaflowException):
            set_configs(flow, read_configs(flow, given))
        return
    check_parameters(flow)  # a config needs a name before it can be given
    set_configs(flow, read_configs(flow, given))


def take_configs(flow: FlowDef, backend: Backend, run_id: str) -> None:
    """Give the flow the configs of a run. Those that the run does not have yet get their defaults."""
    run = recording.find_run(backend.db, flow.name, run_id)
    had = recording.artifacts(backend.db, run.parameters_pk, 0)
    values = {
        config.artifact: decode(stored(content(backend.db, had[config.artifact]), backend.storage))
        for config in flow.configs
        if config.artifact in had
    }
    set_configs(flow, read_configs(flow, {}, required=False, known=values))


def about(config: ConfigDef) -> str:
    """What ``--help`` says about a config."""
    default = f"[default: {config.default}]" if config.default is not None else ""
    if config.required and config.default is None and config.default_value is None:
        default = "[required]"
    return f"{config.help or ''}  {default}".strip()
