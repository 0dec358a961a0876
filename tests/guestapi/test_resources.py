"""Tests of `devlxd.guestapi.resources`."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from itertools import count
from typing import cast
from urllib.parse import quote

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.document_parser import Format
from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.api import GuestAPI
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import DIALECTS
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.guestapi.long_responses import list_response
from devlxd.guestapi.snapshot_responses import json_response
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import ITurn, ITurns
from devlxd.model import Container
from devlxd.testing import GuestConnection, site_for
from devlxd.turns import Turns, finish
from tests.containers.test_document_parser import CONFIGS, TEXT, parse_container

IPVLANS = CONFIGS.map(lambda device: {**device, "nictype": "ipvlan"})

ANY_CONFIG = st.dictionaries(TEXT.map("user.".__add__) | TEXT, TEXT, max_size=5)


def guest_of(container: Container, dialect: Dialect = LXD) -> GuestConnection:
    """Connect as root of ``container``."""
    return GuestConnection(site_for(MemoryStore([container]), container.name, dialect))


def body_of(response: bytes) -> bytes:
    """Return the body of a response."""
    return response.partition(b"\r\n\r\n")[2]


def turns_of(site: DevLXDSite) -> ITurns:
    """Return the scheduler of a site."""
    return cast(GuestAPI, site.server.handler).services.turns


class NamesTests(SynchronousTestCase):
    """Keys and names with characters that are special in URLs."""

    def check(self, key: str, *urls: str) -> None:
        """Check that every dialect lists ``key`` unchanged and finds it at ``urls``."""
        container = Container("c1", {key: "value"})
        for dialect in DIALECTS.values():
            guest = guest_of(container, dialect)
            listed = json.loads(body_of(guest.get("/1.0/config")))
            self.assertEqual(listed, [f"/1.0/config/{key}"])
            for url in urls:
                response = guest.get(f"/1.0/config/{url}")
                self.assertEqual(body_of(response), b"value", url)

    def test_plain(self) -> None:
        """A key of plain characters is found unencoded."""
        self.check("user.a-b_c~d:e@f=g+h,i", "user.a-b_c~d:e@f=g+h,i")

    def test_slash(self) -> None:
        """A key with a ``/`` is found unencoded and encoded."""
        self.check("user.a/b", "user.a/b", "user.a%2Fb", "user.a%2fb")
        self.check("user./", "user./", "user.%2F")
        self.check("user./a//b/", "user./a//b/", "user.%2Fa%2F%2Fb%2F")

    def test_percent(self) -> None:
        """A key with a ``%`` is found encoded and, if unambiguous, unencoded."""
        self.check("user.a%2Fb", "user.a%252Fb", "user.a%2Fb")
        self.check("user.100%", "user.100%25", "user.100%")

    def test_json(self) -> None:
        """In the list, keys are escaped as in JSON, and not as in URLs."""
        guest = guest_of(Container("c1", {'user."\\/\u00e4': "x"}))
        self.assertEqual(
            body_of(guest.get("/1.0/config")),
            '["/1.0/config/user.\\"\\\\/\u00e4"]\n'.encode(),
        )

    def test_encoded_first(self) -> None:
        """If a URL matches two keys, one decoded and one not, the former is used."""
        guest = guest_of(Container("c1", {"user.a/b": "1", "user.a%2Fb": "2"}))
        self.assertEqual(body_of(guest.get("/1.0/config/user.a%2Fb")), b"1")
        self.assertEqual(body_of(guest.get("/1.0/config/user.a%252Fb")), b"2")

    def test_space_and_query(self) -> None:
        """A key with characters that end a path is found encoded."""
        self.check("user.a b?c#d", "user.a%20b%3Fc%23d")

    def test_not_ascii(self) -> None:
        """A key that is not ASCII is found encoded and unencoded."""
        self.check("user.größe", "user.gr%C3%B6%C3%9Fe", "user.größe")

    def test_not_exported_either_way(self) -> None:
        """No encoding of a key circumvents the exported namespaces."""
        guest = guest_of(Container("c1", {"limits.cpu": "2", "%75ser.x": "3"}))
        for url in ("limits.cpu", "limits%2Ecpu", "%6cimits.cpu", "user%2E/../limits"):
            self.assertIn(guest.get(f"/1.0/config/{url}")[9:12], (b"403", b"404"), url)
        self.assertEqual(guest.get("/1.0/config/%75ser.x")[9:12], b"404")
        self.assertEqual(guest.get("/1.0/config/%FF")[9:12], b"404")

    def test_device(self) -> None:
        """Device names are treated like keys."""
        device = {"type": "nic", "nictype": "ipvlan"}
        guest = guest_of(Container("c1", {}, {"a/b ö": device}))
        listed = json.loads(body_of(guest.get("/1.0/devices")))
        self.assertEqual(listed, ["/1.0/device/a/b ö"])
        for url in ("/1.0/device/a%2Fb%20%C3%B6", "/1.0/device/a/b%20ö"):
            self.assertEqual(json.loads(body_of(guest.get(url))), device)

    def test_order(self) -> None:
        """Lists are sorted by name."""
        guest = guest_of(Container("c1", {f"user.{c}": "x" for c in "bca"}))
        listed = json.loads(body_of(guest.get("/1.0/config")))
        self.assertEqual(listed, sorted(listed))


class MemoryTests(SynchronousTestCase):
    """The memory that a guest makes devlxd use by asking for many items."""

    def test_short_items(self) -> None:
        """Only some of the responses for short items are kept."""
        names = [str(n) for n in range(3000)]
        config = {f"user.{name}": "value" for name in names}
        devices = {name: {"nictype": "ipvlan"} for name in names}
        guest = guest_of(Container("c1", config, devices))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        guest.get("/1.0/config/user.0")
        guest.get("/1.0/device/0")
        before, _ = tracemalloc.get_traced_memory()
        for name in names:
            self.assertIn(b"value", guest.get(f"/1.0/config/user.{name}"))
            self.assertIn(b"ipvlan", guest.get(f"/1.0/device/{name}"))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        self.assertLess(after - before, 500_000)

    def test_long_paths(self) -> None:
        """Nothing is kept of paths that do not exist, however many segments they have.

        The first request for such a path is as fast as the others.
        """
        guest = guest_of(Container("c1"))
        guest.get("/a")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        for path in ("/a", "/1.0/a", "/1.0/devices/a"):
            self.assertIn(b" 404 ", guest.get(path + "/a" * 3000))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        self.assertLess(after - before, 100_000)


class MetaDataTests(SynchronousTestCase):
    """``/1.0/meta-data``."""

    def test_instance_id(self) -> None:
        """``instance-id`` is LXD's cloud-init id."""
        config = {"volatile.cloud-init.instance-id": "b2796b7a"}
        guest = guest_of(Container("c1", config))
        self.assertEqual(
            body_of(guest.get("/1.0/meta-data")),
            b"#cloud-config\ninstance-id: b2796b7a\nlocal-hostname: c1\n",
        )

    def test_project(self) -> None:
        """``local-hostname`` is the hostname without LXD's project."""
        guest = guest_of(Container("web_c1", hostname="c1"))
        self.assertIn(b"\nlocal-hostname: c1\n", guest.get("/1.0/meta-data"))

    def test_user_meta_data(self) -> None:
        """``user.meta-data`` is appended unchanged."""
        guest = guest_of(Container("c1", {"user.meta-data": "a: \xe9\n\n# b"}))
        self.assertEqual(
            body_of(guest.get("/1.0/meta-data")),
            "#cloud-config\ninstance-id: c1\nlocal-hostname: c1\n"
            "a: \xe9\n\n# b".encode(),
        )


