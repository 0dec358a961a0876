"""A container store that reads one JSON file, which another program writes.

The file maps the name of each container to its configuration and its devices::

    {"c1": {"config": {"user.foo": "bar"}, "devices": {"eth0": {"type": "nic"}}}}
"""

from __future__ import annotations

import json
from pathlib import Path

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from devlxd import Container, ContainerStoreBase


class InventoryStore(ContainerStoreBase, TimerService):
    """A store that reads the file every ten seconds while the service runs."""

    logger = Logger()

    def __init__(self, path: Path, reactor: IReactorTime) -> None:
        ContainerStoreBase.__init__(self)
        TimerService.__init__(self, 10, self._read)
        self.path = path
        self.clock = reactor

    def _read(self) -> None:
        try:
            inventory = json.loads(self.path.read_text())
            containers = [Container(name, **found) for name, found in inventory.items()]
        # All containers stay as they are if the file cannot be read.
        except (AttributeError, OSError, TypeError, ValueError):
            self.logger.failure(
                "cannot read {path}, keeping all containers", path=self.path
            )
        else:
            self.replace_all(containers)
            self.mark_loaded()
