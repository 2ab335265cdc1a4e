"""The source of a flow that is defined in a cell of a notebook, fit to be a program of its own."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterator, Sequence

from metaflow_core.errors import CommandException

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SIMPLE = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.AugAssign, *_DEFINITIONS)

# Statements that use these are left out.
_OURS = {"NBDeployer", "NBRunner"}


def source_of_cell(name: str, cells: Sequence[str], variables: Collection[str]) -> str:
    """What the last cell that defines the class ``name`` defines; lines stay where they were.

    ``cells`` are as IPython has run them: their magics are calls of ``get_ipython()``. ``variables`` are the names that
    the notebook knows. ``CommandException`` when no cell defines the class, or when it uses what other cells define.
    """
    for cell in reversed(cells):
        for text in _texts(cell):
            tree = _parsed(text)
            if tree is not None and any(isinstance(one, ast.ClassDef) and one.name == name for one in tree.body):
                return _program(name, text, tree, variables)
    raise CommandException(
        f"No cell of this notebook defines the class {name} at its top level. "
        f"Run the cell with `class {name}(...)` again."
    )


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _texts(cell: str) -> Iterator[str]:
    """The cell, and what stands below a magic for a whole cell, such as ``%%time``."""
    yield cell
    tree = _parsed(cell)
    for one in tree.body if tree else []:
        if isinstance(one, ast.Expr) and _is_magic(one.value) and isinstance(one.value, ast.Call):
            last = one.value.args[-1] if len(one.value.args) == 3 else None
            if isinstance(last, ast.Constant) and isinstance(last.value, str):
                from IPython.core.inputtransformer2 import TransformerManager

                yield "\n" + TransformerManager().transform_cell(last.value)  # type: ignore[no-untyped-call]


def _program(name: str, text: str, tree: ast.Module, variables: Collection[str]) -> str:
    left_out = _OURS | {
        alias.asname
        for one in tree.body
        if isinstance(one, ast.ImportFrom)
        for alias in one.names
        if alias.name in _OURS and alias.asname
    }
    kept: list[ast.stmt] = []
    dropped: list[ast.stmt] = []
    for one in tree.body:
        is_flow = isinstance(one, ast.ClassDef) and one.name == name
        if is_flow or (_is_kept(one) and not _uses(one, left_out)):
            kept.append(one)
            if isinstance(one, _DEFINITIONS):
                dropped += [inner for inner in ast.walk(one) if isinstance(inner, ast.Expr) and _is_magic(inner.value)]
        else:
            dropped.append(one)
            left_out |= _defined(one)
    program = _without(text, dropped, top=tree.body)
    _check_complete(name, program, variables)
    return program


def _is_kept(one: ast.stmt) -> bool:
    if isinstance(one, _DEFINITIONS):
        return True
    if isinstance(one, (ast.If, ast.Try)):  # such as an import that may fail
        bodies = [*one.body, *one.orelse, *(getattr(one, "finalbody", []))]
        bodies += [inner for handler in getattr(one, "handlers", []) for inner in handler.body]
        is_main = isinstance(one, ast.If) and "__name__" in _loaded(one.test)
        return not is_main and all(isinstance(inner, ast.Pass) or _is_kept(inner) for inner in bodies)
    return isinstance(one, _SIMPLE) and not any(isinstance(inner, ast.Await) for inner in ast.walk(one))


def _uses(one: ast.stmt, names: set[str]) -> bool:
    """Whether a statement uses a name that is left out. What the body of a function uses is seen when it is called."""
    if isinstance(one, (ast.Import, ast.ImportFrom)):
        return False
    used = _loaded(one) | {inner.attr for inner in ast.walk(one) if isinstance(inner, ast.Attribute)} & _OURS
    if isinstance(one, _DEFINITIONS):
        return bool(_OURS & used)
    return bool(used & names) or "get_ipython" in used


def _is_magic(node: ast.expr) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    shell = node.func.value
    return isinstance(shell, ast.Call) and isinstance(shell.func, ast.Name) and shell.func.id == "get_ipython"


def _loaded(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}


def _defined(node: ast.AST) -> set[str]:
    """Every name that is given a value somewhere in the node, whatever its scope."""
    names: set[str | None] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load):
            names.add(one.id)
        elif isinstance(one, (*_DEFINITIONS, ast.ExceptHandler)):
            names.add(one.name)
        elif isinstance(one, ast.arg):
            names.add(one.arg)
        elif isinstance(one, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name.partition(".")[0] for alias in one.names)
        elif isinstance(one, (ast.MatchAs, ast.MatchStar)):
            names.add(one.name)
        elif isinstance(one, ast.MatchMapping):
            names.add(one.rest)
    return {name for name in names if name}


def _without(text: str, dropped: list[ast.stmt], top: list[ast.stmt]) -> str:
    """The text without some statements, with as many lines as before."""
    lines = [line.encode() for line in text.split("\n")]  # offsets of the parser are in bytes
    at_top = set(map(id, top))
    for one in sorted(dropped, key=lambda one: (one.lineno, one.col_offset), reverse=True):
        decorators = getattr(one, "decorator_list", [])
        first = min([one.lineno, *(decorator.lineno for decorator in decorators)]) - 1
        last = (one.end_lineno or one.lineno) - 1
        before, after = lines[first][: one.col_offset], lines[last][one.end_col_offset or 0 :]
        alone = id(one) in at_top and not before.strip() and b";" not in after
        lines[first : last + 1] = [before + (b"" if alone else b"pass") + after, *[b""] * (last - first)]
    return b"\n".join(lines).decode()


def _check_complete(name: str, program: str, variables: Collection[str]) -> None:
    tree = ast.parse(program)
    if any(isinstance(one, ast.ImportFrom) and one.names[0].name == "*" for one in ast.walk(tree)):
        return  # who knows what it brings
    missing = sorted(
        used
        for used in _loaded(tree) - _defined(tree) - set(dir(builtins))
        if used in variables or used == "get_ipython"
    )
    if missing:
        raise CommandException(
            f"The cell that defines {name} uses {', '.join(missing)}, which other cells define. It runs in a process "
            f"of its own, as a file: put its imports, and all it needs, into the same cell."
        )
