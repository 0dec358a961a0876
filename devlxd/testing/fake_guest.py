# -*- test-case-name: tests.testing.test_fake_guest -*-
"""A guest in memory, for the tests of agents that embed devlxd."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.application.service import IService, IServiceCollection
from twisted.internet.task import Clock

from devlxd.guest_listener import GuestListener
from devlxd.model import Caller
from devlxd.service import DevLXDService
from devlxd.testing.simulation.failures import PlannedFailures
from devlxd.testing.simulation.guest import MemoryGuest
from devlxd.testing.simulation.network import MemoryNetwork
from devlxd.testing.simulation.site import MemorySite


class FakeGuest(MemoryGuest):
    """Root in a container of an agent that embeds devlxd, without a socket.

    It asks the sites of a `DevLXDService`, which stays as the agent has made it: only
    the caller is known, instead of being identified by its process. The reactor of the
    service must be in memory, such as `MemoryDevLXDReactor`.

    While the service does not run, every question raises `Unavailable`. What the agent
    changes arrives when its reactor advances, even by 0 seconds, and when a question
    is asked.

    :param service: the `DevLXDService`, or an agent that has one, at any depth.
    :param name: the name of the container, which need not exist yet.
    :param dialect: the name of a dialect; default: the only one, or else the first one
        that the service serves.
    :param uid: the user in the container.
    :param timeout: see `devlxd.client.Guest`.
    :raises ValueError: if no `DevLXDService` is found, or none with this dialect.
    :raises TypeError: if its reactor is not in memory.
    """

    def __init__(
        self,
        service: IService,
        name: str,
        dialect: str | None = None,
        *,
        uid: int = 0,
        timeout: float = 10,
    ) -> None:
        found, listener = _listener_in(service, dialect)
        site = listener.site
        if not isinstance(site.reactor, Clock):
            raise TypeError("the reactor of the service is not in memory")

        def is_listening() -> bool:
            # Reactors in memory do not start the factories of their ports.
            if listener.running and not site.numPorts:
                site.doStart()
            return bool(listener.running)

        network = MemoryNetwork(site.reactor, advances=True)
        endpoint = MemorySite(
            site,
            found.store,
            network,
            lambda: Caller(name, uid),
            is_listening,
            PlannedFailures(),
        )
        super().__init__(network, endpoint, timeout=timeout)


def _listener_in(
    service: IService, dialect: str | None
) -> tuple[DevLXDService, GuestListener]:
    """Return a service that serves guests, and its listener."""
    found = list(_listeners(service))
    if not found:
        raise ValueError("there is no DevLXDService in the service")
    for devlxd, listener in found:
        if dialect in (None, listener.dialect.name):
            return devlxd, listener
    names = ", ".join(listener.dialect.name for _, listener in found)
    raise ValueError(f"the service does not serve {dialect}, only {names}")


def _listeners(service: IService) -> Iterator[tuple[DevLXDService, GuestListener]]:
    collection = IServiceCollection(service, None)
    for child in collection or ():
        if isinstance(service, DevLXDService) and isinstance(child, GuestListener):
            yield service, child
        else:
            yield from _listeners(child)
