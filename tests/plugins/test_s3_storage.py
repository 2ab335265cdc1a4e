"""Artifacts in S3, on two independent servers of its protocol."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest
import s3fs
from metaflow_core.errors import MetaflowDataMissing, StorageError
from metaflow_core.testing.storage import StorageContract, sends
from metaflow_plugins import fsspec_storage, s3_upload
from metaflow_plugins.s3_storage import S3Storage, open_storage
from object_stores import ObjectStore


@pytest.fixture
def storage(object_store: ObjectStore) -> S3Storage:
    return S3Storage(f"{object_store.new_url()}/with space/prefix")


class TestS3Storage(StorageContract):
    @pytest.fixture
    def storage(self, storage: S3Storage) -> S3Storage:  # type: ignore[override]
        return storage


def requests(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests that the store sends from now on."""
    sent: list[str] = []
    call = storage._fs._call_s3

    async def note(method: str, *args: object, **kwargs: object) -> object:
        sent.append(method)
        return await call(method, *args, **kwargs)

    monkeypatch.setattr(storage._fs, "_call_s3", note)
    return sent


def test_it_takes_its_addresses_alone(object_store: ObjectStore) -> None:
    assert isinstance(open_storage("s3://bucket/x"), S3Storage)
    assert open_storage("gs://bucket/x") is None


@pytest.mark.parametrize("part_bytes", [s3_upload.PART_BYTES, 5 << 20])
def test_an_object_of_somebody_else_stays(storage: S3Storage, monkeypatch: pytest.MonkeyPatch, part_bytes: int) -> None:
    """Two write the same key, and both have seen that it is not there: the later one learns when the first wrote it."""
    monkeypatch.setattr(s3_upload, "PART_BYTES", part_bytes)
    other = S3Storage(storage.url)

    def write(file: IO[bytes]) -> None:
        file.write(b"second" * 1_000_000)
        other.put("data/x", sends(b"first"))

    written = storage.put("data/x", write)
    assert written is not None
    assert abs(written - time.time()) < 600
    assert bytes(storage.read("data/x")) == b"first"
    assert list(storage.keys("")) == ["data/x"]
    assert storage.clean(time.time() + 3600) == (0, 0)