class RoundTripTests(SynchronousTestCase):
    """Values are sent to the guest as they are in the document."""

    @settings(max_examples=50)
    @given(
        config=ANY_CONFIG,
        devices=st.dictionaries(TEXT.filter(bool), CONFIGS | IPVLANS, max_size=3),
        form=st.sampled_from([Format.YAML, Format.JSON]),
    )
    def test_any_document(
        self, config: dict[str, str], devices: dict[str, dict[str, str]], form: Format
    ) -> None:
        """The listed URLs, which cloud-init follows, return every exported value."""
        write = json.dumps if form is Format.JSON else yaml.safe_dump
        document = write({"config": config, "devices": devices}).encode()
        guest = guest_of(parse_container("c1", document, form))

        def follow(listed: str, prefix: str) -> dict[str, bytes]:
            paths = json.loads(body_of(guest.get(listed)))
            names = [path.removeprefix(prefix) for path in paths]
            return {
                name: body_of(guest.get(prefix + quote(name, safe="")))
                for name in names
            }

        got = {
            key: value.decode()
            for key, value in follow("/1.0/config", "/1.0/config/").items()
        }
        expected = {k: v for k, v in config.items() if v and LXD.exports(k)}
        self.assertEqual(got, expected)
        shown = {
            name: json.loads(value)
            for name, value in follow("/1.0/devices", "/1.0/device/").items()
        }
        exported = {
            name: device
            for name, device in devices.items()
            if device.get("nictype") == "ipvlan"
        }
        self.assertEqual(shown, exported)


