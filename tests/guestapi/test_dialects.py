"""Tests of dialects, with an example of one."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from devlxd.containers.memory_store import MemoryStore
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.config_resources import ConfigListResource, ConfigValueResource
from devlxd.guestapi.dialect import Dialect, PathPattern
from devlxd.guestapi.dialects import DEFAULT_DIALECT, DIALECTS
from devlxd.guestapi.event_streams import events
from devlxd.guestapi.meta_data import nocloud_meta_data
from devlxd.guestapi.resource_bases import GuestResource, NamedResource, constant
from devlxd.guestapi.resources import (
    DeviceResource,
    device_list,
)
from devlxd.guestapi.snapshot_responses import text_response
from devlxd.httpserver.responses import Response
from devlxd.model import Caller, Container, Event
from devlxd.testing import (
    GUEST,
    GuestConnection,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
)


class NameResource(GuestResource):
    """``/toy/name``: the name of the container; also accepts POST."""

    methods = (b"GET", b"HEAD", b"POST")

    def get(self, request: Request, container: Container) -> Response:
        """See `GuestResource.get`."""
        return text_response(f"{request.method.decode('ascii')} {container.name}")


class LengthResource(NamedResource):
    """``/toy/{key}/length``: the length of a value."""

    def get_by_name(self, container: Container, name: str) -> Response:
        """See `NamedResource.get_by_name`."""
        return text_response(str(len(container.config.get(name, ""))))


def _as_text(event: Event) -> bytes:
    return f"{event.type} {dict(event.metadata)}\n".encode()


TOY = Dialect(
    name="toy",
    socket=Path("/var/lib/toy/sock"),
    containers=Path("/var/lib/toy/containers"),
    images=None,
    switch="toy.enabled",
    permissions="toy",
    exported=("toy.",),
    routes={
        "/": constant({"toys": 1}),
        "/toy/name": NameResource,
        "/toy/{key}/length": LengthResource,
        "/toy/keys": ConfigListResource,
        "/toy/keys/{key}": ConfigValueResource,
        "/toy/devices": device_list("/toy/device/"),
        "/toy/device/{name}": DeviceResource,
        "/1.0/events": events,
    },
    meta_data=partial(nocloud_meta_data, ""),
    event_types=frozenset(("config",)),
    render_event=_as_text,
    not_authorized="no toys for you",
    not_root="only for root",
    not_found="no such toy",
)


class ToyTests(SynchronousTestCase):
    """A dialect defined outside devlxd, served together with the default dialect."""

    def setUp(self) -> None:
        self.store = MemoryStore([Container("c1", {"toy.bear": "pooh", "user.a": "b"})])
        reactor = MemoryDevLXDReactor()
        bus = EventBus(
            self.store, SQLiteJournal(), reactor, namespaces=["toy.", "user."]
        )
        bus.startService()
        self.addCleanup(bus.stopService)
        self.identifier = MemoryIdentifier({GUEST.pid: Caller("c1", uid=0)})
        sites = GuestSites(
            self.store, self.identifier, MemoryPeerSource(), reactor, bus=bus
        )
        self.toy, self.other = (
            GuestConnection(sites.site(dialect)) for dialect in (TOY, DEFAULT_DIALECT)
        )

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of a response of the toy dialect."""
        response = self.toy.get(path)
        head, _, body = response.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def test_routes(self) -> None:
        """A dialect has the paths of its routes, and no others."""
        self.assertEqual(self.get("/"), (200, '{"toys":1}\n'))
        self.assertEqual(self.get("/toy/name"), (200, "GET c1"))
        for path in ("/1.0", "/toy", "/toy/", "/toy/name/", "/toy/x/y", "/1.0/devices"):
            self.assertEqual(self.get(path), (404, "no such toy\n"), path)

    def test_methods(self) -> None:
        """A path supports the methods of its resource."""
        request = b"%b /toy/name HTTP/1.1\r\nHost: x\r\n\r\n"
        self.assertTrue(self.toy.send(request % b"POST").endswith(b"POST c1"))
        self.assertIn(b"Allow: GET, HEAD, POST\r\n", self.toy.send(request % b"PUT"))

    def test_variable(self) -> None:
        """A path may continue after its variable, which is percent-decoded."""
        self.assertEqual(self.get("/toy/toy.bear/length"), (200, "4"))
        self.assertEqual(self.get("/toy/toy%2Ebear/length"), (200, "4"))

    def test_exported(self) -> None:
        """A dialect exports only its own namespace, with its own error messages."""
        self.assertEqual(self.get("/toy/keys")[1], '["/toy/keys/toy.bear"]\n')
        self.assertEqual(self.get("/toy/keys/toy.bear"), (200, "pooh"))
        self.assertEqual(self.get("/toy/keys/user.a"), (403, "no toys for you\n"))

    def test_listed_paths(self) -> None:
        """Every path in a list is served, whatever the path of the list itself."""
        devices = {"eth0": {"nictype": "ipvlan"}}
        self.store.put(Container("c1", {"toy.bear": "pooh"}, devices))
        for path in ("/toy/keys", "/toy/devices"):
            (item,) = json.loads(self.get(path)[1])
            self.assertEqual(self.get(item)[0], 200, item)

    def test_other_dialect(self) -> None:
        """The default dialect of the same service exports its own namespace."""
        response = self.other.get("/1.0/config")
        self.assertEqual(
            json.loads(response.partition(b"\r\n\r\n")[2]), ["/1.0/config/user.a"]
        )

    def test_events(self) -> None:
        """The events of a dialect are those of its namespace, in its own format."""
        self.toy.get("/1.0/events")
        self.other.get("/1.0/events")
        config = {"toy.bear": "bear", "user.a": "c"}
        self.store.put(Container("c1", config))
        received = self.toy.send(b"")
        self.assertIn(b"config {'key': 'toy.bear', 'old_value': 'pooh'", received)
        self.assertNotIn(b"user.a", received)
        self.assertIn(b'"key":"user.a"', self.other.send(b""))

    def test_gate(self) -> None:
        """A dialect is switched off by its own switch."""
        self.store.put(Container("c1", {"toy.enabled": "false"}))
        self.assertEqual(self.get("/"), (403, "no toys for you\n"))
        self.assertEqual(self.other.get("/1.0")[9:12], b"200")


