"""Transactions that are begun again when they were undone through no fault of their own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from metaflow_core.metadata.database import Database, TryAgain

P = ParamSpec("P")
R = TypeVar("R")
TIMES = 8
PAUSE = 0.02  # seconds before the second time; then twice as long each time


def repeated(function: Callable[Concatenate[Database, P], R]) -> Callable[Concatenate[Database, P], R]:
    """For a function that is one transaction: do it again when the connection was lost before it took effect."""

    @wraps(function)
    def until_it_works(db: Database, /, *args: P.args, **options: P.kwargs) -> R:
        pause = PAUSE
        for _ in range(TIMES - 1):
            try:
                return function(db, *args, **options)
            except TryAgain:
                time.sleep(random.uniform(0, pause))
                pause *= 2
        return function(db, *args, **options)

    return until_it_works
