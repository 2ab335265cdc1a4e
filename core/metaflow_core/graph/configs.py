"""Configs of a flow: which are given, what they hold, and what of the flow depends on them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

from metaflow_core.config_value import ConfigValue
from metaflow_core.errors import MetaflowException, MetaflowUsageError, ParameterFieldFailed
from metaflow_core.graph.config_file import Malformed, ending, parse, parser_of, read_text
from metaflow_core.graph.delayed import is_delayed, resolve
from metaflow_core.graph.model import ConfigDef, DecoratorSpec, FlowDef
from metaflow_core.graph.parameters import where
from metaflow_core.graph.paths import shown_path
from metaflow_core.graph.raised import told
from metaflow_core.names import advise, show

PATHS, VALUES = "METAFLOW_FLOW_CONFIG", "METAFLOW_FLOW_CONFIG_VALUE"
_TEXT_ENDINGS = (".json", ".toml", ".yaml", ".yml")


class Given(NamedTuple):
    """What was given for a config: the path of a file, or a value as text or as data, and by what."""

    value: Any
    is_path: bool
    option: str


def given_configs(
    flow: FlowDef, paths: Iterable[tuple[str, str]], values: Iterable[tuple[str, str]], environment: Mapping[str, str]
) -> dict[str, Given]:
    """What ``--config``, ``--config-value`` and the environment give, by the name of the config.

    The command line wins over the environment, config by config, and a later option over an earlier one.
    ``MetaflowUsageError`` for an unknown name, and for a config that is given both as a file and as a value.
    """
    found: dict[str, Given] = {}
    for file_option, files, value_option, data in (
        (PATHS, _of_variable(environment, PATHS), VALUES, _of_variable(environment, VALUES)),
        ("--config", dict(paths), "--config-value", dict(values)),
    ):
        for option, given in ((file_option, files), (value_option, data)):
            for name in given:
                _check_known(flow, name, option)
        for name in files:
            if name in data:
                raise MetaflowUsageError(
                    f"The config {name!r} is given by {file_option} and by {value_option}. Give one of them."
                )
        found |= {name: Given(path, True, file_option) for name, path in files.items()}
        found |= {name: Given(value, False, value_option) for name, value in data.items()}
    return found


def read_configs(
    flow: FlowDef, given: Mapping[str, Given], required: bool = True, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The value of each config, by the name of its artifact; that of one in ``known`` is the one there.

    ``MetaflowUsageError`` when a required one is not given; with ``required`` False it is None. ``MetaflowException``
    when a file can't be read or does not say what a config can be, ``ParameterFieldFailed`` when a parser fails.
    """
    values = dict(known or {})
    for config in flow.configs:
        if config.artifact in values:
            continue
        if config.name in given:
            source = given[config.name]
        elif config.default is not None:
            source = Given(_default_path(flow, config), True, "")
        elif config.default_value is not None:
            source = Given(config.default_value, False, "")
        elif config.required and required:
            raise MetaflowUsageError(
                f"The config {config.name!r} is required: give it by --config {config.name} FILE "
                f"or --config-value {config.name} VALUE, before the command."
            )
        else:
            values[config.artifact] = None
            continue
        values[config.artifact] = _value(config, source, flow.language)
    return values


def set_configs(flow: FlowDef, values: Mapping[str, Any]) -> None:
    """Let the flow have these configs, by the names of their artifacts: what was delayed gets its value."""
    flow.config_values = dict(values)
    known = {config.name: values.get(config.artifact) for config in flow.configs} | flow.config_values
    for i, spec in enumerate(flow.decorators):
        flow.decorators[i] = _resolved(spec, known, f"flow {flow.name}{where(flow)}")
    flow.mutators = [_resolved(spec, known, f"flow {flow.name}{where(flow)}") for spec in flow.mutators]
    for step in flow:
        step.decorators = [_resolved(spec, known, f"step {step.name}{where(step)}") for spec in step.decorators]
    for i, parameter in enumerate(flow.parameters):
        if is_delayed(parameter.default):
            default = resolve(parameter.default, known, f"The default of parameter {parameter.name!r}")
            flow.parameters[i] = dataclasses.replace(parameter, default=default)


def _resolved(spec: DecoratorSpec, configs: Mapping[str, Any], where: str) -> DecoratorSpec:
    if not is_delayed(spec.attributes):
        return spec
    attributes: dict[str, Any] = {}
    for name, value in spec.attributes.items():
        argument = "" if name.startswith("**") else f", argument {name!r}"
        attributes |= resolve({name: value}, configs, f"@{spec.name} on {where}{argument}")
    return dataclasses.replace(spec, attributes=attributes)


def _value(config: ConfigDef, source: Given, language: str) -> Any:
    what = f" of {source.option}" if source.option else ""
    try:
        if source.is_path:
            path = os.path.expanduser(source.value)
            text, what, of_ending = read_text(path), f" (file {shown_path(path)!r})", ending(path)
        else:
            text, of_ending = source.value, ""
        found = _parsed(config, text, of_ending, source.is_path) if isinstance(text, str) else text
    except Malformed as problem:
        _refuse(config, f"its value{what} is {problem}.")
    except ParameterFieldFailed:
        raise
    except MetaflowException as problem:
        _refuse(config, str(problem))
    if config.plain:
        return found
    if not isinstance(found, Mapping):
        _refuse(
            config,
            f"its value{what} is {show(found)}, and must be a mapping of names and values. For any other value define "
            f"the config with plain = {'TRUE' if language == 'r' else 'True'}.",
        )
    try:
        return ConfigValue(dict(found), config.artifact)
    except RecursionError:
        _refuse(config, f"its value{what} contains itself.")


def _parsed(config: ConfigDef, text: str, of_ending: str, is_file: bool) -> Any:
    if config.parser is not None:
        parser = parser_of(config.parser)
        try:
            return parser(text)
        except Exception as error:
            raise ParameterFieldFailed(f"The parser of config {config.name!r}{where(config)} {told(error)}") from error
    if not config.plain or of_ending in _TEXT_ENDINGS:
        return parse(text, of_ending)
    if is_file:
        return text
    try:
        found = parse(text, "")
    except Malformed:
        return text
    return found if isinstance(found, (dict, list)) else text


def _default_path(flow: FlowDef, config: ConfigDef) -> str:
    """The default as it is in the working directory, else beside the file of the flow."""
    path: str = os.path.expanduser(os.fspath(config.default))
    if not os.path.exists(path) and flow.file is not None:
        beside = os.path.join(os.path.dirname(os.path.abspath(flow.file)), path)
        if os.path.exists(beside):
            return beside
    return path


def _of_variable(environment: Mapping[str, str], variable: str) -> dict[str, Any]:
    text = environment.get(variable)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        what = "path" if variable == PATHS else "value"
        raise MetaflowUsageError(
            f"{variable} must be a JSON object that gives the {what} of each config by its name, not {show(text)}."
        )
    if variable == PATHS:
        for name, path in found.items():
            if not isinstance(path, str):
                raise MetaflowUsageError(f"{variable}: the path of {name!r} must be text, not {show(path)}.")
    return found


def _check_known(flow: FlowDef, name: str, option: str) -> None:
    names = [config.name for config in flow.configs]
    if name in names:
        return
    advice = advise(name, names, "Its configs")
    raise MetaflowUsageError(f"{option}: the flow {flow.name!r} has no config {name!r}. {advice}")


def _refuse(config: ConfigDef, problem: str) -> NoReturn:
    raise MetaflowException(f"Config {config.name!r}{where(config)}: {problem}")
