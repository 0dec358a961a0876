# -*- test-case-name: tests.test_demo -*-
"""``twistd devlxd --demo``: a made-up container, and what to type."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred

from devlxd.containers.directory import DirectoryStore
from devlxd.guestapi.dialects import DEFAULT_DIALECT
from devlxd.host.inotify import INotify
from devlxd.host.listening import endpoint_at
from devlxd.images.memory_images import MemoryImageStore
from devlxd.interfaces import IDevLXDReactor
from devlxd.peers.identifier import AssumedIdentifier
from devlxd.peers.peer_sources import AnonymousPeerSource
from devlxd.service import DevLXDService

_NAME = "demo"

_DOCUMENT = """\
config:
  user.foo: bar
  user.greeting: hello from the host
  volatile.cloud-init.instance-id: demo-1
  security.devlxd.images: "true"
devices:
  eth0: {type: nic, nictype: ipvlan, ipv4.address: 80.80.90.60}
"""

_DEVICE = '{"ipv4.address":"80.80.90.60","nictype":"ipvlan","type":"nic"}'

#: An image, as far as a terminal can show one.
_IMAGE = b"this could be a root file system\n"

_EXPORT = f"/1.0/images/{hashlib.sha256(_IMAGE).hexdigest()}/export"

#: What the demo tells to ask for, and what the answer is.
QUESTIONS = (
    ("/", '["/1.0"]\n'),
    ("/1.0", '{"api_version":"1.0"}\n'),
    ("/1.0/config", '["/1.0/config/user.foo","/1.0/config/user.greeting"]\n'),
    ("/1.0/config/user.foo", "bar"),
    ("/1.0/devices", '["/1.0/device/eth0"]\n'),
    ("/1.0/device/eth0", _DEVICE + "\n"),
    (
        "/1.0/meta-data",
        "#cloud-config\ninstance-id: demo-1\nlocal-hostname: demo\n",
    ),
    (_EXPORT, _IMAGE.decode("ascii")),
)


class DemoService(MultiService):
    """Serves one made-up container, from a directory that goes when it stops."""

    def __init__(self, reactor: IDevLXDReactor) -> None:
        super().__init__()
        self._reactor = reactor

    def privilegedStartService(self) -> None:
        """Make the directory and listen in it."""
        self._directory = tempfile.TemporaryDirectory(prefix="devlxd-demo-")
        path = Path(self._directory.name)
        containers = path / "containers"
        containers.mkdir()
        (containers / f"{_NAME}.yaml").write_text(_DOCUMENT)
        store = DirectoryStore(containers, self._reactor, INotify(self._reactor))
        store.setServiceParent(self)
        endpoint = endpoint_at(self._reactor, str(path))
        images = MemoryImageStore()
        images.put(_IMAGE)
        DevLXDService(
            self._reactor,
            store,
            [(DEFAULT_DIALECT, endpoint)],
            AssumedIdentifier(_NAME),
            AnonymousPeerSource(),
            images=images,
        ).setServiceParent(self)
        super().privilegedStartService()

    def startService(self) -> None:
        """Print what to type."""
        super().startService()
        self.say(instructions(Path(self._directory.name)))

    def say(self, text: str) -> None:
        """Print ``text``; twistd makes log lines of what goes to ``sys.stdout``."""
        print(text, file=sys.__stdout__, flush=True)

    def stopService(self) -> Deferred[object]:
        """Stop, and leave nothing behind."""
        return maybeDeferred(super().stopService).addBoth(self._clean_up)

    def _clean_up(self, result: object) -> object:
        self._directory.cleanup()
        return result


def instructions(directory: Path) -> str:
    """Tell what to type, and what comes back."""
    lines = [f"\nContainer {_NAME!r} is served. In another terminal, type:\n"]
    for path, answer in QUESTIONS:
        lines.append(f"$ curl --unix-socket {directory}/sock http://lxd{path}")
        lines.append(answer.rstrip("\n") + "\n")
    lines.append("To hear of changes as they happen:\n")
    lines.append(f"$ curl -N --unix-socket {directory}/sock http://lxd/1.0/events\n")
    lines.append(f"and meanwhile edit {directory}/containers/{_NAME}.yaml.\n")
    lines.append("Ctrl-C stops it and leaves nothing behind.\n")
    return "\n".join(lines)
