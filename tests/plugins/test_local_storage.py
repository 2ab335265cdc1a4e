"""Local storage keeps the contract, and says clearly what is wrong with the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest
from metaflow_core.errors import StorageError
from metaflow_core.store.interface import Storage
from metaflow_core.testing.storage import StorageContract, sends
from metaflow_plugins.local_storage import LocalStorage, open_storage


class TestLocalStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return LocalStorage(str(tmp_path / "ein Ordner" / "データ"))


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(str(tmp_path))


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    urls = {"/a b": "/a b", "sub": str(tmp_path / "sub"), "~/x": "/somewhere/x", "file:///a%20b": "/a b"}
    for url, path in urls.items():
        opened = open_storage(url)
        assert opened is not None
        assert opened.url == path
    assert open_storage("s3://bucket/x") is None
    with pytest.raises(StorageError, match="absolute"):
        open_storage("file://relative/path")


def test_no_directory_is_made_before_it_is_needed(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path / "new"))
    assert not storage.exists("a/b")
    assert list(storage.keys("")) == []
    assert list(tmp_path.iterdir()) == []


def test_a_log_is_one_plain_file(storage: LocalStorage, tmp_path: Path) -> None:
    storage.append("logs/x", b"1")
    storage.append("logs/x", b"2")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / "logs" / "x"]
    assert (tmp_path / "logs" / "x").read_bytes() == b"12"


def test_a_killed_writer_leaves_nothing_visible(storage: LocalStorage, tmp_path: Path) -> None:
    script = """
        import os, signal, sys
        from metaflow_plugins.local_storage import LocalStorage

        def write(file):
            file.write(b"x" * 1_000_000)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        LocalStorage(sys.argv[1]).put("data/x", write)
    """
    assert subprocess.run([sys.executable, "-c", dedent(script), str(tmp_path)]).returncode == -9
    assert not storage.exists("data/x")
    assert list(storage.keys("")) == []
    storage.put("data/x", sends(b"again"))
    assert storage.read("data/x") == b"again"


def test_old_leftovers_are_removed_and_young_ones_kept(storage: LocalStorage, tmp_path: Path) -> None:
    leftovers = tmp_path / ".tmp"
    leftovers.mkdir()
    for name in ("old", "young"):
        (leftovers / name).write_bytes(b"x")
    two_days_ago = time.time() - 2 * 86400
    os.utime(leftovers / "old", (two_days_ago, two_days_ago))
    storage.put("data/x", sends(b"1"))
    assert [p.name for p in leftovers.iterdir()] == ["young"]


def test_an_object_that_a_power_cut_emptied_is_written_again(storage: LocalStorage, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").touch()
    storage.put("data/x", sends(b"content"))
    assert storage.read("data/x") == b"content"


def test_durable_writes_are_written_too(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    storage.put("data/x", sends(b"1"))
    assert synced == []
    monkeypatch.setenv("METAFLOW_DURABLE_WRITES", "true")
    storage.put("data/y", sends(b"1"))
    assert len(synced) == 2  # the file and its folder


def test_a_name_that_is_too_long(storage: LocalStorage) -> None:
    with pytest.raises(StorageError, match="too long"):
        storage.append("logs/" + "x" * 300, b"1")
    with pytest.raises(StorageError, match="too long"):
        storage.put("data/" + "x" * 300, sends(b"1"))
    assert list(storage.keys("")) == []


def test_a_file_where_the_store_should_be(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StorageError, match=r"A file is in the place of a directory"):
        LocalStorage(str(tmp_path / "store")).put("data/x", sends(b"1"))


def test_a_full_disk_keeps_what_was_stored(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        storage = LocalStorage(str(disk))
        storage.put("data/small", sends(b"kept"))
        storage.append("logs/x", b"kept\n")
        for attempt in range(3):
            with pytest.raises(StorageError, match=r"Can't write .*\. The disk is full: free some space"):
                storage.put(f"data/large{attempt}", sends(b"x" * 1_000_000))
            with pytest.raises(StorageError, match="The disk is full"):
                storage.append("logs/x", b"y" * 1_000_000)
        assert storage.read("data/small") == b"kept"
        assert storage.read("logs/x") == b"kept\n"
        assert list((disk / ".tmp").iterdir()) == []
        storage.append("logs/x", b"more\n")
        assert storage.read("logs/x") == b"kept\nmore\n"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_read_only_file_system(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    LocalStorage(str(disk)).put("data/x", sends(b"kept"))
    if subprocess.run(["mount", "--bind", disk, disk], capture_output=True).returncode:
        pytest.skip("mounting takes root")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
        storage = LocalStorage(str(disk))
        for act in (
            lambda: storage.put("data/y", sends(b"1")),
            lambda: storage.append("logs/y", b"1"),
            lambda: storage.delete("data/x"),
        ):
            with pytest.raises(StorageError, match=r"The file system is read-only: make it writable"):
                act()
        storage.put("data/x", sends(b"there already"))
        assert storage.read("data/x") == b"kept"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_directory_of_somebody_else(tmp_path: Path) -> None:
    store = tmp_path / "store"
    LocalStorage(str(store)).put("data/x", sends(b"kept"))
    (store / "data").chmod(0o555)
    store.chmod(0o555)
    try:
        message = _as_nobody(store)
    finally:
        store.chmod(0o755)
        (store / "data").chmod(0o755)
    assert "Permission denied: check who owns the directory" in message
    assert str(store) in message


def _as_nobody(store: Path) -> str:
    """What ``put`` says to a user without rights. Forked, for another user could not even import this test's Python."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            LocalStorage(str(store)).put("data/y", sends(b"1"))
            os.write(writer, b"no error")
        except StorageError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with open(reader, "rb") as file:
        return file.read().decode()
