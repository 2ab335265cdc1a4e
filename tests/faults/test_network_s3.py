"""An object store behind a network that fails: nothing half is taken for whole, and what can be done again is."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from faulty_proxy import Fault, FaultyProxy, every, faulty_proxy
from metaflow_core.errors import StorageError
from metaflow_core.testing.storage import sends
from metaflow_plugins import fsspec_storage
from metaflow_plugins.s3_storage import S3Storage
from object_stores import ObjectStore


@pytest.fixture
def proxy(seaweedfs: ObjectStore, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Between this process, and those it starts, and the object store."""
    with faulty_proxy(int(seaweedfs.endpoint.rpartition(":")[2])) as proxy:
        monkeypatch.setenv("METAFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        s3fs.S3FileSystem.clear_instance_cache()
        yield proxy
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what can't succeed: give up at once, where a minute is waited otherwise."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)
    monkeypatch.setattr(fsspec_storage, "WAIT_SECONDS", 0.5)


def copies(tmp_path: Path) -> dict[str, bytes]:
    found = (file for file in tmp_path.joinpath("store-cache").rglob("*") if file.is_file())
    return {file.name: file.read_bytes() for file in found}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("in_memory", [1 << 24, 1000])
def test_objects_survive_cuts(
    proxy: FaultyProxy, s3: str, monkeypatch: pytest.MonkeyPatch, seed: int, in_memory: int
) -> None:
    monkeypatch.setattr(fsspec_storage, "IN_MEMORY_BYTES", in_memory)
    storage = S3Storage(s3)
    content = {f"data/{number}": random.Random(number).randbytes(20_000 * number) for number in range(1, 9)}
    proxy.plan = every(2, seed)
    storage.put_all([(key, sends(data)) for key, data in content.items()])
    for key in content:
        storage._cache.forget(key)
    for key, data in content.items():
        assert bytes(storage.read(key)) == data
        storage._cache.forget(key)
        assert bytes(storage.read(key, 1000, 9000)) == data[1000:9000]
        proxy.cut_all()
    assert proxy.cuts > 0


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("in_memory", [1 << 24, 1000])
def test_a_part_is_never_taken_for_the_whole(
    proxy: FaultyProxy, s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_memory: int, reset: bool
) -> None:
    monkeypatch.setattr(fsspec_storage, "IN_MEMORY_BYTES", in_memory)
    storage = S3Storage(s3)
    data = os.urandom(100_000)
    storage.put("data/x", sends(data))
    storage._cache.forget("data/x")
    proxy.plan = lambda number: Fault(5_000, "server", reset)  # no answer arrives as a whole
    proxy.cut_all()
    with pytest.raises(StorageError, match="Can't read the artifact store"):
        storage.read("data/x")
    storage.prefetch(["data/x"])
    assert copies(tmp_path) == {}
    proxy.plan = lambda number: None
    assert bytes(storage.read("data/x")) == data


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("reset", [True, False])
def test_a_part_of_an_upload_is_not_visible(proxy: FaultyProxy, s3: str, tmp_path: Path, reset: bool) -> None:
    storage = S3Storage(s3)
    proxy.plan = lambda number: Fault(50_000, "client", reset)
    with pytest.raises(StorageError, match="Can't write the artifact store"):
        storage.put("data/x", sends(os.urandom(100_000)))
    proxy.plan = lambda number: None
    assert copies(tmp_path) == {}
    assert not storage.exists("data/x")
    assert list(storage.keys("")) == []
    data = os.urandom(100_000)
    storage.put("data/x", sends(data))
    assert bytes(storage.read("data/x")) == data


def test_a_store_that_is_away_for_a_while(proxy: FaultyProxy, s3: str) -> None:
    storage = S3Storage(s3)
    storage.put("data/x", sends(b"abc"))
    proxy.refuse(8)
    storage.put("data/y", sends(b"def"))
    storage._cache.forget("data/x")
    proxy.refuse(1)
    assert bytes(storage.read("data/x")) == b"abc"


def test_who_is_patient_waits_for_a_store_that_it_has_not_reached_yet(
    proxy: FaultyProxy, s3: str, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.refuse(60)
    for patient in (False, True):
        storage = S3Storage(s3)
        storage.patient = patient
        with pytest.raises(StorageError, match=re.escape(f" the artifact store {s3}: ")):
            storage.put("data/x", sends(b"abc"))
    monkeypatch.setattr(fsspec_storage, "WAIT_SECONDS", 60)
    proxy.refuse(4)
    began = time.monotonic()
    storage.put("data/x", sends(b"abc"))
    assert time.monotonic() - began > 3
    proxy.refuse(60)
    storage = S3Storage(s3)
    with pytest.raises(StorageError, match="Can't read"):  # its address may be wrong
        storage.exists("data/x")
    assert time.monotonic() - began < 60


def test_a_log_is_whole_and_in_order(proxy: FaultyProxy, s3: str) -> None:
    storage = S3Storage(s3)
    proxy.plan = every(2, 1)
    for number in range(30):
        storage.append("logs/F/1/a/1/0.log", b"line %d\n" % number)
        if number % 3 == 0:
            proxy.cut_all()
    storage.close()
    text = bytes(S3Storage(s3).read("logs/F/1/a/1/0.log"))
    assert text == b"".join(b"line %d\n" % number for number in range(30))
