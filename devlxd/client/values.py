# -*- test-case-name: tests.client.test_values -*-
"""What the guest library returns, and what its parts exchange.

These are frozen dataclasses, not attrs classes: the synchronous face needs the
standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


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


@dataclass(frozen=True)
class Request:
    """A request, for a face to send.

    :ivar path: the path and the query, percent-encoded.
    :ivar headers: further headers than those that every request has.
    """

    path: str
    method: str = "GET"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """A response, as a face has received it.

    :ivar headers: by their names in lower case; of repeated ones the last.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


#: What a question asks, in order. A face sends each request, and sends the response
#: back into the generator, which returns the result.
Question = Generator[Request, Response, T]
