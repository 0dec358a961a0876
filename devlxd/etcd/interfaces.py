"""The interfaces within the package, and to what is built on it."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from devlxd.etcd.changes import Change
from devlxd.etcd.errors import EtcdError
from devlxd.etcd.messages import KeyRange, RangeAnswer, RangeRequest, WatchLine


class IRangeGateway(Interface):
    """One member of etcd, as far as it lists keys."""

    endpoint: str = Attribute("The address of the member, for people.")

    def range(
        request: RangeRequest, max_size: int, timeout: float
    ) -> Deferred[RangeAnswer]:
        """Ask for keys.

        :param max_size: the maximum length of the answer, in bytes.
        :param timeout: how long the member may take, in seconds.
        :return: a Deferred, which may be cancelled. It fails with a `TooLargeError` if
            the answer is longer, and with another `EtcdError` if there is none.
        """


class IEtcdGateway(IRangeGateway):
    """One member of etcd.

    `devlxd.testing.MemoryEtcd` makes gateways in memory, and
    `devlxd.testing.contracts.EtcdGatewayContract` tests a provider.
    """

    def watch(
        keys: KeyRange, start_revision: int, max_size: int, receiver: IWatchReceiver
    ) -> IWatch:
        """Begin to watch keys.

        The receiver is never called before this returns.

        :param start_revision: the first revision whose changes are sent.
        :param max_size: the maximum length of a line, in bytes.
        """

    def close() -> Deferred[None]:
        """Close the idle connections. The gateway can be used afterwards."""


class IWatch(Interface):
    """A watch that was begun."""

    def received_bytes() -> int:
        """Return how much was received, parts of lines included."""

    def pause() -> None:
        """Receive no lines for a while; harmless if it is paused."""

    def resume() -> None:
        """Receive lines again; harmless if it is not paused."""

    def stop() -> None:
        """End the watch; its receiver is not called any more."""


class IWatchReceiver(Interface):
    """The receiver of what a watch sends."""

    def received(line: WatchLine) -> None:
        """Called with each line, in their order."""

    def ended(error: EtcdError) -> None:
        """Called once, when the watch has ended by itself."""


class ISyncTarget(Interface):
    """What follows the keys below a prefix."""

    def changed(changes: Sequence[Change]) -> None:
        """Called with changes, in their order.

        Each change of a key is in one call, unless etcd has forgotten it.
        """

    def resumed() -> None:
        """Called when a list continues what is known; the changes since then follow."""

    def listed(changes: Sequence[Change]) -> None:
        """Called when a list has replaced what was known, with the differences."""

    def confirmed(endpoint: str, since: float) -> None:
        """Called when everything that etcd had was received.

        :param endpoint: the address of the member.
        :param since: the time of the question, in seconds of the reactor.
        """

    def away(problem: str) -> None:
        """Called when no member answers, again after each attempt.

        :param problem: the address of the last one and what is wrong, in one line.
        """
