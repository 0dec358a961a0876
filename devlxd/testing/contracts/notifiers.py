# -*- test-case-name: tests.host.test_notifier -*-
"""The contract of `INotifier`."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from devlxd.interfaces import INotifier
from devlxd.testing.contracts.base import ContractBase


class NotifierContract(ContractBase):
    """Tests of a notifier of the service manager.

    Override `make_notifier`.
    """

    def make_notifier(self) -> INotifier:
        """Hook: return a new notifier."""
        raise NotImplementedError

    def silence(self) -> None:
        """Hook: the manager of `make_notifier` stops listening; default: nothing."""

    def test_interface(self) -> None:
        """The notifier provides its interface; the timeout is a number."""
        notifier = self.make_notifier()
        verifyObject(INotifier, notifier)
        self.assertGreaterEqual(notifier.watchdog, 0)

    def call_all(self, notifier: INotifier) -> None:
        """Call every method of ``notifier``."""
        notifier.status("one line")
        notifier.ready()
        notifier.reloading()
        notifier.alive()
        notifier.stopping()

    def test_silent_manager(self) -> None:
        """A manager that does not listen raises no exceptions."""
        notifier = self.make_notifier()
        self.call_all(notifier)
        self.silence()
        self.call_all(notifier)

    def test_slow_manager(self) -> None:
        """A manager that reads nothing does not block the notifier."""
        notifier = self.make_notifier()
        for _ in range(1000):
            notifier.alive()
        self.call_all(notifier)
