"""`@r_step`: a step of a Python flow whose code is an R function."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from metaflow_core.graph.paths import shown_path

from metaflow.decorators import step

if TYPE_CHECKING:
    from metaflow_core.graph.model import StepDef

F = TypeVar("F", bound=Callable[..., Any])

MARK = "_metaflow_r_step"


class RSource(NamedTuple):
    """Where the R function of a step is: the body of its ``StepDef``."""

    file: str
    name: str


def r_step(file: str, function: str | None = None, *, start: bool = False, end: bool = False) -> Callable[[F], F]:
    """Make a method of a flow a step whose code is an R function, in the place of `@step`.

    ``file`` is the R file, relative to the one that defines the flow, and ``function`` the function's name, by default
    that of the method. The R function takes ``self``, in a join ``self`` and ``inputs``, and uses artifacts as
    ``self$x``. The method itself says where the flow goes, and nothing else:

        class PenguinsFlow(FlowSpec):
            @step
            def start(self):
                self.table = pandas.read_csv("penguins.csv")
                self.next(self.fit)

            @r_step("model.R", "fit")        # fit <- function(self) self$model <- lm(y ~ x, data = self$table)
            def fit(self):
                self.next(self.end)

            @step
            def end(self):
                print(self.model)

    A missing file or function is found before the run starts. R is started only for flows that have such a step.
    """
    from metaflow_core.errors import BadStepDecoratorException

    for name, value in (("file", file), ("function", function)):
        if not isinstance(value, str) and not (name == "function" and value is None):
            raise BadStepDecoratorException(
                f'@r_step takes the name of an R file and of a function in it, as in @r_step("model.R", "fit"), '
                f"not {value!r}."
            )

    def mark(method: F) -> F:
        marked: F = step(start=start, end=end)(method)
        setattr(marked, MARK, (file, function or method.__name__))
        return marked

    return mark


def set_body(definition: StepDef, method: Any, node: ast.FunctionDef) -> None:
    """Let a step that was read from ``method`` run its R function."""
    found = getattr(method, MARK, None)
    if found is None:
        return
    file, name = found
    if definition.location is not None:
        file = os.path.join(os.path.dirname(os.path.abspath(definition.location.file)), file)
    definition.language = "r"
    definition.body = RSource(file, name)
    definition.file = file
    definition.problem = definition.problem or _problem_in_method(node) or _problem_in_file(file, name)


def _problem_in_method(node: ast.FunctionDef) -> str | None:
    """The method's own code would not run, so there must be none."""
    for statement in node.body:
        value = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(value, ast.Constant) or isinstance(statement, ast.Pass):
            continue
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "next":
            continue
        return (
            f"its code is the R function, and the method says where the flow goes. Move `{ast.unparse(statement)}` "
            f"into another step, or into the R function."
        )
    return None


def _problem_in_file(file: str, name: str) -> str | None:
    """What is wrong with the R file, as far as that can be seen without R."""
    try:
        with open(file, encoding="utf-8", errors="replace") as source:
            code = source.read()
    except OSError:
        return f"the R file {shown_path(file)} does not exist. Its name is relative to the file that defines the flow."
    if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", code):
        return None
    import difflib

    functions = re.findall(r"(?m)^\s*([A-Za-z.][\w.]*)\s*(?:<-|=)\s*(?:function\b|\\\()", code)
    near = difflib.get_close_matches(name, functions, 1)
    advice = f"Did you mean {near[0]!r}?" if near else f"Define it there: {name} <- function(self) ..."
    return f"the R file {shown_path(file)} has no function {name!r}. {advice}"
