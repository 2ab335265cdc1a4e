"""``current``: what a task knows of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What is always there in a task, and None outside.
FIELDS = (
    "flow_name",
    "run_id",
    "step_name",
    "task_id",
    "retry_count",
    "origin_run_id",
    "pathspec",
    "namespace",
    "username",
    "tags",
    "tempdir",
    "parameter_names",
    "graph",
)


class Current:
    """The identity of the running task.

    Outside a task every field is None and ``is_running_flow`` is False. Decorators add fields of their own
    (``project_name``); asking for one that no decorator of this flow provides is an ``AttributeError``.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    @property
    def is_running_flow(self) -> bool:
        return bool(self._values)

    @property
    def run(self) -> Any:
        """The running run, as a client object; None outside a task."""
        if "run_id" not in self._values:
            return None
        from metaflow_core.results import Run

        return Run(f"{self.flow_name}/{self.run_id}", _namespace_check=False)

    @property
    def task(self) -> Any:
        """The running task, as a client object; None outside a task."""
        if "pathspec" not in self._values:
            return None
        from metaflow_core.results import Task

        return Task(self.pathspec, _namespace_check=False)

    @property
    def trigger(self) -> Any:
        """The events that have started the run; None when there was none, and outside a task."""
        run = self.run
        return None if run is None else run.trigger

    def get(self, key: str, default: Any = None) -> Any:
        """The field ``key``, or ``default`` when there is none."""
        return getattr(self, key, default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and getattr(self, key, None) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*FIELDS, *self._values)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "tags" and "run_id" in self._values:  # a step that ``call_step`` calls has no run
            return self.run.tags
        if name in self._values:
            value = self._values[name]
            return value() if callable(value) else value
        if name in FIELDS:
            return None
        raise AttributeError(f"current has no {name!r}. It has: {', '.join(sorted(dir(self)))}.")

    def __setattr__(self, name: str, value: object) -> None:
        if name != "_values":
            raise AttributeError(f"current.{name} can't be set: it describes the running task.")
        object.__setattr__(self, name, value)

    def __dir__(self) -> list[str]:
        return [*self, "is_running_flow", "run", "task", "trigger", "get"]

    def __repr__(self) -> str:
        return f"current({self.pathspec!r})" if self._values else "current(no task is running)"

    def _update(self, values: Mapping[str, Any]) -> None:
        """Add fields; a callable is asked each time."""
        self._values.update(values)


current = Current()
