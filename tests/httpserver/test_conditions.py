"""Tests of `devlxd.httpserver.conditions`: entity tags of whole responses.

The conditions of downloads are tested in `tests.guestapi.test_image_export`.
"""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.httpserver.conditions import MAX_TAGS
from devlxd.httpserver.registry import ConnectionRegistry
from devlxd.httpserver.responses import Response, refusal
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import IConnection
from devlxd.testing import GuestConnection, MemoryDevLXDReactor
from devlxd.turns import Turns
from tests.httpserver.test_entity_tags import tag_of
from tests.httpserver.test_other_handlers import OneResponseHandler, UserAdmission

BODY = b"hello"

ETAG = tag_of(BODY)

#: The characters of an entity tag between its quotes (RFC 9110, 8.8.3).
OPAQUE = st.text(
    [chr(n) for n in (0x21, *range(0x23, 0x7F), *range(0x80, 0x100))], max_size=12
).map(lambda text: text.encode("latin-1"))

#: Entity tags as pairs: whether the tag is weak, and what is between the quotes.
TAGS = st.lists(
    st.tuples(st.booleans(), OPAQUE | st.just(ETAG.strip(b'"'))), max_size=8
)

#: What may be around the elements of a list (RFC 9110, 5.6.1).
SPACES = st.sampled_from([b"", b" ", b"\t", b"  "])


def tags_in(value: bytes) -> list[tuple[bool, bytes]]:
    """Parse a list of entity tags, character by character (RFC 9110, 5.6.1, 8.8.3)."""
    tags, rest = [], value
    while rest := rest.lstrip(b" \t,"):
        is_weak = rest.startswith(b"W/")
        rest = rest.removeprefix(b"W/")
        assert rest.startswith(b'"')
        opaque, quote, rest = rest[1:].partition(b'"')
        assert quote
        tags.append((is_weak, opaque))
    return tags


