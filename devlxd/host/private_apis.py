# -*- test-case-name: tests.host.test_private_apis -*-
"""Undocumented behaviour of CPython and Twisted that this package relies on.

This package and `devlxd.tap` rely on no other undocumented behaviour.
``tests/host/test_private_apis.py`` checks that each of these still exists and
means what is written here.

* ``socket.socket._accept`` of CPython: `accept_descriptor`.
* `ReactorBase.seconds` can be replaced on one reactor, which then reads the
  time of all its delayed calls from it: `set_clock`.
* The exceptions that `serverFromString` raises: `NO_SUCH_SYSTEMD_SOCKET` and
  `MALFORMED_DESCRIPTION`.
* The attributes ``fileno`` and ``addressFamily`` of
  `AdoptedStreamServerEndpoint`: `adopted_descriptor` and `is_adopted_unix`.
* The attribute ``_address`` of `UNIXServerEndpoint`: `unix_path`.
* The attribute ``_sddaemon`` of ``_SystemdParser``, a `ListenFDs`: importing
  `twisted.internet.endpoints` removes ``LISTEN_FDS`` from the environment:
  `inherited_descriptors`.
* `UNIXServerEndpoint.listen` and `TCP4ServerEndpoint.listen` call the reactor
  before they return, and `TCP4ServerEndpoint` only needs ``listenTCP`` of it.
  `devlxd.host.dry_run` relies on it.
* twistd opens its log after it has called `makeService`. With ``-n`` and without
  ``--logfile`` it then logs to `sys.stdout`, which `devlxd.tap` has replaced before.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.base import ReactorBase
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    UNIXServerEndpoint,
    _SystemdParser,
)

#: Accepts a connection, and returns its file descriptor and the peer's address.
#: `socket.socket.accept` calls it before it creates a `socket.socket`.
accept_descriptor: Callable[[socket.socket], tuple[int, object]]
accept_descriptor = socket.socket._accept  # type: ignore[attr-defined] # private

#: The error that `serverFromString` raises for ``systemd:`` when systemd passed no
#: socket of that name or number.
NO_SUCH_SYSTEMD_SOCKET = LookupError

#: The errors that `serverFromString` raises for an unknown kind of endpoint, and
#: for arguments that are unknown, missing or invalid.
MALFORMED_DESCRIPTION = (TypeError, ValueError, AttributeError)


def set_clock(reactor: ReactorBase, seconds: Callable[[], float]) -> None:
    """Make ``reactor`` read the time from ``seconds``.

    Calls that are pending already keep the time of the old clock at which they
    are due.
    """
    reactor.seconds = seconds


def adopted_descriptor(endpoint: AdoptedStreamServerEndpoint) -> int:
    """Return the file descriptor of the socket that ``endpoint`` adopts."""
    descriptor: int = endpoint.fileno
    return descriptor


def is_adopted_unix(endpoint: AdoptedStreamServerEndpoint) -> bool:
    """Return whether the socket that ``endpoint`` adopts is a UNIX socket."""
    return bool(endpoint.addressFamily == socket.AF_UNIX)


def unix_path(endpoint: UNIXServerEndpoint) -> str:
    """Return the path of the socket on which ``endpoint`` listens."""
    path: str = endpoint._address
    return path


def inherited_descriptors() -> list[int]:
    """Return the file descriptors that systemd has passed, in its order."""
    return list(_SystemdParser._sddaemon.inheritedDescriptors())
