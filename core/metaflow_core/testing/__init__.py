"""Contracts that a plugin's author runs against a plugin. They need pytest."""

from metaflow_core.testing.compute import ComputeContract
from metaflow_core.testing.database import DatabaseContract
from metaflow_core.testing.remote_compute import RemoteComputeContract
from metaflow_core.testing.storage import StorageContract

__all__ = ["ComputeContract", "DatabaseContract", "RemoteComputeContract", "StorageContract"]
