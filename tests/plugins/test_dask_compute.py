"""Dask as any other plugin that runs tasks on other machines."""

from __future__ import annotations

from pathlib import Path

import pytest
from dask_cluster import DaskCluster
from metaflow_core.testing.remote_compute import RemoteComputeContract


@pytest.mark.slow
class TestDask(RemoteComputeContract):
    @pytest.fixture
    def decorator(
        self, project: Path, s3: str, team_database: str, dask_cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch
    ) -> str:
        monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", s3)
        monkeypatch.setenv("METAFLOW_METADATA_URL", team_database)
        dask_cluster.start_worker(4)
        return "dask"
