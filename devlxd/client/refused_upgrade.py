# -*- test-case-name: tests.client.test_events -*-
"""The response of a server that does not open a websocket."""

from __future__ import annotations

from http.client import HTTPException, HTTPResponse, IncompleteRead
from io import BytesIO
from socket import socket
from typing import cast

from devlxd.client.errors import ProtocolError
from devlxd.client.exchanges import Response
from devlxd.client.questions import MAX_TEXT

#: How much of a body is read, in bytes: as much as an error message has.
_ENOUGH = 4 * MAX_TEXT


class _Received:
    """The data that was received, as a socket for the parser."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> BytesIO:
        """See `socket.socket.makefile`."""
        return BytesIO(self._data)


def response_in(received: bytes, is_all: bool) -> Response | None:
    """Parse the response of a server that does not open a websocket.

    autobahn reads the status of such a response, but not its body.

    :param received: a whole head, and what there is of the body.
    :param is_all: whether no more data comes.
    :return: the response, whose body may be cut; ``None`` if there is too little of it.
    :raises ProtocolError: if it is no response.
    """
    # The standard library, as the parser of Twisted's client is private.
    parser = HTTPResponse(cast(socket, _Received(received)))
    try:
        parser.begin()
        body, is_complete = _body(parser)
    except (HTTPException, ValueError, OSError):
        raise ProtocolError("the answer is not HTTP") from None
    # A response that is no error may never end.
    if not (is_all or is_complete or parser.status < 400):
        return None
    headers = {name.lower(): value for name, value in parser.getheaders()}
    return Response(parser.status, headers, body)


def _body(parser: HTTPResponse) -> tuple[bytes, bool]:
    """Return the body, and whether it is complete, or enough of it."""
    try:
        body = parser.read(_ENOUGH)
    except IncompleteRead as error:
        return error.partial, False
    is_complete = parser.chunked or parser.length == 0
    return body, is_complete or len(body) >= _ENOUGH
