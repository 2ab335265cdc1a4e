"""What a flow class becomes when its source is read."""

from __future__ import annotations

import functools
import linecache
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from metaflow import FlowSpec, Parameter, catch, retry, step
from metaflow.decorators import FlowDecorator
from metaflow.exception import DuplicateFlowDecoratorException, MetaflowException
from metaflow.source import read_flow
from metaflow_core.graph.model import DecoratorSpec, Transition

ITEMS = "from_module"
project = FlowDecorator("project")


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


class Base(FlowSpec):
    alpha = Parameter("al-pha", default=0.5)
    shared = "base"

    @step
    def start(self) -> None:
        """Begin.

        In peace.
        """
        self.next(self.middle)

    @step
    def middle(self) -> None:
        self.next(self.end)

    @step
    def end(self) -> None:
        pass


@project(name="p")
class Derived(Base):
    """A derived flow."""

    shared = "derived"
    own = [1, 2]
    _private = 3
    helper_class = dict

    @property
    def computed(self) -> int:
        return 1

    def helper(self) -> None: ...

    @retry(times=2)
    @catch
    @step
    def middle(self) -> None:
        self.next(self.extra)

    @logged
    @step
    @logged
    def extra(this) -> None:
        this.next(
            this.end,
        )


def test_steps_parameters_constants_and_decorators_are_merged() -> None:
    flow = read_flow(Derived)
    assert list(flow.steps) == ["start", "middle", "end", "extra"]
    assert [s.name for s in flow if s.is_start or s.is_end] == ["start", "end"]
    assert {s.name: s.targets for s in flow} == {
        "start": ("middle",),
        "middle": ("extra",),
        "extra": ("end",),
        "end": (),
    }
    assert flow.constants == {"shared": "derived", "own": [1, 2]}
    assert [(p.name, p.artifact, p.default) for p in flow.parameters] == [("al-pha", "alpha", 0.5)]
    assert flow.decorators == [DecoratorSpec("project", {"name": "p"})]
    assert flow["middle"].decorators == [DecoratorSpec("retry", {"times": 2}), DecoratorSpec("catch")]
    assert read_flow(Base)["middle"].targets == ("end",)


def test_documentation_and_places() -> None:
    flow = read_flow(Derived)
    lines = Path(__file__).read_text().splitlines()
    assert (flow.name, flow.doc, flow.file) == ("Derived", "A derived flow.", __file__)
    assert flow["start"].doc == "Begin.\n\nIn peace."
    assert flow.location and lines[flow.location.line - 1] == "class Derived(Base):"
    start = flow["start"].location
    assert start and start.file == __file__ and lines[start.line - 1].strip().startswith("def start")
    extra = flow["extra"].transition
    assert extra and extra.location and lines[extra.location.line - 1].strip() == "this.next("
    place = flow.parameters[0].location
    assert place and "al-pha" in lines[place.line - 1]


def load(body: str, **scope: Any) -> type[FlowSpec]:
    """A flow whose step `start` has this body, as a notebook would define it."""
    source = (
        "from metaflow import FlowSpec, step\nclass F(FlowSpec):\n    K = 'constant'\n    @step\n    def start(self):\n"
    )
    source += textwrap.indent(textwrap.dedent(body).strip() + "\n", " " * 8)
    source += "".join(f"    @step\n    def {name}(self): pass\n" for name in ("a", "b", "end"))
    name = f"<cell {abs(hash(source))}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    exec(compile(source, name, "exec"), scope)
    cls = scope["F"]
    assert isinstance(cls, type)
    return cls


@pytest.mark.parametrize(
    "body, expected",
    [
        ("self.next(self.a)", Transition("linear", ("a",))),
        ("self.next(self.a, self.b)", Transition("split", ("a", "b"))),
        ("self.next(self.a, foreach='items')", Transition("foreach", ("a",), foreach="items")),
        ("self.next(self.a, foreach=NAME)", Transition("foreach", ("a",), foreach="global")),
        ("self.next(self.a, foreach=self.K)", Transition("foreach", ("a",), foreach="constant")),
        ("self.next(self.a, num_parallel=3)", Transition("parallel", ("a",), num_parallel=3)),
        ("n = 3\nself.next(self.a, num_parallel=n)", Transition("parallel", ("a",))),
        (
            "self.next({'x': self.a, 1: self.b, True: self.a}, condition='c')",
            Transition("switch", ("a", "b"), condition="c", cases=(("x", "a"), ("1", "b"), ("True", "a"))),
        ),
        (
            "self.next({NAME: self.a, 'b': self.start}, condition='c')",
            Transition("switch", ("a", "start"), condition="c", cases=(("global", "a"), ("b", "start"))),
        ),
        ("if 1:\n    pass\nself.next(self.a)", Transition("linear", ("a",))),
    ],
)
def test_transitions(body: str, expected: Transition) -> None:
    start = read_flow(load(body, NAME="global"))["start"]
    assert start.problem is None
    assert start.transition == expected


