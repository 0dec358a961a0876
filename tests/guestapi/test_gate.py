"""Tests of `devlxd.guestapi.gate`."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory import MemoryStore
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects.apollo import DIALECT as APOLLO
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.model import Caller, Container
from devlxd.service import GuestSites
from devlxd.testing import GUEST, GuestConnection, MemoryIdentifier, MemoryPeerSource

PATHS = ["/", "/1.0", "/1.0/config/user.secret", "/nope", "/1.0/config/limits.cpu"]


class GateTests(SynchronousTestCase):
    """Who may ask."""

    def setUp(self) -> None:
        self.container = Container("c1", {"user.secret": "x"})
        self.store = MemoryStore([self.container])

    def guest(self, caller: Caller | None, dialect: Dialect = LXD) -> GuestConnection:
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
        """Check that ``caller`` gets one answer, whatever it asks and how."""
        answers = set()
        for path in PATHS:
            for method in ("GET", "POST", "BREW"):
                guest = self.guest(caller, dialect)
                answers.add(
                    guest.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                )
        (answer,) = answers
        self.assertEqual(answer[9:12], str(code).encode())
        self.assertTrue(answer.endswith(f"\r\n\r\n{text}\n".encode()), answer)

    def test_root(self) -> None:
        """The container's root may ask."""
        guest = self.guest(Caller("c1", uid=0))
        self.assertEqual(guest.get("/1.0/config/user.secret")[9:12], b"200")

    def test_not_root(self) -> None:
        """Nobody else in the container may, and does not see which paths exist."""
        self.assert_refused(
            Caller("c1", uid=1000), 401, "Access denied for non-root user"
        )

    def test_other_switch(self) -> None:
        """Where another key is the switch, it is the only one."""
        dialect = evolve(LXD, switch="user.guest-api")
        caller = Caller("c1", uid=1000)
        config = {"security.devlxd": "false", "security.devlxd.uids": "1000"}
        self.store.put(evolve(self.container, config=config))
        self.assertEqual(self.guest(caller, dialect).get("/")[9:12], b"200")
        config["user.guest-api"] = "no"
        self.store.put(evolve(self.container, config=config))
        self.assert_refused(caller, 403, "not authorized", dialect)

    def test_uids(self) -> None:
        """``security.devlxd.uids`` lets others ask, by their uid inside."""
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
                guest = self.guest(Caller("c1", uid), dialect)
                self.assertEqual(guest.get("/1.0")[9:12], code, (uids, uid))

    def test_unmapped(self) -> None:
        """A user of the host whom the container does not have is not its root."""
        self.assert_refused(
            Caller("c1", uid=None), 401, "Access denied for non-root user"
        )

    def test_nobody(self) -> None:
        """A caller that could not be placed learns nothing."""
        self.assert_refused(None, 500, "not in a container")

    def test_unknown_container(self) -> None:
        """A container that the store does not know learns as much."""
        self.assert_refused(Caller("c2", uid=0), 500, "not in a container")

    def test_nobody_is_sent_away(self) -> None:
        """The connection of a caller that could not be placed is closed."""
        guest = self.guest(None)
        self.assertIn(b"\r\nConnection: close\r\n", guest.get("/"))
        self.assertTrue(guest.transport.disconnecting)

    def test_removed_container(self) -> None:
        """A container that the store lost may not ask any more."""
        guest = self.guest(Caller("c1", uid=0))
        guest.get("/1.0")
        self.store.remove("c1")
        self.assertEqual(guest.get("/1.0")[9:12], b"500")

    def test_switch(self) -> None:
        """A container that is switched off is refused on every path."""
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
        guest = self.guest(Caller("c1", uid=0), APOLLO)
        self.assertEqual(guest.get("/1.0")[9:12], b"200")

    @given(st.text().filter(lambda t: t.lower() not in ("false", "0", "no", "off")))
    def test_not_switched_off(self, value: str) -> None:
        """Nothing else switches it off."""
        config = {"security.devlxd": value}
        self.store.put(evolve(self.container, config=config))
        guest = self.guest(Caller("c1", uid=0))
        self.assertEqual(guest.get("/1.0")[9:12], b"200")

    def test_live_switch(self) -> None:
        """It may be switched off and on while a connection is open."""
        guest = self.guest(Caller("c1", uid=0))
        codes = []
        for value in ("true", "false", ""):
            config = {"security.devlxd": value}
            self.store.put(evolve(self.container, config=config))
            codes.append(guest.get("/1.0")[9:12])
        self.assertEqual(codes, [b"200", b"403", b"200"])