class ConditionsTests(SynchronousTestCase):
    """``If-None-Match`` and ``If-Match`` on whole responses."""

    def setUp(self) -> None:
        self.handler = OneResponseHandler()
        self.handler.response = Response(200, ((b"X-User", b"alice"),), BODY)
        reactor = MemoryDevLXDReactor()
        registry: ConnectionRegistry[IConnection] = ConnectionRegistry(
            Turns(reactor), reactor, max_connections=lambda: 10
        )
        self.site = DevLXDSite(self.handler, UserAdmission(), reactor, registry)
        self.client = GuestConnection(self.site)

    def get(self, *lines: bytes, method: bytes = b"GET") -> tuple[bytes, bytes]:
        """Send a request with these header lines; return head and body."""
        request = (method + b" /x HTTP/1.1", b"Host: x", *lines, b"", b"")
        received = self.client.send(b"\r\n".join(request))
        head, _, body = received.partition(b"\r\n\r\n")
        return head, body

    def code(self, *lines: bytes, method: bytes = b"GET") -> int:
        """Return the status code of the response to a request."""
        return int(self.get(*lines, method=method)[0].split()[1])

    def test_tag(self) -> None:
        """The responses to GET and HEAD have the strong tag of the body."""
        for method in (b"GET", b"HEAD"):
            head, body = self.get(method=method)
            self.assertIn(b"\r\nETag: " + ETAG, head)
            self.assertEqual(body, BODY if method == b"GET" else b"")

    def test_not_modified(self) -> None:
        """A 304 has the tag and no body; the connection persists."""
        for method in (b"GET", b"HEAD"):
            head, body = self.get(b"If-None-Match: " + ETAG, method=method)
            status, *lines = head.split(b"\r\n")
            self.assertEqual(status, b"HTTP/1.1 304 Not Modified")
            names = {line.partition(b":")[0] for line in lines}
            self.assertEqual(names, {b"ETag", b"Date"})
            self.assertIn(b"ETag: " + ETAG, lines)
            self.assertEqual(body, b"")
            self.assertEqual(self.get()[1], BODY)
        self.assertFalse(self.client.transport.disconnecting)

    def test_pipelined(self) -> None:
        """After a 304, the response to the next pipelined request begins at once."""
        head = b"GET /x HTTP/1.1\r\nHost: x\r\n"
        received = self.client.send(head + b"If-None-Match: *\r\n\r\n" + head + b"\r\n")
        received += self.client.send(b"")
        first, second, body = received.split(b"\r\n\r\n")
        self.assertTrue(first.startswith(b"HTTP/1.1 304 "), first)
        self.assertTrue(second.startswith(b"HTTP/1.1 200 "), second)
        self.assertEqual(body, BODY)

    def test_closes(self) -> None:
        """A response that closes the connection closes it as a 304, too."""
        self.handler.response = Response(200, (), BODY, closes=True)
        head, _ = self.get(b"If-None-Match: *")
        self.assertTrue(head.startswith(b"HTTP/1.1 304 "), head)
        self.assertIn(b"\r\nConnection: close", head)
        self.assertTrue(self.client.transport.disconnecting)

    def test_if_none_match(self) -> None:
        """``If-None-Match`` is a list of tags, weak or strong, or ``*`` alone."""
        for value, code in (
            (ETAG, 304),
            (b"W/" + ETAG, 304),
            (b'"a", ' + ETAG, 304),
            (b'"a",W/"b",' + ETAG + b',"c"', 304),
            (b", ,\t" + ETAG + b" ,", 304),
            (b'"a,b", ' + ETAG, 304),
            (b"*", 304),
            (b" * ", 304),
            (b'"a"', 200),
            (b'"*"', 200),
            (b"", 200),
            (ETAG.strip(b'"'), 200),
            (ETAG.upper(), 200),
        ):
            self.assertEqual(self.code(b"If-None-Match: " + value), code, value)
        several = (b'If-None-Match: "a"', b"If-None-Match: " + ETAG)
        self.assertEqual(self.code(*several), 304)

    def test_malformed(self) -> None:
        """Malformed tags do not match."""
        for value in (
            b"w/" + ETAG,
            b"W/ " + ETAG,
            b"'" + ETAG.strip(b'"') + b"'",
            ETAG[:-1],
            ETAG[1:],
            ETAG + b"x",
            b"*, *",
            b'"a*',
            b'*, "a"',
        ):
            self.assertEqual(self.code(b"If-None-Match: " + value), 200, value)
            self.assertEqual(self.code(b"If-Match: " + value), 412, value)

    def test_cut_list(self) -> None:
        """An asterisk in a tag that is cut at the limit does not match everything."""
        value = b'"' + b"x" * (MAX_TAGS - 10) + b'", "*' + b"*" * 40 + b'"'
        self.assertEqual(self.code(b"If-None-Match: " + value), 200)

    def test_if_match(self) -> None:
        """``If-Match`` compares strongly; the response to another tag is 412."""
        for value, code in (
            (ETAG, 200),
            (b'"a", ' + ETAG, 200),
            (b"*", 200),
            (b"W/" + ETAG, 412),
            (b'"a"', 412),
            (b"", 412),
        ):
            self.assertEqual(self.code(b"If-Match: " + value), code, value)
        head, body = self.get(b'If-Match: "a"')
        self.assertEqual(body, b"precondition failed\n")
        self.assertNotIn(b"ETag", head)
        self.assertEqual(self.get()[1], BODY)

    def test_precedence(self) -> None:
        """``If-Match`` is evaluated before ``If-None-Match`` (RFC 9110, 13.2.2)."""
        same = b"If-None-Match: " + ETAG
        self.assertEqual(self.code(b'If-Match: "a"', same), 412)
        self.assertEqual(self.code(b"If-Match: " + ETAG, same), 304)

    def test_dates(self) -> None:
        """Conditions with dates are ignored: the responses have no date."""
        for date in (
            b"Thu, 01 Jan 1970 00:00:00 GMT",
            b"Fri, 01 Jan 2100 00:00:00 GMT",
        ):
            since, unmodified = b"If-Modified-Since: ", b"If-Unmodified-Since: "
            self.assertEqual(self.code(since + date), 200)
            self.assertEqual(self.code(unmodified + date), 200)
            other = b'If-None-Match: "a"'
            self.assertEqual(self.code(other, since + date), 200)
            same = b"If-None-Match: " + ETAG
            self.assertEqual(self.code(same, since + date), 304)

    def test_other_responses(self) -> None:
        """Only a 200 has a tag, and conditions apply to nothing else."""
        for response in (refusal(404, "x"), refusal(500, "x"), Response(201, (), b"")):
            self.handler.response = response
            for line in (b"If-None-Match: *", b'If-Match: "a"'):
                head, _ = self.get(line)
                self.assertEqual(int(head.split()[1]), response.code)
                self.assertNotIn(b"ETag", head)

    def test_other_methods(self) -> None:
        """The responses to methods that change something have no tag."""
        for line in (b"X: y", b"If-None-Match: *"):
            head, body = self.get(line, method=b"PATCH")
            self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
            self.assertNotIn(b"ETag", head)
            self.assertEqual(body, BODY)

    def test_notified(self) -> None:
        """The handler is notified of a 304, and of a 412."""
        self.get(b"If-None-Match: *")
        self.get(b'If-Match: "a"')
        codes = [call[2] for call in self.handler.calls if len(call) == 3]
        self.assertEqual(codes, [304, 412])

    @given(TAGS, SPACES, SPACES, st.booleans())
    def test_lists(
        self,
        tags: list[tuple[bool, bytes]],
        before: bytes,
        after: bytes,
        has_empty: bool,
    ) -> None:
        """Any list is read as RFC 9110 defines it."""
        comma = before + (b",," if has_empty else b",") + after
        value = comma.join(
            (b"W/" if is_weak else b"") + b'"' + opaque + b'"'
            for is_weak, opaque in tags
        )
        self.assertEqual(tags_in(value), tags)
        opaque = ETAG.strip(b'"')
        is_listed = opaque in [tag for _, tag in tags]
        code = self.code(b"If-None-Match: " + value)
        self.assertEqual(code, 304 if is_listed else 200, value)
        is_strong = (False, opaque) in tags
        code = self.code(b"If-Match: " + value)
        self.assertEqual(code, 200 if is_strong else 412, value)

    @given(st.binary(max_size=60) | st.text('W/", *\t' + "ab", max_size=60))
    @example(b'"' * 60)
    @example(b', "' * 20)
    def test_any_value(self, value: bytes | str) -> None:
        """No value of these headers causes an error."""
        data = value if isinstance(value, bytes) else value.encode()
        for name in (b"If-Match: ", b"If-None-Match: "):
            client = GuestConnection(self.site)
            head = b"GET /x HTTP/1.1\r\nHost: x\r\n" + name + data
            response = client.send(head + b"\r\n\r\n")
            codes = (b"200", b"304", b"400", b"412", b"")
            self.assertIn(response[9:12], codes, data)
            client.disconnect()
