"""An R flow as a `FlowDef`, and its command line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from metaflow_core.graph.ends import mark_ends
from metaflow_core.graph.model import ConfigDef, DecoratorSpec, Delayed, FlowDef, ParameterDef, StepDef, Transition
from metaflow_core.graph.raised import OtherLanguage

from metaflow_r.exit_hooks import RHook
from metaflow_r.functions import RFunction, python_step
from metaflow_r.locations import locate
from metaflow_r.text import strings, text
from metaflow_r.user_code import RCode


def plain(value: Any) -> Any:
    """The Python value of an R value."""
    from metaflow_core.values.python_value import from_tree

    from metaflow_r.write import to_tree

    return from_tree(to_tree(value))


def _parts(value: Any) -> dict[str, Any]:
    """The elements of a named R list."""
    names = strings(value.names) if hasattr(value, "names") else []
    return dict(zip(names, value, strict=False))


def read_flow(data: Any) -> FlowDef:
    """The flow that the R side describes."""
    parts = _parts(data)
    file = parts["file"][0]
    flow = FlowDef(
        text(parts["name"]),
        language="r",
        file=file if isinstance(file, str) else None,
        decorators=[decorator_of(item) for item in parts["decorators"]],
        parameters=[parameter_of(item) for item in parts["parameters"]],
        configs=[_config(item) for item in parts["configs"]],
    )
    for item in parts["steps"]:
        step = _step(_parts(item), flow)
        flow.steps[step.name] = step
    if isinstance(parts["source"][0], str):
        locate(flow, parts["source"][0])
    mark_ends(flow)
    _take_mutators(flow)
    return flow


def _take_mutators(flow: FlowDef) -> None:
    """The mutators among the decorators of the flow, which change it now for the first time."""
    for spec in list(flow.decorators):
        if spec.code is None and "." in spec.name:  # one in Python, which can't be named otherwise
            from metaflow.user_module import load

            folder = os.path.dirname(os.path.abspath(flow.file)) if flow.file else None
            flow.mutators.append(load(spec.name, f"@{spec.name} on flow {flow.name}", folder, False)(spec.attributes))
        elif spec.code is not None and spec.code.is_mutator:
            flow.mutators.append(spec)
        else:
            continue
        flow.decorators.remove(spec)
    for spec in flow.mutators:
        spec.code.pre_mutate(spec, flow)


def decorator_of(item: Any) -> DecoratorSpec:
    """A decorator, or a mutator, as R describes it."""
    parts = _parts(item)
    if "around" in parts:
        return DecoratorSpec(text(parts["name"]), {}, RCode(parts["around"]))
    if "mutate" in parts:
        from metaflow_r.mutators import RMutation

        code = RMutation(text(parts["of"]) == "steps", parts["pre_mutate"], parts["mutate"])
        return DecoratorSpec(text(parts["name"]), {}, code)
    return DecoratorSpec(
        text(parts["name"]), {name: _argument(value) for name, value in _parts(parts["arguments"]).items()}
    )


def _argument(value: Any) -> Any:
    """The Python value of an argument of a decorator; a `config_expr()` in it stays one."""
    from rpy2.rinterface import ListSexpVector, SexpClosure

    if isinstance(value, SexpClosure):
        return ConfigExpr(value) if "metaflow_config_expr" in value.rclass else RHook(value)
    if isinstance(value, ListSexpVector) and any(isinstance(item, SexpClosure) for item in value):
        parts = [_argument(item) for item in value]
        names = strings(value.names) if "names" in value.list_attrs() else []
        return dict(zip(names, parts, strict=True)) if names else parts
    return plain(value)


class ConfigExpr(Delayed):
    """A value that an R function computes from the configs."""

    def __init__(self, function: Any, type: str | None = None) -> None:
        self._function = function
        self._type = type
        self._source = text(function.do_slot("source"))

    def _resolve(self, configs: Mapping[str, Any]) -> Any:
        from metaflow_core.config_value import plain as unfixed
        from metaflow_core.errors import MetaflowException

        from metaflow_r import session
        from metaflow_r.read import to_r

        known = to_r({name: unfixed(value) for name, value in configs.items()})
        outcome = session.helper("try_call")(session.helper("call_config_expr"), self._function, known)
        if int(outcome[0].typeof) == 10:
            return _whole(plain(outcome[1]), self._type)
        raise MetaflowException(text(outcome[0]))


def _config(item: Any) -> ConfigDef:
    from rpy2.rinterface import SexpClosure

    parts = _parts(item)
    value, parser = plain(parts["default_value"]), parts["parser"]
    return ConfigDef(
        text(parts["name"]),
        default=text(parts["default"]) or None,
        default_value={} if value == [] else value,
        required=bool(parts["required"][0]),
        help=text(parts["help"]) or None,
        parser=_parser(parser) if isinstance(parser, SexpClosure) else text(parser) or None,
        plain=bool(parts["plain"][0]),
    )


def _parser(function: Any) -> Callable[[str], Any]:
    def parse(content: str) -> Any:
        from metaflow_r import session
        from metaflow_r.read import to_r

        outcome = session.helper("try_call")(function, to_r(content))
        if int(outcome[0].typeof) == 10:
            return plain(outcome[1])
        raise OtherLanguage(text(outcome[0]))

    return parse


def parameter_of(item: Any) -> ParameterDef:
    """A parameter as R describes it."""
    from rpy2.rinterface import SexpClosure

    parts = _parts(item)
    default = parts["default"]
    optional = {name: text(parts[name]) or None for name in ("help", "separator", "type")}
    return ParameterDef(
        text(parts["name"]),
        type=optional["type"],
        default=_default(default, optional["type"])
        if isinstance(default, SexpClosure)
        else _whole(plain(default), optional["type"]),
        required=bool(parts["required"][0]),
        help=optional["help"],
        separator=optional["separator"],
        options={name: plain(value) for name, value in _parts(parts["options"]).items()},
    )


def _whole(value: Any, type: str | None) -> Any:
    """A number of R that is whole, as an int where one is wanted: R writes 5 for 5.0, and has no larger integers."""
    return int(value) if type == "int" and isinstance(value, float) and value.is_integer() else value


def _default(function: Any, type: str | None) -> Any:
    """A default that is a function: of the configs, or of the run."""
    if function.rclass[0] == "metaflow_config_expr":
        return ConfigExpr(function, type)
    return _computed(function, type)


def _computed(function: Any, type: str | None) -> Callable[[Any], Any]:
    def default(context: Any) -> Any:
        from metaflow_r import session
        from metaflow_r.read import to_r

        facts = {name: getattr(context, name) for name in ("flow_name", "user_name", "parameter_name", "ds_type")}
        if context.configs is not None:
            facts["configs"] = context.configs.to_dict()
        outcome = session.helper("try_call")(session.helper("call_default"), function, to_r(facts))
        if int(outcome[0].typeof) == 10:
            return _whole(plain(outcome[1]), type)
        raise OtherLanguage(text(outcome[0]))

    return default


def _step(parts: dict[str, Any], flow: FlowDef) -> StepDef:
    from rpy2.rinterface import NULL

    step = StepDef(
        text(parts["name"]),
        language="r",
        num_inputs=2 if parts["join"][0] else 1,
        transition=_transition(parts),
        problem=text(parts["problem"]) or None,
        decorators=[decorator_of(item) for item in parts["decorators"]],
    )
    where = text(parts["py_function"])
    if where:
        python_step(step, where, flow)
    elif parts["r_function"] is not NULL:
        step.body = RFunction(parts["r_function"])
    return step


def _transition(parts: dict[str, Any]) -> Transition | None:
    targets = tuple(strings(parts["next_step"]))
    if not targets:
        return None
    foreach, condition = text(parts["foreach"]) or None, text(parts["condition"]) or None
    if condition is not None:
        cases = tuple(zip(strings(parts["cases"]), targets, strict=False))
        return Transition("switch", tuple(dict.fromkeys(targets)), condition=condition, cases=cases)
    if foreach is not None:
        return Transition("foreach", targets, foreach=foreach)
    if len(parts["num_parallel"]):
        return Transition("parallel", targets, num_parallel=int(parts["num_parallel"][0]))
    return Transition("linear" if len(targets) == 1 else "split", targets)


# --- the command line -------------------------------------------------------------------------------------------------


def _execute(
    data: Any,
    program: Any,
    before: Any,
    command: Any,
    after: Any,
    command_line: Any,
    names: Any,
    values: Any,
    variable: Any,
    passed_on: Any,
) -> Any:
    """Carry out the command that the script's ``run()`` asks for, unless the command line asks for another.

    Without a command line this is a session, or its child: there the flow is in the ``variable``.
    """
    from metaflow_core.cli.flow import execute
    from rpy2.rinterface import NULL, IntSexpVector, StrSexpVector

    from metaflow_r import runtime
    from metaflow_r.sexp import named_list

    set_environment(strings(names), strings(values))
    flow = read_flow(data)
    runtime.last_run.clear()
    given = None if command_line is NULL else strings(command_line)
    arguments = _arguments(flow, strings(before), text(command), strings(after), given)
    with _Signals():
        session = text(variable) if given is None else None
        code = execute(flow, strings(program), arguments, session, bool(passed_on[0]))
    sys.stdout.flush()
    sys.stderr.flush()
    return named_list(
        {"code": IntSexpVector([code]), "run": StrSexpVector([runtime.last_run[0] if runtime.last_run else ""])}
    )


def _arguments(flow: FlowDef, before: list[str], command: str, after: list[str], given: list[str] | None) -> list[str]:
    """The command line to carry out: what the script says, and then what the user says, who wins."""
    if given is None:
        return [*before, command, *after]
    place = _place_of_command(flow, given)
    before = _without_configs(before, given[:place])
    if place is None:
        if any(argument in ("--help", "-h") for argument in given):
            return given
        # As with a Python flow, a script without a command checks the flow, unless its run() asks for something.
        asks = command != "run" or after == ["--help"]
        return [*before, *given, command, *after] if asks else [*before, *given]
    if given[place] == command:
        words = given[place + 1 :]
        if _is_word(words) and _is_word(after):
            from metaflow_core.cli.flow import COMMANDS, ORCHESTRATOR

            # The options of `step_functions = "create"` are not meant for `step-functions trigger`, and those of
            # `resume = "start"` are for `resume train` too.
            deploys = COMMANDS.get(command, ORCHESTRATOR) == ORCHESTRATOR
            after = [] if deploys and after[0] != words[0] else after[1:]
            place, words = place + 1, words[1:]
        return [*before, *given[: place + 1], *after, *words]
    if given[place] in ("resume", "spin"):
        before = _without_configs(before)  # they are those of a run
    if (given[place], command) == ("resume", "run"):
        from metaflow_core.cli.arguments import kept

        return [*before, *given[: place + 1], *kept(after, "resume"), *given[place + 1 :]]
    return [*before, *given]


def _is_word(words: list[str]) -> bool:
    return bool(words) and not words[0].startswith("-")


def _without_configs(before: list[str], given: list[str] | None = None) -> list[str]:
    """What a script says, without the configs that the user chooses, or without any."""
    options = ("--config", "--config-value")
    chosen = None if given is None else {given[i + 1] for i, word in enumerate(given[:-1]) if word in options}
    kept: list[str] = []
    i = 0
    while i < len(before):
        if before[i] not in options:
            kept.append(before[i])
            i += 1
            continue
        if chosen is not None and before[i + 1] not in chosen:
            kept += before[i : i + 3]
        i += 3
    return kept


def _place_of_command(flow: FlowDef, given: list[str]) -> int | None:
    """Where in the arguments the command stands: the first one that is no option, and no value of one."""
    from metaflow_core.cli.flow import command_line

    values: dict[str, int] = {}  # how many follow an option
    for option in command_line(flow).params:
        if not getattr(option, "is_flag", False):
            values.update(dict.fromkeys(option.opts, option.nargs))
    place = 0
    while place < len(given):
        argument = given[place]
        if not argument.startswith("-"):
            return place
        place += 1 + values.get(argument, 0)
    return None


def set_environment(names: list[str], values: list[str]) -> None:
    """Bring ``os.environ`` up to date: Python has read the environment when it started, R may have changed it since."""
    given = dict(zip(names, values, strict=False))
    for name in list(os.environ):
        if name.startswith("METAFLOW_") and name not in given:
            os.environ.pop(name)
    for name, value in given.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


class _Signals:
    """While Python has the word, interrupts are Python's; afterwards they are R's again."""

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self) -> None:
        import ctypes

        self.libc = ctypes.CDLL(None)
        self.saved = {}
        for number in self.numbers:
            if signal.getsignal(number) is not None:
                continue
            action = ctypes.create_string_buffer(512)  # larger than any struct sigaction
            if self.libc.sigaction(int(number), None, action) == 0:
                self.saved[number] = action
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    def __exit__(self, *error: object) -> None:
        for number, action in self.saved.items():
            self.libc.sigaction(int(number), action, None)


def _leave_group() -> None:
    """From here on, an interrupt that a terminal sends to the session that has started this process is not for it."""
    os.setpgid(0, 0)


FOR_R: dict[str, Callable[..., Any]] = {"execute": _execute, "leave_group": _leave_group}
