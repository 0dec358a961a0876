# -*- test-case-name: tests.admin.test_status -*-
"""``/status`` and ``/healthz``: how devlxd is."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

from twisted.web import http

from devlxd.admin.operation import Operation
from devlxd.admin.records import refusals_by_text
from devlxd.admin.request import AdminRequest
from devlxd.admin.resource import AdminResource
from devlxd.admin.responses import AdminResponse, json_response, text_response
from devlxd.model import Listener, Refusal

#: How many problems ``/status`` lists.
MAX_PROBLEMS = 100


class StatusResource(AdminResource):
    """``/status``: the state of the process."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        return json_response(status_of(self._operation))


def status_of(operation: Operation) -> dict[str, Any]:
    """Return the content of ``/status``."""
    services = [guests.service for guests in operation.guests]
    unidentified: Counter[Refusal] = Counter()
    for guests in operation.guests:
        unidentified.update(guests.records.unidentified)
    return {
        "version": operation.version,
        "pid": operation.pid,
        "uptime_seconds": round(operation.uptime(), 3),
        "healthy": not any(True for _ in operation.failures()),
        "problems": list(islice(operation.problems(), MAX_PROBLEMS)),
        "listeners": [
            _listener(listener) for each in services for listener in each.listeners()
        ],
        "sources": [
            {
                "source": source.source,
                "answers": source.is_answering,
                "age_seconds": None if source.age is None else round(source.age, 3),
                "problem": source.problem,
            }
            for source in operation.sources()
        ],
        "containers": {
            "known": sum(len(guests.names()) for guests in operation.guests),
            "broken": sum(len(guests.broken()) for guests in operation.guests),
        },
        "connections": sum(sum(s.connections().values()) for s in services),
        "subscribers": sum(sum(s.subscribers().values()) for s in services),
        "refused": refusals_by_text(unidentified),
        "limits": dict(operation.limits()),
    }


def _listener(listener: Listener) -> dict[str, Any]:
    """Return an endpoint; one with sockets of the containers also has their number."""
    record: dict[str, Any] = {
        "dialect": listener.dialect,
        "address": listener.address,
        "listening": listener.is_listening,
    }
    if listener.sockets is not None:
        record["sockets"] = listener.sockets
        record["missing"] = listener.missing
    return record


class HealthResource(AdminResource):
    """``/healthz``: 200 if guests can be served; otherwise 503 and the reasons."""

    is_public = True

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        failures = list(self._operation.failures())
        if not failures:
            return text_response("ok\n")
        text = "".join(f"{line}\n" for line in failures)
        return text_response(text, http.SERVICE_UNAVAILABLE)
