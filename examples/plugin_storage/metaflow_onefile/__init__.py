"""The plugin: addresses such as ``onefile:///home/anne/project.db`` are stores in one SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaflow_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from metaflow_core.store.interface import Storage

SCHEME = "onefile://"


@hookimpl
def open_storage(url: str) -> Storage | None:
    if not url.startswith(SCHEME):
        return None
    from metaflow_onefile.store import OneFile  # this module is imported at every start, that one when it is needed

    return OneFile(url)
