# -*- test-case-name: tests.guestapi.test_resources -*-
"""What every path of the API has: an answer for each method, and no HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from twisted.web import http
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from devlxd.guestapi.dialects import Dialect
from devlxd.guestapi.responses import Response, ResponseCache, not_allowed, refusal

if TYPE_CHECKING:
    from devlxd.httpserver.request import GuestRequest


class Says(Resource):
    """Says the same to everybody, whatever the method."""

    isLeaf = True

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self._answer = answer

    def render(self, request: GuestRequest) -> int:
        """Send the answer."""
        request.send(self._answer)
        return NOT_DONE_YET


class GuestResource(Resource):
    """A path of the API.

    :cvar methods: the methods that it has.
    """

    methods: ClassVar[tuple[bytes, ...]] = (b"GET", b"HEAD")

    def __init__(self, dialect: Dialect, cache: ResponseCache) -> None:
        super().__init__()
        self.dialect = dialect
        self.cache = cache
        self.not_found = refusal(http.NOT_FOUND, dialect.not_found)
        self._below: IResource = Says(self.not_found)

    def put_all_below(self, resource: IResource) -> None:
        """Let ``resource`` answer for whatever is asked for below this path."""
        self._below = resource

    def getChild(self, path: bytes, request: GuestRequest) -> IResource:
        """Find what is below this path and has no place of its own."""
        return self._below

    def render(self, request: GuestRequest) -> int:
        """Send the answer, or say which methods there are."""
        if request.method in self.methods:
            self.respond(request)
        else:
            request.send(not_allowed(self.methods))
        return NOT_DONE_YET

    def respond(self, request: GuestRequest) -> None:
        """Send the answer to a request that has one of the methods."""
        request.send(self.answer(request))

    def answer(self, request: GuestRequest) -> Response:
        """Answer a request that has one of the methods."""
        raise NotImplementedError


class Missing(GuestResource):
    """A path that is not there itself, though there are paths below it."""

    def render(self, request: GuestRequest) -> int:
        """Say that it is not there."""
        request.send(self.not_found)
        return NOT_DONE_YET
