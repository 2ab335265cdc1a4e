"""`Config`, `config_expr` and `ConfigValue`: what is known of a run before its code is checked or runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from metaflow_core.config_value import ConfigValue
from metaflow_core.errors import MetaflowException
from metaflow_core.graph.delayed import Spread
from metaflow_core.graph.model import ConfigDef, Delayed, Location

from metaflow.parameters import value_in_run

__all__ = ["Config", "ConfigValue", "config_expr"]


class Later(Delayed):
    """A value of a config where the config itself is not known yet: ``config.model.rate`` in the body of a class."""

    def __init__(self, source: str, find: Callable[[Mapping[str, Any]], Any]) -> None:
        self._source = source
        self._find = find

    def _resolve(self, configs: Mapping[str, Any]) -> Any:
        return self._find(configs)

    def _whole(self, configs: Mapping[str, Any]) -> Any:
        """The value, of which a part is asked for."""
        return self._resolve(configs)

    def __getattr__(self, name: str) -> Later:
        if name.startswith("_"):
            raise AttributeError(name)
        return Later(f"{self._source}.{name}", lambda configs: getattr(self._whole(configs), name))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str) and key.startswith("**"):
            return Spread(self)
        return Later(f"{self._source}[{key!r}]", lambda configs: self._whole(configs)[key])

    def keys(self) -> list[str]:
        """One key, for ``**config.model``: the rest follows when the config is known."""
        return [f"**{self._source}"]

    def __get__(self, flow: Any, cls: type | None = None) -> Any:
        """As an attribute of a flow's class it is the value, in a step."""
        if flow is None or flow._state is None:
            return self
        from metaflow_core.graph.delayed import resolve

        configs = {
            name: flow._state.get(config.artifact)
            for config in flow._state.flow.configs
            for name in (config.name, config.artifact)
        }
        return resolve(self, configs, f"Step {flow._state.step.name}")

    def __repr__(self) -> str:
        return f"<{self._source}, which is known when the flow runs>"

    def _refuse(self, *args: object) -> NoReturn:
        raise MetaflowException(
            f"{self._source} has no value yet: the configs are known when the flow is started. Say what is to be done "
            f'with it in config_expr("..."), or in a step.'
        )

    def __iter__(self) -> Iterator[Any]:
        self._refuse()

    __hash__ = object.__hash__
    __eq__ = __ne__ = _refuse
    __bool__ = __len__ = __str__ = __format__ = __int__ = __float__ = __index__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __neg__ = _refuse
    __contains__ = __call__ = _refuse


class Config(Later):
    """A mapping that is known before the flow is checked: ``--config NAME FILE``, before the command.

        class TrainFlow(FlowSpec):
            config = Config("config", default="config.json")
            rate = Parameter("rate", default=config.model.rate)

            @resources(cpu=config.cpu)
            @step
            def start(self):
                print(self.config.model.layers)
                self.next(self.end)

    In the class it can stand in arguments of decorators and in defaults of parameters, by dots, by brackets and as
    ``**config.limits``; `config_expr` computes with it. In a step it is a `ConfigValue`, which can't be changed.

    ``default`` is the path of a file, looked for in the working directory and then beside the flow's file;
    ``default_value`` is a dict, or text. Without them the value is None, unless ``required``. Files are JSON, or TOML
    or YAML when they are called so; ``parser`` is a function of the file's text, or its dotted name, that gives a dict.
    With ``plain`` the value may be anything: what the file says, or its text when it is called otherwise.
    """

    def __init__(
        self,
        name: str,
        default: str | os.PathLike[str] | None = None,
        default_value: Any = None,
        help: str | None = None,
        required: bool | None = None,
        parser: str | Callable[[str], Any] | None = None,
        plain: bool = False,
    ) -> None:
        frame = sys._getframe(1)
        self._definition = ConfigDef(
            name,
            default=default,
            default_value=default_value,
            required=bool(required),
            help=help,
            parser=parser,
            plain=plain,
            location=Location(frame.f_code.co_filename, frame.f_lineno),
        )
        _check(self._definition)
        super().__init__(name, self._value)

    def _value(self, configs: Mapping[str, Any]) -> Any:
        name = self._definition.name
        if name not in configs:
            raise MetaflowException(f"The flow has no config {name!r}. Define it in the class of the flow.")
        return configs[name]

    def _whole(self, configs: Mapping[str, Any]) -> Any:
        found = self._value(configs)
        if found is None:
            name = self._definition.name
            raise MetaflowException(f"The config {name!r} was not given: --config {name} FILE, before the command.")
        return found

    def __set_name__(self, owner: type, attribute: str) -> None:
        self._definition.attribute = attribute

    def __get__(self, flow: Any, cls: type | None = None) -> Any:
        if flow is None:
            return self
        return value_in_run(flow, "config", self._definition)

    def __repr__(self) -> str:
        return f"Config({self._definition.name!r})"


def config_expr(expression: str) -> Any:
    """A value that is computed from configs when they are known: ``@resources(cpu=config_expr("config.cpu * 2"))``.

    The expression is Python's, and sees the configs by their names and what the module defines. It stands where a
    config can stand: in an argument of a decorator, in the default of a parameter. ``MetaflowException`` when it is no
    expression.
    """
    scope = sys._getframe(1).f_globals
    try:
        code = compile(expression.strip(), "<config_expr>", "eval")
    except (SyntaxError, ValueError, TypeError, AttributeError) as error:
        raise MetaflowException(
            f"config_expr() takes an expression as text, such as config_expr('config.cpu * 2'), not {expression!r}: "
            f"{getattr(error, 'msg', error)}."
        ) from None
    return Later(f"config_expr({expression!r})", lambda configs: eval(code, {**scope, **configs}))


def _check(config: ConfigDef) -> None:
    problem = None
    if config.default is not None and not isinstance(config.default, (str, os.PathLike)):
        problem = f"default must be the path of a file, not {config.default!r}. For a value use default_value."
    elif config.default is not None and config.default_value is not None:
        problem = "it has default and default_value. Choose one."
    elif config.parser is not None and not (callable(config.parser) or isinstance(config.parser, str)):
        problem = f"parser must be a function or its dotted name, not {config.parser!r}."
    if problem:
        raise MetaflowException(f"Config {config.name!r}: {problem}")
