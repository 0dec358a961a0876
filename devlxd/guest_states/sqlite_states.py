# -*- test-case-name: tests.guest_states.test_sqlite_states -*-
"""Guest states that survive a restart of devlxd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import CooperativeTask, TaskFinished
from twisted.logger import Logger

from devlxd.guest_states.memory import MemoryGuestStates
from devlxd.guest_states.ready_file import ReadyFile
from devlxd.guest_states.ready_records import ReadyRecords
from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IRunIdentifier,
    NotInContainer,
)
from devlxd.limits import CurrentLimits
from devlxd.model import Caller, Container, GuestState, Init
from devlxd.turns import SLICE, cooperator


class SQLiteGuestStates(MemoryGuestStates):
    """Guest states in an SQLite file: they survive a restart of the process.

    The file has a record of each ready guest whose caller has an
    `devlxd.model.Caller.init`, or no run (`devlxd.model.Caller.run` is 0). An
    identifier that provides `IRunIdentifier` recognizes the former after a restart;
    the latter are restored only with an identifier that does not.

    When the service is started, no guest with a run is ready at first. When the store
    is loaded, each recorded run is looked up: if it has not ended, its guest is ready,
    and the observers are notified. `IGuestStates.get` is right before that, too.

    If the file cannot be used, that is logged, and the guest states are in memory
    only until it can be.

    :param store: see `MemoryGuestStates`.
    :param identifier: see `MemoryGuestStates`.
    :param reactor: schedules the look-ups, and retries of writing.
    :param path: the path of the file.
    :param limits: see `MemoryGuestStates`.
    """

    _log = Logger()

    def __init__(
        self,
        store: IContainerStore,
        identifier: ICallerIdentifier,
        reactor: IReactorTime,
        path: str,
        limits: CurrentLimits | None = None,
    ) -> None:
        super().__init__(store, identifier, reactor, limits)
        self._reactor = reactor
        self._runs: IRunIdentifier | None = IRunIdentifier(identifier, None)
        self._records = ReadyRecords(ReadyFile(path), reactor)
        # The inits of recorded runs that have not been looked up, by container.
        self._recorded: dict[str, Init] = {}
        self._loading: Deferred[None] | None = None
        self._is_loaded = False
        self._look_ups: CooperativeTask[Iterator[None]] | None = None

    def get(self, caller: Caller) -> GuestState:
        """See `IGuestStates.get`."""
        init = self._recorded.get(caller.container)
        if init is not None and init == caller.init:
            self._restore(caller)
        return super().get(caller)

    def startService(self) -> None:
        """See `IService.startService`: read the file, and wait for the store."""
        super().startService()
        for name, init in self._records.open().items():
            if init is not None:
                self._recorded[name] = init
            elif self._runs is None:
                self._restore(Caller(name, uid=0))
            else:
                self._records.remove(name)
        self._loading = self._store.loaded()
        # A failure is logged by the service that has started the store.
        self._loading.addCallbacks(lambda _: self._loaded(), lambda _: None)

    def stopService(self) -> None:
        """See `IService.stopService`: close the file, without changing it."""
        super().stopService()
        if self._loading is not None:
            self._loading.cancel()
        if self._look_ups is not None:
            with suppress(TaskFinished):
                self._look_ups.stop()
        self._is_loaded = False
        self._recorded.clear()
        self._records.close()

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        super().changed(name, old, new)
        if self._is_loaded and new is not None:
            self._look_up(name)

    def _loaded(self) -> None:
        """Look up all recorded runs, and forget the containers that are missing."""
        self._is_loaded = True
        for name in [name for name in self._ready if not self._store.has(name)]:
            self._forget(name)
        self._look_ups = cooperator(self._reactor, SLICE).cooperate(self._look_up_all())

    def _look_up_all(self) -> Iterator[None]:
        for name in list(self._recorded):
            try:
                self._look_up(name)
            except Exception:
                self._log.failure(
                    "the guest state of {container} was not looked up; it is Started",
                    container=name,
                )
            yield

    def _look_up(self, name: str) -> None:
        """Restore or forget the guest state of a recorded run.

        A container whose document cannot be read yet is looked up later.
        """
        init = self._recorded.get(name)
        if init is None or self._runs is None:
            return
        if self._store.has(name) and self._store.get(name) is None:
            return
        try:
            caller = self._runs.caller_of(init)
        except NotInContainer as error:
            self._drop(name, str(error))
            return
        if caller.container == name:
            self._restore(caller)
        else:
            self._drop(name, f"its run is one of {caller.container}")

    def _drop(self, name: str, reason: str) -> None:
        """Forget a recorded run, and log the reason."""
        self._log.info(
            "the guest of {container} is no longer ready: {reason}",
            container=name,
            reason=reason,
        )
        self._forget(name)

    def _restore(self, caller: Caller) -> None:
        """Make a recorded run ready, without writing."""
        self._recorded.pop(caller.container, None)
        super()._put(caller)

    def _put(self, caller: Caller) -> None:
        if caller.init is not None or caller.run == 0:
            self._records.put(caller.container, caller.init)
        super()._put(caller)

    def _forget(self, name: str) -> None:
        if self._recorded.pop(name, None) is not None or name in self._ready:
            self._records.remove(name)
        super()._forget(name)
