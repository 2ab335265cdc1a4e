"""The artifacts of a task as attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from metaflow_core.results import messages

if TYPE_CHECKING:
    from metaflow_core.results.task import Task


class MetaflowData:
    """``task.data.x`` loads the artifact ``x`` when it is first used, and nothing else.

    Iteration gives the names, without those that start with ``_``.
    """

    __slots__ = ("_loaded", "_task")
    _loaded: dict[str, Any]
    _task: Task

    def __init__(self, task: Task) -> None:
        object.__setattr__(self, "_task", task)
        object.__setattr__(self, "_loaded", {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in MetaflowData.__slots__:
            raise AttributeError(name)
        if name not in self._loaded:
            artifact = self._task._child(name)
            if artifact is None:
                raise AttributeError(messages.no_artifact(self._task.pathspec, name, self))
            self._loaded[name] = artifact.data
        return self._loaded[name]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"{name!r} can't be set on the data of the task {self._task.pathspec!r}: results can't be changed."
        )

    def __contains__(self, name: object) -> bool:
        return name in self._task

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._task._names() if not name.startswith("_"))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._task._names()]

    def __reduce__(self) -> tuple[Any, ...]:
        return MetaflowData, (self._task,)

    def __repr__(self) -> str:
        return f"<MetaflowData: {', '.join(self)}>"
