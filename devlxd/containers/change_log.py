# -*- test-case-name: tests.containers.test_change_log -*-
"""Logging which containers are added, changed and removed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import IContainerStore, IStoreObserver
from devlxd.limits import CurrentLimits
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Container
from devlxd.printable_text import printable

#: How many changed keys a line names, and of how many their values are compared.
MAX_KEYS = 10
MAX_COMPARED = 2000

#: The facts of a container, besides its config and its devices.
_FACTS = ("id", "hostname", "runtime", "lxcpath")


@implementer(IStoreObserver)
class ChangeLog(Service):
    """A service that logs the changes of a store: names of keys, never values.

    Containers that the store finds while it loads are only counted.

    :param store: the containers.
    :param reactor: for the limit of log lines.
    :param limits: how many lines to log about one container; default: the usual number.
    """

    _log = Logger()

    def __init__(
        self,
        store: IContainerStore,
        reactor: IReactorTime,
        limits: CurrentLimits | None = None,
    ) -> None:
        self._store = store
        self._is_loaded = False
        self._limited_log = RateLimitedLogger(self._log, reactor, limits)

    def startService(self) -> None:
        """See `IService.startService`."""
        super().startService()
        self._store.watch(self)
        self._loading = self._store.loaded()
        self._loading.addCallbacks(self._loaded, lambda _: None)

    def stopService(self) -> None:
        """See `IService.stopService`."""
        if self.running:
            self._store.unwatch(self)
            self._loading.cancel()
            self._is_loaded = False
            self._limited_log.stop()
        super().stopService()

    def _loaded(self, _: object) -> None:
        self._is_loaded = True
        self._log.info("containers are loaded: {count}", count=len(self._store.names()))

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        if new is None:
            self._limited_log.info(
                "container {container} was removed", of=("gone", name), container=name
            )
        elif old is not None:
            keys = changed_keys(old, new)
            if keys:
                self._limited_log.info(
                    "container {container} has changed: {keys}",
                    of=("changed", name),
                    container=name,
                    keys=keys,
                )
        elif self._is_loaded:
            self._limited_log.info(
                "container {container} was added", of=("added", name), container=name
            )


def changed_keys(old: Container, new: Container) -> str:
    """Return the names of the keys and devices that differ between two snapshots.

    :return: a text of one line without values, such as ``user.a, device eth0``; empty
        if only the origin differs.
    """
    found = [*islice(_differences(old, new), MAX_KEYS + 1)]
    if len(found) > MAX_KEYS:
        found[MAX_KEYS:] = ["and others"]
    return ", ".join(found)


def _differences(old: Container, new: Container) -> Iterator[str]:
    yield from (f"its {fact}" for fact in _FACTS if _differ(old, new, fact))
    compared = 0
    for before, after, prefix in (
        (old.devices, new.devices, "device "),
        (old.config, new.config, ""),
    ):
        for name in chain(before, (name for name in after if name not in before)):
            compared += 1
            if compared > MAX_COMPARED:
                yield "perhaps others"
                return
            if before.get(name) != after.get(name):
                yield prefix + printable(name)


def _differ(old: Container, new: Container, fact: str) -> bool:
    return bool(getattr(old, fact) != getattr(new, fact))
