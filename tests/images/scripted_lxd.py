"""An LXD whose responses are written by the test, byte by byte."""

from __future__ import annotations

import json
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd.images.upstream_image_store import LXDImageStore
from devlxd.interfaces import ImageError, IOpenImage
from devlxd.testing import MemoryDevLXDReactor
from tests.images.fake_lxd import UPLOADED_AT

T = TypeVar("T")

FINGERPRINT = "0123456789abcdef" * 4

RECORD: dict[str, object] = {
    "fingerprint": FINGERPRINT,
    "public": True,
    "cached": False,
    "size": 8,
    "uploaded_at": UPLOADED_AT,
}


def response(code: int, *headers: str, body: bytes = b"") -> bytes:
    """Return a response.

    :param headers: the lines of its header; default: only ``Content-Length``.
    """
    if not headers:
        headers = (f"Content-Length: {len(body)}",)
    lines = [f"HTTP/1.1 {code} Whatever", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def record(**changes: object) -> bytes:
    """Return a response with the record of the image, changed by ``changes``."""
    return response(200, body=json.dumps({"metadata": RECORD | changes}).encode())


def unified(content_range: str, data: bytes, length: int | None = None) -> bytes:
    """Return a response with a range of a unified image.

    :param length: the ``Content-Length``; default: that of the data.
    """
    return response(
        206,
        "Content-Type: application/octet-stream",
        f"Content-Range: bytes {content_range}",
        f"Content-Length: {len(data) if length is None else length}",
        body=data,
    )


def part(name: str, data: bytes) -> bytes:
    """Return one part of a multipart body, with the boundary before it."""
    disposition = f'form-data; name="{name}"; filename="x"'
    return f"--b\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data


def split(body: bytes) -> bytes:
    """Return a response that exports a split image, with a multipart body."""
    content_type = "multipart/form-data; boundary=b"
    length = f"Content-Length: {len(body)}"
    return response(200, f"Content-Type: {content_type}", length, body=body)


#: The multipart body of a split image of 8 bytes.
SPLIT = part("metadata", b"the\r\n") + part("rootfs", b"image\r\n") + b"--b--\r\n"


class ScriptedLXDTestCase(SynchronousTestCase):
    """A base class that sends scripted responses to an `LXDImageStore`."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.store = LXDImageStore("/lxd/sock", self.reactor)
        self.accepted = 0

    def accept(self) -> StringTransport:
        """Accept the next connection; return its transport."""
        address, factory, *_ = self.reactor.unixClients[self.accepted]
        self.accepted += 1
        self.assertEqual(address, "/lxd/sock")
        transport = StringTransport()
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(transport)
        self.transport = transport
        return transport

    def send_responses(self, *responses: bytes) -> None:
        """Accept a connection for each response, and send the response."""
        for content in responses:
            self.accept()
            self.protocol.dataReceived(content)

    def close_connection(self) -> None:
        """Close the last connection."""
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def assert_fails(self, deferred: Deferred[T], reason: str) -> None:
        """Check for an `ImageError`, and that no timeout is pending."""
        error = self.failureResultOf(deferred, ImageError).value
        self.assertIn(reason, str(error))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def opened(self, *responses: bytes) -> IOpenImage:
        """Open the image; LXD sends one response on each connection."""
        opening = self.store.open(FINGERPRINT)
        self.send_responses(*responses)
        opened = self.successResultOf(opening)
        assert opened is not None
        return opened
