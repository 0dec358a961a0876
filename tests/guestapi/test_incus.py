"""Tests of the responses of the dialect ``incus``, byte by byte."""

from __future__ import annotations

import json
import os

from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.dialects.incus import DIALECT as INCUS
from devlxd.model import Caller, Container
from devlxd.testing import (
    GUEST,
    GuestConnection,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
    bus_for,
    site_for,
)

C1 = Container(
    "c1",
    {"user.a": "b", "cloud-init.user-data": "x", "limits.cpu": "2"},
    {"eth0": {"type": "nic"}},
)

FACTS = (
    '{"api_version":"1.0","instance_type":"container",'
    f'"location":"{os.uname().nodename}","state":"Started"}}\n'
)

META_DATA = "#cloud-config\ninstance-id: c1\nlocal-hostname: c1\n"

RESPONSES = [
    ("/", 200, '["/1.0"]\n'),
    ("/1.0", 200, FACTS),
    (
        "/1.0/config",
        200,
        '["/1.0/config/cloud-init.user-data","/1.0/config/user.a"]\n',
    ),
    ("/1.0/config/cloud-init.user-data", 200, "x"),
    ("/1.0/config/user.missing", 404, "not found\n"),
    ("/1.0/config/limits.cpu", 403, "not authorized\n"),
    ("/1.0/devices", 200, '{"eth0":{"type":"nic"}}\n'),
    ("/1.0/meta-data", 200, META_DATA),
    ("/1.0/nope", 404, "not found\n"),
]


class IncusTests(SynchronousTestCase):
    """What a guest receives."""

    def test_responses(self) -> None:
        """Each path has its response."""
        guest = GuestConnection(site_for(MemoryStore([C1]), "c1", INCUS))
        for path, code, body in RESPONSES:
            head, _, text = guest.get(path).decode().partition("\r\n\r\n")
            self.assertEqual((int(head.split()[1]), text), (code, body), path)

    def test_permissions(self) -> None:
        """``security.guestapi`` switches the API off; other keys admit users."""
        store = MemoryStore([Container("c1", {"security.guestapi.uids": "1000"})])
        identifier = MemoryIdentifier({GUEST.pid: Caller("c1", uid=1000)})
        sites = GuestSites(store, identifier, MemoryPeerSource(), MemoryDevLXDReactor())
        guest = GuestConnection(sites.site(INCUS))
        self.assertIn(b" 200 OK\r\n", guest.get("/1.0"))
        store.put(Container("c1", {"security.devlxd.uids": "1000"}))
        self.assertIn(b"Access denied for non-root user\n", guest.get("/1.0"))
        store.put(Container("c1", {"security.guestapi": "false"}))
        self.assertTrue(guest.get("/1.0").endswith(b"\r\n\r\nnot authorized\n"))

    def test_events(self) -> None:
        """Changes of ``cloud-init.*`` keys are events, as those of ``user.*`` keys."""
        store = MemoryStore([C1])
        bus = bus_for(store, namespaces=INCUS.exported)
        guest = GuestConnection(site_for(store, "c1", INCUS, bus=bus))
        guest.get("/1.0/events?type=config")
        store.put(Container("c1", {"cloud-init.user-data": "y"}))
        received = guest.receive().splitlines()
        lines = [json.loads(line) for line in received if line.startswith(b"{")]
        keys = [(line["metadata"]["key"], line["metadata"]["value"]) for line in lines]
        self.assertEqual(keys, [("cloud-init.user-data", "y"), ("user.a", "")])

    def test_unknown_type(self) -> None:
        """A type of events that does not exist is a 400."""
        store = MemoryStore([C1])
        guest = GuestConnection(site_for(store, "c1", INCUS, bus=bus_for(store)))
        response = guest.get("/1.0/events?type=nonsense")
        self.assertTrue(response.startswith(b"HTTP/1.1 400 "), response)
