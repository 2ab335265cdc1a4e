"""What tests of flows in R share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest


@pytest.fixture
def printed() -> Callable[[subprocess.CompletedProcess[str]], list[str]]:
    """What the tasks of a run have printed: the text after the stamp and the task's name."""

    def lines(result: subprocess.CompletedProcess[str]) -> list[str]:
        return [line.partition(")] ")[2] for line in result.stdout.splitlines() if "(pid " in line]

    return lines
