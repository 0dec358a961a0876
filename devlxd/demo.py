# -*- test-case-name: tests.test_demo -*-
"""``twistd devlxd --demo``: an example container, and requests to try."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred

from devlxd.containers.directory_store import DirectoryStore
from devlxd.guestapi.dialects import DEFAULT_DIALECT
from devlxd.host.inotify import INotify
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.interfaces import IDevLXDReactor
from devlxd.peers.assumed_identifier import AssumedIdentifier
from devlxd.peers.peer_sources import AnonymousPeerSource
from devlxd.service import DevLXDService

_NAME = "demo"

_DOCUMENT = f"""\
config:
  user.foo: bar
  user.greeting: hello from the host
  volatile.cloud-init.instance-id: demo-1
  {DEFAULT_DIALECT.images_key}: "true"
devices:
  eth0: {{type: nic, nictype: ipvlan, ipv4.address: 80.80.90.60}}
"""

_DEVICE = '{"ipv4.address":"80.80.90.60","nictype":"ipvlan","type":"nic"}'

#: The data of the example image: text, because it is printed in a terminal.
_IMAGE = b"this could be a root file system\n"

_EXPORT = f"/1.0/images/{hashlib.sha256(_IMAGE).hexdigest()}/export"

#: The requests to try: the path of each, and the body of the response.
REQUESTS = (
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
    """A service that serves one example container from a temporary directory.

    :param reactor: as for `DevLXDService`.
    """

    def __init__(self, reactor: IDevLXDReactor) -> None:
        super().__init__()
        self._reactor = reactor

    def privilegedStartService(self) -> None:
        """See `IService.privilegedStartService`.

        Creates the temporary directory, and listens on a socket in it.
        """
        self._directory = tempfile.TemporaryDirectory(prefix="devlxd-demo-")
        path = Path(self._directory.name)
        containers = path / "containers"
        containers.mkdir()
        (containers / f"{_NAME}.yaml").write_text(_DOCUMENT)
        store = DirectoryStore(containers, self._reactor, INotify(self._reactor))
        store.setServiceParent(self)
        images = MemoryImageStore()
        images.put(_IMAGE)
        DevLXDService(
            self._reactor,
            store,
            {DEFAULT_DIALECT: path},
            AssumedIdentifier(_NAME),
            AnonymousPeerSource(),
            images=images,
        ).setServiceParent(self)
        super().privilegedStartService()

    def startService(self) -> None:
        """See `IService.startService`. Prints the instructions."""
        super().startService()
        self.print_text(instructions(Path(self._directory.name)))

    def print_text(self, text: str) -> None:
        """Print to the terminal: twistd turns ``sys.stdout`` into the log."""
        print(text, file=sys.__stdout__, flush=True)

    def stopService(self) -> Deferred[object]:
        """See `IService.stopService`. Removes the temporary directory."""
        return maybeDeferred(super().stopService).addBoth(self._clean_up)

    def _clean_up(self, result: object) -> object:
        self._directory.cleanup()
        return result


def instructions(directory: Path) -> str:
    """Return the commands to try, with their output.

    :param directory: the temporary directory of the demo.
    """
    lines = [f"\nContainer {_NAME!r} is served. In another terminal, type:\n"]
    url = f"http://{DEFAULT_DIALECT.name}"
    for path, body in REQUESTS:
        lines.append(f"$ curl --unix-socket {directory}/sock {url}{path}")
        lines.append(body.rstrip("\n") + "\n")
    lines.append("To receive events when the container changes, type:\n")
    lines.append(f"$ curl -N --unix-socket {directory}/sock {url}/1.0/events\n")
    lines.append(f"and edit {directory}/containers/{_NAME}.yaml.\n")
    lines.append("Ctrl-C stops the demo and removes its directory.\n")
    return "\n".join(lines)
