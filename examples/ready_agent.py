"""An agent that knows which guests are ready, also after its own restart."""

from __future__ import annotations

from twisted.application.service import MultiService
from zope.interface import implementer

from devlxd import DevLXDService, SQLiteGuestStates
from devlxd.interfaces import IContainerStore, IDevLXDReactor, IReadyObserver
from devlxd.model import GuestState
from devlxd.peers.identifier import CallerIdentifier
from devlxd.peers.processes import ProcFS
from devlxd.peers.runtimes import known_runtimes


@implementer(IReadyObserver)
class LoadBalancer:
    """An observer that keeps the names of the containers whose guests are ready."""

    def __init__(self) -> None:
        self.targets: set[str] = set()

    def state_changed(self, container: str, state: GuestState) -> None:
        """See `IReadyObserver.state_changed`."""
        if state is GuestState.READY:
            self.targets.add(container)
        else:
            self.targets.discard(container)


def make_service(
    reactor: IDevLXDReactor,
    store: IContainerStore,
    observer: IReadyObserver,
    directory: str,
) -> MultiService:
    """Return a service that keeps its socket and the guest states in a directory."""
    agent = MultiService()
    identifier = CallerIdentifier(store, ProcFS(), known_runtimes(), reactor)
    identifier.setServiceParent(agent)
    states = SQLiteGuestStates(store, identifier, reactor, f"{directory}/states")
    states.watch(observer)
    listen = {"lxd6": f"{directory}/lxd.sock"}
    devlxd = DevLXDService(reactor, store, listen, identifier, states=states)
    devlxd.setServiceParent(agent)
    return agent
