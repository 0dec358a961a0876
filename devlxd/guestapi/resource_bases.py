# -*- test-case-name: tests.guestapi.test_resources -*-
"""Base classes of the resources of the guest API."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.web.http import FORBIDDEN, NOT_FOUND, OK, Request
from twisted.web.resource import IResource, Resource

from devlxd.guestapi.dialect import PathPattern, Route, Services
from devlxd.guestapi.snapshot_responses import SlicedResponse, json_response
from devlxd.httpserver.request import DevLXDRequest
from devlxd.httpserver.responses import (
    MessageResponse,
    PendingStream,
    Response,
    StreamResponse,
    not_allowed,
    refusal,
)
from devlxd.model import Caller, Container
from devlxd.turns import Slices

#: The maximum length of a short item, in characters.
MAX_SHORT = 4096

#: How many values of a container are in the cache when no more responses for short
#: items are kept.
MAX_KEPT = 256

#: What a resource returns; see `devlxd.interfaces.IRequestHandler.respond`.
AnyResponse = (
    Response | StreamResponse | MessageResponse | PendingStream | Deferred[Response]
)


def caller_of(request: Request) -> Caller:
    """Return the caller of a request that has passed the gate."""
    assert isinstance(request, DevLXDRequest)
    assert isinstance(request.attachment, Caller)
    return request.attachment


class GuestResource(Resource):
    """The resource at a path of the API.

    Resources form a tree like those of Twisted, but return responses instead of
    rendering themselves.

    :cvar methods: the HTTP methods that it supports.
    :cvar depends_on_snapshot: whether a response to GET without a query depends on the
        snapshot and the path alone. Otherwise it also depends on other things.
    """

    methods: ClassVar[tuple[bytes, ...]] = (b"GET", b"HEAD")
    depends_on_snapshot: ClassVar[bool] = False

    def __init__(self, services: Services, path: PathPattern) -> None:
        super().__init__()
        self.services = services
        self.dialect = services.dialect
        self.path = path
        self.not_found = refusal(NOT_FOUND, self.dialect.not_found)
        self.not_authorized = refusal(FORBIDDEN, self.dialect.not_authorized)
        self._below: IResource | None = None

    def put_below(self, resource: IResource) -> None:
        """Use ``resource`` for the paths below this one without one of their own."""
        self._below = resource

    def getChild(self, path: bytes, request: Request) -> IResource:
        """See `Resource.getChild`."""
        if self._below is None:
            below = NotFoundResource(self.services, self.path)
            # Also for the paths below it: a guest may request very long ones.
            below.put_below(below)
            self._below = below
        return self._below

    def respond(self, request: Request, container: Container) -> AnyResponse:
        """Respond to a request of any method."""
        if request.method not in self.methods:
            return not_allowed(self.methods)
        return self.get(request, container)

    def get(self, request: Request, container: Container) -> AnyResponse:
        """Respond to a request with a supported method."""
        raise NotImplementedError


class NotFoundResource(GuestResource):
    """A path that does not exist, although paths below it may exist."""

    def respond(self, request: Request, container: Container) -> Response:
        """See `GuestResource.respond`."""
        return self.not_found


class ConstantResource(GuestResource):
    """A path with the same response for every container."""

    depends_on_snapshot = True
    response: Response

    def get(self, request: Request, container: Container) -> Response:
        """See `GuestResource.get`."""
        return self.response


def constant(value: object) -> Route:
    """Return a route to a resource that always responds with a JSON value."""

    def route(services: Services, path: PathPattern) -> ConstantResource:
        resource = ConstantResource(services, path)
        resource.response = json_response(value)
        return resource

    return route


class SnapshotResource(GuestResource):
    """A path whose response depends only on the container's snapshot."""

    depends_on_snapshot = True

    def get(self, request: Request, container: Container) -> Response:
        """See `GuestResource.get`."""
        return self.services.cache.get(container, self, lambda: self.render(container))

    def render(self, container: Container) -> Response:
        """Render the response; called once for each snapshot."""
        raise NotImplementedError


class SlicedResource(GuestResource):
    """A path whose response may be long, and is rendered in the container's turns."""

    depends_on_snapshot = True

    def get(self, request: Request, container: Container) -> AnyResponse:
        """See `GuestResource.get`."""
        return self.sliced(container, self, self.slices)

    def sliced(
        self,
        container: Container,
        key: object,
        slices: Callable[[Container], Slices[Response]],
    ) -> AnyResponse:
        """Return a response that ``slices`` renders, once for each snapshot.

        :param key: identifies the response, see `ResponseCache.get`.
        """
        sliced = self.services.cache.get(
            container,
            key,
            lambda: SlicedResponse(
                container.name, slices(container), self._turns_of(container)
            ),
        )
        return sliced.get()

    def _turns_of(self, container: Container) -> Callable[[Callable[[], None]], object]:
        name, turns = container.name, self.services.turns
        return lambda work: turns.take(name, work)

    def slices(self, container: Container) -> Slices[Response]:
        """Render the response in slices."""
        raise NotImplementedError


class NamedResource(GuestResource):
    """A path with a variable: ``/1.0/config/{key}``, ``/1.0/device/{name}``.

    The value of the variable is the name of an item. It may contain a ``/``. A client
    may percent-encode it, or send it unencoded, as lists of paths contain it.
    """

    depends_on_snapshot = True
    isLeaf = True

    def get(self, request: Request, container: Container) -> AnyResponse:
        """See `GuestResource.get`."""
        raw = self.path.variable_in(request.path)
        if not raw:
            return self.not_found
        decoded = self._get_by_bytes(container, unquote_to_bytes(raw))
        if b"%" in raw and _has_code(decoded, NOT_FOUND):
            verbatim = self._get_by_bytes(container, raw)
            return verbatim if _has_code(verbatim, OK) else decoded
        return decoded

    def _get_by_bytes(self, container: Container, name: bytes) -> AnyResponse:
        try:
            return self.get_by_name(container, name.decode("utf-8"))
        except UnicodeDecodeError:
            return self.not_found

    def kept(
        self,
        container: Container,
        name: str,
        size: int,
        render: Callable[[], Response],
    ) -> Response:
        """Return the response for an item, which is usually kept in the cache.

        The response for a short item needs much more memory than the item itself. It is
        not kept if there are many already.

        :param size: the length of the item, in characters.
        """
        limit = MAX_KEPT if size <= MAX_SHORT else None
        return self.services.cache.get(container, (self, name), render, limit)

    def get_by_name(self, container: Container, name: str) -> AnyResponse:
        """Respond to a request for the item ``name``."""
        raise NotImplementedError


def _has_code(response: AnyResponse, code: int) -> bool:
    return isinstance(response, Response) and response.code == code
