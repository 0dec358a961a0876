"""Tests of `devlxd.guestapi.gate`."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects.apollo import DIALECT as APOLLO
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.model import Caller, Container
from devlxd.testing import GUEST, GuestConnection, MemoryIdentifier, MemoryPeerSource

PATHS = ["/", "/1.0", "/1.0/config/user.secret", "/nope", "/1.0/config/limits.cpu"]


class GateTests(SynchronousTestCase):
    """Callers that may use the API, and callers that are refused."""

    def setUp(self) -> None:
        self.container = Container("c1", {"user.secret": "x"})
        self.store = MemoryStore([self.container])

    def connect_as(
        self, caller: Caller | None, dialect: Dialect = LXD
    ) -> GuestConnection:
        """Connect as ``caller``."""
        callers = {GUEST.pid: caller} if caller else {}
        identifier = MemoryIdentifier(callers)
        site = GuestSites(
            self.store,
            identifier,
            MemoryPeerSource(),
            Clock(),
            wall=lambda: 0,
        ).site(dialect)
        return GuestConnection(site)

    def assert_refused(
        self, caller: Caller | None, code: int, text: str, dialect: Dialect = LXD
    ) -> None:
        """Check that ``caller`` receives the same refusal for every path and method."""
        responses = set()
        for path in PATHS:
            for method in ("GET", "POST", "BREW"):
                guest = self.connect_as(caller, dialect)
                responses.add(
                    guest.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                )
        (response,) = responses
        self.assertEqual(response[9:12], str(code).encode())
        self.assertTrue(response.endswith(f"\r\n\r\n{text}\n".encode()), response)

    def test_root(self) -> None:
        """The root of the container is allowed."""
        guest = self.connect_as(Caller("c1", uid=0))
        self.assertEqual(guest.get("/1.0/config/user.secret")[9:12], b"200")

    def test_not_root(self) -> None:
        """Other users are refused at every path, whether or not it exists."""
        self.assert_refused(
            Caller("c1", uid=1000), 401, "Access denied for non-root user"
        )

    def test_other_switch(self) -> None:
        """A configured switch replaces that of the dialect."""
        dialect = evolve(LXD, switch="user.guest-api")
        caller = Caller("c1", uid=1000)
        config = {"security.devlxd": "false", "security.devlxd.uids": "1000"}
        self.store.put(evolve(self.container, config=config))
        self.assertEqual(self.connect_as(caller, dialect).get("/")[9:12], b"200")
        config["user.guest-api"] = "no"
        self.store.put(evolve(self.container, config=config))
        self.assert_refused(caller, 403, "not authorized", dialect)

    def test_uids(self) -> None:
        """``security.devlxd.uids`` allows other users, by uid in the container."""
        for uids, uid, code in (
            ("0,1000", 1000, b"200"),
            (" 5 , 1000 ", 1000, b"200"),
            ("*", 1000, b"200"),
            ("*", None, b"200"),
            ("1000", 0, b"200"),
            ("1000", 1001, b"401"),
            ("1000", None, b"401"),
            ("None", None, b"401"),
            ("", 1000, b"401"),
            ("01000", 1000, b"401"),
            ("1000-1002", 1001, b"401"),
        ):
            for dialect in (LXD, APOLLO):
                config = {f"{dialect.permissions}.uids": uids}
                self.store.put(evolve(self.container, config=config))
                guest = self.connect_as(Caller("c1", uid), dialect)
                self.assertEqual(guest.get("/1.0")[9:12], code, (uids, uid))

    def test_unmapped(self) -> None:
        """A uid of the host without a uid inside is not root."""
        self.assert_refused(
            Caller("c1", uid=None), 401, "Access denied for non-root user"
        )

    def test_unidentified(self) -> None:
        """A caller that could not be identified is refused at every path."""
        self.assert_refused(None, 500, "not in a container")

    def test_unknown_container(self) -> None:
        """A caller whose container is not in the store is refused at every path."""
        self.assert_refused(Caller("c2", uid=0), 500, "not in a container")

    def test_unidentified_is_disconnected(self) -> None:
        """The connection of a caller that could not be identified is closed."""
        guest = self.connect_as(None)
        self.assertIn(b"\r\nConnection: close\r\n", guest.get("/"))
        self.assertTrue(guest.transport.disconnecting)

    def test_removed_container(self) -> None:
        """A caller whose container is removed from the store is refused."""
        guest = self.connect_as(Caller("c1", uid=0))
        guest.get("/1.0")
        self.store.remove("c1")
        self.assertEqual(guest.get("/1.0")[9:12], b"500")

    def test_switch(self) -> None:
        """A container whose API is switched off is refused at every path."""
        caller = Caller("c1", uid=0)
        for no in ("false", "FALSE", "0", "no", "Off"):
            for dialect in (LXD, APOLLO):
                config = {**self.container.config, dialect.switch: no}
                self.store.put(evolve(self.container, config=config))
                self.assert_refused(caller, 403, "not authorized", dialect)

    def test_switch_of_another_dialect(self) -> None:
        """Each dialect has its own switch."""
        config = {**self.container.config, "security.devlxd": "false"}
        self.store.put(evolve(self.container, config=config))
        guest = self.connect_as(Caller("c1", uid=0), APOLLO)
        self.assertEqual(guest.get("/1.0")[9:12], b"200")

    @given(st.text().filter(lambda t: t.lower() not in ("false", "0", "no", "off")))
    def test_not_switched_off(self, value: str) -> None:
        """Only the values false, 0, no and off switch the API off."""
        config = {"security.devlxd": value}
        self.store.put(evolve(self.container, config=config))
        guest = self.connect_as(Caller("c1", uid=0))
        self.assertEqual(guest.get("/1.0")[9:12], b"200")

    def test_live_switch(self) -> None:
        """The switch also affects open connections."""
        guest = self.connect_as(Caller("c1", uid=0))
        codes = []
        for value in ("true", "false", ""):
            config = {"security.devlxd": value}
            self.store.put(evolve(self.container, config=config))
            codes.append(guest.get("/1.0")[9:12])
        self.assertEqual(codes, [b"200", b"403", b"200"])
