"""The store keeps the contract of storage plugins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from metaflow_core.errors import StorageError
from metaflow_core.store.interface import Storage
from metaflow_core.testing import StorageContract
from metaflow_core.testing.storage import sends
from metaflow_onefile import open_storage
from metaflow_onefile.store import PART_BYTES, OneFile


class TestOneFile(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        store = OneFile(f"onefile://{tmp_path}/new folder/store.db")
        yield store
        store.close()


def test_it_is_asked_for_its_own_addresses_only(tmp_path: Path) -> None:
    assert isinstance(open_storage(f"onefile://{tmp_path}/store.db"), OneFile)
    assert open_storage(str(tmp_path)) is None
    assert open_storage("s3://bucket/prefix") is None
    with pytest.raises(StorageError, match=r"write onefile:///an/absolute/path\.db"):
        open_storage("onefile://store.db")


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageError, match="file is not a database"):
        OneFile(f"onefile://{tmp_path}/store.db").exists("data/x")


def test_what_lies_across_the_parts_of_a_large_object(tmp_path: Path) -> None:
    store = OneFile(f"onefile://{tmp_path}/store.db")
    data = bytes(range(256)) * (2 * PART_BYTES // 256 + 1)
    store.put("data/large", sends(data))
    assert store.read("data/large", PART_BYTES - 3, PART_BYTES + 3) == data[PART_BYTES - 3 : PART_BYTES + 3]
    store.close()
