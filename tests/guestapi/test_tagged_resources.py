"""Tests of the entity tags of all resources, in every dialect."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import DIALECTS
from devlxd.model import Container
from devlxd.testing import GuestConnection, RecordingServiceObserver, site_for
from tests.httpserver.test_entity_tags import tag_of

C1 = Container(
    "c1",
    {"user.a": "1", "user.b": "ä", "user.meta-data": "a: b"},
    {"eth0": {"type": "nic", "nictype": "ipvlan"}},
)

PATHS = [
    "/",
    "/1.0",
    "/1.0/config",
    "/1.0/config?recursion=1",
    "/1.0/config/user.a",
    "/1.0/config/user.b",
    "/1.0/meta-data",
]

#: The paths that not every dialect has.
OTHER_PATHS = ["/1.0/devices", "/1.0/device/eth0"]


class TaggedResourceTests(SynchronousTestCase):
    """What a snapshot or the guest state determines has an entity tag."""

    def setUp(self) -> None:
        self.store = MemoryStore([C1])
        self.observer = RecordingServiceObserver()

    def connect(self, dialect: Dialect) -> GuestConnection:
        """Connect a guest."""
        site = site_for(self.store, "c1", dialect, observer=self.observer)
        return GuestConnection(site)

    def get(
        self, guest: GuestConnection, path: str, *lines: str, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; return the code, the headers and the body."""
        request = [f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]
        received = guest.send("\r\n".join(request).encode())
        head, _, body = received.partition(b"\r\n\r\n")
        status, *headers = head.decode().split("\r\n")
        pairs = (line.partition(": ") for line in headers)
        return int(status.split()[1]), {name: text for name, _, text in pairs}, body

    def paths(self, guest: GuestConnection) -> list[str]:
        """Return the paths of the guest's dialect."""
        found = [path for path in OTHER_PATHS if self.get(guest, path)[0] == 200]
        return PATHS + found

    def test_all_paths(self) -> None:
        """Every path has the tag of its body, in every dialect, after a restart."""
        for name, dialect in DIALECTS.items():
            guest, again = self.connect(dialect), self.connect(dialect)
            for path in self.paths(guest):
                code, headers, body = self.get(guest, path)
                self.assertEqual(code, 200, (name, path))
                self.assertEqual(headers["ETag"].encode(), tag_of(body), (name, path))
                head = self.get(guest, path, method="HEAD")
                self.assertEqual(head, (200, headers, b""), (name, path))
                self.assertEqual(self.get(again, path)[1]["ETag"], headers["ETag"])

    def test_not_modified(self) -> None:
        """With its tag, no path is sent again, and the connection persists."""
        for name, dialect in DIALECTS.items():
            guest = self.connect(dialect)
            for path in self.paths(guest):
                tag = self.get(guest, path)[1]["ETag"]
                for method in ("GET", "HEAD"):
                    code, headers, body = self.get(
                        guest, path, f"If-None-Match: {tag}", method=method
                    )
                    self.assertEqual((code, body), (304, b""), (name, path))
                    self.assertEqual(headers["ETag"], tag)
                    self.assertNotIn("Content-Length", headers)
                refused = self.get(guest, path, 'If-Match: "a"')
                self.assertEqual(refused[0], 412, (name, path))
            self.assertFalse(guest.transport.disconnecting)

    def test_changed(self) -> None:
        """A changed value has a new tag; the previous one returns with its value."""
        for dialect in DIALECTS.values():
            guest = self.connect(dialect)
            known = "If-None-Match: " + self.get(guest, "/1.0/config/user.a")[1]["ETag"]
            self.store.put(evolve(C1, config={**C1.config, "user.a": "2"}))
            code, headers, body = self.get(guest, "/1.0/config/user.a", known)
            self.assertEqual((code, body), (200, b"2"))
            self.assertEqual(headers["ETag"].encode(), tag_of(b"2"))
            self.store.put(C1)
            self.assertEqual(self.get(guest, "/1.0/config/user.a", known)[0], 304)

    def test_removed(self) -> None:
        """The response for a removed key is 404, whatever the conditions are."""
        for dialect in DIALECTS.values():
            guest = self.connect(dialect)
            self.store.put(evolve(C1, config={"user.b": "1"}))
            for line in ("If-None-Match: *", 'If-Match: "a"'):
                code, headers, _ = self.get(guest, "/1.0/config/user.a", line)
                self.assertEqual(code, 404)
                self.assertNotIn("ETag", headers)
            self.store.put(C1)

    def test_guest_state(self) -> None:
        """If the guest is ready, the tag of ``/1.0`` changes; PATCH itself has none."""
        for name in ("lxd6", "incus"):
            guest = self.connect(DIALECTS[name])
            known = "If-None-Match: " + self.get(guest, "/1.0")[1]["ETag"]
            self.assertEqual(self.get(guest, "/1.0", known)[0], 304)
            length = 'Content-Length: 17\r\n\r\n{"state":"Ready"}'
            response = guest.send(
                f"PATCH /1.0 HTTP/1.1\r\nHost: x\r\n{length}".encode()
            )
            self.assertTrue(response.startswith(b"HTTP/1.1 200 "), response)
            self.assertNotIn(b"ETag", response)
            self.assertEqual(self.get(guest, "/1.0", known)[0], 200)

    def test_long_list(self) -> None:
        """Long lists have a tag, too, which is known a few turns later."""
        config = {f"user.{n:08}": "x" for n in range(20_000)}
        self.store.put(Container("c1", config))
        for dialect in DIALECTS.values():
            guest = self.connect(dialect)
            received = guest.get("/1.0/config")
            for _ in range(300):
                received += guest.send(b"")
            head, _, body = received.partition(b"\r\n\r\n")
            self.assertIn(b"\r\nETag: " + tag_of(body), head)
            self.assertGreater(len(body), 400_000)
            code, _, body = self.get(guest, "/1.0/config", "If-None-Match: *")
            self.assertEqual((code, body), (304, b""))

    def test_observer(self) -> None:
        """The observer of a service is notified of 304 and 412."""
        guest = self.connect(DIALECTS["lxd"])
        self.get(guest, "/1.0", "If-None-Match: *")
        self.get(guest, "/1.0", 'If-Match: "a"')
        asked = [call for call in self.observer.notifications if call[0] == "asked"]
        expected = [("asked", "c1", "/1.0", code) for code in (304, 412)]
        self.assertEqual(asked, expected)
