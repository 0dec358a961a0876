# -*- test-case-name: tests.guestapi.test_event_rendering -*-
"""Events as JSON, as LXD sends them."""

from __future__ import annotations

from devlxd.compact_json import compact_json
from devlxd.model import Event
from devlxd.timestamps import timestamp_text


def json_line(event: Event) -> bytes:
    """Render an event as one line of JSON.

    :return: an object with ``timestamp`` (RFC 3339), ``type`` and ``metadata``, and
        a newline.
    """
    return (
        f'{{"timestamp":"{timestamp_text(event.timestamp)}","type":"{event.type}",'
        f'"metadata":{compact_json(event.metadata)}}}\n'
    ).encode()
