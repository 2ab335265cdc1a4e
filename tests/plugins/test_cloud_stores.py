"""Artifacts in Google Cloud Storage and in Azure, on an emulator of each."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gcsfs.retry
import pytest
from cloud_stores import CloudStore
from faulty_proxy import Fault, FaultyProxy, every, faulty_proxy
from metaflow_core.errors import StorageError
from metaflow_core.store.interface import Storage
from metaflow_core.testing.storage import StorageContract, sends
from metaflow_plugins import fsspec_storage, gs_storage
from metaflow_plugins.fsspec_storage import FsspecStorage


def open_store(url: str) -> FsspecStorage:
    opened = gs_storage.open_storage(url) or fsspec_storage.open_storage(url)
    assert isinstance(opened, FsspecStorage)
    return opened


class TestCloudStorage(StorageContract):
    @pytest.fixture
    def storage(self, cloud_store: CloudStore) -> Storage:  # type: ignore[override]
        return open_store(cloud_store.new_url())


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """gcsfs repeats a request six times within half a minute; here it does not pause."""
    hurried = SimpleNamespace(**{**vars(asyncio), "sleep": lambda seconds: asyncio.sleep(0)})
    monkeypatch.setattr(gcsfs.retry, "asyncio", hurried)


@pytest.fixture
def proxy(cloud_store: CloudStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Between this process and the server."""
    with faulty_proxy(cloud_store.port) as proxy:
        for name, value in cloud_store.environment(proxy.port).items():
            monkeypatch.setenv(name, value)
        kind = type(open_store(cloud_store.new_url())._fs)
        kind.clear_instance_cache()  # what was opened before goes to the server itself
        yield proxy
        kind.clear_instance_cache()


def test_an_address_of_google_is_opened_by_its_plugin() -> None:
    assert gs_storage.open_storage("s3://bucket/x") is None


@pytest.mark.usefixtures("hurried")
def test_objects_survive_cuts(proxy: FaultyProxy, cloud_store: CloudStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec_storage, "IN_MEMORY_BYTES", 30_000)
    storage = open_store(cloud_store.new_url())
    content = {f"data/{number}": random.Random(number).randbytes(20_000 * number) for number in range(1, 4)}
    proxy.plan = every(2, seed=1)
    storage.put_all([(key, sends(data)) for key, data in content.items()])
    for key, data in content.items():
        storage._cache.forget(key)
        assert bytes(storage.read(key)) == data
        storage._cache.forget(key)
        assert bytes(storage.read(key, 1000, 9000)) == data[1000:9000]
        proxy.cut_all()
    assert proxy.cuts > 0


@pytest.mark.usefixtures("hurried")
def test_a_part_is_never_taken_for_the_whole(
    proxy: FaultyProxy, cloud_store: CloudStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fsspec_storage, "WAIT_SECONDS", 0.5)
    storage = open_store(cloud_store.new_url())
    data = os.urandom(100_000)
    storage.put("data/x", sends(data))
    storage._cache.forget("data/x")
    proxy.plan = lambda number: Fault(5_000, "server", reset=False)  # no answer arrives as a whole
    proxy.cut_all()
    with pytest.raises(StorageError, match="Can't read the artifact store"):
        storage.read("data/x")
    proxy.plan = lambda number: None
    assert bytes(storage.read("data/x")) == data
