"""The interface of a service's observers: metrics, audits and host agents."""

from __future__ import annotations

from zope.interface import Interface

from devlxd.model import Caller, Container, Refusal


class IServiceObserver(Interface):
    """An observer of a service.

    Every method is called in the reactor's thread and must return soon. An exception
    that it raises is logged and affects no guest.
    """

    def connected(caller: Caller) -> None:
        """Called when the caller of a new connection is identified.

        `refused` follows if its container has too many connections.
        """

    def refused(container: str | None, refusal: Refusal, reason: str) -> None:
        """Called when a connection or a request is refused.

        If a caller is not identified, this is called for its connection, and not for
        the requests on it, which are all refused. Several surplus connections that one
        process opens at about the same time count as one.

        :param container: the container's name; ``None`` if the caller was not
            identified.
        :param refusal: the kind of the refusal.
        :param reason: one line for the operator: for a request, the text of its
            response; for a connection, a reason that the guest does not receive.
        """

    def asked(container: str, path: str, code: int) -> None:
        """Called when the response to a request that passed the gate begins.

        The gate checks that the caller may use the API. This is called once for each
        such request, whatever the response is, unless the connection is lost before
        the response begins.

        :param path: the requested path, percent-encoded, without the query.
        :param code: the status code that is sent: 101 if a websocket is accepted,
            500 if devlxd has failed.
        """

    def responded(dialect: str, code: int, seconds: float) -> None:
        """Called when the response to a complete request begins, after `asked`.

        Other than `asked`, this is also called for refused requests.

        :param dialect: the name of the dialect.
        :param code: the status code, as for `asked`.
        :param seconds: the time since the request was complete.
        """

    def changed(name: str, old: Container | None, new: Container | None) -> None:
        """Called when a container has changed; see `IStoreObserver.changed`."""

    def recorded(container: str, count: int) -> None:
        """Called when a change has caused events.

        :param container: the container's name.
        :param count: the number of events.
        """

    def lost(container: str) -> None:
        """Called when a subscriber is sent the event ``lost``."""
