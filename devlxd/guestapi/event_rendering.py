# -*- test-case-name: tests.guestapi.test_event_streams -*-
"""Events as JSON, as LXD sends them."""

from __future__ import annotations

from functools import lru_cache

from devlxd.model import Event


@lru_cache(maxsize=1)
def json_line(event: Event) -> bytes:
    """Return an event as one line of JSON."""
    return event.text + b"\n"
