"""The client of R: flows, runs, steps, tasks and artifacts by handle, on `metaflow_core.results`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FOR_R: dict[str, Callable[..., Any]] = {}
