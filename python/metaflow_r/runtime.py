"""The plugin: runs steps written in R, and carries R values. Imports nothing of R until an R step or value needs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metaflow_core.errors import StepEnvironmentError
from metaflow_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from metaflow_core.engine.interface import LanguageRuntime
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import FlowDef, StepDef
    from metaflow_core.values.node import Tree
    from metaflow_core.values.registry import FromTree, ToTree, ValueCodec


@hookimpl
def language_runtime(language: str) -> LanguageRuntime | None:
    return RRuntime() if language == "r" else None


@hookimpl
def value_codecs() -> Sequence[ValueCodec]:
    return [RCodec()]


@hookimpl
def run_started(flow_name: str, run_id: str) -> None:
    last_run[:] = [f"{flow_name}/{run_id}"]


last_run: list[str] = []  # the pathspec of the run that this process has started last


class RRuntime:
    """Calls R functions. The body of a step is an :class:`~metaflow_r.functions.RFunction`, or None to do nothing."""

    language = "r"

    def prepare(self, flow: FlowDef) -> None:
        """Start R, unless it hosts this process, and load what the flow's steps need."""
        from metaflow_r import functions, session

        session.start()
        functions.load(flow)
        session.settle()

    def system_tags(self) -> list[str]:
        from metaflow_r import session

        return [f"r_version:{session.r_version()}"]

    def detached(self, flow: FlowDef) -> list[str] | None:
        """A program that has the flow as data, because another Python has no R."""
        from metaflow_r.detached import start

        return start(flow)

    def add_libraries(self, folders: Sequence[str], packages: Mapping[str, str]) -> None:
        from rpy2.rinterface import StrSexpVector

        from metaflow_r import session

        session.start()
        names, versions = StrSexpVector(list(packages)), StrSexpVector(list(packages.values()))
        problem = session.helper("add_libraries")(StrSexpVector(list(folders)), names, versions)
        if len(problem):
            raise StepEnvironmentError(str(problem[0]))

    def run_step(self, flow: FlowDef, step: StepDef, state: TaskState) -> None:
        from metaflow_r import session, task

        session.start()
        task.run(flow, step, state)

    def follow_graph(self, step: StepDef, state: TaskState) -> None:
        from metaflow_r import follow, session

        session.start()
        follow.follow(step, state)

    def packages(self) -> dict[str, str]:
        """The packages that are loaded now, those of R itself left out: they have its version."""
        from metaflow_r import session
        from metaflow_r.text import strings

        found = session.helper("loaded_packages")()
        return dict(zip(strings(found.names), strings(found), strict=True))

    def source(self, flow: FlowDef, step: StepDef) -> str | None:
        """A function that was typed in a session, or that the script has from another file, as R prints it."""
        from metaflow_r import functions, session
        from metaflow_r.text import text

        body = functions.function_of(step.body)
        if body is None or body.file:
            return None
        from rpy2.rinterface import NA_Character, StrSexpVector

        file = StrSexpVector([flow.file or NA_Character])
        return text(session.helper("function_text")(body.function(), file)) or None

    def artifacts_in(self, file: str, nested: Collection[str]) -> Mapping[str, Any]:
        """``ARTIFACTS``, a named list in a file."""
        from metaflow_r import functions, session

        session.start()
        return functions.artifacts_in(file, nested)

    def describe_error(self, error: BaseException) -> tuple[str, str]:
        """The name of the condition's class, and the R calls that led to it."""
        from metaflow_r import conditions

        return conditions.describe(error)


class RCodec:
    """Every R value; see the modules ``write`` and ``read``."""

    language = "r"
    types: Sequence[str] = ("*",)
    kinds: Sequence[str] = ("*",)

    def to_tree(self, value: Any, write: ToTree) -> Tree:
        from metaflow_r import write as writing

        return writing.to_tree(value)

    def from_tree(self, tree: Any, read: FromTree) -> Any:
        from metaflow_r import read as reading

        return reading.from_tree(tree)

    def for_python(self, value: Any) -> Any:
        """An R value as Python users know them, with the methods of ``rpy2.robjects``."""
        from rpy2.robjects import conversion, default_converter

        with conversion.localconverter(default_converter):
            return default_converter.rpy2py(value)

    def is_fixed(self, value: Any) -> bool:
        """Whether code that has the value can't change it in place, as is so for nearly all values of R."""
        from metaflow_r import session, sexp

        cls = type(value)
        if cls in sexp.TYPES or sexp.is_null(value):
            return True
        return not session.helper("may_change_in_place")(sexp.ListSexpVector([value]))[0]
