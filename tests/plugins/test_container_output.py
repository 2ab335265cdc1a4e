"""One log for two streams: whatever is written, in whatever pieces, is read back as it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from metaflow_plugins.container_output import PIECE, Exit, Marker, read_line

MARKS = [
    b"[stderr] ",
    b"[stdout...] x",
    b"[exit] 0\n",
    b"\n",
    b"\n\n",
    b" ",
    b"\r",
    b"x" * (2 * PIECE + 1),
    "ü".encode(),
]
PIECES = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.one_of(st.sampled_from(MARKS), st.binary(max_size=50))),
    max_size=30,
)


@given(PIECES, st.integers(-64, 255), st.booleans())
def test_what_is_written_is_read(pieces: list[tuple[str, bytes]], code: int, pauses: bool) -> None:
    marker, log = Marker(), b""
    for stream, data in pieces:
        log += marker.feed(stream, data)
        if pauses:
            log += marker.rest()
    log += marker.rest() + marker.exit(code, "a note")
    found = {"stdout": b"", "stderr": b""}
    *lines, last = log.split(b"\n")[:-1]
    for line in lines:
        assert line.strip(), "some logs drop empty lines"
        assert len(line) < PIECE + 20
        read = read_line(line)
        assert not isinstance(read, Exit)
        found[read[0]] += read[1]
    assert read_line(last) == Exit(code, "a note")
    for stream in found:
        assert found[stream] == b"".join(data for one, data in pieces if one == stream)
