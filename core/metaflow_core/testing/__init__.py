"""Contracts that a plugin's author runs against a plugin. They need pytest."""

from metaflow_core.testing.storage import StorageContract

__all__ = ["StorageContract"]
