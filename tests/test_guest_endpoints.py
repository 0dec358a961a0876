"""Tests of `devlxd.guest_endpoints`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from attrs import evolve
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from devlxd.guest_endpoints import Listen, guest_endpoints
from devlxd.guestapi.dialects import DIALECTS
from devlxd.host.listening import address_of
from devlxd.host.socket_directories import SocketDirectories
from devlxd.testing import MemoryDevLXDReactor


class GuestEndpointsTests(SynchronousTestCase):
    """The argument ``listen`` of `DevLXDService`."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def addresses(self, listen: Listen) -> list[tuple[str, str]]:
        """Return the name of the dialect and the address of each endpoint."""
        return [
            (
                dialect.name,
                endpoint.address
                if isinstance(endpoint, SocketDirectories)
                else address_of(endpoint),
            )
            for dialect, endpoint in guest_endpoints(self.reactor, listen)
        ]

    def assert_refused(self, listen: object, error: type[Exception], text: str) -> None:
        """Check that an argument is refused, with a text of one line."""
        refused = self.assertRaises(error, guest_endpoints, self.reactor, listen)
        self.assertIn(text, str(refused))
        self.assertNotIn("\n", str(refused))

    def test_places(self) -> None:
        """A place is a path, an endpoint string, or an endpoint."""
        socket = f"{self.directory}/lxd.sock"
        endpoint = UNIXServerEndpoint(self.reactor, socket)
        for place in (socket, Path(socket), f"unix:{socket}", endpoint):
            self.assertEqual(self.addresses({"lxd": place}), [("lxd", socket)])
        sock = [("lxd", f"{self.directory}/sock")]
        self.assertEqual(self.addresses({"lxd": self.directory}), sock)
        self.assertEqual(self.addresses({"lxd": Path(self.directory)}), sock)

    def test_several(self) -> None:
        """A dialect may have several places, and there may be several dialects."""
        places: list[str | Path] = ["/1/sock", Path("/2/sock")]
        self.assertEqual(
            self.addresses({"lxd6": places, "incus": iter(("/3/sock",))}),
            [("lxd6", "/1/sock"), ("lxd6", "/2/sock"), ("incus", "/3/sock")],
        )
        self.assertEqual(self.addresses({}), [])

    def test_each(self) -> None:
        """A place may be a directory with a socket for each container."""
        self.assertEqual(
            self.addresses({"lxd6": ["each:/run/each", "/1/sock"]}),
            [("lxd6", "each:/run/each"), ("lxd6", "/1/sock")],
        )

    def test_dialect(self) -> None:
        """A key may be a dialect, for example one with another switch."""
        ours = evolve(DIALECTS["lxd"], switch="user.guest-api")
        ((dialect, _),) = guest_endpoints(self.reactor, {ours: "/1/sock"})
        self.assertIs(dialect, ours)

    def test_unknown_dialect(self) -> None:
        """An unknown dialect is refused; the error names the known ones."""
        self.assert_refused(
            {"lxd7": "/run/devlxd"},
            ValueError,
            "there is no dialect lxd7; the dialects are lxd, apollo, lxd6, incus",
        )

    def test_wrong_place(self) -> None:
        """The error says which place of which dialect is wrong, and why."""
        long = f"{self.directory}/{'x' * 120}.sock"
        for place, reason in (
            ("", "must not be empty"),
            ("nonsense:1", "unknown kind of endpoint: nonsense"),
            ("each:", "must have the form each:DIRECTORY"),
            (f"each:/{'x' * 100}", "has 101 bytes: too many, as that of each socket"),
            (long, "that of a UNIX socket has at most 107"),
        ):
            text = f"cannot listen on {place!r} for apollo guests: "
            self.assert_refused({"apollo": place}, ValueError, text)
            self.assert_refused({"apollo": [place]}, ValueError, reason)

    def test_wrong_types(self) -> None:
        """Values of other types are refused, such as the pairs of earlier versions."""
        wrong = "an endpoint for lxd guests must be a path, an endpoint string or an"
        self.assert_refused({"lxd": 1}, TypeError, f"{wrong} IStreamServerEndpoint")
        self.assert_refused({"lxd": [b"/run"]}, TypeError, "not bytes")
        self.assert_refused({1: "/run"}, TypeError, "must be its name, not int")
        self.assert_refused([("lxd", "/run")], TypeError, "not be a list")
