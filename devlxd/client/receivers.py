# -*- test-case-name: tests.client.test_guest -*-
"""What receives the responses of the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from devlxd.client.errors import ProtocolError
from devlxd.client.exchanges import Response
from devlxd.client.questions import MAX_BODY


class Receiver(Protocol):
    """Receives a response, piece by piece.

    What either method raises ends the exchange, and closes the connection.
    """

    def begin(
        self, status: int, headers: Mapping[str, str], length: int | None
    ) -> None:
        """Receive the head of the response.

        :param headers: by their names in lower case; of repeated ones the last.
        :param length: the length of the body, in bytes, if it is known.
        """

    def receive(self, data: bytes) -> None:
        """Receive the next piece of the body."""


def check_encoding(headers: Mapping[str, str]) -> None:
    """Check that the body of a response is sent as it is.

    No request allows anything else: a few bytes could decompress to any length.

    :param headers: by their names in lower case.
    :raises ProtocolError: if it is compressed.
    """
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ProtocolError("the server compresses its answer")


class Collector:
    """A receiver that keeps a response of at most `questions.MAX_BODY`."""

    def __init__(self) -> None:
        self._status = 0
        self._headers: Mapping[str, str] = {}
        # Not a list of pieces, each of which may be a single byte.
        self._body = bytearray()

    def begin(
        self, status: int, headers: Mapping[str, str], length: int | None
    ) -> None:
        """See `Receiver.begin`.

        :raises ProtocolError: if the response is too large.
        """
        self._status, self._headers = status, headers
        self._check(length or 0)

    def receive(self, data: bytes) -> None:
        """See `Receiver.receive`.

        :raises ProtocolError: if the response is too large.
        """
        self._check(len(self._body) + len(data))
        self._body += data

    def response(self) -> Response:
        """Return the response."""
        return Response(self._status, self._headers, bytes(self._body))

    def _check(self, length: int) -> None:
        if length > MAX_BODY:
            raise ProtocolError(f"the response is longer than {MAX_BODY} bytes")
