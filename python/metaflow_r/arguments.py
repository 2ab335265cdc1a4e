"""Arguments of R's `run()` and `runner()` as words of a flow's command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from metaflow_core.errors import MetaflowUsageError
from metaflow_core.names import near

from metaflow_r.text import strings, text


class _Unknown(Exception):
    """An argument that there is not; R makes the message, as for those of its own functions."""

    def __init__(self, name: str, known: list[str]) -> None:
        self.name, self.known = name, known


def _words(parameters: Any, separators: Any, command: Any, is_open: Any, names: Any, values: Any) -> Any:
    """The words before the command, the command, and the words after it, or what is wrong with the arguments.

    ``command`` is that of a function of `runner()`, which does not know the parameters of its flow; "" for the options
    before it. NULL stands for `run()`, where an argument can name a command, and ``parameters`` are all there are,
    unless ``is_open`` because mutators may add some.
    """
    from rpy2.rinterface import NULL

    from metaflow_r.client_values import to_r
    from metaflow_r.sexp import named_list

    given = {name: _plain(value) for name, value in zip(strings(names), values, strict=True)}
    for name in ("config", "config_value"):
        if isinstance(given.get(name), dict):
            given[name] = {config: {} if one == [] else one for config, one in given[name].items()}  # R's list()
    try:
        if command is NULL:
            known = dict(zip(strings(parameters), strings(separators), strict=True))
            found = _of_run(known, bool(is_open[0]), given)
        else:
            found = _of_file(text(command), given)
    except _Unknown as error:
        return named_list({"unknown": to_r(error.name), "known": to_r(error.known)})
    except MetaflowUsageError as error:
        return named_list({"problem": to_r(str(error))})
    return named_list({part: to_r(words) for part, words in zip(("before", "command", "after"), found, strict=True)})


def _of_file(command: str, given: Mapping[str, Any]) -> tuple[list[str], str, list[str]]:
    from metaflow_core.cli.arguments import known_names, options_before, options_of, parameter_words

    known = options_of(*command.split()) if command else options_before()
    is_create = command.endswith(" create")  # which takes no parameters
    words: list[str] = []
    for name, value in given.items():
        if name in known:
            words += known[name].words(_whole(value))
        elif command and not is_create:
            words += parameter_words(name, _scalar(value))
        else:
            raise _Unknown(name, known_names(known))
    return ([], command, words) if command else (words, "", [])


def _of_run(parameters: Mapping[str, str], is_open: bool, given: Mapping[str, Any]) -> tuple[list[str], str, list[str]]:
    from metaflow_core.cli.arguments import commands, known_names, options_before, options_of, parameter_words

    spelled = {name.replace("-", "_"): name for name in parameters} | {name: name for name in parameters}
    options, early = options_of("run"), options_before()
    asked = [name for name in given if name in commands() and name not in {**spelled, **options}]
    asked = [name for name in asked if given[name] is not False]
    if len(asked) > 1:
        raise MetaflowUsageError(f"one call does one thing, and it was asked for {' and '.join(asked)}.")
    command = commands()[asked[0]] if asked else "run"
    place: list[str] = []
    if asked and given[asked[0]] is not True:
        value = given[asked[0]]
        place = [str(one) for one in (value if isinstance(value, list) else [value])]
    if asked:
        options = options_of(command, *place)
    before: list[str] = []
    after: list[str] = []
    unknown: list[str] = []
    for name, value in given.items():
        if name in asked or (name in commands() and value is False):
            continue
        if name in spelled:
            separator = parameters[spelled[name]] or None
            after += parameter_words(spelled[name], _whole(value) if separator else _scalar(value), separator)
        elif name in options:
            after += options[name].words(_whole(value))
        elif name == "batch" and isinstance(value, bool):
            after += ["--with", "batch"] if value else []
        elif name in early:
            before += early[name].words(_whole(value))
        elif is_open or (asked and not options):  # of a command that is not there, which is what counts
            after += parameter_words(name, _scalar(value))
        else:
            unknown.append(name)
    if unknown:
        known = known_names(parameters, options, [one for one in commands() if one != "run"], early, ["batch"])
        # Where a command is misspelt its options are unknown too, and the command is what to mend.
        raise _Unknown(next((name for name in unknown if near(name, commands())), unknown[0]), known)
    if command == "help":
        command, after = "run", ["--help"]
    return before, command, [*place, *after]


def _plain(value: Any) -> Any:
    from metaflow_r.program import plain

    return plain(value)


def _scalar(value: Any) -> Any:
    """R writes 5 for 5.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole(value: Any) -> Any:
    """The same for the elements of a vector, each of which is a word."""
    return [_scalar(one) for one in value] if isinstance(value, list) else _scalar(value)


FOR_R: dict[str, Callable[..., Any]] = {"words": _words}
