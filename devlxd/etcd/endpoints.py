# -*- test-case-name: tests.etcd.test_gateway -*-
"""Connecting to a member of etcd."""

from __future__ import annotations

from typing import Any, cast

from attrs import frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from devlxd.etcd.errors import EtcdError
from devlxd.etcd.location import EtcdEndpoint, EtcdLocation
from devlxd.etcd.secret_files import tls_options
from devlxd.interfaces import IDevLXDReactor

#: How long connecting may take, in seconds.
CONNECT_TIMEOUT = 3


@implementer(IStreamClientEndpoint)
@frozen
class _TLSEndpoint:
    """An endpoint that reads its files for each connection: they may be renewed."""

    location: EtcdLocation
    host: str
    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        try:
            options = tls_options(self.location, self.host)
        except ValueError as error:
            return fail(EtcdError(str(error)))
        wrapped = wrapClientTLS(options, self.endpoint)
        connecting: Deferred[IProtocol] = wrapped.connect(protocolFactory)
        return connecting


def client_endpoint(
    reactor: IDevLXDReactor, location: EtcdLocation, address: EtcdEndpoint
) -> IStreamClientEndpoint:
    """Return an endpoint that connects to a member of etcd.

    A file of TLS that cannot be used fails the connection with an `EtcdError`.
    """
    if address.path:
        return UNIXClientEndpoint(reactor, address.path, timeout=CONNECT_TIMEOUT)
    # Its interface has no name resolver, which the reactors have.
    endpoint = HostnameEndpoint(
        cast(Any, reactor), address.host, address.port, timeout=CONNECT_TIMEOUT
    )
    if not address.is_tls:
        return endpoint
    return _TLSEndpoint(location, address.host, endpoint)
