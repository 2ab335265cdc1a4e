"""``merge_artifacts``: what the branches of a join agree on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from metaflow_core.engine.inputs import Inputs, JoinInput
from metaflow_core.errors import (
    MergeArtifactsException,
    MissingInMergeArtifactsException,
    UnhandledInMergeArtifactsException,
)
from metaflow_core.names import advise, show

if TYPE_CHECKING:
    from metaflow_core.engine.state import TaskState


def merged(state: TaskState, inputs: Any, exclude: Sequence[str], include: Sequence[str]) -> dict[str, int]:
    """Name -> ``pk`` of the content of each artifact to take over.

    What is set on the task already is left alone. An artifact that only some branches have is taken; values are
    compared by fingerprint. ``UnhandledInMergeArtifactsException`` names those that differ,
    ``MissingInMergeArtifactsException`` those of ``include`` that no branch has.
    """
    if state.inputs is None:
        raise MergeArtifactsException(
            f"merge_artifacts was called in step {state.step.name}, which is no join: only a step that takes inputs "
            f"can merge them."
        )
    if include and exclude:
        raise MergeArtifactsException("merge_artifacts takes include or exclude, not both.")
    contents: dict[str, set[int]] = {}
    for name, pk in state.inputs._artifacts(_positions(state, inputs)):
        contents.setdefault(name, set()).add(pk)
    missing = [name for name in include if name not in contents and not state.has(name)]
    if missing:
        raise MissingInMergeArtifactsException(
            f"merge_artifacts in step {state.step.name}: no branch has {_missing(missing, contents)}", missing
        )
    wanted = {
        name: pks
        for name, pks in contents.items()
        if not state.has(name) and (name in include if include else name not in exclude)
    }
    unhandled = [name for name, pks in wanted.items() if len(pks) > 1 and not state.inputs._equal(pks)]
    if unhandled:
        raise UnhandledInMergeArtifactsException(
            f"merge_artifacts in step {state.step.name}: the branches have different values of {', '.join(unhandled)}. "
            f"Set each on self before the call, or list it in exclude.",
            unhandled,
        )
    return {name: min(pks) for name, pks in wanted.items()}


def _missing(missing: Sequence[str], known: Iterable[str]) -> str:
    advice = [advise(name, known, "The branches have") for name in missing]
    return f"{', '.join(missing)}. {' '.join(dict.fromkeys(advice))}"


def _positions(state: TaskState, inputs: Any) -> Sequence[int]:
    assert state.inputs is not None
    if isinstance(inputs, Inputs):
        return range(len(inputs))
    if isinstance(inputs, Sequence) and all(isinstance(i, JoinInput) for i in inputs):
        return [i._position for i in inputs]
    raise MergeArtifactsException(
        f"merge_artifacts in step {state.step.name} takes the inputs of the join, not {show(inputs)}."
    )
