"""Local compute keeps the contract of compute plugins."""

from __future__ import annotations

import pytest
from metaflow_core.engine.interface import Compute
from metaflow_core.testing.compute import ComputeContract
from metaflow_plugins.local_compute import LocalCompute, open_compute


class TestLocalCompute(ComputeContract):
    @pytest.fixture
    def compute(self) -> Compute:
        return LocalCompute()


def test_only_its_own_name_is_opened() -> None:
    assert isinstance(open_compute("local"), LocalCompute)
    assert open_compute("elsewhere") is None