def test_what_was_read_or_written_is_not_fetched_again(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.put("data/x", sends(b"abc"))
    other = S3Storage(storage.url)
    sent = requests(other, monkeypatch)
    assert bytes(other.read("data/x")) == b"abc"
    assert sent == []
    other._cache.forget("data/x")
    assert bytes(other.read("data/x")) == b"abc"
    assert bytes(other.read("data/x")) == b"abc"
    assert sent == ["get_object"]


def test_a_part_is_one_request(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.put("data/x", sends(bytes(range(256)) * 1000))
    storage._cache.forget("data/x")
    sent = requests(storage, monkeypatch)
    assert bytes(storage.read("data/x", 1000, 1010)) == (bytes(range(256)) * 5)[1000:1010]
    assert sent == ["get_object"]


def test_a_new_object_is_one_request(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = requests(storage, monkeypatch)
    storage.put_all([(f"data/{number}", sends(b"abc")) for number in range(3)])
    assert sent == ["put_object"] * 3
    storage.put_all([("data/0", sends(b"abc"))])
    assert sent[3:] == ["put_object", "head_object"]


def test_a_large_object_goes_in_parts(storage: S3Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(s3_upload, "PART_BYTES", 5 << 20)
    monkeypatch.setattr(s3_upload, "PARTS_OF_A_SIZE", 2)
    data = os.urandom(33 << 20)
    sent = requests(storage, monkeypatch)

    def write(file: IO[bytes]) -> None:
        file.write(data[:3])
        file.write(memoryview(data)[3:])
        assert file.tell() == len(data)

    assert storage.put_all([("data/x", write), ("data/y", sends(b"y"))]) == [None, None]
    assert sent.count("upload_part") == 5  # of 5, 5, 10, 10 and 3 MB
    assert bytes(storage.read("data/x")) == data
    storage._cache.forget("data/x")
    assert bytes(storage.read("data/x")) == data
    assert not list(tmp_path.joinpath("store-cache").rglob(".new-*"))
    del sent[:]
    assert storage.put_all([("data/x", sends(data))])[0] is not None
    assert sent == ["head_object"]


@pytest.mark.parametrize("fails", ["the writer", "a part", "the end"])
def test_a_large_object_that_fails_leaves_nothing(
    seaweedfs: ObjectStore, s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: str
) -> None:
    monkeypatch.setattr(s3_upload, "PART_BYTES", 5 << 20)
    storage = S3Storage(s3)
    call = storage._fs._call_s3

    async def fail(method: str, *args: object, **kwargs: object) -> object:
        if method == {"a part": "upload_part", "the end": "complete_multipart_upload"}.get(fails):
            raise OSError(5, "it was not to be")
        return await call(method, *args, **kwargs)

    def write(file: IO[bytes]) -> None:
        file.write(bytes(11 << 20))
        if fails == "the writer":
            raise RuntimeError("it was not to be")

    monkeypatch.setattr(storage._fs, "_call_s3", fail)
    with pytest.raises((StorageError, RuntimeError), match="it was not to be"):
        storage.put("data/x", write)
    assert list(storage.keys("")) == []
    assert storage.clean(time.time() + 3600) == (0, 0)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_small_objects_go_many_at_a_time(storage: S3Storage) -> None:
    storage.put_all([(f"data/{number}", sends(b"%d" % number)) for number in range(200)])
    other = S3Storage(storage.url)
    for number in range(200):
        other._cache.forget(f"data/{number}")
    other.prefetch([f"data/{number}" for number in range(200)])
    for number in range(200):
        file = other._cache.open(f"data/{number}")
        assert file is not None
        with file:
            assert file.read() == b"%d" % number


def test_the_cache_is_bounded(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("METAFLOW_STORE_CACHE_SIZE", "8")
    storage = S3Storage(object_store.new_url())
    for number in range(40):
        storage.put(f"data/{number}", sends(os.urandom(500_000)))
    storage.put("data/large", sends(b"x" * 5_000_000))
    kept = sum(file.stat().st_size for file in tmp_path.joinpath("store-cache").rglob("*") if file.is_file())
    assert 2_000_000 < kept < 10 << 20
    assert len(storage.read("data/0")) == 500_000
    assert len(storage.read("data/large")) == 5_000_000


@pytest.mark.parametrize("obstacle", ["a file", "no cache"])
def test_a_cache_that_can_not_be_is_no_error(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, obstacle: str
) -> None:
    if obstacle == "no cache":
        monkeypatch.setenv("METAFLOW_STORE_CACHE_SIZE", "0")
    else:
        tmp_path.joinpath("file").touch()
        monkeypatch.setenv("METAFLOW_STORE_CACHE", str(tmp_path / "file" / "below"))
    storage = S3Storage(object_store.new_url())
    storage.put("data/x", sends(b"abc"))
    assert bytes(storage.read("data/x")) == b"abc"
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "file"]


def test_an_empty_copy_is_no_copy(storage: S3Storage, tmp_path: Path) -> None:
    storage.put("data/x", sends(b"abc"))
    (copy,) = (file for file in tmp_path.joinpath("store-cache").rglob("*") if file.is_file())
    copy.write_bytes(b"")
    assert bytes(storage.read("data/x")) == b"abc"


def test_processes_share_the_cache(storage: S3Storage, tmp_path: Path) -> None:
    """Readers and writers in several processes, with a cache so small that copies are removed all the time."""
    code = """
import os, sys
from metaflow_core.testing.storage import sends
from metaflow_plugins.s3_storage import S3Storage
storage = S3Storage(sys.argv[1])
for turn in range(20):
    key = turn * 7 % 20
    content = b"%d" % key * 50_000
    storage.put(f"data/{key}", sends(content))
    assert bytes(storage.read(f"data/{key}")) == content
"""
    environment = {**os.environ, "METAFLOW_STORE_CACHE_SIZE": "1"}
    processes = [subprocess.Popen([sys.executable, "-c", code, storage.url], env=environment) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert not list(tmp_path.joinpath("store-cache").rglob(".new-*"))


def test_a_bucket_that_is_not_there(moto_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto_server.environment.items():  # SeaweedFS makes what is missing
        monkeypatch.setenv(name, value)
    storage = S3Storage("s3://no-such-bucket-at-all/x")
    with pytest.raises(StorageError, match=r"Can't write the artifact store s3://no-such-bucket-at-all/x: .*bucket"):
        storage.put("data/x", sends(b"1"))
    with pytest.raises(MetaflowDataMissing):
        storage.read("data/x")


def test_a_server_that_is_not_there(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    storage = S3Storage("s3://bucket/x")
    storage._fs.retries = 1
    with pytest.raises(StorageError, match=r"Can't read the artifact store s3://bucket/x: .*127\.0\.0\.1:9"):
        storage.put("data/x", sends(b"1"))


def test_wrong_credentials(seaweedfs: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**seaweedfs.environment, "AWS_SECRET_ACCESS_KEY": "wrong-secret"}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError) as caught:
        S3Storage(seaweedfs.new_url()).put("data/x", sends(b"1"))
    s3fs.S3FileSystem.clear_instance_cache()
    assert "wrong-secret" not in str(caught.value)


def test_an_upload_that_was_killed_is_cleaned_up(
    seaweedfs: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in seaweedfs.environment.items():  # for moto every upload began in 2010
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("METAFLOW_STORE_CACHE", str(tmp_path / "cache"))
    storage = S3Storage(seaweedfs.new_url())
    bucket, _, prefix = storage._root.partition("/")
    for key in (f"{prefix}/data/x", "elsewhere/x"):
        storage._fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    assert storage.clean(time.time() - 3600) == (0, 0)
    assert storage.clean(time.time() + 3600, dry_run=True) == (1, 0)
    assert storage.clean(time.time() + 3600) == (1, 0)
    assert storage.clean(time.time() + 3600) == (0, 0)
    assert not storage.exists("data/x")


def test_large_objects_are_files_before_and_after(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec_storage, "IN_MEMORY_BYTES", 1000)
    data = os.urandom(100_000)
    storage.put("data/x", sends(data))
    assert bytes(storage.read("data/x")) == data
    storage._cache.forget("data/x")
    assert bytes(storage.read("data/x", 50_000)) == data[50_000:]
    assert bytes(storage.read("data/x")) == data


def test_a_full_disk_below_the_cache_is_no_error(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room there goes through a temporary file, or through memory alone."""
    os.makedirs(storage._cache._top)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", storage._cache._top]).returncode:
        pytest.skip("only root can make a small disk")
    try:
        data = os.urandom(100_000)
        storage.put("data/x", sends(data))
        assert bytes(storage.read("data/x")) == data
        monkeypatch.setattr(fsspec_storage, "IN_MEMORY_BYTES", 1000)
        assert bytes(storage.read("data/x")) == data
        assert bytes(storage.read("data/x", 10, 20)) == data[10:20]
    finally:
        subprocess.run(["umount", "-l", storage._cache._top], check=True)
