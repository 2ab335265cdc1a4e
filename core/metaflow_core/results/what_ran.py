"""The code of a run, and the versions it ran with."""

from __future__ import annotations

import json
from typing import Any

from metaflow_core.metadata.database import Database
from metaflow_core.metadata.texts import texts_of


class WhatRan:
    """The part of a run that tells what ran."""

    def _tagged(self) -> tuple[Database, int]:
        raise NotImplementedError

    @property
    def source(self) -> dict[str, str | None]:
        """The text of the flow's file, and of the files that its steps name, as they were when the run started.

        Paths are relative to the directory of the flow's file, which comes first. Functions of R that are in none of
        these files are under ``STEP()``. None stands for a file of more than 1 MB. Empty when nothing was recorded.
        """
        db, run_pk = self._tagged()
        found: dict[str, str | None] = json.loads(texts_of(db, run_pk)[0] or "{}")
        return found

    @property
    def environment(self) -> dict[str, Any]:
        """With what it ran: ``platform``, ``versions`` and ``packages``; empty when nothing was recorded.

        ``packages`` has, by language, the version of each package: for Python those that were installed, for R those
        that were loaded when the run started. With steps that have packages of their own ``steps`` says which has
        which of the ``environments``. Environment variables are never recorded.
        """
        db, run_pk = self._tagged()
        found: dict[str, Any] = json.loads(texts_of(db, run_pk)[1] or "{}")
        return found
