# -*- test-case-name: tests.guest_states.test_memory -*-
"""Guest states in memory."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IGuestStates,
    IReadyObserver,
    IRunObserver,
    IStoreObserver,
)
from devlxd.limits import CurrentLimits
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Caller, Container, GuestState


@implementer(IGuestStates, IRunObserver, IStoreObserver)
class MemoryGuestStates(Service):
    """Guest states in memory: they are lost when the process ends.

    While it runs as a service, it forgets the guest states of runs that end, and of
    containers that are removed.

    :param store: notifies of removed containers.
    :param identifier: notifies of the ends of runs. If it ends all runs when it is
        stopped, it must be stopped after the guest states.
    :param reactor: for the limit of log lines.
    :param limits: how many lines; default: the usual number.
    """

    _log = Logger()

    def __init__(
        self,
        store: IContainerStore,
        identifier: ICallerIdentifier,
        reactor: IReactorTime,
        limits: CurrentLimits | None = None,
    ) -> None:
        self._store = store
        self._identifier = identifier
        self._limited_log = RateLimitedLogger(self._log, reactor, limits)
        # The callers that have said that their guests are ready, by container.
        self._ready: dict[str, Caller] = {}
        self._observers: list[IReadyObserver] = []

    def get(self, caller: Caller) -> GuestState:
        """See `IGuestStates.get`."""
        ready = self._ready.get(caller.container)
        is_ready = ready is not None and ready.run == caller.run
        return GuestState.READY if is_ready else GuestState.STARTED

    def set(self, caller: Caller, state: GuestState) -> None:
        """See `IGuestStates.set`."""
        if state is self.get(caller):
            return
        # The guest state may be that of an earlier run, whose end is not noticed yet.
        self._forget(caller.container)
        if state is GuestState.READY:
            self._put(caller)

    def state_of(self, container: str) -> GuestState:
        """See `IGuestStates.state_of`."""
        return GuestState.READY if container in self._ready else GuestState.STARTED

    def watch(self, observer: IReadyObserver) -> None:
        """See `IGuestStates.watch`."""
        self._observers.append(observer)

    def unwatch(self, observer: IReadyObserver) -> None:
        """See `IGuestStates.unwatch`."""
        self._observers.remove(observer)

    def startService(self) -> None:
        """See `IService.startService`: observe the store and the runs."""
        super().startService()
        self._store.watch(self)
        self._identifier.watch(self)

    def stopService(self) -> None:
        """See `IService.stopService`: forget all: the ends of runs are not noticed."""
        if self.running:
            self._store.unwatch(self)
            self._identifier.unwatch(self)
            self._limited_log.stop()
        super().stopService()
        self._ready.clear()

    def ended(self, run: int) -> None:
        """See `IRunObserver.ended`."""
        for name in [name for name, ready in self._ready.items() if ready.run == run]:
            self._forget(name)

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        if new is None or (old is not None and new.is_different_from(old)):
            self._forget(name)

    def _put(self, caller: Caller) -> None:
        self._ready[caller.container] = caller
        self._notify(caller.container, GuestState.READY)

    def _forget(self, name: str) -> None:
        if self._ready.pop(name, None) is not None:
            self._notify(name, GuestState.STARTED)

    def _notify(self, name: str, state: GuestState) -> None:
        self._limited_log.info(
            "the guest of {container} is {state}",
            of=("guest state", name),
            container=name,
            state=state.value,
        )
        for observer in list(self._observers):
            try:
                observer.state_changed(name, state)
            except Exception:
                self._log.failure(
                    "an observer failed when the guest state of {container} changed; "
                    "the other observers are notified",
                    container=name,
                )
