"""Any fsspec store keeps the same contract as the local one."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from metaflow_core.errors import StorageError
from metaflow_core.store.interface import Storage
from metaflow_core.testing.storage import StorageContract, sends
from metaflow_plugins import fsspec_storage
from metaflow_plugins.fsspec_storage import FsspecStorage, open_storage


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FsspecStorage]:
    monkeypatch.setenv("METAFLOW_STORE_CACHE", str(tmp_path / "store-cache"))
    storage = FsspecStorage(f"memory://{uuid.uuid4()}/with space")
    yield storage
    storage._fs.store.clear()  # all tests of a process share one memory


class TestFsspecStorage(StorageContract):
    @pytest.fixture
    def storage(self, storage: FsspecStorage) -> Storage:  # type: ignore[override]
        return storage


def test_it_takes_addresses_that_are_no_paths() -> None:
    assert isinstance(open_storage("memory://x"), FsspecStorage)
    assert open_storage("/a/path") is None
    assert open_storage("file:///a/path") is None


def test_an_unknown_kind_of_address() -> None:
    with pytest.raises(StorageError, match=r"nope://x can't be opened: .*nope"):
        open_storage("nope://x")


def test_a_missing_package_is_named() -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from metaflow_plugins.fsspec_storage import open_storage\n"
        "from metaflow_core.errors import PluginError\n"
        "try: open_storage('s3://bucket/x')\n"
        "except PluginError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "s3://bucket/x needs a package that is not installed" in result.stdout
    assert "s3fs" in result.stdout


def test_fsspec_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys\n"
        "from metaflow_plugins.fsspec_storage import open_storage\n"
        "assert open_storage('/a/path') is None\n"
        "print('fsspec' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_many_appends_make_few_objects(storage: FsspecStorage) -> None:
    for _ in range(200):
        storage.append("logs/x", b"x" * 4000)
    assert len(storage._fs.find(storage._root)) < 6
    assert storage.size("logs/x") == 800_000


def test_a_second_writer_goes_on_where_the_first_was_killed(storage: FsspecStorage) -> None:
    storage.append("logs/x", b"one\n")
    FsspecStorage(storage.url).append("logs/x", b"two\n")
    assert storage.read("logs/x") == b"one\ntwo\n"


def test_an_unreachable_store_is_no_missing_object(storage: FsspecStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route to host")

    for method in ("info", "ls", "find", "cat_file", "pipe_file", "rm_file"):
        monkeypatch.setattr(storage._fs, method, unreachable)
    for act in (
        lambda: storage.exists("data/x"),
        lambda: storage.read("data/x"),
        lambda: storage.put("data/x", sends(b"1"), replace=True),
        lambda: storage.append("logs/x", b"1"),
        lambda: storage.delete("data/x"),
        lambda: list(storage.keys("")),
    ):
        with pytest.raises(StorageError, match=r"artifact store memory://.*: ConnectionError: no route to host\."):
            act()


def test_a_replaced_log_is_gone_for_good(storage: FsspecStorage) -> None:
    for _ in range(10):
        storage.append("logs/x", b"secret" * 20_000)
    assert len(storage._fs.find(storage._root)) > 1
    storage.put("logs/x", sends(b"clean"), replace=True)
    assert [storage._fs.cat_file(path) for path in storage._fs.find(storage._root)] == [b"clean"]


def test_a_failed_append_can_be_repeated(storage: FsspecStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route to host")

    storage.append("logs/x", b"one\n")
    with monkeypatch.context() as broken:
        broken.setattr(storage._fs, "pipe_file", unreachable)
        with pytest.raises(StorageError):
            storage.append("logs/x", b"two\n")
    storage.append("logs/x", b"two\n")
    assert storage.read("logs/x") == b"one\ntwo\n"


def test_large_objects_stream_through_a_file(storage: FsspecStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec_storage, "IN_MEMORY_BYTES", 10)
    monkeypatch.setattr(storage._fs, "cat_file", lambda path, start, end: b"x" * 10)
    storage.put("data/x", sends(b"x" * 1000))
    storage._cache.forget("data/x")
    view = storage.read("data/x")
    view[0:1] = b"z"
    assert bytes(view) == b"z" + b"x" * 999
