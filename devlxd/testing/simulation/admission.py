# -*- test-case-name: tests.testing.test_fake_guest -*-
"""The admission of callers whose connections are in memory."""

from __future__ import annotations

from twisted.internet.interfaces import ITransport
from zope.interface import implementer

from devlxd.interfaces import IAdmission, IContainerStore, IServiceObserver
from devlxd.store_loading import is_loaded
from devlxd.testing.simulation.transport import MemoryTransport


@implementer(IAdmission)
class MemoryAdmission:
    """An admission that knows the callers of connections in memory.

    It treats all other connections as another admission does.

    :param other: that admission.
    :param store: the containers.
    :param observer: is notified of the callers.
    """

    def __init__(
        self, other: IAdmission, store: IContainerStore, observer: IServiceObserver
    ) -> None:
        self._other = other
        self._store = store
        self._observer = observer
        self.owner = other.owner
        self.refused = other.refused
        self.record_of = other.record_of
        self.recorded_owner = other.recorded_owner
        self.recognize = other.recognize
        self.when_loaded = other.when_loaded
        self.when_ready = other.when_ready

    def identify(self, transport: ITransport, is_retry: bool = False) -> object | None:
        """See `IAdmission.identify`.

        Until the store is loaded, a caller of a container that it does not have is
        not known at the first attempt.
        """
        if not isinstance(transport, MemoryTransport):
            return self._other.identify(transport, is_retry)
        caller = transport.caller
        is_missing = self._store.get(caller.container) is None
        if is_missing and not is_retry and not is_loaded(self._store):
            return None
        self._observer.connected(caller)
        return caller
