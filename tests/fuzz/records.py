"""Bytes of the record of handed-over connections: states, or an error."""

from __future__ import annotations

import hashlib
import json
import os

from hypothesis import strategies as st

from devlxd.host.handover_record import RecordError, read_record, write_record
from devlxd.httpserver.connection_state import ConnectionState, StreamState, state_of
from tests.fuzz.mutations import mostly, mutated
from tests.fuzz.target import Target

#: What has a meaning in a record.
TOKENS = [
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"1e999", b"-1", b"true"),
    *(b"[" * 100_000, b'{"a":' * 3000, b"\\ud800", b"NaN", b"\xff", b"\n", b" "),
    *(b'"version":1', b'"version":2', b'"received":"!"', b'"target":"/"', b"=="),
]

_states = st.builds(
    ConnectionState,
    st.none() | st.dictionaries(st.text(), st.integers() | st.text(), max_size=2),
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.booleans(),
    st.booleans(),
    st.none()
    | st.builds(
        StreamState,
        st.sampled_from(["/1.0/events", "/1.0/events?since=2001-09-09T01:46:40Z"]),
        st.sampled_from(["HTTP/1.0", "HTTP/1.1", "websocket"]),
    ),
)


@st.composite
def valid_bodies(draw: st.DrawFn) -> bytes:
    """Return the JSON of a valid record; check that it can be read."""
    states = draw(st.lists(_states, max_size=3))
    descriptor = write_record([state.as_record() for state in states])
    try:
        assert [state_of(record) for record in read_record(descriptor)] == states
        content = os.pread(descriptor, 1 << 20, 0)
    finally:
        os.close(descriptor)
    return content.partition(b"\n")[2]


@st.composite
def _files(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> bytes:
    """Return a file, whose checksum is usually right."""
    body = draw(bodies)
    digest = hashlib.sha256(body).hexdigest()
    header = f"devlxd-handover 1 {len(body)} {digest}\n".encode()
    return draw(mostly(st.just(header), mutated(st.just(header), [b" ", b"9"]))) + body


def check(content: bytes) -> None:
    """Check what is read from a file."""
    descriptor = os.memfd_create("fuzz")
    try:
        os.pwrite(descriptor, content, 0)
        try:
            records = read_record(descriptor)
        except RecordError as error:
            assert str(error)
            return
    finally:
        os.close(descriptor)
    for record in records:
        try:
            state = state_of(record)
        except ValueError:
            continue
        assert state_of(json.loads(json.dumps(state.as_record()))) == state


#: Valid and damaged files.
TARGET = Target(
    "records",
    _files(mostly(mutated(valid_bodies(), TOKENS), st.binary(max_size=100))),
    check,
)
