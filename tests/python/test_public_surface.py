"""What `metaflow` exports, and what importing it costs."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import metaflow
import pytest

SURFACE = [
    "Config",
    "ConfigValue",
    "DataArtifact",
    "DeployedFlow",
    "Deployer",
    "Flow",
    "FlowMutator",
    "FlowSpec",
    "IncludeFile",
    "JSONType",
    "Metaflow",
    "MutableFlow",
    "MutableStep",
    "NBDeployer",
    "NBRunner",
    "Parameter",
    "Run",
    "Runner",
    "Step",
    "StepMutator",
    "Task",
    "UserStepDecorator",
    "call_step",
    "catch",
    "collect_garbage",
    "conda",
    "conda_base",
    "config_expr",
    "current",
    "default_metadata",
    "default_namespace",
    "environment",
    "exit_hook",
    "get_metadata",
    "get_namespace",
    "inspect_spin",
    "list_deployed_flows",
    "list_namespaces",
    "list_tags",
    "metadata",
    "namespace",
    "parallel",
    "project",
    "pypi",
    "pypi_base",
    "r_packages",
    "r_step",
    "resources",
    "retry",
    "schedule",
    "secrets",
    "step",
    "timeout",
    "trigger",
    "trigger_on_finish",
    "user_step_decorator",
]
ERRORS = [
    "AttemptGivenUp",
    "BadFlowDecoratorException",
    "BadStepDecoratorException",
    "CommandException",
    "ComputeUnavailable",
    "DuplicateFlowDecoratorException",
    "DuplicateStepDecoratorException",
    "FailureHandledByCatch",
    "IncorrectProductionToken",
    "InvalidDecoratorAttribute",
    "InvalidNextException",
    "InvalidSearch",
    "LintWarn",
    "MergeArtifactsException",
    "MetadataError",
    "MetaflowException",
    "MetaflowExceptionWrapper",
    "MetaflowInternalError",
    "MetaflowInvalidPathspec",
    "MetaflowNamespaceMismatch",
    "MetaflowNotFound",
    "MetaflowTaggingError",
    "MetaflowUnknownUser",
    "MetaflowUsageError",
    "MetaflowDataMissing",
    "MissingInMergeArtifactsException",
    "NotDue",
    "ParameterFieldFailed",
    "ParameterFieldTypeMismatch",
    "PluginError",
    "RunFailed",
    "StepEnvironmentError",
    "StorageError",
    "TaskDied",
    "TimeoutException",
    "UnhandledInMergeArtifactsException",
    "UnknownFlowDecoratorException",
    "UnknownStepDecoratorException",
    "UnreadableArtifact",
    "UnserializableValue",
]


def test_surface() -> None:
    assert metaflow.__all__ == SURFACE
    for name in SURFACE:
        assert getattr(metaflow, name) is not None
    assert set(SURFACE) <= set(dir(metaflow))


def test_star_import() -> None:
    scope: dict[str, object] = {}
    exec("from metaflow import *", scope)
    assert set(SURFACE) <= set(scope)


def test_errors() -> None:
    import metaflow.exception

    assert sorted(metaflow.exception.__all__) == sorted(ERRORS)
    for name in ERRORS:
        assert issubclass(getattr(metaflow.exception, name), Exception) or name == "MetaflowExceptionWrapper"


def test_errors_are_found_where_they_are_used() -> None:
    from metaflow.flowspec import InvalidNextException

    assert InvalidNextException is metaflow.exception.InvalidNextException


def test_unknown_names() -> None:
    with pytest.raises(ImportError, match="Stpe"):
        exec("from metaflow import Stpe")
    with pytest.raises(AttributeError, match="module 'metaflow' has no attribute 'Stpe'"):
        metaflow.Stpe  # noqa: B018
    assert not hasattr(metaflow, "_private")


def test_a_decorator_of_a_plugin_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    from metaflow.decorators import find
    from metaflow_core.decorators import provided
    from metaflow_core.decorators.interface import FlowDecorator, StepDecorator

    class Gpu(StepDecorator):
        """Needs a GPU."""

        name = "some_gpu"
        repeatable = True

    class Notify(FlowDecorator):
        name = "some_notify"

    monkeypatch.setattr(provided, "step_decorator_classes", lambda: {"some_gpu": Gpu})
    monkeypatch.setattr(provided, "flow_decorator_classes", lambda: {"some_notify": Notify})
    find.cache_clear()
    scope: dict[str, object] = {}
    exec(
        "from metaflow import FlowSpec, step, some_gpu, some_notify\n"
        "@some_notify(to='me')\n"
        "class F(FlowSpec):\n"
        "    @some_gpu(count=1)\n"
        "    @some_gpu\n"
        "    @step\n"
        "    def start(self): pass\n",
        scope,
    )
    from metaflow.decorators import flow_decorators, mark_of

    flow = scope["F"]
    assert isinstance(flow, type)
    mark = mark_of(flow.start)  # type: ignore[attr-defined]
    assert mark and [(d.name, d.attributes) for d in mark.decorators] == [("some_gpu", {"count": 1}), ("some_gpu", {})]
    assert [(d.name, d.attributes) for d in flow_decorators(flow)] == [("some_notify", {"to": "me"})]
    assert metaflow.some_gpu.__doc__ == "Needs a GPU."
    for name in ("some_gpu", "some_notify"):
        monkeypatch.delattr(metaflow, name)
    find.cache_clear()


HEAVY = (
    "pyarrow numpy pandas polars fsspec asyncio rich importlib.metadata subprocess tempfile click sqlite3 cloudpickle"
)


@pytest.mark.parametrize(
    "statement, also_absent",
    [
        ("import metaflow", "typing re dataclasses inspect metaflow_core"),
        ("from metaflow import FlowSpec, step, Parameter, retry, IncludeFile, JSONType", "dataclasses inspect ast"),
        ("from metaflow.exception import MetaflowNotFound", ""),
    ],
)
def test_imports_stay_light(statement: str, also_absent: str) -> None:
    names = f"{HEAVY} {also_absent}".split()
    # What the environment's own start-up files have imported is not ours.
    code = (
        f"import sys; before = set(sys.modules)\n{statement}\n"
        f"print(sorted(set({names!r}) & (set(sys.modules) - before)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


ALL = "id pathspec path_components parent tags user_tags system_tags created_at origin_pathspec is_in_namespace"
MEMBERS = {
    "Metaflow": "flows",
    "Flow": f"{ALL} latest_run latest_successful_run runs",
    "Run": f"{ALL} data successful finished finished_at end_task code trigger steps add_tag add_tags remove_tag "
    "remove_tags replace_tag replace_tags",
    "Step": f"{ALL} task tasks finished_at environment_info parent_steps child_steps",
    "Task": f"{ALL} metadata metadata_dict data artifacts successful finished finished_at exception stdout stderr "
    "loglines index current_attempt runtime_name code parent_tasks child_tasks",
    "DataArtifact": f"{ALL} data size sha finished_at type language to_arrow",
}


def test_members_of_objects_of_the_client(run_flow: Any) -> None:
    run_flow(
        """
        from metaflow import FlowSpec, step
        class F(FlowSpec):
            @step
            def start(self):
                self.x = 1
                self.next(self.end)
            @step
            def end(self):
                self.y = 2
        if __name__ == "__main__":
            F()
        """,
        "run",
    )
    run = metaflow.Run("F/1")
    objects = [metaflow.Metaflow(), metaflow.Flow("F"), run, run["start"], run["start"].task, run["start"].task["x"]]
    for thing, (kind, members) in zip(objects, MEMBERS.items(), strict=True):
        assert type(thing).__name__ == kind
        for name in members.split():
            value = getattr(thing, name)
            if hasattr(value, "__next__"):
                list(value)
        assert set(members.split()) <= set(dir(thing)), kind
        assert thing._repr_html_() and repr(thing)
        again = pickle.loads(pickle.dumps(thing))
        assert repr(again) == repr(thing) and type(again) is type(thing)
