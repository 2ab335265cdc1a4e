"""A log gives back byte for byte what a task wrote."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metaflow_core.errors import StorageError
from metaflow_core.store.interface import Storage
from metaflow_core.store.logs import LogLine, LogWriter, log_key, read_log, scrub_log
from metaflow_plugins.fsspec_storage import FsspecStorage
from metaflow_plugins.local_storage import LocalStorage

KEY = log_key("F", "1", "start", "1", 0)
MANY = 10**9


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalStorage(str(tmp_path)) if request.param == "local" else FsspecStorage(f"memory://{uuid.uuid4()}")


def test_lines_of_both_streams_in_order(storage: Storage) -> None:
    log = LogWriter(storage, KEY, MANY)
    log.write("stdout", b"  indented *\n", 1_000_001)
    log.write("stderr", b"\xff\x00 raw\r\n", 1_000_002)
    log.write("stdout", b"\n", 1_000_003)
    log.write("stdout", b"no line break", 1_000_004)
    log.close()
    assert list(read_log(storage, KEY)) == [
        LogLine("stdout", b"  indented *", 1_000_001, True),
        LogLine("stderr", b"\xff\x00 raw\r", 1_000_002, True),
        LogLine("stdout", b"", 1_000_003, True),
        LogLine("stdout", b"no line break", 1_000_004, False),
    ]
    assert b"".join(line.data for line in read_log(storage, KEY, "stdout")) == b"  indented *\n\nno line break"


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=40), st.booleans())))
def test_any_bytes_come_back(parts: list[tuple[str, bytes, bool]]) -> None:
    storage = FsspecStorage(f"memory://{uuid.uuid4()}")
    log = LogWriter(storage, KEY, MANY)
    for number, (stream, data, flush) in enumerate(parts):
        log.write(stream, data, number)  # type: ignore[arg-type]
        if flush:
            log.flush()
    log.close()
    for stream in ("stdout", "stderr"):
        written = b"".join(data for name, data, _ in parts if name == stream)
        assert b"".join(line.data for line in read_log(storage, KEY, stream)) == written  # type: ignore[arg-type]


def test_nothing_written_makes_no_object(storage: Storage) -> None:
    log = LogWriter(storage, KEY, MANY)
    log.write("stdout", b"", 1)
    log.flush()
    log.close()
    assert not storage.exists(KEY)
    assert list(read_log(storage, KEY)) == []


def test_a_log_that_is_too_long_is_cut_with_a_notice(storage: Storage) -> None:
    log = LogWriter(storage, KEY, 2 << 20)
    for number in range(100_000):
        log.write("stderr", b"some text that is rather long\n", number)
    log.close()
    assert log.truncated
    *lines, last = read_log(storage, KEY, "stdout")
    assert (lines, last.stream) == ([], "notice")
    assert last.text == b"[The log was cut here at 2 MB. --max-log-size keeps more.]"
    kept = list(read_log(storage, KEY, "stderr"))
    assert kept[-1] == last
    assert [line.when for line in kept] == list(range(len(kept)))
    assert 2_000_000 < storage.size(KEY) < 2_100_000


def test_what_was_flushed_survives_the_death_of_the_writer(tmp_path: Path) -> None:
    script = """
        import os, signal, sys
        from metaflow_core.store.logs import LogWriter
        from metaflow_plugins.local_storage import LocalStorage

        log = LogWriter(LocalStorage(sys.argv[1]), sys.argv[2], 10**6)
        log.write("stdout", b"flushed\\n", 1)
        log.flush()
        log.write("stdout", b"not flushed\\n", 2)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", dedent(script), str(tmp_path), KEY]).returncode == -9
    assert [line.text for line in read_log(LocalStorage(str(tmp_path)), KEY)] == [b"flushed"]


def test_an_error_of_the_store_loses_no_line(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    (tmp_path / "logs").write_text("in the way")
    log = LogWriter(storage, KEY, MANY)
    log.write("stdout", b"one\n", 1)
    with pytest.raises(StorageError):
        log.flush()
    (tmp_path / "logs").unlink()
    log.write("stdout", b"two\n", 2)
    log.close()
    assert [line.text for line in read_log(storage, KEY)] == [b"one", b"two"]


def test_stores_where_appends_cost_are_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    storage = FsspecStorage(f"memory://{uuid.uuid4()}")
    log = LogWriter(storage, KEY, MANY)
    for text in (b"first\n", b"waits\n", b"waits too\n"):
        log.write("stdout", text, 1)
        log.flush()
    assert [line.text for line in read_log(storage, KEY)] == [b"first"]
    now += storage.append_interval
    log.flush()
    assert len(list(read_log(storage, KEY))) == 3
    log.write("stdout", b"last\n", 1)
    log.close()
    assert len(list(read_log(storage, KEY))) == 4


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"17 o torn", [LogLine("stdout", b"torn", 17, False)]),
        (b"17 o a\n17", [LogLine("stdout", b"a", 17, True)]),
        (
            b"17 o a\n\0\0\0\n18 e b\n",
            [
                LogLine("stdout", b"a", 17, True),
                LogLine("notice", b"\0\0\0", 17, True),
                LogLine("stderr", b"b", 18, True),
            ],
        ),
        (b"99999999999999999999999 o a\n", [LogLine("notice", b"99999999999999999999999 o a", 0, True)]),
        (b"\n17 x a\n", [LogLine("notice", b"", 0, True), LogLine("notice", b"17 x a", 0, True)]),
    ],
)
def test_damaged_logs_are_readable(storage: Storage, content: bytes, expected: list[LogLine]) -> None:
    storage.append(KEY, content)
    assert list(read_log(storage, KEY)) == expected


def test_scrub_removes_one_stream_for_good(storage: Storage) -> None:
    log = LogWriter(storage, KEY, MANY)
    for number in range(3):
        log.write("stdout", b"secret %d\n" % number, number)
        log.write("stderr", b"kept %d" % number, number)
    log.close()
    before = b"".join(line.data for line in read_log(storage, KEY, "stderr"))
    assert scrub_log(storage, KEY, 77, "stdout") == 3
    assert b"secret" not in bytes(storage.read(KEY))
    assert list(read_log(storage, KEY, "stdout")) == [LogLine("notice", b"[3 lines of stdout were removed.]", 77, True)]
    assert b"".join(line.data for line in read_log(storage, KEY) if line.stream == "stderr") == before
    assert scrub_log(storage, KEY, 78, "stdout") == 0
    assert scrub_log(storage, KEY, 79) == 3
    assert [line.stream for line in read_log(storage, KEY)] == ["notice", "notice"]
    assert scrub_log(storage, log_key("F", "1", "start", "1", 5), 80) == 0
    assert list(storage.keys("")) == [KEY]


def test_one_file_per_attempt(tmp_path: Path) -> None:
    log = LogWriter(LocalStorage(str(tmp_path)), KEY, MANY)
    for number in range(10):
        log.write("stdout", b"x\n", number)
        log.flush()
    log.close()
    files = [os.path.join(folder, name) for folder, _, names in os.walk(tmp_path) for name in names]
    assert files == [str(tmp_path / KEY)]
