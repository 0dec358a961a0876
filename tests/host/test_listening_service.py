"""Tests of `devlxd.host.listening_service`."""

from __future__ import annotations

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from devlxd.host.listening_service import ListeningService


@implementer(IStreamServerEndpoint)
class FakeEndpoint:
    """An endpoint that returns a Deferred."""

    def __init__(self, listening: Deferred[IListeningPort]) -> None:
        self._listening = listening

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint.listen`."""
        return self._listening


@implementer(IListeningPort)
class FakePort:
    """A port that records when it is stopped."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def getHost(self) -> IAddress:
        """See `IListeningPort.getHost`."""
        return UNIXAddress("/here")

    def startListening(self) -> None:
        """See `IListeningPort.startListening`."""

    def stopListening(self) -> None:
        """See `IListeningPort.stopListening`."""
        self._calls.append("stop port")


class RecordingService(ListeningService):
    """A service that records the calls of its hooks."""

    def __init__(self, listening: Deferred[IListeningPort], calls: list[str]) -> None:
        super().__init__(FakeEndpoint(listening), Factory())
        self._calls = calls

    def listened(self, port: IListeningPort) -> None:
        """See `ListeningService.listened`."""
        self._calls.append("listened")

    def listening_failed(self, failure: Failure) -> None:
        """See `ListeningService.listening_failed`."""
        self._calls.append("failed")

    def stop_accepting(self) -> None:
        """See `ListeningService.stop_accepting`."""
        self._calls.append("stop accepting")

    def close_connections(self) -> Deferred[None]:
        """See `ListeningService.close_connections`."""
        self._calls.append("close connections")
        return succeed(None)


class ListeningServiceTests(SynchronousTestCase):
    """`ListeningService`."""

    def setUp(self) -> None:
        self.calls: list[str] = []
        self.listening: Deferred[IListeningPort] = Deferred()
        self.service = RecordingService(self.listening, self.calls)

    def test_life(self) -> None:
        """It listens once; when it stops, connections are closed last."""
        self.service.privilegedStartService()
        self.service.startService()
        self.listening.callback(FakePort(self.calls))
        self.assertEqual(self.calls, ["listened"])
        self.successResultOf(self.service.stopService())
        self.assertEqual(
            self.calls[1:], ["stop accepting", "stop port", "close connections"]
        )

    def test_stopped_before(self) -> None:
        """A port that does not listen yet is stopped as soon as it does."""
        self.service.startService()
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        self.listening.callback(FakePort(self.calls))
        self.successResultOf(stopped)
        self.assertIn("stop port", self.calls)

    def test_fails_later(self) -> None:
        """A late failure is passed on; the service can be stopped."""
        self.service.startService()
        self.listening.errback(ZeroDivisionError())
        self.assertEqual(self.calls, ["failed"])
        self.successResultOf(self.service.stopService())

    def test_fails_at_once(self) -> None:
        """A failure at once is raised, so that the process does not start."""
        failed = fail(CannotListenError("", "/s", OSError()))
        service = RecordingService(failed, self.calls)
        self.assertRaises(CannotListenError, service.privilegedStartService)
