"""A host agent that embeds devlxd: ``twistd -ny examples/agent.py``.

An agent that starts containers knows them already. It keeps a `MemoryStore` up to
date, and needs no documents on disk. This one has a single container ``c1``, changes
its configuration once a minute, and logs every request.

Bind ``/run/devlxd`` into the container at ``/dev/lxd``.
"""

from __future__ import annotations

import time
from typing import cast

from twisted.application.internet import TimerService
from twisted.application.service import Application, MultiService
from twisted.internet import reactor as installed
from twisted.logger import Logger
from zope.interface import implementer

from devlxd import DIALECTS, Container, DevLXDService, MemoryStore, endpoint_at
from devlxd.interfaces import IDevLXDReactor, IServiceObserver
from devlxd.model import Caller, Refusal


@implementer(IServiceObserver)
class RequestLog:
    """An observer that logs the requests of guests."""

    _log = Logger()

    def connected(self, caller: Caller) -> None:
        """See `IServiceObserver.connected`."""

    def refused(self, container: str | None, refusal: Refusal, reason: str) -> None:
        """See `IServiceObserver.refused`."""
        self._log.warn("{container}: {reason}", container=container, reason=reason)

    def asked(self, container: str, path: str, code: int) -> None:
        """See `IServiceObserver.asked`."""
        self._log.info(
            "{container}: {path}: {code}", container=container, path=path, code=code
        )

    def responded(self, dialect: str, code: int, seconds: float) -> None:
        """See `IServiceObserver.responded`."""

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IServiceObserver.changed`."""

    def recorded(self, container: str, count: int) -> None:
        """See `IServiceObserver.recorded`."""

    def lost(self, container: str) -> None:
        """See `IServiceObserver.lost`."""


def make_service(reactor: IDevLXDReactor, listen: str) -> MultiService:
    """Return the agent.

    :param listen: the directory of the socket.
    """
    agent = MultiService()
    store = MemoryStore()
    # By default, callers are identified as by twistd devlxd, and past events are
    # kept in memory. Other arguments replace these defaults.
    endpoint = endpoint_at(reactor, listen)
    devlxd = DevLXDService(
        reactor, store, [(DIALECTS["lxd"], endpoint)], observer=RequestLog()
    )
    devlxd.setServiceParent(agent)

    def update() -> None:
        # A snapshot replaces the last one; guests receive an event for each change.
        store.put(Container("c1", {"user.time": time.strftime("%H:%M")}))

    timer = TimerService(60, update)
    timer.clock = reactor
    timer.setServiceParent(agent)
    return agent


application = Application("agent")
make_service(cast(IDevLXDReactor, installed), "/run/devlxd").setServiceParent(
    application
)
