"""How commands that belong to no flow file name runs, steps and tasks: by their whole pathspec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from metaflow_core.cli.namespace_type import NAMESPACE
from metaflow_core.cli.status import has_database
from metaflow_core.errors import MetaflowInvalidPathspec, MetaflowNotFound
from metaflow_core.identity import identity
from metaflow_core.metadata.backend import open_backend
from metaflow_core.names import show, split_pathspec
from metaflow_core.results import messages
from metaflow_core.results.base import KINDS, MetaflowObject, Scope

namespace_option = click.option(
    "--namespace",
    type=NAMESPACE,
    metavar="TAG",
    help='What is named must be in this namespace. By default your own; "" is the global one.',
)


@contextmanager
def opened(pathspecs: Sequence[str], kinds: Sequence[str], namespace: str | None) -> Iterator[list[MetaflowObject]]:
    """The objects with these pathspecs, each of one of ``kinds``. Errors advise as a command line is written."""
    before = messages.spell(messages.COMMAND_LINE)
    backend = open_backend()
    try:
        parts = [_split(pathspec, kinds) for pathspec in pathspecs]
        if not has_database(backend):
            raise MetaflowNotFound("There are no results here yet. Is this the directory of the project?")
        scope = Scope(backend, identity() if namespace is None else namespace or None)
        yield [_classes()[len(one) - 1]._at(scope, tuple(one), check=True) for one in parts]
    finally:
        messages.spell(before)
        backend.close()


def _split(pathspec: str, kinds: Sequence[str]) -> list[str]:
    depth = pathspec.count("/") + 1
    if depth > len(KINDS) or KINDS[depth - 1] not in kinds:
        forms = ["/".join(kind.upper() for kind in KINDS[: KINDS.index(kind) + 1]) for kind in kinds]
        named = " or ".join([", ".join(forms[:-1]), forms[-1]]) if len(forms) > 1 else forms[0]
        raise MetaflowInvalidPathspec(f"Name what is meant as {named}, not {show(pathspec)}.")
    return split_pathspec(pathspec, KINDS[:depth])


def _classes() -> list[type[MetaflowObject]]:
    from metaflow_core.results import DataArtifact, Flow, Run, Step, Task

    return [Flow, Run, Step, Task, DataArtifact]
