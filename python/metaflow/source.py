"""Reads a flow class: which steps it has, and where each leads, from the text of its methods."""

from __future__ import annotations

import ast
import dataclasses
import functools
import linecache
import sys
import warnings
from types import CellType, FunctionType, ModuleType
from typing import Any

from metaflow_core.errors import DuplicateFlowDecoratorException, MetaflowException
from metaflow_core.graph.ends import mark_ends
from metaflow_core.graph.model import FlowDef, Location, ParameterDef, StepDef

from metaflow.decorators import find, flow_decorators, flow_mutators, mark_of
from metaflow.flowspec import FlowSpec
from metaflow.parameters import Parameter
from metaflow.r_step import set_body
from metaflow.transition import read_transition


def read_flow(cls: type) -> FlowDef:
    """The flow that ``cls``, a subclass of ``FlowSpec``, defines.

    Steps, parameters, constants and flow decorators are merged along the method resolution order, those of base
    classes first. What is wrong with a step is left in ``StepDef.problem`` for lint. ``MetaflowException`` when the
    source of a step can't be found.
    """
    flow = FlowDef(cls.__name__, doc=_clean(cls.__doc__), decorators=_flow_decorators(cls))
    sources: dict[str, _Source] = {}
    for name, value in members(cls).items():
        if mark_of(value) is not None:
            flow.steps[name] = _read_step(cls, name, value, sources)
        elif isinstance(value, Parameter):
            flow.parameters.append(_parameter(name, value))
        elif _is_config(value):
            flow.configs.append(dataclasses.replace(value._definition, attribute=name))
        elif _is_constant(name, value):
            flow.constants[name] = value
    flow.mutators = flow_mutators(cls)
    flow.file = _file_of(cls, flow)
    if flow.file is not None:
        if flow.file not in sources:  # all steps are inherited, or there are none
            sources[flow.file] = _Source(flow.file, {})
        flow.location = Location(flow.file, sources[flow.file].classes.get(cls.__qualname__, 1))
    for spec in flow.mutators:
        spec.code.pre_mutate(spec, flow)
    return mark_ends(flow)


def members(cls: type) -> dict[str, Any]:
    """What a flow's class and its bases define, `FlowSpec` itself left out. An overridden name keeps its place."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base not in FlowSpec.__mro__:
            found.update(vars(base))
    return found


class _Source:
    """The functions and classes of one file, by place."""

    def __init__(self, path: str, module_globals: dict[str, Any]) -> None:
        self.functions: dict[tuple[str, int], ast.FunctionDef] = {}
        self.classes: dict[str, int] = {}
        linecache.checkcache(path)
        text = "".join(linecache.getlines(path, module_globals))
        self.found = bool(text)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they were shown when the file was compiled
                tree = ast.parse(text, path)
        except (SyntaxError, ValueError):  # not Python, or changed into something that is not
            self.found = False
        else:
            self._index(tree, "")

    def _index(self, node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                self.classes[prefix + child.name] = child.lineno
                self._index(child, prefix + child.name + ".")
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if isinstance(child, ast.FunctionDef):
                    first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                    self.functions[child.name, first] = child
                self._index(child, f"{prefix}{child.name}.<locals>.")
            elif not isinstance(child, ast.expr):  # a statement, an `except`, a `case`
                self._index(child, prefix)


def _read_step(cls: type, name: str, method: Any, sources: dict[str, _Source]) -> StepDef:
    function = _innermost(method)
    code = function.__code__
    if code.co_filename not in sources:
        sources[code.co_filename] = _Source(code.co_filename, function.__globals__)
    source = sources[code.co_filename]
    node = source.functions.get((code.co_name, code.co_firstlineno))
    if node is None:
        raise _no_source(cls, name, code.co_filename, code.co_firstlineno, source.found)
    mark = mark_of(method)
    assert mark is not None
    step = StepDef(
        name,
        body=cls,
        num_inputs=code.co_argcount,
        decorators=list(mark.decorators),
        location=Location(code.co_filename, node.lineno),
        doc=_clean(function.__doc__),
        is_start=mark.start,
        is_end=mark.end,
    )
    arguments = node.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
        step.problem = "it takes *args, **kwargs or keyword-only arguments; a step takes `self`, a join `self, inputs`."
    elif code.co_argcount > 0:
        constant = functools.partial(_constant, scope=_scope(cls, function))
        read_transition(step, node, constant)
    set_body(step, function, node)
    return step


def _innermost(method: Any) -> FunctionType:
    """The function that the user wrote, under decorators that use ``functools.wraps``."""
    while hasattr(method, "__wrapped__"):
        method = method.__wrapped__
    return method  # type: ignore[no-any-return]


def _no_source(cls: type, step: str, file: str, line: int, found: bool) -> MetaflowException:
    where = f"The source of the step {step!r} of the flow {cls.__name__!r}"
    if found:
        return MetaflowException(
            f"{where} is not where it was when it was loaded ({file}, line {line}): the file has changed since. "
            f"Start again with the changed file.",
            line,
            file,
        )
    return MetaflowException(
        f"{where} can't be read ({file}). The graph of a flow is read from its source, so define the flow in a file or "
        f"in a notebook cell, not in a string or on the command line.",
        line,
        file,
    )


def _scope(cls: type, function: FunctionType) -> dict[str, Any]:
    """The names that are known when the flow is read: globals, and variables of enclosing functions."""
    cells: tuple[CellType, ...] = function.__closure__ or ()
    scope = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            scope[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    code = function.__code__
    for name in (*code.co_varnames, *code.co_cellvars):  # local variables are not known before the step runs
        scope.pop(name, None)
    if code.co_argcount:
        scope[code.co_varnames[0]] = cls  # self.CONSTANT
    return scope


def _constant(node: ast.expr, scope: dict[str, Any]) -> Any:
    """The value of a literal, or of a dotted name that is known already; ``LookupError`` otherwise."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return scope[node.id]
    if isinstance(node, ast.Attribute):
        value = _constant(node.value, scope)
        try:
            return getattr(value, node.attr)
        except AttributeError:
            raise LookupError(node.attr) from None
    raise LookupError(ast.unparse(node))


def _flow_decorators(cls: type) -> list[Any]:
    specs = flow_decorators(cls)
    names = [spec.name for spec in specs]
    for name in names:
        decorator = find(name) if names.count(name) > 1 else None
        if decorator is not None and not decorator.repeatable:
            raise DuplicateFlowDecoratorException(
                f"The flow {cls.__name__!r} inherits the decorator @{name} from several flows. Keep one of them."
            )
    return specs


def _parameter(attribute: str, parameter: Parameter) -> ParameterDef:
    return dataclasses.replace(parameter.definition, attribute=attribute)


def _is_config(value: object) -> bool:
    config = sys.modules.get("metaflow.config")  # a flow without configs does not load it
    return config is not None and isinstance(value, config.Config)


def _is_constant(name: str, value: object) -> bool:
    """Functions, properties and other descriptors, classes and modules are code, not data."""
    return not (
        name.startswith("_") or callable(value) or hasattr(type(value), "__get__") or isinstance(value, ModuleType)
    )


def _file_of(cls: type, flow: FlowDef) -> str | None:
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is not None:
        return str(file)
    return next((step.location.file for step in flow if step.location), None)


def _clean(doc: str | None) -> str:
    if not doc:
        return ""
    import inspect

    return inspect.cleandoc(doc)
