# -*- test-case-name: tests.test_listening -*-
"""Where guests are listened to: UNIX sockets, dead ones taken over."""

from __future__ import annotations

import errno
import os
import socket
import stat

from attrs import frozen
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IListeningPort,
    IProtocolFactory,
    IReactorUNIX,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ClientFactory, Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_log = Logger()

#: How many connections may wait to be accepted; the kernel has its own bound
#: (``net.core.somaxconn``). A whole host of guests starts at once.
BACKLOG = 4096

#: From ``asm-generic/socket.h``, since Linux 6.16: whether file descriptors may
#: be sent over a UNIX socket. Connections have it from what they were made on.
SO_PASSRIGHTS = 83

#: How long the path of a UNIX socket may be, in bytes (``unix(7)``).
MAX_PATH = 107


@implementer(IReactorUNIX)
@frozen
class SocketTakeover:
    """Listens where a dead process left its socket, and not where a live one does.

    There is no lock file that could outlive its process.

    :ivar reactor: who does the listening.
    """

    reactor: IReactorUNIX

    def listenUNIX(
        self,
        address: str,
        factory: Factory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> IListeningPort:
        """See `IReactorUNIX.listenUNIX`; needs no lock file.

        :raises CannotListenError: when the path cannot be used, or a live
            server listens there.
        """
        clear(address)
        backlog = max(backlog, BACKLOG)
        port = self.reactor.listenUNIX(address, factory, backlog, mode)
        _refuse_descriptors(port)
        return port

    def connectUNIX(
        self,
        address: str,
        factory: ClientFactory,
        timeout: float = 30,
        checkPID: bool = False,
    ) -> IConnector:
        """See `IReactorUNIX.connectUNIX`."""
        return self.reactor.connectUNIX(address, factory, timeout, checkPID)


def _refuse_descriptors(port: IListeningPort) -> None:
    """Let the kernel refuse file descriptors that guests send along.

    To close one may take as long as the guest likes: it may be a socket of
    its own that lingers.
    """
    listening = getattr(port, "socket", None)
    if not isinstance(listening, socket.socket):
        return
    try:
        listening.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
    except OSError:
        _log.warn(
            "this kernel has no SO_PASSRIGHTS (Linux 6.16 has): a guest may hold "
            "this process up with file descriptors that it sends along"
        )


def _directory_of(path: str) -> str:
    return os.path.dirname(path) or "."


def clear(path: str) -> None:
    """Make sure that a UNIX socket can be bound at ``path``.

    A socket that nobody listens on is removed.

    :raises CannotListenError: when the path cannot be used.
    """
    try:
        _clear(path)
    except OSError as error:
        raise CannotListenError(None, path, error) from error


def _clear(path: str) -> None:
    if not path:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if len(os.fsencode(path)) > MAX_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    os.stat(_directory_of(path) + "/.")
    if not os.access(_directory_of(path), os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    if os.path.lexists(path):
        _check_dead(path)
        _remove_dead(path)


def _remove_dead(path: str) -> None:
    """Remove the dead socket at ``path``, and nothing that came there since.

    Of two that take over at the same time one might else remove what the
    other has just bound. No lock is needed for this: a guest might hold it.
    """
    aside = os.path.join(_directory_of(path), f"~{os.getpid()}")
    os.rename(path, aside)
    try:
        _check_dead(aside)
    except OSError:
        os.rename(aside, path)
        raise
    os.unlink(aside)


def _check_dead(path: str) -> None:
    """Check that ``path`` is a socket that nobody listens on.

    :raises OSError: when it is something else.
    """
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(errno.EEXIST, "there is something that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, "a server is listening there")


@implementer(IListeningPort)
class _NoPort:
    """Listens to nothing."""

    def startListening(self) -> None:
        """See `IListeningPort.startListening`."""

    def stopListening(self) -> None:
        """See `IListeningPort.stopListening`."""

    def getHost(self) -> IAddress:
        """See `IListeningPort.getHost`."""
        return UNIXAddress(None)


@implementer(IReactorUNIX)
class _Rehearsal:
    """Stands in for the reactor where nothing is to be listened to yet.

    :ivar address: what it was told to listen at.
    """

    address = ""

    def listenUNIX(
        self,
        address: str,
        factory: Factory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> IListeningPort:
        """See `IReactorUNIX.listenUNIX`."""
        self.address = address
        return _NoPort()

    def connectUNIX(
        self,
        address: str,
        factory: ClientFactory,
        timeout: float = 30,
        checkPID: bool = False,
    ) -> IConnector:
        """See `IReactorUNIX.connectUNIX`."""
        raise NotImplementedError("a rehearsal connects to nothing")


def _is_path(description: str) -> bool:
    kind, colon, _ = description.partition(":")
    return not colon or "/" in kind


def endpoint_at(reactor: IReactorUNIX, description: str) -> IStreamServerEndpoint:
    """Return the endpoint that ``description`` stands for.

    :param description: the path of a UNIX socket, or of a directory with the
        socket ``sock`` in it, or a Twisted endpoint string.
    :raises ValueError: when it is none of them.
    """
    takeover = SocketTakeover(reactor)
    if _is_path(description):
        path = os.path.join(description, "sock")
        return UNIXServerEndpoint(
            takeover, path if os.path.isdir(description) else description
        )
    is_unix = description.startswith("unix:")
    try:
        endpoint: IStreamServerEndpoint = serverFromString(
            takeover if is_unix else reactor, description
        )
    except (TypeError, LookupError) as error:
        raise ValueError(str(error)) from error
    return endpoint


def check_endpoint(description: str) -> str:
    """Try whether a UNIX socket could be listened at, without doing it.

    Endpoints of other kinds are not tried.

    :return: what no two endpoints may have in common: for a UNIX socket its
        path, without links.
    :raises CannotListenError: when it could not.
    :raises ValueError: when ``description`` stands for no endpoint.
    """
    rehearsal = _Rehearsal()
    endpoint = endpoint_at(rehearsal, description)
    if not isinstance(endpoint, UNIXServerEndpoint):
        return description
    listen_now(endpoint, Factory())
    return os.path.realpath(rehearsal.address)


def listen_now(
    endpoint: IStreamServerEndpoint, factory: IProtocolFactory
) -> Deferred[IListeningPort]:
    """Listen at ``endpoint``, and raise at once what goes wrong at once.

    :raises CannotListenError: when listening fails there and then.
    """
    listening = endpoint.listen(factory)
    failures: list[Failure] = []

    def keep(failure: Failure) -> Failure:
        failures.append(failure)
        return failure

    listening.addErrback(keep)
    if failures:
        listening.addErrback(lambda _: None)
        failures[0].raiseException()
    return listening
