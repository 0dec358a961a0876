# -*- test-case-name: tests.host.test_listening -*-
"""Endpoints, for guests and for operators: from a description to a listening port."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
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
    IListeningPort,
    IProtocolFactory,
    IReactorUNIX,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from devlxd.host.adopted import AdoptedEndpoint
from devlxd.host.dry_run import DryRunReactor
from devlxd.host.private_apis import (
    MALFORMED_DESCRIPTION,
    NO_SUCH_SYSTEMD_SOCKET,
    adopted_descriptor,
    is_adopted_unix,
    unix_path,
)
from devlxd.host.socket_files import MAX_PATH, StaleSocketReplacer

#: The syntax of the kinds of Twisted endpoints that devlxd can serve guests at.
_SYNTAX = {
    "unix": "unix:PATH[:mode=MODE][:backlog=NUMBER]",
    "systemd": "systemd:domain=UNIX:name=NAME",
    "tcp": "tcp:PORT:interface=ADDRESS",
}

#: The kinds of Twisted endpoints that are refused, because the kernel does not
#: identify their peers. ``tcp`` is refused only if callers have to be identified.
_ANONYMOUS = frozenset({"tcp4", "tcp6", "ssl", "tls", "haproxy", "stdio"})

_UNIX_ONLY = "guests can be identified on UNIX sockets only"


def endpoint_at(reactor: IReactorUNIX, description: str) -> IStreamServerEndpoint:
    """Return the endpoint that ``description`` describes.

    :param description: one of

        * a path whose last component is ``sock`` or ends in ``.sock``: a UNIX
          socket;
        * any other path: a directory, created when it is missing, with the UNIX
          socket ``sock`` in it;
        * a Twisted endpoint string, such as ``unix:PATH``.
    :raises ValueError: if it is none of these, or the path of a socket is too long.
    """
    endpoint = _described_endpoint(reactor, description)
    if isinstance(endpoint, UNIXServerEndpoint):
        path = unix_path(endpoint)
        size = len(os.fsencode(path))
        if size > MAX_PATH:
            raise ValueError(
                f"the path {path} has {size} bytes; that of a UNIX socket has at most "
                f"{MAX_PATH}"
            )
    return endpoint


def _described_endpoint(
    reactor: IReactorUNIX, description: str
) -> IStreamServerEndpoint:
    kind = kind_of(description)
    if not description:
        raise ValueError("must not be empty")
    if not kind and is_socket_name(description) and not os.path.isdir(description):
        return UNIXServerEndpoint(StaleSocketReplacer(reactor), description)
    if not kind:
        path = os.path.join(description, "sock")
        creator = StaleSocketReplacer(reactor, creates_directory=True)
        return UNIXServerEndpoint(creator, path)
    replacer = StaleSocketReplacer(reactor) if kind == "unix" else reactor
    return parse_endpoint(replacer, description, _SYNTAX)


def parse_endpoint(
    reactor: IReactorUNIX, description: str, syntax: Mapping[str, str]
) -> IStreamServerEndpoint:
    """Return the endpoint that a Twisted endpoint string describes.

    :param syntax: the syntax of each kind that can be used, for errors.
    :raises ValueError: if it is malformed, or names a socket that systemd has not
        passed, or one that is no UNIX socket.
    """
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except NO_SUCH_SYSTEMD_SOCKET as error:
        raise ValueError("systemd passed no such socket") from error
    except MALFORMED_DESCRIPTION as error:
        kind = kind_of(description)
        if kind not in syntax:
            raise ValueError(f"unknown kind of endpoint: {kind}") from error
        raise ValueError(f"must have the form {syntax[kind]}") from error
    if not isinstance(endpoint, AdoptedStreamServerEndpoint):
        return endpoint
    if not is_adopted_unix(endpoint):
        raise ValueError("the socket of systemd must be a UNIX socket")
    return AdoptedEndpoint(adopted_descriptor(endpoint))


def check_endpoint(description: str, identified: bool = True) -> str:
    """Check whether devlxd could listen on an endpoint, without listening.

    For a UNIX socket this creates the missing directory, and removes a stale
    socket, as listening would.

    :param identified: whether callers are identified. If not, TCP is possible
        too, at a loopback address.
    :return: the address, which must be different for each endpoint. That of a UNIX
        socket is its path without symbolic links, any other is ``description``.
    :raises CannotListenError: if listening would fail.
    :raises ValueError: if ``description`` is not an endpoint for guests.
    """
    kind = kind_of(description)
    if kind in _ANONYMOUS or (kind == "tcp" and identified):
        raise ValueError(_UNIX_ONLY)
    reactor = DryRunReactor()
    endpoint = endpoint_at(reactor, description)
    if isinstance(endpoint, UNIXServerEndpoint):
        listen_now(endpoint, Factory())
        return os.path.realpath(reactor.address)
    if isinstance(endpoint, TCP4ServerEndpoint):
        listen_now(endpoint, Factory())
        if not is_loopback(reactor.address):
            raise ValueError("other hosts could connect; write interface=127.0.0.1")
    elif "domain=UNIX" not in description.split(":"):
        raise ValueError(_UNIX_ONLY)
    return description


def address_of(endpoint: IStreamServerEndpoint) -> str:
    """Return the address of an endpoint that may not listen yet, for operators.

    :return: the path of a UNIX socket; for an endpoint of another kind, its kind.
    """
    if isinstance(endpoint, UNIXServerEndpoint):
        return unix_path(endpoint)
    if isinstance(endpoint, AdoptedEndpoint):
        return endpoint.path
    return type(endpoint).__name__


def address_text(address: IAddress) -> str:
    """Return the address of a port as a text: a path, or a host and a port."""
    if isinstance(address, UNIXAddress):
        return os.fsdecode(address.name or b"")
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    return str(address)


def listen_now(
    endpoint: IStreamServerEndpoint, factory: IProtocolFactory
) -> Deferred[IListeningPort]:
    """Listen at ``endpoint``; raise immediate errors instead of returning them.

    :return: a Deferred that fires with the listening port; it fails with errors that
        happen later.
    :raises CannotListenError: if listening fails before this returns.
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


def kind_of(description: str) -> str:
    """Return the kind of a Twisted endpoint, such as ``unix``; "" for a path."""
    kind, colon, _ = description.partition(":")
    return "" if not colon or "/" in kind else kind


def reason_of(error: CannotListenError) -> str:
    """Return why devlxd cannot listen on an endpoint, in one line."""
    cause = error.socketError
    return str(getattr(cause, "strerror", None) or cause)


def is_socket_name(path: str) -> bool:
    """Return whether a path is that of a socket, by its last component."""
    name = os.path.basename(path)
    return name == "sock" or name.endswith(".sock")


def is_loopback(interface: str) -> bool:
    """Return whether a network interface is given by a loopback address."""
    try:
        return ipaddress.ip_address(interface).is_loopback
    except ValueError:
        return False
