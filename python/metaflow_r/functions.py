"""The code of steps: R functions of an R flow, R functions in a file, and Python functions of an R flow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from metaflow_core.errors import CommandException, LintWarn
from metaflow_core.graph.paths import shown_path

if TYPE_CHECKING:
    from collections.abc import Collection

    from metaflow_core.graph.model import FlowDef, StepDef

_environments: dict[str, Any] = {}
_functions: dict[tuple[str, str], RFunction] = {}


class RFunction:
    """An R function: given as such, or named in a file, whose code runs once in each process that needs it."""

    def __init__(self, function: Any = None, file: str = "", name: str = "") -> None:
        self._function = function
        self.file = file
        self.name = name

    def function(self) -> Any:
        """The function, as R has it. ``LintWarn`` when the file can't be sourced, or does not define it."""
        if self._function is None:
            self._function = _from_file(self.file, self.name)
        return self._function


def function_of(body: Any) -> RFunction | None:
    """The R function of a step's body, which may be a place in a file; None for a step without code."""
    if body is None or isinstance(body, RFunction):
        return body
    place = (str(body.file), str(body.name))
    if place not in _functions:
        _functions[place] = RFunction(None, *place)
    return _functions[place]


def load(flow: FlowDef) -> None:
    """Load every R function of the flow, and check that each takes what its step gives it."""
    from metaflow_r import session
    from metaflow_r.text import text

    for step in flow:
        body = function_of(step.body) if step.language == "r" else None
        if body is None or not body.file:
            continue
        try:
            function = body.function()
        except LintWarn as error:
            raise LintWarn(f"Step {step.name!r}: {error}") from None
        problem = session.helper("arity_problem")(function, _flag(step))
        if text(problem):
            raise LintWarn(f"Step {step.name!r}: {body.name} in {shown_path(body.file)} {text(problem)}")


def _flag(step: StepDef) -> Any:
    from rpy2.rinterface import BoolSexpVector

    return BoolSexpVector([step.is_join])


def _from_file(file: str, name: str) -> Any:
    from rpy2.rinterface import StrSexpVector

    from metaflow_r import session
    from metaflow_r.text import text

    path = os.path.abspath(file)
    if path not in _environments:
        found = session.helper("source_file")(StrSexpVector([path]))
        if found.typeof == 16:  # what R says is wrong
            raise LintWarn(f"the R file {shown_path(file)} can't be loaded: {text(found)}")
        _environments[path] = found
    found = session.helper("function_in")(_environments[path], StrSexpVector([name]))
    if found.typeof == 16:
        raise LintWarn(f"the R file {shown_path(file)} {text(found)}")
    return found


def artifacts_in(file: str, nested: Collection[str]) -> dict[str, Any]:
    """The named list ``ARTIFACTS`` of an R file; elements that ``nested`` names are such lists themselves."""
    from rpy2.rinterface import StrSexpVector

    from metaflow_r import session
    from metaflow_r.text import strings, text

    def parts(values: Any) -> dict[str, Any]:
        return dict(zip(strings(values.names), values, strict=True)) if len(values) else {}

    scope = session.helper("source_file")(StrSexpVector([os.path.abspath(file)]))
    if scope.typeof == 16:  # what R says is wrong
        raise CommandException(f"--artifacts-module: {file!r} can't be loaded: {text(scope)}")
    found = session.helper("given_artifacts")(scope, StrSexpVector(list(nested)))
    if found.typeof == 16:
        raise CommandException(f"--artifacts-module: {file!r} {text(found)}")
    return {name: parts(value) if name in nested else value for name, value in parts(found).items()}


# --- Python functions as steps of an R flow ---------------------------------------------------------------------------


def python_step(step: StepDef, where: str, flow: FlowDef) -> None:
    """Make ``step`` call the Python function at ``where``: ``file.py:function`` or ``module:function``."""
    place, _, name = where.rpartition(":")
    step.language = "python"
    path = place if place.endswith(".py") else None
    if path is not None and not os.path.isabs(path):
        beside = os.path.join(os.path.dirname(flow.file), path) if flow.file else path
        path = beside if os.path.exists(beside) else path
    step.file = path
    step.problem = _python_problem(step, place, path, name)
    step.body = flow_class(step, place, path, name)


def _python_problem(step: StepDef, place: str, path: str | None, name: str) -> str | None:
    """What is wrong with the function, as far as its file tells without running it."""
    if path is None:
        import importlib.util

        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            return (
                f'there is no Python module {place!r}. Name a file, as in "features.py:{name}", or install the module.'
            )
        path = spec.origin
        if path is None or not path.endswith(".py"):
            return None
    import ast

    try:
        with open(path, encoding="utf-8") as file:
            module = ast.parse(file.read(), path)
    except OSError:
        return f"the Python file {shown_path(path)} does not exist."
    except SyntaxError as error:
        return f"the Python file {shown_path(path)} can't be read: {error.msg} (line {error.lineno})."
    defined = {one.name: one for one in module.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
    node = defined.get(name)
    if node is None:
        assigned = {n.id for n in ast.walk(module) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        imported = {a.asname or a.name for n in ast.walk(module) if isinstance(n, ast.ImportFrom) for a in n.names}
        if name in assigned | imported or "*" in imported:
            return None
        import difflib

        near = difflib.get_close_matches(name, list(defined), 1)
        advice = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(defined) or 'none'}."
        return f"the Python file {shown_path(path)} has no function {name!r}. {advice}"
    arguments = node.args
    most = len(arguments.posonlyargs) + len(arguments.args)
    least = most - len(arguments.defaults)
    wanted = step.num_inputs
    if (arguments.vararg is None and not least <= wanted <= most) or least > wanted:
        expected = "self, inputs" if wanted == 2 else "self"
        return f"{name}() in {shown_path(path)} must take ({expected}), not ({ast.unparse(arguments)})."
    return None


_modules: dict[str, Any] = {}


def _load_python(place: str, path: str | None, name: str) -> Any:
    import importlib
    import importlib.util
    import sys

    module: Any
    if path is None:
        module = importlib.import_module(place)
    else:
        path = os.path.abspath(path)
        module = _modules.get(path)
        if module is None:
            folder = os.path.dirname(path)
            if folder not in sys.path:
                sys.path.insert(0, folder)  # so that the file can import its neighbours
            spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(spec.name, module)
            spec.loader.exec_module(module)
            _modules[path] = module
    return getattr(module, name)


def flow_class(step: StepDef, place: str, path: str | None, name: str) -> Any:
    """A flow class whose only step calls the function, and then leads on as the graph says."""
    from metaflow.flowspec import FlowSpec

    def body(self: Any, *inputs: Any) -> None:
        from metaflow_r.follow import follow

        _load_python(place, path, name)(self, *inputs)
        follow(step, self._state)

    def prepare() -> None:
        if step.problem is None:
            _load_python(place, path, name)

    known = {"_metaflow_load": staticmethod(prepare), "_metaflow_place": (place, path, name)}
    return type("Flow", (FlowSpec,), {step.name: body, **known})
