# -*- test-case-name: tests.admin.test_containers -*-
"""``/containers`` and ``/containers/NAME``: how each container is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen
from twisted.web import http

from devlxd.admin.operation import Guests, Operation
from devlxd.admin.records import refusals_by_text
from devlxd.admin.request import AdminRequest
from devlxd.admin.resource import AdminResource
from devlxd.admin.responses import AdminError, AdminResponse, json_response
from devlxd.timestamps import utc_text


@frozen
class _ServiceView:
    """What a guest service says of all its containers, at one moment."""

    guests: Guests
    broken: set[str]
    connections: Mapping[str | None, int]
    subscribers: Mapping[str, int]
    inits: Mapping[str, int | None]

    @classmethod
    def of(cls, guests: Guests) -> _ServiceView:
        """Return the view of this moment."""
        service = guests.service
        return cls(
            guests,
            guests.broken(),
            service.connections(),
            service.subscribers(),
            {
                caller.container: None if caller.init is None else caller.init.pid
                for caller in service.callers()
            },
        )

    def summary(self, name: str) -> dict[str, object]:
        """Return what ``/containers`` has of a container."""
        documents = self.guests.documents
        return {
            "name": name,
            "document": None if documents is None else documents.document_of(name),
            "broken": name in self.broken,
            "run": {"pid": self.inits[name]} if name in self.inits else None,
            "state": self.guests.service.states.state_of(name).value,
            "connections": self.connections.get(name, 0),
            "subscribers": self.subscribers.get(name, 0),
        }

    def details(self, name: str) -> dict[str, object]:
        """Return what ``/containers/NAME`` has of a container."""
        record = self.guests.records.of(name)
        asked = record.last_question
        return {
            **self.summary(name),
            "faults": [
                {
                    "file": fault.file,
                    "line": fault.line,
                    "text": fault.text,
                    "breaks": fault.breaks,
                }
                for fault in sorted(self.guests.faults())
                if fault.container == name
            ],
            "last_question": None if asked is None else utc_text(asked),
            "refusals": refusals_by_text(record.refusals),
        }


class ContainersResource(AdminResource):
    """``/containers``: a list of all containers, sorted by their names.

    A name that is in two directories is listed twice.
    """

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        listed = (
            (name, number, view)
            for number, view in enumerate(_views(self._operation))
            for name in view.guests.names()
        )
        ordered = sorted(listed, key=lambda entry: entry[:2])
        return json_response([view.summary(name) for name, _, view in ordered])


class ContainerResource(AdminResource):
    """``/containers/NAME``: one container.

    If its name is in two directories, ``others`` has the containers of the others.
    """

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        name = request.name
        found = [
            view.details(name)
            for view in _views(self._operation)
            if name in view.guests.names()
        ]
        if not found:
            raise AdminError(http.NOT_FOUND, "no such container")
        first, *others = found
        return json_response({**first, "others": others} if others else first)


def _views(operation: Operation) -> Iterator[_ServiceView]:
    return (_ServiceView.of(guests) for guests in operation.guests)