class LongListTests(SynchronousTestCase):
    """Long lists, which are rendered in slices."""

    def setUp(self) -> None:
        keys = [f"user.{n * 7919 % 2503}" for n in range(2500)]
        self.container = Container("c1", {**dict.fromkeys(keys, "x"), "user.ä": "y"})
        self.store = MemoryStore([self.container])
        self.site = site_for(self.store, "c1")
        self.turns: list[Callable[[], None]] = []
        self.patch(turns_of(self.site), "take", self.take_turn)
        self.guest = GuestConnection(self.site)

    def take_turn(self, owner: str, work: Callable[[], None]) -> ITurn:
        """Record the work of a turn."""
        self.assertEqual(owner, "c1")
        self.turns.append(work)
        return Turns(Clock()).take(owner, work)

    def end(self) -> int:
        """Run the work of all turns; return their number."""
        for taken in count():
            if not self.turns:
                return taken
            self.turns.pop(0)()
        raise AssertionError

    def check(self, response: bytes, container: Container) -> None:
        """Check that a response lists all keys of a container."""
        paths = sorted(f"/1.0/config/{key}" for key in container.config)
        self.assertEqual(json.loads(body_of(response)), paths)

    def test_slices(self) -> None:
        """A long list is rendered in slices, and cached afterwards."""
        self.assertEqual(self.guest.get("/1.0/config"), b"")
        self.assertGreater(self.end(), 4)
        self.check(self.guest.send(b""), self.container)
        self.check(GuestConnection(self.site).get("/1.0/config"), self.container)

    def test_as_one(self) -> None:
        """The response is the same as when it is rendered without slices."""
        rendered = finish(list_response("/", self.container.config, lambda *_: True))
        paths = sorted(f"/{key}" for key in self.container.config)
        self.assertEqual(rendered, json_response(paths))

    def test_not_exported(self) -> None:
        """Entries that are not exported count against the size of a slice."""
        slices = list_response("/", self.container.config, lambda *_: False)
        self.assertGreater(len(list(slices)), 1)

    def test_devices(self) -> None:
        """Long lists of devices are rendered in slices."""
        devices = {str(n): {"nictype": "ipvlan"} for n in range(3000)}
        self.store.put(Container("c1", {}, devices))
        self.assertEqual(self.guest.get("/1.0/devices"), b"")
        self.end()
        listed = json.loads(body_of(self.guest.send(b"")))
        self.assertEqual(listed, sorted(f"/1.0/device/{name}" for name in devices))

    def test_once(self) -> None:
        """For several simultaneous requests, the list is rendered once."""
        self.guest.get("/1.0/config")
        alone = self.end()
        self.store.put(Container("c1", {**self.container.config, "user.new": "x"}))
        guests = [GuestConnection(self.site) for _ in range(10)]
        for guest in guests:
            self.assertEqual(guest.get("/1.0/config"), b"")
        self.assertLessEqual(self.end(), alone + len(guests))
        for guest in guests:
            self.assertIn(b"/1.0/config/user.new", guest.send(b""))

    def test_changed(self) -> None:
        """Requests receive the list as of the time of the request."""
        self.guest.get("/1.0/config")
        changed = Container("c1", {"user.b": "x"})
        self.store.put(changed)
        self.check(GuestConnection(self.site).get("/1.0/config"), changed)
        self.end()
        self.check(self.guest.send(b""), self.container)

    def test_lost(self) -> None:
        """If one guest disconnects before the end, others receive their response."""
        lost = GuestConnection(self.site)
        lost.get("/1.0/config")
        self.guest.get("/1.0/config")
        lost.disconnect()
        self.end()
        self.assertEqual(lost.transport.value(), b"")
        self.check(self.guest.send(b""), self.container)

    def test_switched_off(self) -> None:
        """A pending request gets its response even if the API is switched off."""
        self.site.doStart()
        self.addCleanup(self.site.doStop)
        self.assertEqual(self.guest.get("/1.0/config"), b"")
        self.store.put(Container("c1", {"security.devlxd": "false"}))
        self.assertFalse(self.guest.transport.disconnecting)
        self.end()
        self.check(self.guest.send(b""), self.container)

    def test_failure(self) -> None:
        """If rendering fails, the failure is logged and the guest receives a 500."""
        config = {**self.container.config, "user.\ud800": "x"}
        self.store.put(Container("c1", config))
        self.guest.get("/1.0/config")
        with capturedLogs() as events:
            self.end()
        (event,) = events
        self.assertEqual(event["name"], "c1")
        self.assertIn(b" 500 ", self.guest.send(b""))
        self.assertIn(b" 500 ", GuestConnection(self.site).get("/1.0/config"))
        self.assertEqual(len(self.flushLoggedErrors(UnicodeEncodeError)), 1)
