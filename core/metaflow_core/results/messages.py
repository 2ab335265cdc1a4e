"""What the client says when it can't give what was asked for. Code in a message is spelt as in the user's language."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from metaflow_core.names import near, show


class Spelling(NamedTuple):
    """How a user writes what a message advises. ``{}`` stands for the quoted text."""

    switch: str = "namespace({})"
    everything: str = "namespace(None)"
    namespaces: str = "list_namespaces({})"


PYTHON = Spelling()
R = Spelling("set_namespace({})", "set_namespace(NULL)", "list_namespaces({})")
COMMAND_LINE = Spelling("--namespace {}", '--namespace ""', "tag list --all --group-by-tag")

_spelling = PYTHON


def spell(spelling: Spelling) -> Spelling:
    """Let the messages of this process advise in another language, and return the one of before."""
    global _spelling
    before, _spelling = _spelling, spelling
    return before


def no_flow(name: str, known: Iterable[str]) -> str:
    close = near(name, known)
    if close is not None:
        return f"There is no flow {show(name)}. Did you mean {close!r}?"
    return (
        f"There is no flow {show(name)}. A flow is known from its first run on: check the name, and that this is the "
        f"directory of the project in which it ran."
    )


def no_run(pathspec: str, latest: str | None = None) -> str:
    return f"There is no run {show(pathspec)}." + (f" The latest of all is {latest}." if latest else "")


def no_step(pathspec: str, known: Iterable[str]) -> str:
    return f"There is no step {show(pathspec)}. {_known(pathspec.rpartition('/')[2], known, 'The run has')}"


def no_task(pathspec: str) -> str:
    return f"There is no task {show(pathspec)}."


def no_attempt(pathspec: str, attempt: object, count: int) -> str:
    had = "one attempt, 0" if count == 1 else f"{count} attempts, 0 to {count - 1}"
    return f"The task {show(pathspec)} has no attempt {show(attempt)}. It had {had}."


def no_artifact(task: str, name: str, known: Iterable[str]) -> str:
    return f"The task {show(task)} has no artifact {show(name)}. {_known(name, known, 'It has')}"


def no_child(kind: str, parent: str, key: object) -> str:
    return f"{parent} has no {kind} {show(key)}"


def flow_outside(name: str, namespace: str) -> str:
    return (
        f"The flow {show(name)} has no run in the namespace {show(namespace)}. "
        f"To see where it has: {_spelling.namespaces.format(_quote(name))}. "
        f"To see all its runs, switch to the global namespace: {_spelling.everything}."
    )


def run_outside(pathspec: str, namespace: str, home: str, spelling: Spelling | None = None) -> str:
    spelling = spelling or _spelling
    return (
        f"The run {show(pathspec)} is not in the namespace {show(namespace)}. "
        f"It belongs to {show(home)}: switch with {spelling.switch.format(_quote(home))}, "
        f"or to the global namespace with {spelling.everything}."
    )


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _known(name: str, known: Iterable[str], what: str) -> str:
    names = list(known)
    close = near(name, names)
    return f"{what}: {_names(names)}." if close is None else f"Did you mean {close!r}? {what}: {_names(names)}."


def _names(known: Iterable[str]) -> str:
    names = list(known)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "none"
