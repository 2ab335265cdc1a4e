"""Parameters of a flow as options of its `run` command."""

from __future__ import annotations

from typing import Any

import click

from metaflow_core.errors import MetaflowException
from metaflow_core.graph.model import FlowDef, ParameterDef
from metaflow_core.graph.parameters import Given, check_parameters, convert, is_computed, key, kind


def options_for(flow: FlowDef) -> list[click.Option]:
    """One option ``--name VALUE`` for each parameter; ``evaluate`` takes the arguments of the command that has them.

    For one that is true or false ``--name`` alone is ``--name True``. ``METAFLOW_RUN_<NAME>`` gives a value
    too. A bad or a missing value is click's usage error. ``MetaflowException`` when a parameter can't work.
    """
    check_parameters(flow)
    return [
        click.Option(
            [f"--{parameter.name}", key(parameter)],
            type=_Type(parameter),
            **_flag(parameter),
            required=parameter.required and parameter.default is None,
            help=_help(parameter),
            envvar="METAFLOW_RUN_" + parameter.name.replace("-", "_").upper(),
        )
        for parameter in flow.parameters
    ]


def _flag(parameter: ParameterDef) -> dict[str, Any]:
    return {"is_flag": False, "flag_value": "True"} if kind(parameter) == "bool" else {}


class _Type(click.ParamType[Given]):
    def __init__(self, parameter: ParameterDef) -> None:
        self.parameter = parameter
        of_kind = kind(parameter)
        names = {"str": "text", "int": "integer", "file": "path"}
        self.name = getattr(parameter.type, "name", of_kind) if of_kind == "click" else names.get(of_kind, of_kind)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        if kind(self.parameter) == "bool":
            return "[True|False]"
        if kind(self.parameter) != "click":
            return None
        return self.parameter.type.get_metavar(param, ctx)  # type: ignore[no-any-return]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Given:
        if isinstance(value, Given):
            return value
        try:
            return Given(convert(self.parameter, value))
        except MetaflowException as error:
            # click names the option itself
            self.fail(str(error).removeprefix(f"Parameter {self.parameter.name!r}").lstrip(": "), param, ctx)


def _help(parameter: ParameterDef) -> str:
    default = parameter.default
    if default is None or is_computed(default) or not parameter.show_default:
        return parameter.help or ""
    return f"{parameter.help or ''}  [default: {default}]".strip()
