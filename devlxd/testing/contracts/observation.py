# -*- test-case-name: tests.test_observers -*-
"""The contract of `IServiceObserver`."""

from __future__ import annotations

from attrs import evolve
from zope.interface.verify import verifyObject

from devlxd.interfaces import IServiceObserver
from devlxd.model import Caller, Container, Refusal
from devlxd.testing.contracts.base import ContractBase

_C1 = Container("c1", {"user.a": "1"})

_NEWER = evolve(_C1, config={"user.a": "2"})


class ServiceObserverContract(ContractBase):
    """Tests of an observer of a service. Override `make_observer`.

    :ivar observer: a new observer for each test.
    """

    observer: IServiceObserver

    def make_observer(self) -> IServiceObserver:
        """Hook: return a new observer that has not been notified yet."""
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the observer."""
        super().setUp()
        self.observer = self.make_observer()

    def test_interface(self) -> None:
        """The observer provides `IServiceObserver`."""
        self.assertTrue(verifyObject(IServiceObserver, self.observer))

    def test_connections(self) -> None:
        """An observer accepts callers of all kinds, even repeatedly."""
        for caller in (Caller("c1", 0, run=1), Caller("c1", None), Caller("c2", 7)):
            self.observer.connected(caller)
            self.observer.connected(caller)

    def test_refusals(self) -> None:
        """An observer accepts refusals, even of a caller that is not identified."""
        self.observer.refused("c1", Refusal.SWITCHED_OFF, "not authorized")
        self.observer.refused(None, Refusal.NOT_IN_CONTAINER, "pid 1 is \ufffd")

    def test_requests(self) -> None:
        """An observer accepts requests of a container that never connected.

        It accepts any path, as guests choose the paths.
        """
        for path, code in (("/1.0", 200), ("/\r\n\x00\xff{0}%s", 404), ("", 500)):
            self.observer.asked("c1", path, code)
            self.observer.responded("toy", code, 0.001)

    def test_changes(self) -> None:
        """An observer accepts all changes, even those of an unknown container."""
        self.observer.changed("c1", None, _C1)
        self.observer.changed("c1", _C1, _NEWER)
        self.observer.recorded("c1", 1)
        self.observer.changed("c1", _NEWER, None)
        self.observer.changed("c2", evolve(_C1, name="c2", hostname="c2"), None)

    def test_lost(self) -> None:
        """An observer accepts that a subscriber has lost events."""
        self.observer.lost("c1")
