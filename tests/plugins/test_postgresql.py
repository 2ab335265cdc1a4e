"""PostgreSQL keeps the contract of metadata databases, survives what happens to servers, and says what is wrong."""

from __future__ import annotations

import pytest
from metaflow_core.metadata.database import Database
from metaflow_core.testing.database import DatabaseContract
from metaflow_plugins.postgresql import PostgreSQL


class TestPostgreSQL(DatabaseContract):
    @pytest.fixture
    def url(self, postgresql_url: str) -> str:
        return postgresql_url

    def open(self, url: str) -> Database:
        return PostgreSQL(url)
