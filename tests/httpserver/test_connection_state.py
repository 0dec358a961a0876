"""Tests of `devlxd.httpserver.connection_state`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.httpserver.connection_state import (
    PROTOCOLS,
    ConnectionState,
    StreamState,
    state_of,
)
from devlxd.model import JSONValue

STATES = st.builds(
    ConnectionState,
    st.none() | st.dictionaries(st.text(), st.none() | st.integers() | st.text()),
    st.binary(),
    st.binary(),
    st.booleans(),
    st.booleans(),
    st.none()
    | st.builds(
        StreamState,
        st.sampled_from(["/", "/1.0/events?type=config&since=x", "/%20"]),
        st.sampled_from(PROTOCOLS),
    ),
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)

NAMES = (
    "caller",
    "received",
    "unsent",
    "is_idle",
    "is_continued",
    "target",
    "protocol",
)


class RecordTests(SynchronousTestCase):
    """The records of states."""

    @given(STATES)
    def test_read_back(self, state: ConnectionState) -> None:
        """A state is read back from its record, also after it was stored as JSON."""
        record = json.loads(json.dumps(state.as_record()))
        self.assertEqual(state_of(record), state)

    def test_small(self) -> None:
        """The record of an idle connection is small: there may be thousands."""
        record = ConnectionState(is_idle=True).as_record()
        self.assertEqual(record, {"version": 1, "is_idle": True})

    @given(st.dictionaries(st.sampled_from(NAMES), JSON))
    def test_any_record(self, record: Mapping[str, JSONValue]) -> None:
        """Any other record is a state, or raises `ValueError`."""
        with contextlib.suppress(ValueError):
            state_of({"version": 1, **record})

    def test_malformed(self) -> None:
        """Records with malformed values are refused."""
        malformed: list[dict[str, JSONValue]] = [
            {},
            {"version": 2},
            {"version": "1"},
            {"version": 1, "caller": "c1"},
            {"version": 1, "received": 3},
            {"version": 1, "received": "ä"},
            {"version": 1, "unsent": "a"},
            {"version": 1, "target": "/"},
            {"version": 1, "protocol": "HTTP/1.1"},
            {"version": 1, "target": "/", "protocol": "HTTP/2"},
            {"version": 1, "target": "/ HTTP/1.1\r\nX: y", "protocol": "HTTP/1.1"},
            {"version": 1, "target": "/\n", "protocol": "HTTP/1.1"},
            {"version": 1, "target": "events", "protocol": "HTTP/1.1"},
            {"version": 1, "target": "/", "protocol": ["HTTP/1.1"]},
        ]
        for record in malformed:
            self.assertRaises(ValueError, state_of, record)
