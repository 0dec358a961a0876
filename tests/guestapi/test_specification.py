"""Tests of the published examples of both dialects, byte by byte, and edge cases.

The examples of ``lxd`` are those of LXD's dev-lxd document.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects.apollo import DIALECT as APOLLO
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.model import Container
from devlxd.testing import GuestConnection, site_for

IPVLAN = {
    "type": "nic",
    "nictype": "ipvlan",
    "ipv4.address": "80.80.90.60",
    "ipv6.address": "2a02:2200:1:2eee:80:80:90:60",
}

ABC = Container(
    "abc",
    {
        "user.a": "blah",
        "user.empty": "",
        "limits.cpu": "2",
        "cloud-init.user-data": "#cloud-config",
    },
    {"eth0": IPVLAN, "eth1": {"type": "nic", "nictype": "bridged"}, "root": {}},
)

META_DATA = b"#cloud-config\ninstance-id: abc\nlocal-hostname: abc\n"

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"

BOTH = [
    # as published, in that order
    ("GET /", 200, JSON, b'["/1.0"]\n'),
    ("GET /1.0", 200, JSON, b'{"api_version":"1.0"}\n'),
    ("GET /1.0/config", 200, JSON, b'["/1.0/config/user.a"]\n'),
    ("GET /1.0/config/user.a", 200, TEXT, b"blah"),
    ("GET /1.0/meta-data", 200, TEXT, META_DATA),
    # not specified
    ("HEAD /1.0/config/user.a", 200, TEXT, b""),
    ("GET /1.0/config?recursion=1", 200, JSON, b'{"user.a":"blah"}\n'),
    ("GET /1.0/config?recursion=2", 200, JSON, b'["/1.0/config/user.a"]\n'),
    ("PATCH /1.0", 405, TEXT, b"method not allowed\n"),
    ("GET /1.0/config/user.b", 404, TEXT, b"not found\n"),
    ("GET /1.0/config/user.empty", 404, TEXT, b"not found\n"),
    ("GET /1.0/config/limits.cpu", 403, TEXT, b"not authorized\n"),
    ("GET /1.0/config/limits.memory", 403, TEXT, b"not authorized\n"),
    ("GET /1.0/config/cloud-init.user-data", 403, TEXT, b"not authorized\n"),
    ("GET /1.0/config/user", 403, TEXT, b"not authorized\n"),
    ("GET /1.0/config/", 404, TEXT, b"not found\n"),
    ("GET /1.0/", 404, TEXT, b"not found\n"),
    ("GET /1.0/nope", 404, TEXT, b"not found\n"),
    ("GET /2.0", 404, TEXT, b"not found\n"),
    ("GET //1.0", 404, TEXT, b"not found\n"),
    ("GET /1.0/../1.0", 404, TEXT, b"not found\n"),
    ("GET /1.0/meta-data/x", 404, TEXT, b"not found\n"),
    ("DELETE /1.0/nope", 404, TEXT, b"not found\n"),
    ("POST /1.0", 405, TEXT, b"method not allowed\n"),
    ("DELETE /1.0/config/user.a", 405, TEXT, b"method not allowed\n"),
    ("OPTIONS /", 405, TEXT, b"method not allowed\n"),
    ("OPTIONS *", 400, TEXT, b"bad request\n"),
    ("GET http://lxd/1.0", 200, JSON, b'{"api_version":"1.0"}\n'),
    ("GET http://lxd", 200, JSON, b'["/1.0"]\n'),
    ("GET HTTP://lxd?a=/1.0", 200, JSON, b'["/1.0"]\n'),
    ("GET /1.0?type=x&y", 200, JSON, b'{"api_version":"1.0"}\n'),
]

LXD_ONLY = [
    ("GET /1.0/devices", 200, JSON, b'["/1.0/device/eth0"]\n'),
    (
        "GET /1.0/device/eth0",
        200,
        JSON,
        b'{"ipv4.address":"80.80.90.60",'
        b'"ipv6.address":"2a02:2200:1:2eee:80:80:90:60",'
        b'"nictype":"ipvlan","type":"nic"}\n',
    ),
    ("GET /1.0/device/eth1", 404, TEXT, b"not found\n"),
    ("GET /1.0/device/eth9", 404, TEXT, b"not found\n"),
    ("GET /1.0/device/", 404, TEXT, b"not found\n"),
    ("GET /1.0/device", 404, TEXT, b"not found\n"),
    ("POST /1.0/device", 404, TEXT, b"not found\n"),
]

NOT_IN_APOLLO = [
    ("GET /1.0/devices", 404, TEXT, b"not found\n"),
    ("GET /1.0/device/eth0", 404, TEXT, b"not found\n"),
    ("GET /1.0/events", 404, TEXT, b"not found\n"),
    ("GET /1.0/images/" + "0" * 64 + "/export", 404, TEXT, b"not found\n"),
]


class SpecificationTests(SynchronousTestCase):
    """Requests and their responses."""

    def check(
        self, dialect: Dialect, rows: list[tuple[str, int, bytes, bytes]]
    ) -> None:
        """Check the response to each row's request, if possible on one connection."""
        guest = GuestConnection(site_for(MemoryStore([ABC]), "abc", dialect))
        for request, code, content_type, body in rows:
            response = guest.send(f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head, _, got = response.partition(b"\r\n\r\n")
            status, *headers = head.split(b"\r\n")
            self.assertEqual(status.split()[1], b"%d" % code, request)
            self.assertIn(b"Content-Type: " + content_type, headers, request)
            self.assertEqual(got, body, request)
            nosniff = b"X-Content-Type-Options: nosniff" in headers
            self.assertEqual(nosniff, code >= 400, request)
            allow = b"Allow: GET, HEAD" in headers
            self.assertEqual(allow, code == 405, request)
            if b"Connection: close" in headers:
                guest = GuestConnection(site_for(MemoryStore([ABC]), "abc", dialect))

    def test_lxd(self) -> None:
        """All paths of ``lxd`` except events and images respond as published."""
        self.check(LXD, BOTH + LXD_ONLY)

    def test_apollo(self) -> None:
        """All paths of ``apollo`` respond as published; it has no others."""
        self.check(APOLLO, BOTH + NOT_IN_APOLLO)

    def test_headers(self) -> None:
        """The responses to GET and HEAD have exactly the expected headers."""
        guest = GuestConnection(site_for(MemoryStore([ABC]), "abc"))
        expected = {b"Content-Type", b"Content-Length", b"Date", b"ETag"}
        for method in ("GET", "HEAD"):
            response = guest.send(f"{method} /1.0 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = response.partition(b"\r\n\r\n")[0]
            headers = dict(line.split(b": ") for line in head.split(b"\r\n")[1:])
            self.assertEqual(set(headers), expected)
            self.assertEqual(headers[b"Content-Length"], b"22")
