# -*- test-case-name: tests.host.test_listening -*-
"""Where guests are listened to: UNIX sockets, dead ones taken over."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat

from attrs import frozen
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
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

from devlxd.host.adopted import AdoptedEndpoint
from devlxd.socket_options import credentials_of

_log = Logger()

#: How many connections may wait to be accepted; the kernel has its own bound
#: (``net.core.somaxconn``). A whole host of guests starts at once.
BACKLOG = 4096

#: How long the path of a UNIX socket may be, in bytes (``unix(7)``).
MAX_PATH = 107

#: How some of Twisted's endpoints are written.
_FORMS = {
    "unix": "unix:PATH[:mode=MODE][:backlog=NUMBER]",
    "systemd": "systemd:domain=UNIX:name=NAME",
    "tcp": "tcp:PORT:interface=ADDRESS",
}

#: Twisted's endpoints, but for TCP, whose peers the kernel does not know.
_ANONYMOUS = frozenset({"tcp4", "tcp6", "ssl", "tls", "haproxy", "stdio"})

_UNIX_ONLY = "guests are known by UNIX sockets only"


@implementer(IReactorUNIX)
@frozen
class SocketTakeover:
    """Listens where a dead process left its socket, and not where a live one does.

    There is no lock file that could outlive its process.

    :ivar reactor: who does the listening.
    :ivar makes_directory: whether the directory of the socket is made when it
        is missing.
    """

    reactor: IReactorUNIX
    makes_directory: bool = False

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
        if self.makes_directory:
            _make_directory(_directory_of(address))
        clear(address)
        backlog = max(backlog, BACKLOG)
        return self.reactor.listenUNIX(address, factory, backlog, mode)

    def connectUNIX(
        self,
        address: str,
        factory: ClientFactory,
        timeout: float = 30,
        checkPID: bool = False,
    ) -> IConnector:
        """See `IReactorUNIX.connectUNIX`."""
        return self.reactor.connectUNIX(address, factory, timeout, checkPID)


def _directory_of(path: str) -> str:
    return os.path.dirname(path) or "."


def _make_directory(path: str) -> None:
    """Make a directory that guests may look into, and what leads there.

    :raises CannotListenError: when that is not possible.
    """
    try:
        if os.path.lexists(path) and not os.path.isdir(path):
            reason = f"not a directory; for a socket of that name write unix:{path}"
            raise OSError(errno.ENOTDIR, reason)
        missing = []
        while path and not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for directory in reversed(missing):
            os.mkdir(directory)
            # Whatever the umask is.
            os.chmod(directory, 0o755)
    except OSError as error:
        raise CannotListenError(None, path, error) from error


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
            server = "another server"
        else:
            server = _server_of(probe)
    raise OSError(errno.EADDRINUSE, f"{server} serves {path}")


def _server_of(connection: socket.socket) -> str:
    """Return what is known of who listens at the other end (``unix(7)``)."""
    pid, _uid, _gid = credentials_of(connection)
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        words = []
    return f"another {'devlxd' if b'devlxd' in words else 'server'} (pid {pid})"


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

    :ivar address: the path, or the network interface, that it was told to
        listen at.
    """

    address = ""

    def listenTCP(
        self, port: int, factory: Factory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """See `IReactorTCP.listenTCP`, of which this is all that is needed."""
        self.address = interface
        return _NoPort()

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


def _kind_of(description: str) -> str:
    """Return the kind of a Twisted endpoint; empty for a path."""
    kind, colon, _ = description.partition(":")
    return "" if not colon or "/" in kind else kind


def _is_socket(path: str) -> bool:
    """Return whether a path is meant as that of a socket, by its name."""
    name = os.path.basename(path)
    return name == "sock" or name.endswith(".sock")


def endpoint_at(reactor: IReactorUNIX, description: str) -> IStreamServerEndpoint:
    """Return the endpoint that ``description`` stands for.

    :param description: a path, or a Twisted endpoint string. A path whose last
        component is ``sock`` or ends in ``.sock`` is that of a UNIX socket, any
        other one is a directory with the socket ``sock`` in it, made when it is
        missing.
    :raises ValueError: when it is none of them.
    """
    kind = _kind_of(description)
    if not description:
        raise ValueError("nothing is given")
    if not kind and _is_socket(description) and not os.path.isdir(description):
        return UNIXServerEndpoint(SocketTakeover(reactor), description)
    if not kind:
        path = os.path.join(description, "sock")
        return UNIXServerEndpoint(SocketTakeover(reactor, makes_directory=True), path)
    try:
        endpoint: IStreamServerEndpoint = serverFromString(
            SocketTakeover(reactor) if kind == "unix" else reactor, description
        )
    except LookupError as error:
        raise ValueError("systemd has passed no such socket") from error
    except (TypeError, ValueError, AttributeError) as error:
        form = _FORMS.get(kind)
        raise ValueError(
            f"not {form}" if form else f"there is no endpoint {kind}:"
        ) from error
    if not isinstance(endpoint, AdoptedStreamServerEndpoint):
        return endpoint
    if endpoint.addressFamily != socket.AF_UNIX:
        raise ValueError(_UNIX_ONLY)
    return AdoptedEndpoint(endpoint.fileno)


def check_endpoint(description: str, identified: bool = True) -> str:
    """Try whether an endpoint could be listened at, without doing it.

    Only UNIX sockets are tried; the directory for one is made.

    :param identified: whether it matters who the callers are. If it does not,
        TCP is possible too, at a loopback address.
    :return: what no two endpoints may have in common: for a UNIX socket its
        path, without links.
    :raises CannotListenError: when it could not.
    :raises ValueError: when ``description`` stands for no endpoint that guests
        can be served at.
    """
    kind = _kind_of(description)
    if kind in _ANONYMOUS or (kind == "tcp" and identified):
        raise ValueError(_UNIX_ONLY)
    rehearsal = _Rehearsal()
    endpoint = endpoint_at(rehearsal, description)
    if isinstance(endpoint, UNIXServerEndpoint):
        listen_now(endpoint, Factory())
        return os.path.realpath(rehearsal.address)
    if isinstance(endpoint, TCP4ServerEndpoint):
        listen_now(endpoint, Factory())
        if not _is_loopback(rehearsal.address):
            raise ValueError("anybody could ask; write interface=127.0.0.1")
    elif "domain=UNIX" not in description.split(":"):
        raise ValueError(_UNIX_ONLY)
    return description


def _is_loopback(interface: str) -> bool:
    try:
        return ipaddress.ip_address(interface).is_loopback
    except ValueError:
        return False


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
