"""Tests of the responses of the dialect ``lxd6``, byte by byte."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.dialects.lxd6 import DIALECT as LXD6
from devlxd.model import Container
from devlxd.testing import GuestConnection, site_for

C1 = Container(
    "c1",
    {
        "user.a": "b",
        "user.empty": "",
        "cloud-init.user-data": "#cloud-config\n{}\n",
        "limits.cpu": "2",
        "volatile.cloud-init.instance-id": "i-1",
        "volatile.eth0.hwaddr": "00:16:3e:00:00:01",
        "volatile.eth1.hwaddr": "00:16:3e:00:00:02",
        "volatile.root.hwaddr": "00:16:3e:00:00:03",
    },
    {
        "root": {"type": "disk", "path": "/"},
        "eth1": {"type": "nic", "hwaddr": "00:16:3e:aa:aa:aa"},
        "eth0": {"type": "nic", "nictype": "bridged"},
        "eth2": {"type": "nic"},
    },
)

FACTS = (
    '{"api_version":"1.0","auth":"untrusted","instance_type":"container",'
    f'"location":"{os.uname().nodename}","state":"Started",'
    '"supported_storage_drivers":[]}\n'
)

DEVICES = (
    '{"eth0":{"hwaddr":"00:16:3e:00:00:01","nictype":"bridged","type":"nic"},'
    '"eth1":{"hwaddr":"00:16:3e:aa:aa:aa","type":"nic"},'
    '"eth2":{"type":"nic"},'
    '"root":{"path":"/","type":"disk"}}\n'
)

KEYS = '["/1.0/config/cloud-init.user-data","/1.0/config/user.a"]\n'

VALUES = '{"cloud-init.user-data":"#cloud-config\\n{}\\n","user.a":"b"}\n'

RESPONSES = [
    ("/", 200, '["/1.0"]\n'),
    ("/1.0", 200, FACTS),
    ("/1.0/config", 200, KEYS),
    ("/1.0/config?recursion=0", 200, KEYS),
    ("/1.0/config?recursion=1", 200, VALUES),
    ("/1.0/config/user.a", 200, "b"),
    ("/1.0/config/cloud-init.user-data", 200, "#cloud-config\n{}\n"),
    ("/1.0/config/user.empty", 404, "Not Found\n"),
    ("/1.0/config/user.missing", 404, "Not Found\n"),
    ("/1.0/config/limits.cpu", 403, "Forbidden\n"),
    ("/1.0/config/volatile.eth0.hwaddr", 403, "Forbidden\n"),
    ("/1.0/devices", 200, DEVICES),
    ("/1.0/device/eth0", 404, "Not Found\n"),
    ("/1.0/meta-data", 200, "instance-id: i-1\nlocal-hostname: c1\n"),
    ("/1.0/ubuntu-pro", 404, "Not Found\n"),
    ("/1.0/", 404, "Not Found\n"),
    ("/2.0", 404, "Not Found\n"),
]


class LXD6Tests(SynchronousTestCase):
    """What a guest receives."""

    def setUp(self) -> None:
        self.store = MemoryStore([C1])
        self.guest = GuestConnection(site_for(self.store, "c1", LXD6))

    def ask(self, method: str, path: str) -> tuple[int, str, str]:
        """Return the status, the head and the body of a response."""
        request = f"{method} {path} HTTP/1.1\r\nHost: lxd\r\n\r\n"
        head, _, body = self.guest.send(request.encode()).decode().partition("\r\n\r\n")
        return int(head.split()[1]), head, body

    def test_responses(self) -> None:
        """Each path has its response, and the same without the body to ``HEAD``."""
        for path, code, body in RESPONSES:
            got, head, text = self.ask("GET", path)
            self.assertEqual((got, text), (code, body), path)
            self.assertEqual(self.ask("HEAD", path), (code, head, ""), path)

    def test_methods(self) -> None:
        """A path without the method is a 405 that lists the methods."""
        code, head, body = self.ask("DELETE", "/1.0/config/user.a")
        self.assertEqual((code, body), (405, "method not allowed\n"))
        self.assertIn("\r\nAllow: GET, HEAD\r\n", head)
        self.assertEqual(self.ask("POST", "/1.0/ubuntu-pro/token")[0], 404)

    def test_empty(self) -> None:
        """A container without config and devices has empty lists and objects."""
        self.store.put(Container("c1"))
        self.assertEqual(self.ask("GET", "/1.0/config")[2], "[]\n")
        self.assertEqual(self.ask("GET", "/1.0/config?recursion=1")[2], "{}\n")
        self.assertEqual(self.ask("GET", "/1.0/devices")[2], "{}\n")

    def test_refusals(self) -> None:
        """Switched off, not root: the words of LXD 6."""
        self.store.put(Container("c1", {"security.devlxd": "false"}))
        self.assertEqual(self.ask("GET", "/")[::2], (403, "Forbidden\n"))
        self.assertEqual(self.ask("PATCH", "/1.0")[::2], (403, "Forbidden\n"))
