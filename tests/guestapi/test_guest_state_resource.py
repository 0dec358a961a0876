"""Tests of ``/1.0`` with the guest state."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.dialects.incus import DIALECT as INCUS
from devlxd.guestapi.dialects.lxd6 import DIALECT as LXD6
from devlxd.model import Container
from devlxd.testing import GuestConnection, site_for

#: Bodies that set the state, and bodies that are refused, with the error messages.
ACCEPTED = [
    '{"state":"Ready"}',
    ' {"state": "Ready"}\n',
    '{"x":{"y":[1]},"state":"Ready"}',
    '{"state":"Started","state":"Ready"}',
]
REFUSED = [
    ('{"state":"x"}', 'Invalid state "x"'),
    ('{"state":"ready"}', 'Invalid state "ready"'),
    ('{"state":"a\\"b\\n"}', 'Invalid state "a\\"b\\n"'),
    ('{"state":"é"}', 'Invalid state "é"'),
    ('{"state":"\\ud800"}', 'Invalid state "?"'),
    ("{}", 'Invalid state ""'),
    ('{"state":null}', 'Invalid state ""'),
    ('{"STATE":"Ready"}', 'Invalid state ""'),
    ('{"state":1}', "Invalid request body: state is not a string"),
    ('{"state":["Ready"]}', "Invalid request body: state is not a string"),
    ("", "Invalid request body: not JSON"),
    ('{"state":', "Invalid request body: not JSON"),
    ('{"state":"Ready"} {}', "Invalid request body: not JSON"),
    ('{"state":"Ready"}x', "Invalid request body: not JSON"),
    ("state=Ready", "Invalid request body: not JSON"),
    ("[" * 10_000, "Invalid request body: not JSON"),
    ("1" * 10_000, "Invalid request body: not JSON"),
    ("[]", "Invalid request body: not an object"),
    ('"Ready"', "Invalid request body: not an object"),
    ("null", "Invalid request body: not an object"),
]


class GuestStateResourceTests(SynchronousTestCase):
    """``/1.0`` in the dialects that have a guest state."""

    def setUp(self) -> None:
        store = MemoryStore([Container("c1")])
        self.guest = GuestConnection(site_for(store, "c1", LXD6))

    def ask(self, method: str, body: bytes = b"", headers: str = "") -> tuple[int, str]:
        """Send a request for ``/1.0``; return the status and the body."""
        head = f"{method} /1.0 HTTP/1.1\r\nHost: x\r\n{headers}"
        response = self.guest.send(
            f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        )
        head, _, rest = response.decode().partition("\r\n\r\n")
        return int(head.split()[1]), rest

    def state(self) -> str:
        """Return the guest state."""
        code, body = self.ask("GET")
        self.assertEqual(code, 200)
        state: str = json.loads(body)["state"]
        return state

    def test_accepted(self) -> None:
        """The guest becomes ready, and started again."""
        for body in ACCEPTED:
            self.assertEqual(self.state(), "Started")
            self.assertEqual(self.ask("PATCH", body.encode()), (200, ""), body)
            self.assertEqual(self.state(), "Ready")
            self.assertEqual(self.ask("PATCH", b'{"state":"Started"}'), (200, ""))

    def test_refused(self) -> None:
        """Any other body is a 400 with one line, and changes nothing."""
        self.ask("PATCH", b'{"state":"Ready"}')
        for body, message in REFUSED:
            response = self.ask("PATCH", body.encode())
            self.assertEqual(response, (400, message + "\n"), body)
        self.assertEqual(self.ask("PATCH", b'{"state":"\xff"}')[0], 400)
        self.assertEqual(
            self.ask("PATCH", '{"state":"Ready"}'.encode("utf-16"))[0], 400
        )
        self.assertEqual(self.state(), "Ready")

    def test_long_state(self) -> None:
        """An error message contains at most 100 characters of what was sent."""
        _, text = self.ask("PATCH", b'{"state":"%b"}' % (b"x" * 10_000))
        self.assertEqual(text, 'Invalid state "' + "x" * 100 + '"\n')

    @given(st.binary(max_size=200))
    def test_any_body(self, body: bytes) -> None:
        """No body causes an error in devlxd."""
        self.assertIn(self.ask("PATCH", body)[0], (200, 400))

    def test_content_type(self) -> None:
        """The content type does not matter; that of curl is the one of a form."""
        for kind in ("application/x-www-form-urlencoded", "text/plain", "x", "a/b; c"):
            body = b'{"state":"Ready"}'
            code, _ = self.ask("PATCH", body, f"Content-Type: {kind}\r\n")
            self.assertEqual(code, 200, kind)

    def test_conditions(self) -> None:
        """A guest can set the state only if ``/1.0`` has not changed meanwhile."""
        head = self.guest.get("/1.0").partition(b"\r\n\r\n")[0].decode()
        (tag,) = [line[6:] for line in head.split("\r\n") if line.startswith("ETag: ")]
        ready = b'{"state":"Ready"}'
        for header in (
            'If-Match: "other"',
            f"If-None-Match: {tag}",
            "If-None-Match: *",
        ):
            response = self.ask("PATCH", ready, f"{header}\r\n")
            self.assertEqual(response, (412, "precondition failed\n"), header)
        self.assertEqual(self.state(), "Started")
        self.assertEqual(self.ask("PATCH", ready, f"If-Match: {tag}\r\n")[0], 200)
        self.assertEqual(self.ask("PATCH", ready, f"If-Match: {tag}\r\n")[0], 412)
        self.assertEqual(self.state(), "Ready")

    def test_methods(self) -> None:
        """``Allow`` lists the methods; ``HEAD`` has no body."""
        response = self.guest.send(b"PUT /1.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"Allow: GET, HEAD, PATCH\r\n", response)
        self.assertEqual(self.ask("HEAD"), (200, ""))

    def test_facts(self) -> None:
        """The other fields are those of the dialect, and where the container runs."""
        store = MemoryStore([Container("c1")])
        common = {
            "api_version": "1.0",
            "instance_type": "container",
            "location": "rack-7",
            "state": "Started",
        }
        more = {"auth": "untrusted", "supported_storage_drivers": []}
        for dialect, expected in ((INCUS, common), (LXD6, common | more)):
            site = site_for(store, "c1", dialect, location="rack-7")
            response = GuestConnection(site).get("/1.0")
            self.assertEqual(json.loads(response.partition(b"\r\n\r\n")[2]), expected)
