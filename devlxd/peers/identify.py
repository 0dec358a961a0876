# -*- test-case-name: tests.peers.test_identify -*-
"""Peer -> caller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import field, frozen
from zope.interface import implementer

from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IRuntime,
    NotInContainer,
)
from devlxd.model import Caller, Peer
from devlxd.peers.idmap import IDMapError, host_uid_of_root
from devlxd.peers.runtimes import LXCRuntime


@implementer(ICallerIdentifier)
@frozen
class CgroupIdentifier:
    """Places a peer by the cgroup that a runtime made for its container.

    :ivar store: the containers that a peer may live in.
    :ivar runtimes: who is asked for the meaning of a cgroup.
    :ivar proc: where the kernel shows processes.
    """

    store: IContainerStore
    runtimes: Sequence[IRuntime] = field(factory=lambda: [LXCRuntime()])
    proc: Path = Path("/proc")

    def identify(self, peer: Peer) -> Caller:
        """See `devlxd.interfaces.ICallerIdentifier.identify`."""
        name = self._name(peer)
        container = self.store.get(name)
        if container is None:
            raise NotInContainer(f"pid {peer.pid}: no container {name} in the store")
        try:
            return Caller(name, peer.uid == host_uid_of_root(container))
        except IDMapError as error:
            raise NotInContainer(f"container {name}: {error}") from error

    def _name(self, peer: Peer) -> str:
        names = set(self._claims(peer))
        if len(names) != 1:
            found = " and ".join(sorted(names)) or "none"
            raise NotInContainer(f"pid {peer.pid}: containers by its cgroups: {found}")
        return names.pop()

    def _claims(self, peer: Peer) -> Iterator[str]:
        try:
            text = (self.proc / str(peer.pid) / "cgroup").read_text()
        except (OSError, ValueError) as error:
            raise NotInContainer(f"pid {peer.pid}: {error}") from error
        for line in text.splitlines():
            _hierarchy, _controllers, cgroup = line.split(":", 2)
            for runtime in self.runtimes:
                name = runtime.container_name(cgroup)
                if name is not None:
                    yield name


@implementer(ICallerIdentifier)
@frozen
class AssumedIdentifier:
    """Takes every peer for the root of one container, to try things out.

    :ivar container: that container's name.
    """

    container: str

    def identify(self, peer: Peer) -> Caller:
        """See `devlxd.interfaces.ICallerIdentifier.identify`."""
        return Caller(self.container, root=True)