class DialectsTests(SynchronousTestCase):
    """The dialects that come with devlxd."""

    def test_default(self) -> None:
        """The dialect with the lowest rank is the default."""
        self.assertIs(next(iter(DIALECTS.values())), DEFAULT_DIALECT)
        ranks = [dialect.rank for dialect in DIALECTS.values()]
        self.assertEqual(ranks, sorted(ranks))
        self.assertEqual(ranks.count(DEFAULT_DIALECT.rank), 1)

    def test_modules(self) -> None:
        """Each module of the package is one dialect, with the module's name."""
        package = Path(__file__).parents[2] / "devlxd" / "guestapi" / "dialects"
        names = {path.stem for path in package.glob("*.py")} - {"__init__"}
        self.assertEqual(set(DIALECTS), names)

    def test_named_nowhere_else(self) -> None:
        """No other code names a dialect; ``peers`` names runtimes.

        The guest library does: it knows servers that are not devlxd. So do its tests,
        and the fakes for tests.
        """
        others = ("dialects", "peers", "client", "contracts", "testing")
        package = Path(__file__).parents[2] / "devlxd"
        for path in package.rglob("*.py"):
            if path.parent.name not in others:
                text = path.read_text()
                for name in DIALECTS:
                    self.assertNotIn(f'"{name}"', text, path)

    def test_evolved(self) -> None:
        """An agent may serve a dialect with changed values."""
        changed = evolve(TOY, switch="toy.allowed")
        self.assertEqual(changed.switch, "toy.allowed")
        self.assertNotEqual(changed, TOY)


class PathPatternTests(SynchronousTestCase):
    """Paths with a variable."""

    def check(self, pattern: str, path: bytes, variable: bytes | None) -> None:
        """Check the variable of a path."""
        self.assertEqual(PathPattern(pattern).variable_in(path), variable)

    def test_at_the_end(self) -> None:
        """A variable at the end is the rest of the path, with its slashes."""
        self.check("/1.0/config/{key}", b"/1.0/config/a/b", b"a/b")
        self.check("/1.0/config/{key}", b"/1.0/config/", b"")
        self.check("/1.0/config/{key}", b"/1.0/config", None)

    def test_inside(self) -> None:
        """A variable before a fixed end is one segment."""
        self.check("/a/{x}/b", b"/a/c/b", b"c")
        self.check("/a/{x}/b", b"/a/c/d/b", None)
        self.check("/a/{x}/b", b"/a//b", None)
