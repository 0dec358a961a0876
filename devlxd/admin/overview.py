# -*- test-case-name: tests.admin.test_overview -*-
"""What the page for browsers shows: counts, and names of containers and files.

Every local user may be able to read this over TCP: it has nothing that guests have
said or documents contain.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import Any

from devlxd.admin.metrics import BUCKETS, RequestCounter, broken_documents
from devlxd.interfaces import IContainerStore, IDocuments, IGuestService
from devlxd.model import Fault, Refusal

#: How many containers, faults and kinds of refusals are shown.
MAX_SHOWN = 200

#: The numbers of refusals by container and kind; ``None`` is for callers that were not
#: identified.
Refusals = Mapping[str | None, Mapping[Refusal, int]]


def overview(
    services: Sequence[IGuestService], counter: RequestCounter, refusals: Refusals
) -> dict[str, Any]:
    """Return what the page shows of the services, as a JSON object.

    Containers that need attention come first.
    """
    stores = list({id(service.store): service.store for service in services}.values())
    faults = [fault for store in stores for fault in _faults(store)]
    return {
        "pid": os.getpid(),
        "listeners": [
            {
                "dialect": one.dialect,
                "address": one.address,
                "listening": one.is_listening,
            }
            for service in services
            for one in service.listeners()
        ],
        "connections": _total(service.connections() for service in services),
        "subscribers": _total(service.subscribers() for service in services),
        "containers": {
            "known": sum(len(store.names()) for store in stores),
            "broken": sum(len(broken_documents(store)) for store in stores),
            "shown": _containers(services, refusals),
        },
        "faults": [
            {"file": fault.file, "line": fault.line, "text": fault.text}
            for fault in nsmallest(MAX_SHOWN, faults)
        ],
        "refusals": _refusals(refusals),
        "requests": sum(counter.buckets),
        "buckets": list(zip((*BUCKETS, None), counter.buckets, strict=True)),
    }


def _total(counts: Iterator[Mapping[Any, int]]) -> int:
    return sum(sum(one.values()) for one in counts)


def _faults(store: IContainerStore) -> Sequence[Fault]:
    return IDocuments(store).faults() if IDocuments.providedBy(store) else ()


def _document(store: IContainerStore, name: str) -> str:
    if not IDocuments.providedBy(store):
        return ""
    return IDocuments(store).document_of(name) or ""


def _containers(
    services: Sequence[IGuestService], refusals: Refusals
) -> list[dict[str, Any]]:
    shown = (
        candidate
        for service in services
        for candidate in _candidates(service, refusals)
    )
    # Only what is shown is looked up in full: there may be thousands of containers.
    rows = [
        {
            "name": name,
            "document": _document(service.store, name),
            "state": service.states.state_of(name).value,
            "connections": -connections,
            "subscribers": service.subscribers().get(name, 0),
            "refusals": -refused,
        }
        for refused, connections, name, _, service in nsmallest(MAX_SHOWN, shown)
    ]
    return sorted(rows, key=lambda row: str(row["name"]))


def _candidates(
    service: IGuestService, refusals: Refusals
) -> Iterator[tuple[int, int, str, int, IGuestService]]:
    """Yield a tuple for each container of a service, in the order of attention."""
    connections = service.connections()
    for name in service.store.names():
        refused = sum(refusals.get(name, {}).values())
        yield -refused, -connections.get(name, 0), name, id(service), service


def _refusals(refusals: Refusals) -> list[dict[str, Any]]:
    rows = [
        {
            "reason": refusal.value,
            "container": "(not identified)" if name is None else name,
            "count": count,
        }
        for name, counts in refusals.items()
        for refusal, count in counts.items()
    ]
    return nsmallest(
        MAX_SHOWN, rows, key=lambda row: (-int(row["count"]), str(row["container"]))
    )
