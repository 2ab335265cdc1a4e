"""Options of ``make chaos``."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, default=10.0, help="how long to go on")
    parser.addoption("--seed", type=int, default=0, help="another one gives other instants")
    parser.addoption("--only", default="", help="kinds of kills, such as team-store,local-task")
