# -*- test-case-name: tests.peers -*-
"""The contracts of `IPeerSource` and `ICallerIdentifier`."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

from twisted.internet.interfaces import ITransport
from zope.interface.verify import verifyObject

from devlxd.interfaces import (
    ICallerIdentifier,
    IExplainer,
    IPeerSource,
    NotInContainer,
)
from devlxd.model import Peer, Result
from devlxd.testing.callers import RecordingRunObserver
from devlxd.testing.contracts.base import ContractBase


class PeerSourceContract(ContractBase):
    """Tests of a source of peers.

    Override `make_source` and `make_transport`. Use `PidfdContract` for a source
    that provides pidfds, and `UnknownPeerContract` for one that does not know the
    peer of every connection; both for one that does both.

    :ivar source: a new source for each test.
    """

    source: IPeerSource

    def make_source(self) -> IPeerSource:
        """Hook: return a new source."""
        raise NotImplementedError

    def make_transport(self) -> ITransport:
        """Hook: return a connection whose peer is running."""
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the source."""
        super().setUp()
        self.source = self.make_source()

    def test_interface(self) -> None:
        """The source provides `IPeerSource`."""
        self.assertTrue(verifyObject(IPeerSource, self.source))

    def test_same_peer(self) -> None:
        """The peer of a connection never changes."""
        transport = self.make_transport()
        peers = []
        for _ in range(2):
            with self.source.open_peer(transport) as peer:
                peers.append((peer.pid, peer.uid, peer.gid))
        self.assertEqual(peers[0], peers[1])

    def test_exception(self) -> None:
        """An exception in the block is not suppressed; the pidfd is closed."""
        opening = self.source.open_peer(self.make_transport())
        peer = opening.__enter__()
        error = ZeroDivisionError()
        self.assertFalse(opening.__exit__(type(error), error, None))
        if peer.pidfd is not None:
            self.assertRaises(OSError, os.fstat, peer.pidfd)


class PidfdContract(PeerSourceContract):
    """Tests of a source of peers that provides pidfds.

    Override the hooks of `PeerSourceContract`.
    """

    def test_pidfd(self) -> None:
        """The pidfd of a peer is open inside the block only."""
        with self.source.open_peer(self.make_transport()) as peer:
            assert peer.pidfd is not None
            with open(f"/proc/self/fdinfo/{peer.pidfd}") as file:
                self.assertIn(f"Pid:\t{peer.pid}\n", file.read())
        self.assertRaises(OSError, os.fstat, peer.pidfd)


class UnknownPeerContract(PeerSourceContract):
    """Tests of a source of peers that does not know the peer of every connection.

    Override `open_unknown_peer`, and the hooks of `PeerSourceContract`.
    """

    def open_unknown_peer(self) -> AbstractContextManager[Peer]:
        """Hook: call `open_peer` for a connection whose peer is not known."""
        raise NotImplementedError

    def test_unknown(self) -> None:
        """A connection with an unknown peer is refused, with a reason for the log."""
        opening = self.open_unknown_peer()
        error = self.assertRaises(NotInContainer, opening.__enter__)
        self.assertNotEqual(str(error), "")


class CallerIdentifierContract(ContractBase):
    """Tests of an identifier of callers.

    Override `make_identifier` and `make_peer`. Use `OutsidePeerContract` as well,
    unless every peer is in a container, and `EndingRunsContract` if the identifier
    detects the ends of runs.

    :ivar identifier: a new identifier for each test.
    """

    identifier: ICallerIdentifier

    def make_identifier(self) -> ICallerIdentifier:
        """Hook: return a new identifier."""
        raise NotImplementedError

    def make_peer(self) -> Peer:
        """Hook: return a peer that `identifier` can identify.

        Each call returns the same process, in the same run of its container. Its uid is
        the effective uid of that process.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the identifier."""
        super().setUp()
        self.identifier = self.make_identifier()

    def test_interface(self) -> None:
        """The identifier provides `ICallerIdentifier`."""
        self.assertTrue(verifyObject(ICallerIdentifier, self.identifier))

    def test_same_caller(self) -> None:
        """A peer is identified as the same caller each time."""
        caller = self.identifier.identify(self.make_peer())
        self.assertNotEqual(caller.container, "")
        self.assertEqual(self.identifier.identify(self.make_peer()), caller)

    def test_unwatch(self) -> None:
        """An observer can be removed; removing it again raises `ValueError`."""
        observer = RecordingRunObserver()
        self.identifier.watch(observer)
        self.identifier.unwatch(observer)
        self.assertRaises(ValueError, self.identifier.unwatch, observer)


class OutsidePeerContract(CallerIdentifierContract):
    """Tests of an identifier of peers that may be outside of all containers.

    Override `make_outside_peer`, and the hooks of `CallerIdentifierContract`.
    """

    def make_outside_peer(self) -> Peer:
        """Hook: return a peer that is in no container."""
        raise NotImplementedError

    def test_outside_peer(self) -> None:
        """A peer that is in no container is refused, with a reason for the log."""
        peer = self.make_outside_peer()
        error = self.assertRaises(NotInContainer, self.identifier.identify, peer)
        self.assertIn(f"pid {peer.pid}", str(error))


class ExplainerContract(CallerIdentifierContract):
    """Tests of an identifier that explains how it identifies processes.

    Override the hooks of `CallerIdentifierContract`. Use `OutsideExplainerContract`
    as well, unless every peer is in a container.
    """

    @property
    def explainer(self) -> IExplainer:
        """The identifier."""
        return IExplainer(self.identifier)

    def test_explainer(self) -> None:
        """The identifier provides `IExplainer`."""
        self.assertTrue(verifyObject(IExplainer, self.identifier))

    def test_identified(self) -> None:
        """A process is explained like it is identified, before and after that."""
        peer = self.make_peer()
        before = self.explainer.explain(peer.pid)
        caller = self.identifier.identify(peer)
        for explanation in (before, self.explainer.explain(peer.pid)):
            self.assertEqual(explanation.pid, peer.pid)
            self.assertEqual(explanation.container, caller.container)
            self.assertEqual(explanation.uid, caller.uid)
            self.assertIsNone(explanation.refused)
            self.assertGreater(len(explanation.steps), 0)
            for step in explanation.steps:
                self.assertIsNot(step.result, Result.FAILED)


class OutsideExplainerContract(OutsidePeerContract, ExplainerContract):
    """Tests of an explainer of peers that may be outside of all containers.

    Override the hooks of `OutsidePeerContract`.
    """

    def test_outside(self) -> None:
        """For a process that is in no container the last check has failed."""
        explanation = self.explainer.explain(self.make_outside_peer().pid)
        self.assertIsNone(explanation.container)
        self.assertIsNone(explanation.uid)
        results = [step.result for step in explanation.steps]
        self.assertIs(results.pop(), Result.FAILED)
        self.assertNotIn(Result.FAILED, results)
        self.assertEqual(explanation.refused, explanation.steps[-1].detail)
        self.assertNotIn("\n", explanation.refused)
        self.assertNotEqual(explanation.refused, "")
