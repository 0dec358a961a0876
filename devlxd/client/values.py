# -*- test-case-name: tests.client.test_values -*-
"""What the guest library returns.

These are frozen dataclasses, not attrs classes: the synchronous face needs the
standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """A change of the container.

    :ivar type: ``config``, ``device`` or ``lost``.
    :ivar timestamp: when it happened, as the server writes it (RFC 3339); what
        ``since`` accepts.
    :ivar metadata: the details, by the type: ``key``, ``old_value`` and ``value``, or
        ``action``, ``name`` and ``config``.
    """

    type: str
    timestamp: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the event as one line of JSON, without a line end."""
        members = {
            "timestamp": self.timestamp,
            "type": self.type,
            "metadata": self.metadata,
        }
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Lost(Event):
    """Some events were lost: what was read before may be out of date.

    :ivar timestamp: no event after this time was lost.
    """

    type: str = "lost"
    timestamp: str = ""
