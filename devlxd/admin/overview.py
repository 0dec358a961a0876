# -*- test-case-name: tests.admin.test_overview -*-
"""``/overview``: counts, and names of containers and files, for the page.

Every local user may be able to read this over TCP: it has nothing that guests have
said, and no values of documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import nsmallest
from typing import Any

from devlxd.admin.metrics import BUCKETS, RequestCounter
from devlxd.admin.operation import Guests, Operation
from devlxd.admin.request import AdminRequest
from devlxd.admin.resource import AdminResource
from devlxd.admin.responses import AdminResponse, json_response
from devlxd.admin.status import status_of
from devlxd.model import Refusal
from devlxd.source_states import source_text
from devlxd.timestamps import duration_text

#: How many containers, faults and kinds of refusals are shown.
MAX_SHOWN = 200

#: The fields of ``/status`` that are also here.
_SHARED = (
    *("version", "pid", "healthy", "problems", "listeners"),
    *("connections", "subscribers"),
)

#: Stands for the container of callers that were not identified.
NOT_IDENTIFIED = "(not identified)"


def overview(operation: Operation, counter: RequestCounter) -> dict[str, Any]:
    """Return the content of ``/overview``.

    Of many containers, those with the most refusals and connections are shown.
    """
    status = status_of(operation)
    containers = dict(status["containers"])
    faults = (fault for guests in operation.guests for fault in guests.faults())
    counter.sort_times()
    return {
        **{name: status[name] for name in _SHARED},
        "time": operation.uptime(),
        "uptime": duration_text(operation.uptime()),
        "sources": [*map(source_text, operation.sources())],
        "containers": {**containers, "shown": _containers(operation)},
        "faults": [
            {"file": fault.file, "line": fault.line, "text": fault.text}
            for fault in nsmallest(MAX_SHOWN, faults)
        ],
        "refusals": _refusals(operation),
        "requests": sum(counter.buckets),
        "buckets": list(zip((*BUCKETS, None), counter.buckets, strict=True)),
    }


def _containers(operation: Operation) -> list[dict[str, object]]:
    # Only what is shown is looked up in full: there may be thousands of containers.
    candidates = (one for guests in operation.guests for one in _candidates(guests))
    rows: list[dict[str, object]] = [
        {
            "name": name,
            "document": _document(guests, name),
            "state": guests.service.states.state_of(name).value,
            "connections": -connections,
            "subscribers": subscribers,
            "refusals": -refused,
        }
        for refused, connections, name, subscribers, _, guests in nsmallest(
            MAX_SHOWN, candidates
        )
    ]
    return sorted(rows, key=lambda row: str(row["name"]))


def _candidates(guests: Guests) -> Iterator[tuple[int, int, str, int, int, Guests]]:
    """Yield a tuple for each container, in the order of attention."""
    # Each of these goes through all connections of the service.
    connections = guests.service.connections()
    subscribers = guests.service.subscribers()
    for name in guests.names():
        refused = sum(guests.records.of(name).refusals.values())
        yield (
            -refused,
            -connections.get(name, 0),
            name,
            subscribers.get(name, 0),
            id(guests),
            guests,
        )


def _document(guests: Guests, name: str) -> str:
    documents = guests.documents
    return ("" if documents is None else documents.document_of(name)) or ""


def _refusals(operation: Operation) -> list[dict[str, object]]:
    found = (one for guests in operation.guests for one in _refusals_of(guests))
    most = nsmallest(MAX_SHOWN, found, key=lambda one: (-one[2], one[1], one[0]))
    return [
        {"reason": reason, "container": container, "count": count}
        for reason, container, count in most
    ]


def _refusals_of(guests: Guests) -> Iterator[tuple[str, str, int]]:
    counts: Iterator[tuple[str, Mapping[Refusal, int]]]
    counts = ((name, guests.records.of(name).refusals) for name in guests.names())
    for container, refusals in (*counts, (NOT_IDENTIFIED, guests.records.unidentified)):
        for refusal, count in refusals.items():
            yield refusal.value, container, count


class OverviewResource(AdminResource):
    """``/overview``: what the page shows."""

    is_public = True

    def __init__(self, operation: Operation, counter: RequestCounter) -> None:
        self._operation = operation
        self._counter = counter

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        return json_response(overview(self._operation, self._counter))
