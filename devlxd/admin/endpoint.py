# -*- test-case-name: tests.admin.test_endpoint -*-
"""The option ``--admin ENDPOINT`` of ``twistd devlxd``."""

from __future__ import annotations

import os
import re
import socket
from contextlib import closing

from attrs import frozen
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorUNIX, IStreamServerEndpoint
from twisted.internet.protocol import Factory

from devlxd.host.dry_run import DryRunReactor
from devlxd.host.listening import (
    is_socket_name,
    kind_of,
    listen_now,
    parse_endpoint,
    reason_of,
)
from devlxd.host.socket_files import StaleSocketReplacer

#: The syntax of the kinds of Twisted endpoints that can be used.
_SYNTAX = {
    "unix": "unix:PATH[:mode=MODE]",
    "systemd": "systemd:domain=UNIX:name=NAME",
    "tcp": "tcp:PORT[:interface=ADDRESS]",
}

#: The arguments that are added to an endpoint string that lacks them: only the user
#: of the process, and only this host, can connect.
_DEFAULTS = {"unix": "mode=600", "tcp": "interface=127.0.0.1"}

#: The mode of a missing directory of a socket, which is created.
_DIRECTORY_MODE = 0o700


@frozen
class AdminEndpoint:
    """The value of one ``--admin``.

    :ivar typed: the value as it was typed.
    :ivar description: the Twisted endpoint string that it means.
    """

    typed: str
    description: str

    @classmethod
    def parse(cls, value: str) -> AdminEndpoint:
        """Parse the value of the option.

        :param value: a path, as for ``--listen``, or a Twisted endpoint string.
        :raises ValueError: if it is neither.
        """
        if not value:
            raise ValueError("must not be empty")
        kind = kind_of(value)
        if not kind:
            return cls(value, f"unix:{_quoted_path(value)}:mode=600")
        if kind not in _SYNTAX:
            raise ValueError(f"unknown kind of endpoint: {kind}")
        default = _DEFAULTS.get(kind, "=")
        name = default.partition("=")[0]
        # A backslash quotes the colon after it.
        is_given = not name or re.search(rf"(?<!\\):{name}=", value)
        return cls(value, value if is_given else f"{value}:{default}")

    @property
    def is_tcp(self) -> bool:
        """Whether it listens on TCP, where every local user can connect."""
        return kind_of(self.description) == "tcp"

    def endpoint(self, reactor: IReactorUNIX) -> IStreamServerEndpoint:
        """Return the endpoint.

        :raises ValueError: if the endpoint string is malformed, see `parse_endpoint`.
        """
        if kind_of(self.description) == "unix":
            reactor = StaleSocketReplacer(reactor, True, _DIRECTORY_MODE)
        return parse_endpoint(reactor, self.description, _SYNTAX)

    def check(self) -> str:
        """Check whether devlxd can listen there, without listening.

        For a UNIX socket this creates the missing directory, and removes a stale
        socket, as listening would.

        :return: the address, which must be different for each endpoint.
        :raises ValueError: if devlxd cannot listen there; the text is the reason.
        """
        reactor = DryRunReactor()
        try:
            endpoint = self.endpoint(reactor)
            if kind_of(self.description) == "systemd":
                return self.description
            listen_now(endpoint, Factory())
            if isinstance(endpoint, UNIXServerEndpoint):
                return os.path.realpath(reactor.address)
            _check_tcp(reactor.address, reactor.port)
        except CannotListenError as error:
            raise ValueError(reason_of(error)) from error
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from error
        return f"{reactor.address}:{reactor.port}"


def _quoted_path(path: str) -> str:
    """Return the path of a socket for an endpoint string."""
    if not is_socket_name(path) or os.path.isdir(path):
        path = os.path.join(path, "sock")
    # Twisted's own quoteStringArgument() does not quote "=".
    return re.sub(r"([\\:=])", r"\\\1", path)


def _check_tcp(interface: str, port: int) -> None:
    """Check that a TCP port can be bound.

    :raises OSError: if it cannot.
    """
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((interface, port))
