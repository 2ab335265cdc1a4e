"""What the command line names in modules of the user: ``run --with profiling.timed``, ``spin --artifacts-module``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from metaflow_core.errors import CommandException, UnknownFlowDecoratorException, UnknownStepDecoratorException
from metaflow_core.graph.model import DecoratorSpec
from metaflow_core.graph.raised import told
from metaflow_core.names import show


def load(
    name: str, where: str, folder: str | None = None, on_steps: bool = True
) -> Callable[[Mapping[str, Any]], DecoratorSpec]:
    """Makes that decorator of its arguments. ``UnknownStepDecoratorException`` when there is none.

    Without ``on_steps`` it is a mutator of flows, and the error is ``UnknownFlowDecoratorException``.
    """
    from metaflow.user_code import Applied, UserDecorator

    place, _, attribute = name.rpartition(".")
    for one in (folder, os.getcwd()):
        if one is not None and one not in sys.path:
            sys.path.append(one)
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise _broken(place, where, error) from error
        raise UnknownStepDecoratorException(
            f"{where}: there is no Python module {place!r}. Put it beside the flow's file, or "
            f"install it: --with MODULE.NAME"
        ) from None
    except Exception as error:
        raise _broken(place, where, error) from error
    found = getattr(module, attribute, None)
    if isinstance(found, UserDecorator) and on_steps:
        return found._spec
    if isinstance(found, Applied) and found._on_steps == on_steps:
        return lambda attributes: found._spec((), attributes)
    known = [
        key
        for key, one in vars(module).items()
        if (on_steps and isinstance(one, UserDecorator)) or _own_class(one, place, on_steps)
    ]
    what = "decorator of steps" if on_steps else "mutator of flows"
    problem = f"{where}: the module {place!r} has no {what} {attribute!r}. It has: {', '.join(known) or 'none'}."
    raise UnknownStepDecoratorException(problem) if on_steps else UnknownFlowDecoratorException(problem)


def _own_class(value: object, place: str, on_steps: bool) -> bool:
    from metaflow.user_code import Applied

    return isinstance(value, Applied) and value._on_steps == on_steps and value.__module__ == place


def _broken(place: str, where: str, error: Exception) -> UnknownStepDecoratorException:
    return UnknownStepDecoratorException(
        f"{where}: the module {place!r} can't be imported. {type(error).__name__}: {error}"
    )


def artifacts_in(file: str) -> Mapping[str, Any]:
    """The dict ``ARTIFACTS`` of a Python file. ``CommandException`` when it can't be had."""
    import importlib.util

    path = os.path.abspath(file)
    sys.path.insert(0, os.path.dirname(path))  # so that the file can import its neighbours
    try:
        specification = importlib.util.spec_from_file_location("metaflow_artifacts_module", path)
        if specification is None or specification.loader is None:
            raise CommandException(f"--artifacts-module: {file!r} is no file in Python or R.")
        module = importlib.util.module_from_spec(specification)
        try:
            specification.loader.exec_module(module)
        except Exception as error:
            raise CommandException(f"--artifacts-module: {file!r} can't be loaded: it {told(error)}") from error
    finally:
        sys.path.remove(os.path.dirname(path))
    found = getattr(module, "ARTIFACTS", None)
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        what = "has none" if found is None else f"has {show(found)}"
        raise CommandException(
            f"--artifacts-module: {file!r} must define a dict of artifacts by name, ARTIFACTS = {{...}}; it {what}."
        )
    return found
