"""What every storage plugin must do, as tests to run against yours.

Subclass the contract in a test file, and give it an empty store:

    from metaflow_core.testing import StorageContract

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            return MyStorage("mine://a-place-for-tests")
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import IO

import pytest

from metaflow_core.errors import MetaflowDataMissing, StorageError
from metaflow_core.store.interface import Storage

BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "./a",
    "a\0b",
    "a\nb",
    "a\\b",
    ".hidden",
    "a.~",
]


def sends(data: bytes) -> Callable[[IO[bytes]], None]:
    """A ``write`` argument of ``put`` that sends ``data``."""

    def write(file: IO[bytes]) -> None:
        file.write(data)

    return write


def _not_called(file: IO[bytes]) -> None:
    raise AssertionError("put must not ask for content that is stored already")


class StorageContract:
    """Subclass it and give a ``storage`` fixture: an open store with nothing in it."""

    @pytest.fixture
    def storage(self) -> Storage:
        raise NotImplementedError("override the storage fixture")

    # --- objects

    @pytest.mark.parametrize("size", [0, 1, 4096, 300_000, 17_000_000])
    def test_what_was_put_is_read(self, storage: Storage, size: int) -> None:
        data = os.urandom(size)
        storage.put("data/ab/abcd", sends(data))
        assert bytes(storage.read("data/ab/abcd")) == data
        assert storage.size("data/ab/abcd") == size
        assert storage.exists("data/ab/abcd")

    def test_content_may_come_in_parts(self, storage: Storage) -> None:
        def write(file: IO[bytes]) -> None:
            for _ in range(3):
                file.write(b"ab")
                file.write(memoryview(b"cd"))

        storage.put("data/parts", write)
        assert bytes(storage.read("data/parts")) == b"abcdabcdabcd"

    def test_an_object_is_written_once(self, storage: Storage) -> None:
        storage.put("data/x", sends(b"first"))
        storage.put("data/x", _not_called)
        assert bytes(storage.read("data/x")) == b"first"

    def test_replace_writes_again(self, storage: Storage) -> None:
        storage.put("data/x", sends(b"a long first version"))
        before = storage.read("data/x")
        storage.put("data/x", sends(b"second"), replace=True)
        assert bytes(storage.read("data/x")) == b"second"
        assert bytes(before) == b"a long first version"

    @pytest.mark.parametrize("size", [10, 1_000_000])
    def test_what_is_read_is_private_and_writable(self, storage: Storage, size: int) -> None:
        storage.put("data/x", sends(b"a" * size))
        view = storage.read("data/x")
        view[0:1] = b"z"
        assert bytes(view[:2]) == b"za"
        assert bytes(storage.read("data/x")[:2]) == b"aa"

    def test_what_was_read_outlives_the_object(self, storage: Storage) -> None:
        storage.put("data/x", sends(b"a" * 1_000_000))
        view = storage.read("data/x")
        storage.delete("data/x")
        assert bytes(view) == b"a" * 1_000_000

    def test_a_failed_write_leaves_nothing(self, storage: Storage) -> None:
        def write(file: IO[bytes]) -> None:
            file.write(b"x" * 100_000)
            raise RuntimeError("in the middle")

        with pytest.raises(RuntimeError, match="in the middle"):
            storage.put("data/x", write)
        assert not storage.exists("data/x")
        assert list(storage.keys("")) == []

    def test_a_failed_replace_keeps_the_old_object(self, storage: Storage) -> None:
        def write(file: IO[bytes]) -> None:
            file.write(b"new")
            raise RuntimeError

        storage.put("data/x", sends(b"old"))
        with pytest.raises(RuntimeError):
            storage.put("data/x", write, replace=True)
        assert bytes(storage.read("data/x")) == b"old"

    def test_an_unfinished_object_is_not_visible(self, storage: Storage) -> None:
        def write(file: IO[bytes]) -> None:
            file.write(b"x" * 100_000)
            file.flush()
            assert not storage.exists("data/x")
            assert list(storage.keys("")) == []

        storage.put("data/x", write)
        assert storage.exists("data/x")

    def test_writers_of_one_key_both_succeed(self, storage: Storage) -> None:
        data = b"same" * 50_000
        both_inside = threading.Barrier(2, timeout=60)
        errors: list[BaseException] = []

        def write(file: IO[bytes]) -> None:
            both_inside.wait()
            file.write(data)

        def run() -> None:
            try:
                storage.put("data/x", write)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert bytes(storage.read("data/x")) == data

    def test_unicode_and_spaces_in_keys(self, storage: Storage) -> None:
        key = "logs/Größe/1/mit leerem/日本 #%?*.log"
        storage.put(key, sends(b"x"))
        assert bytes(storage.read(key)) == b"x"
        assert list(storage.keys("logs/Größe")) == [key]

    @pytest.mark.parametrize("key", ["data/x", "logs/x"])
    def test_a_part_of_an_object(self, storage: Storage, key: str) -> None:
        data = bytes(range(256)) * 4000
        if key.startswith("logs"):
            for first in range(0, len(data), 300_000):
                storage.append(key, data[first : first + 300_000])
        else:
            storage.put(key, sends(data))
        for start, end in ((0, 10), (500_000, 500_010), (300_000, 900_000), (len(data) - 5, None), (7, 7)):
            assert bytes(storage.read(key, start, end)) == data[start:end]
        assert bytes(storage.read(key, len(data) - 5, len(data) + 5)) == data[-5:]
        assert bytes(storage.read(key, len(data) + 5)) == b""
        with pytest.raises(MetaflowDataMissing):
            storage.read("data/none", 0, 10)

    def test_many_objects_at_once(self, storage: Storage) -> None:
        objects = [(f"data/{number % 7}/{number}", sends(b"%d" % number * 100)) for number in range(50)]
        storage.put(objects[3][0], sends(b"there"))
        written = storage.put_all(objects)
        assert [number for number, when in enumerate(written) if when is not None] == [3]
        storage.prefetch([key for key, _ in objects])
        storage.prefetch([])
        storage.prefetch(["data/none"])  # reading it will tell
        storage.distrust(objects[0][0])
        storage.distrust("data/none")
        assert bytes(storage.read("data/3/3")) == b"there"
        assert all(bytes(storage.read(f"data/{n % 7}/{n}")) == b"%d" % n * 100 for n in range(50) if n != 3)

    # --- what is not there

    def test_a_missing_object(self, storage: Storage) -> None:
        storage.put("data/x/y", sends(b"1"))
        for key in ("data/none", "data/x", "other/none", "data/x/y/z"):
            assert not storage.exists(key)
            with pytest.raises(MetaflowDataMissing, match=key):
                storage.read(key)
            with pytest.raises(MetaflowDataMissing, match=key):
                storage.size(key)

    def test_delete(self, storage: Storage) -> None:
        storage.put("data/x", sends(b"1"))
        storage.append("logs/x", b"1")
        for key in ("data/x", "logs/x"):
            storage.delete(key)
            assert not storage.exists(key)
            storage.delete(key)
        assert list(storage.keys("")) == []
        storage.put("data/x", sends(b"2"))
        storage.append("logs/x", b"2")
        assert bytes(storage.read("data/x")) == b"2"
        assert bytes(storage.read("logs/x")) == b"2"

    # --- keys

    def test_keys_are_sorted_and_match_whole_components(self, storage: Storage) -> None:
        assert list(storage.keys("")) == []
        assert list(storage.keys("data")) == []
        wanted = ["a-b/x", "a/b/1", "a/b/2", "a/bc/1", "ab"]
        for key in reversed(wanted):
            storage.put(key, sends(b"1"))
        storage.append("logs/a", b"1")
        assert list(storage.keys("")) == ["a-b/x", "a/b/1", "a/b/2", "a/bc/1", "ab", "logs/a"]
        assert list(storage.keys("a")) == ["a/b/1", "a/b/2", "a/bc/1"]
        assert list(storage.keys("a/b")) == ["a/b/1", "a/b/2"]
        assert list(storage.keys("ab")) == ["ab"]
        assert list(storage.keys("logs/a")) == ["logs/a"]
        assert list(storage.keys("none")) == []

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_bad_keys_are_refused(self, storage: Storage, key: str) -> None:
        for act in (
            lambda: storage.put(key, _not_called),
            lambda: storage.read(key),
            lambda: storage.exists(key),
            lambda: storage.size(key),
            lambda: storage.delete(key),
            lambda: storage.append(key, b"x"),
        ):
            with pytest.raises(StorageError):
                act()
        assert list(storage.keys("")) == []

    # --- retention

    def test_scan_tells_size_and_age(self, storage: Storage) -> None:
        before = time.time() - 2  # some stores count whole seconds
        storage.put("data/ab/x", sends(b"12345"))
        storage.put("data/cd/y", sends(b"1"))
        storage.append("logs/F/1/z", b"x" * 300_000)
        storage.append("logs/F/1/z", b"y" * 300_000)
        found = list(storage.scan(""))
        assert [(one.key, one.size) for one in found] == [("data/ab/x", 5), ("data/cd/y", 1), ("logs/F/1/z", 600_000)]
        for one in found:
            assert before <= one.modified <= time.time() + 2
        assert list(storage.scan("data/ab")) == list(storage.scan("data/ab/x")) == found[:1]
        assert list(storage.scan("logs/F/1/z")) == found[2:]
        assert list(storage.scan("data/none")) == list(storage.scan("data/ab/x/z")) == []

    def test_put_tells_since_when_an_object_is_there(self, storage: Storage) -> None:
        assert storage.put("data/x", sends(b"1")) is None
        [found] = storage.scan("data/x")
        assert storage.put("data/x", _not_called) == found.modified
        assert storage.put("data/x", sends(b"2"), replace=True) is None

    def test_objects_can_be_deleted_during_a_scan(self, storage: Storage) -> None:
        for number in range(10):
            storage.put(f"data/{number}/x", sends(b"1"))
        for one in storage.scan("data"):
            storage.delete(one.key)
        assert list(storage.scan("")) == []

    def test_writers_and_deleters_do_not_hinder_each_other(self, storage: Storage) -> None:
        """Removing the last object of a folder must not make another writer of that folder fail."""
        errors: list[BaseException] = []

        def run(key: str) -> None:
            try:
                for _ in range(40):
                    storage.put(key, sends(b"1"))
                    storage.delete(key)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(f"data/ab/{number}",)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []

    def test_cleaning_leaves_objects_alone(self, storage: Storage) -> None:
        storage.put("data/x", sends(b"1"))
        storage.append("logs/x", b"1")
        for dry_run in (True, False):
            assert storage.clean(time.time() + 3600, dry_run) == (0, 0)
        assert list(storage.keys("")) == ["data/x", "logs/x"]

    # --- logs

    def test_append(self, storage: Storage) -> None:
        key = "logs/F/1/start/1.0.log"
        storage.append(key, b"")
        assert not storage.exists(key)
        storage.append(key, b"one\n")
        storage.append(key, b"two\n")
        assert bytes(storage.read(key)) == b"one\ntwo\n"
        assert storage.size(key) == 8
        assert storage.exists(key)

    def test_a_long_log(self, storage: Storage) -> None:
        parts = [bytes([65 + i % 26]) * 100_000 for i in range(12)]
        for part in parts:
            storage.append("logs/x", part)
        assert bytes(storage.read("logs/x")) == b"".join(parts)
        assert storage.size("logs/x") == 1_200_000
        assert list(storage.keys("logs")) == ["logs/x"]

    def test_a_log_can_be_read_while_it_grows(self, storage: Storage) -> None:
        for size in (10, 1_000_000):
            storage.append("logs/x", b"a" * size)
            before = storage.read("logs/x")
            length = len(before)
            storage.append("logs/x", b"b")
            assert len(before) == length
            assert bytes(storage.read("logs/x")[-2:]) == b"ab"

    def test_a_log_can_be_replaced(self, storage: Storage) -> None:
        storage.append("logs/x", b"secret")
        storage.put("logs/x", sends(b"clean"), replace=True)
        assert bytes(storage.read("logs/x")) == b"clean"
        assert storage.size("logs/x") == 5
        assert list(storage.keys("")) == ["logs/x"]

    def test_the_interval_of_appends_is_a_number_of_seconds(self, storage: Storage) -> None:
        assert storage.append_interval >= 0
