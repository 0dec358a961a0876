"""A host agent that embeds devlxd and prints what its observers are notified of.

Run this file as a program with three arguments: the dialect, the directory of the
containers, and the directory of the socket. With a fourth one, the path of a file,
guest states are kept in that file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import cast

from twisted.application.service import MultiService
from twisted.internet import reactor as installed
from twisted.python import log
from zope.interface import implementer

from devlxd import Container, DevLXDService, SQLiteGuestStates
from devlxd.containers.directory_store import DirectoryStore
from devlxd.host.inotify import INotify
from devlxd.interfaces import IDevLXDReactor, IReadyObserver, IServiceObserver
from devlxd.model import Caller, GuestState, Refusal
from devlxd.peers.identifier import CallerIdentifier
from devlxd.peers.processes import ProcFS
from devlxd.peers.runtimes import known_runtimes


@implementer(IServiceObserver, IReadyObserver)
class Printer:
    """An observer that prints each notification as a line of JSON."""

    def connected(self, caller: Caller) -> None:
        """See `IServiceObserver.connected`."""

    def refused(self, container: str | None, refusal: Refusal, reason: str) -> None:
        """See `IServiceObserver.refused`."""
        _print("refused", container, reason)

    def asked(self, container: str, path: str, code: int) -> None:
        """See `IServiceObserver.asked`."""
        _print("asked", container, path, code)

    def responded(self, dialect: str, code: int, seconds: float) -> None:
        """See `IServiceObserver.responded`."""

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IServiceObserver.changed`."""
        _print("changed", name)

    def recorded(self, container: str, count: int) -> None:
        """See `IServiceObserver.recorded`."""

    def lost(self, container: str) -> None:
        """See `IServiceObserver.lost`."""

    def state_changed(self, container: str, state: GuestState) -> None:
        """See `IReadyObserver.state_changed`."""
        _print("state_changed", container, state.value)


def _print(*notification: str | int | None) -> None:
    sys.stdout.write(json.dumps(notification) + "\n")
    sys.stdout.flush()


def main(dialect: str, containers: str, sockets: str, states_path: str = "") -> None:
    """Serve the containers of a directory until the process is stopped."""
    log.startLogging(sys.stdout, setStdout=False)
    reactor = cast(IDevLXDReactor, installed)
    agent = MultiService()
    store = DirectoryStore(Path(containers), reactor, INotify(reactor))
    store.setServiceParent(agent)
    identifier = CallerIdentifier(store, ProcFS(), known_runtimes(), reactor)
    identifier.setServiceParent(agent)
    states = None
    if states_path:
        states = SQLiteGuestStates(store, identifier, reactor, states_path)
    printer = Printer()
    devlxd = DevLXDService(
        reactor,
        store,
        {dialect: sockets},
        identifier,
        observer=printer,
        states=states,
    )
    devlxd.states.watch(printer)
    devlxd.setServiceParent(agent)
    agent.privilegedStartService()
    agent.startService()
    installed.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
