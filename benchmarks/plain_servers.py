"""Servers to compare devlxd with: a bare Protocol and a bare Site of Twisted.

``plain_servers.py KIND SOCKET FILE`` serves at a UNIX socket, and prints a line when it
listens. ``protocol`` sends the bytes of the file whenever it receives something;
``site`` serves one value at the path of a config key.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as installed
from twisted.internet.interfaces import (
    IProtocolFactory,
    IReactorCore,
    IReactorUNIX,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.web import resource, server, static


class FixedResponse(Protocol):
    """Sends one response whenever something is received."""

    response = b""

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        assert self.transport is not None
        self.transport.write(self.response)


def make_site() -> server.Site:
    """Return a site with one value of the config."""
    root = resource.Resource()
    version, config = resource.Resource(), resource.Resource()
    root.putChild(b"1.0", version)
    version.putChild(b"config", config)
    value = static.Data(b"bar", "text/plain; charset=utf-8")
    config.putChild(b"user.foo", value)
    return server.Site(root)


def main() -> None:
    """Serve until the process is killed."""
    kind, path, file = sys.argv[1:]
    factory: IProtocolFactory
    if kind == "protocol":
        FixedResponse.response = Path(file).read_bytes()
        factory = Factory.forProtocol(FixedResponse)
    else:
        factory = make_site()
    unix = cast(IReactorUNIX, installed)
    unix.listenUNIX(path, cast(Any, factory), backlog=4096)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    cast(IReactorCore, installed).run()


if __name__ == "__main__":
    main()
