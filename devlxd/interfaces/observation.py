"""The seam for observers of a service: metrics, audits, host agents."""

from __future__ import annotations

from zope.interface import Interface

from devlxd.model import Caller, Container


class IServiceObserver(Interface):
    """An observer of a service.

    Every method is called in the reactor's thread and must return soon. An exception
    that it raises is logged and affects no guest.
    """

    def connected(caller: Caller) -> None:
        """Called when the caller of a new connection is identified.

        `refused` follows if its container has too many connections.
        """

    def refused(container: str | None, reason: str) -> None:
        """Called when a connection or a request is refused.

        If a caller is not identified, its connection and each request on it are
        refused.

        :param container: the container's name; ``None`` if the caller was not
            identified.
        :param reason: one line for the operator: for a request, the text of its
            response; for a connection, a reason that the guest does not receive.
        """

    def asked(container: str, path: str, code: int) -> None:
        """Called when the response to a request that passed the gate begins.

        It is called once for each request, whatever the response is, unless the
        connection is lost before that.

        :param path: the requested path.
        :param code: the status code that is sent: 101 if a websocket is accepted,
            500 if devlxd has failed.
        """

    def changed(name: str, old: Container | None, new: Container | None) -> None:
        """Called when a container has changed; see `IStoreObserver.changed`."""

    def lost(container: str) -> None:
        """Called when a subscriber is sent the event ``lost``."""
