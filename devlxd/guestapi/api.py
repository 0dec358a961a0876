# -*- test-case-name: tests.guestapi.test_gate -*-
"""One dialect of the API, served to the containers of a store."""

from __future__ import annotations

import time
from typing import cast

from twisted.web.http import OK, Request
from twisted.web.resource import getChildForRequest
from zope.interface import implementer

from devlxd.fast_paths import FastPath, is_on
from devlxd.guestapi.dialect import Services
from devlxd.guestapi.gate import Gate
from devlxd.guestapi.resource_bases import AnyResponse, GuestResource
from devlxd.guestapi.tree import resource_tree
from devlxd.httpserver.quick_requests import RenderedResponse
from devlxd.httpserver.request import DevLXDRequest
from devlxd.httpserver.responses import Response
from devlxd.interfaces import (
    ICallerIdentifier,
    IConnections,
    IContainerStore,
    IRequestHandler,
    IRunObserver,
    IStoreObserver,
)
from devlxd.model import Caller, Container, Refusal


@implementer(IRequestHandler, IStoreObserver, IRunObserver)
class GuestAPI:
    """The handler of the requests of guests, in one dialect.

    While it is started, it closes connections

    * of a container that is removed, or replaced by another one of its name;
    * of a run of a container that ends: callers of one run are not callers of the next;
    * of a caller that loses the permission to use the API, while a response is being
      sent to it.

    :param services: the objects that the resources share.
    :param store: the containers.
    :param identifier: notifies of the ends of runs.
    """

    def __init__(
        self,
        services: Services,
        store: IContainerStore,
        identifier: ICallerIdentifier,
    ) -> None:
        self.services = services
        self._observer = services.observer
        self._store = store
        self._identifier = identifier
        self._gate = Gate(services.dialect)
        self._tree = resource_tree(services)
        self._connections: IConnections | None = None
        self._keeps_rendered = is_on(FastPath.QUESTIONS)

    def start(self, connections: IConnections) -> None:
        """See `IRequestHandler.start`."""
        self._connections = connections
        self._store.watch(self)
        self._identifier.watch(self)

    def stop(self) -> None:
        """See `IRequestHandler.stop`."""
        self._store.unwatch(self)
        self._identifier.unwatch(self)

    def respond(self, request: Request, caller: object | None) -> AnyResponse:
        """See `IRequestHandler.respond`: the gate checks the caller first."""
        caller = cast("Caller | None", caller)
        container = self._store.get(caller.container) if caller is not None else None
        refusal = self._gate.refusal(caller, container)
        if refusal is not None:
            return self._refuse(caller, refusal)
        assert container is not None
        assert isinstance(request, DevLXDRequest)
        request.attachment = caller
        resource = cast(GuestResource, getChildForRequest(self._tree, request))
        response = resource.respond(request, container)
        if (
            self._keeps_rendered
            and resource.depends_on_snapshot
            and isinstance(response, Response)
            # Without a query. A guest may encode one path in very many ways.
            and (request.method, request.uri) == (b"GET", request.path)
            and b"%" not in request.path
        ):
            self.services.cache.put_rendered(container, request.path, response)
        return response

    def kept(self, path: bytes, caller: object | None) -> RenderedResponse | None:
        """See `IRequestHandler.kept`: the gate checks the caller first."""
        caller = cast("Caller | None", caller)
        container = self._store.get(caller.container) if caller is not None else None
        if self._gate.refusal(caller, container) is not None:
            # `respond` reports it.
            return None
        assert container is not None
        return self.services.cache.get_rendered(container, path)

    def kept_sent(self, path: bytes, caller: object | None, began: float) -> None:
        """See `IRequestHandler.kept_sent`: notify the observer."""
        self._observer.answered(
            self.services.dialect.name,
            OK,
            time.perf_counter() - began,
            cast("Caller | None", caller),
            path,
        )

    def responded(self, request: Request, caller: object | None, code: int) -> None:
        """See `IRequestHandler.responded`: notify the observer.

        Only requests that passed the gate have their caller attached.
        """
        assert isinstance(request, DevLXDRequest)
        self._observer.answered(
            self.services.dialect.name,
            code,
            time.perf_counter() - request.began,
            cast("Caller | None", request.attachment),
            request.path,
        )

    def _refuse(self, caller: Caller | None, refusal: Refusal) -> Response:
        response = self._gate.response_to(refusal)
        # The connection of a caller that is not identified was reported already.
        if caller is not None:
            reason = response.body.decode("utf-8").rstrip("\n")
            self._observer.refused(caller.container, refusal, reason)
        return response

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        if new is None:
            self.services.cache.forget(name)
        is_over = new is None or (old is not None and new.is_different_from(old))
        if old and new and not is_over and not self._gate.may_differ(old, new):
            # There may be thousands of connections, and such changes are the rule.
            return
        assert self._connections is not None
        for connection in self._connections.of(name):
            caller = connection.caller
            if not isinstance(caller, Caller):
                continue
            if is_over:
                # The bus ends streams of events itself, after the last event.
                connection.retire()
            elif self._gate.refusal(caller, new) is not None:
                connection.interrupt()

    def ended(self, run: int) -> None:
        """See `IRunObserver.ended`."""
        assert self._connections is not None
        for connection in self._connections.all():
            caller = connection.caller
            if isinstance(caller, Caller) and caller.run == run:
                connection.close()