@pytest.mark.parametrize(
    "body, problem",
    [
        ("if 1:\n    self.next(self.a)", "it calls self.next(), but not as the last statement"),
        ("self.next(self.a)\nprint()", "not as the last statement"),
        ("self.next()", "names no step"),
        ("self.next('a')", "takes steps of the flow, such as self.end, not 'a'"),
        ("self.next(*[self.a])", "not *[self.a]"),
        ("self.next(a)", "not a"),
        ("self.next(self.a, for_each='x')", "does not take 'for_each'. It takes foreach, num_parallel, condition"),
        ("self.next(self.a, **{})", "does not take '{}'"),
        ("self.next(self.a, foreach=5)", "foreach=5 in self.next() must be the name of an artifact in quotes"),
        ("x = 'a'\nself.next(self.a, foreach=x)", "foreach=x in self.next() must be the name"),
        ("self.next(self.a, foreach='x', num_parallel=2)", "one of foreach and num_parallel, not both"),
        ("self.next({'x': self.a, 'y': self.b})", "needs a condition: self.next({'value': self.step}, condition="),
        ("self.next({'x': self.a}, foreach='x')", "can't be combined with foreach"),
        ("self.next({'x': self.a}, condition='x', foreach='y')", "not both"),
        ("self.next(self.a, condition='x')", "condition= needs one dict of steps"),
        ("self.next({**{}}, condition='x')", "must be written out"),
        ("self.next({unknown: self.a}, condition='x')", "must be written out"),
        ("self.next({'1': self.a, 1: self.b}, condition='x')", "has the case '1' twice"),
        ("self.next({'x': self.a}, condition=1)", "condition=1 in self.next() must be the name"),
    ],
)
def test_problems_are_left_for_lint(body: str, problem: str) -> None:
    start = read_flow(load(body))["start"]
    assert start.transition is None
    assert start.problem and problem in start.problem
    assert start.location and start.problem_location and start.problem_location.line > start.location.line


def test_a_step_without_next_is_no_problem_of_reading() -> None:
    start = read_flow(load("pass"))["start"]
    assert (start.transition, start.problem) == (None, None)


def test_arguments() -> None:
    class F(FlowSpec):
        @step
        def start(self, *args: Any) -> None: ...

        @step
        def nothing() -> None: ...  # type: ignore[misc]

        @step
        def join(self, inputs: Any) -> None: ...

        @step
        def end(self, inputs: Any, more: Any) -> None: ...

    flow = read_flow(F)
    assert [s.num_inputs for s in flow] == [1, 0, 2, 3]
    assert flow["start"].problem and "*args" in flow["start"].problem


def test_explicit_first_and_last_step() -> None:
    class F(FlowSpec):
        @step(start=True)
        def begin(self) -> None:
            self.next(self.start)

        @step
        def start(self) -> None:
            self.next(self.finish)

        @step(end=True)
        def finish(self) -> None: ...

    class One(FlowSpec):
        @step
        def only(self) -> None: ...

    flow = read_flow(F)
    assert (flow.start.name, flow.end.name) == ("begin", "finish")
    assert [s.is_start for s in flow] == [True, False, False]
    assert read_flow(One).start is read_flow(One).end or read_flow(One).start.is_end


def test_a_step_can_be_taken_away_by_a_derived_class() -> None:
    class F(Derived):
        extra = None  # type: ignore[assignment]

    assert list(read_flow(F).steps) == ["start", "middle", "end"]


def test_flow_decorators_are_inherited_once() -> None:
    class Other(FlowSpec):
        pass

    class Child(Derived):
        pass

    assert [d.name for d in read_flow(Child).decorators] == ["project"]
    with pytest.raises(DuplicateFlowDecoratorException, match="'Child' has the decorator @project twice"):
        project(name="q")(Child)
    project(name="q")(Other)
    assert [d.attributes for d in read_flow(Other).decorators] == [{"name": "q"}]


def test_two_bases_with_the_same_flow_decorator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaflow.source.find", {"project": project}.get)

    @project(name="q")
    class Other(FlowSpec):
        pass

    class Both(Derived, Other):
        pass

    with pytest.raises(DuplicateFlowDecoratorException, match="inherits the decorator @project from several flows"):
        read_flow(Both)


# --- where the source is ---------------------------------------------------------------------------------------------

SOURCE = """\
from metaflow import FlowSpec, step
class F(FlowSpec):
    @step
    def start(self):
        self.next(self.end)
    @step
    def end(self): pass
"""


def test_class_in_an_imported_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_module_with_a_flow.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    module: ModuleType = __import__("some_module_with_a_flow")
    flow = read_flow(module.F)
    assert flow["start"].targets == ("end",)
    assert flow.file == str(tmp_path / "some_module_with_a_flow.py")
    del sys.modules["some_module_with_a_flow"]


def test_class_in_any_block() -> None:
    source = "try:\n    raise ImportError\nexcept ImportError:\n    if True:\n" + textwrap.indent(SOURCE, " " * 8)
    linecache.cache["<in a block>"] = (len(source), None, source.splitlines(True), "<in a block>")
    scope: dict[str, Any] = {}
    exec(compile(source, "<in a block>", "exec"), scope)
    assert read_flow(scope["F"])["start"].targets == ("end",)


def test_class_in_a_zip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("zipped_module_with_a_flow.py", SOURCE)
    monkeypatch.syspath_prepend(tmp_path / "code.zip")
    module: ModuleType = __import__("zipped_module_with_a_flow")
    assert read_flow(module.F)["start"].targets == ("end",)
    del sys.modules["zipped_module_with_a_flow"]


def test_no_source() -> None:
    scope: dict[str, Any] = {"__name__": "nowhere"}
    exec(SOURCE, scope)
    with pytest.raises(MetaflowException, match="source of the step 'start' of the flow 'F' can't be read"):
        read_flow(scope["F"])


def test_changed_source(tmp_path: Path) -> None:
    file = tmp_path / "changed.py"
    file.write_text(SOURCE)
    scope: dict[str, Any] = {"__name__": "changed"}
    exec(compile(SOURCE, str(file), "exec"), scope)
    file.write_text("# a new first line\n" + SOURCE)
    with pytest.raises(MetaflowException, match="the file has changed since"):
        read_flow(scope["F"])
