"""How long a directory of 10 000 containers takes, and how long it blocks.

``python benchmarks/directory.py``. It reads the documents as devlxd does at
its start, and prints how long the reactor was away from other work at most,
then does the same while 1 000 of them change.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import cast

from twisted.internet import reactor as installed

from devlxd.containers.directory import DirectoryStore
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.host.garbage_collection import disable_gc_until
from devlxd.host.inotify import INotify
from devlxd.interfaces import IDevLXDReactor

CONTAINERS = 10_000

CHANGES = 1_000

#: Some forty lines, as ``lxc config show --expanded`` prints them.
DOCUMENT = """\
architecture: x86_64
config:
  user.name: c{n}
  user.value: "{value}"
  user.user-data: |
    #cloud-config
    packages: [curl, git, vim]
    runcmd:
    - [echo, hello]
  limits.cpu: "2"
  limits.memory: 2GiB
  volatile.cloud-init.instance-id: b2796b7a-3fec-4ed7-bd65-{n:012d}
  volatile.idmap.current: '[{{"Isuid":true,"Isgid":false,"Hostid":100000,"Nsid":0,"Maprange":65536}}]'
  volatile.uuid: 70d019a5-78f3-41cc-89e5-{n:012d}
devices:
  eth0: {{type: nic, nictype: ipvlan, parent: eth0, ipv4.address: 10.0.0.1}}
  root: {{type: disk, path: /, pool: default}}
ephemeral: false
profiles: [default]
stateful: false
description: ""
"""  # noqa: E501 # as LXD writes it


class Clock:
    """Notes for how long the reactor was away."""

    def __init__(self, reactor: IDevLXDReactor) -> None:
        self._reactor = reactor
        self.longest = 0.0
        self._last = time.perf_counter()
        self._tick()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self._reactor.callLater(0, self._tick)


def main() -> None:
    """Load, change, print."""
    reactor = cast(IDevLXDReactor, installed)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        for n in range(CONTAINERS):
            (path / f"c{n}.yaml").write_text(DOCUMENT.format(n=n, value=0))
        store = DirectoryStore(path, reactor, INotify(reactor))
        bus = EventBus(store, SQLiteJournal(), reactor, namespaces=["user."])
        disable_gc_until(store.loaded())
        bus.startService()
        begun = time.perf_counter()
        store.startService()
        clock = Clock(reactor)

        def loaded(_: object) -> None:
            print(
                f"{CONTAINERS} containers read in {time.perf_counter() - begun:.1f} s"
            )
            print(f"the reactor was away for {clock.longest * 1000:.1f} ms at most")
            clock.longest = 0.0
            change(0)

        def change(n: int) -> None:
            if n < CHANGES:
                (path / f"c{n}.yaml").write_text(DOCUMENT.format(n=n, value=1))
                reactor.callLater(0, change, n + 1)
            else:
                wait()

        def wait() -> None:
            container = store.get(f"c{CHANGES - 1}")
            if container and container.config["user.value"] == "1":
                print(
                    f"{CHANGES} changes: the reactor was away for "
                    f"{clock.longest * 1000:.1f} ms at most"
                )
                installed.stop()
            else:
                reactor.callLater(0.01, wait)

        store.loaded().addCallback(loaded)
        installed.run()
        store.stopService()
        bus.stopService()


if __name__ == "__main__":
    main()
