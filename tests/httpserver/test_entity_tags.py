"""Tests of `devlxd.httpserver.entity_tags`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.httpserver.entity_tags import SLICE, EntityTag
from devlxd.httpserver.responses import Response
from devlxd.model import Container
from devlxd.testing import GuestConnection, site_for
from tests.httpserver.test_site import GET, responses


def tag_of(body: bytes) -> bytes:
    """Return the tag of a body, which may be long."""
    tag = EntityTag(body)
    while not tag.advance():
        pass
    assert tag.value is not None
    return tag.value


class EntityTagTests(SynchronousTestCase):
    """The tags of bodies."""

    def setUp(self) -> None:
        self.turns: list[Callable[[], None]] = []

    def end(self) -> int:
        """Run the work of all turns; return their number."""
        for taken in count():
            if not self.turns:
                return taken
            self.turns.pop(0)()
        raise AssertionError

    def test_stable(self) -> None:
        """The tag of a body is the same in every version of devlxd."""
        self.assertEqual(tag_of(b""), b'"cae66941d9efbd404e4d88758ea67670"')

    @given(st.binary(), st.binary())
    def test_equal(self, one: bytes, other: bytes) -> None:
        """Two bodies have the same tag if, and only if, they are equal."""
        self.assertEqual(tag_of(one) == tag_of(other), one == other)

    def test_short(self) -> None:
        """The tag of a body up to one slice is known at once."""
        self.assertIsNotNone(EntityTag(bytes(SLICE)).value)
        self.assertIsNone(EntityTag(bytes(SLICE + 1)).value)

    def test_long(self) -> None:
        """A long body is hashed in slices; a change in any of them changes the tag."""
        body = bytes(SLICE * 3 + 1)
        tag = EntityTag(body)
        known = tag.when_known(self.turns.append)
        self.assertNoResult(known)
        self.assertEqual(self.end(), 4)
        self.successResultOf(known)
        self.assertEqual(tag.value, tag_of(body))
        for place in (0, SLICE, SLICE * 2, SLICE * 3):
            changed = body[:place] + b"x" + body[place + 1 :]
            self.assertNotEqual(tag_of(changed), tag.value)

    def test_together(self) -> None:
        """A body is hashed once, however many requests wait for its tag."""
        tag = EntityTag(bytes(SLICE * 10))
        waiting = [tag.when_known(self.turns.append) for _ in range(5)]
        self.assertLessEqual(self.end(), 10 + len(waiting))
        for known in waiting:
            self.successResultOf(known)

    def test_all_cancelled(self) -> None:
        """If all requests are cancelled, the body is not hashed any further."""
        known = EntityTag(bytes(SLICE * 5)).when_known(self.turns.append)
        known.cancel()
        self.failureResultOf(known, CancelledError)
        self.assertEqual(self.end(), 1)

    def test_cancelled(self) -> None:
        """If one request is cancelled, the others receive the tag."""
        tag = EntityTag(bytes(SLICE * 3))
        cancelled = tag.when_known(self.turns.append)
        other = tag.when_known(self.turns.append)
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.end()
        self.successResultOf(other)


class TaggedResponseTests(SynchronousTestCase):
    """Responses as values, and long ones on a connection."""

    def test_codes(self) -> None:
        """Only responses with the status 200 have a tag."""
        tag = Response(200, (), b"x").etag
        assert tag is not None
        self.assertEqual(tag.value, tag_of(b"x"))
        for code in (201, 204, 304, 404, 500):
            self.assertIsNone(Response(code, (), b"x").etag)

    def test_long_response(self) -> None:
        """A long response is sent with its tag; requests keep their order."""
        value = "x" * (SLICE * 3)
        store = MemoryStore([Container("c1", {"user.big": value, "user.a": "1"})])
        guest = GuestConnection(site_for(store, "c1"))
        received = guest.send(GET.replace(b"user.a", b"user.big") + GET)
        for _ in range(100):
            received += guest.send(b"")
        expected = [(200, value.encode()), (200, b"1")]
        self.assertEqual(responses(received), expected)
        self.assertIn(b"\r\nETag: %b\r\n" % tag_of(value.encode()), received)

    def test_lost(self) -> None:
        """A client may disconnect while a body is hashed."""
        value = "x" * (SLICE * 3)
        site = site_for(MemoryStore([Container("c1", {"user.a": value})]), "c1")
        lost = StringTransport()
        channel = site.buildProtocol(UNIXAddress(""))
        channel.makeConnection(lost)
        channel.dataReceived(GET)
        channel.connectionLost(Failure(ConnectionDone()))
        guest = GuestConnection(site)
        received = guest.send(GET)
        for _ in range(100):
            received += guest.send(b"")
        self.assertEqual(responses(received), [(200, value.encode())])
        self.assertEqual(lost.value(), b"")
