"""Tests of `devlxd.peers.admission`."""

from __future__ import annotations

from collections.abc import Hashable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.interfaces import ICallerIdentifier, IContainerStore
from devlxd.model import Caller, Container, Refusal
from devlxd.peers.admission import CallerAdmission
from devlxd.peers.assumed_identifier import AssumedIdentifier
from devlxd.testing import (
    GUEST,
    MemoryIdentifier,
    MemoryPeerSource,
    RecordingServiceObserver,
)
from devlxd.testing.contracts import LoadingAdmissionContract
from tests.default_limits import LOADING_TIMEOUT


class LoadingStore(MemoryStore):
    """A store that is not loaded yet.

    :ivar pending: the Deferreds of `loaded` that have neither fired nor been
        cancelled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pending: list[Deferred[None]] = []

    def loaded(self) -> Deferred[None]:
        """See `IContainerStore.loaded`."""
        loaded: Deferred[None] = Deferred(self.pending.remove)
        self.pending.append(loaded)
        return loaded


class CallerAdmissionContractTests(LoadingAdmissionContract, SynchronousTestCase):
    """The contract of an admission, run on `CallerAdmission`."""

    def make_admission(self) -> CallerAdmission:
        """See `AdmissionContract.make_admission`."""
        self.callers: dict[int, Caller] = {}
        return self.admission_of(MemoryStore())

    def admission_of(self, store: MemoryStore) -> CallerAdmission:
        """Return an admission that identifies ``self.callers``."""
        return CallerAdmission(
            store,
            MemoryIdentifier(self.callers),
            MemoryPeerSource(),
            Clock(),
            lambda pid, container: None,
        )

    def make_transport(self) -> ITransport:
        """See `AdmissionContract.make_transport`."""
        self.callers[GUEST.pid] = Caller("c1", uid=0, run=1)
        return StringTransport()

    def make_unknown_transport(self) -> ITransport:
        """See `AdmissionContract.make_unknown_transport`."""
        self.callers.clear()
        return StringTransport()

    def make_loading_admission(self) -> CallerAdmission:
        """See `LoadingAdmissionContract.make_loading_admission`."""
        self.store = MemoryStore(loaded=False)
        return self.admission_of(self.store)

    def finish_loading(self) -> None:
        """See `LoadingAdmissionContract.finish_loading`."""
        self.store.mark_loaded()


class CallerAdmissionTests(SynchronousTestCase):
    """What `CallerAdmission` does beyond the contract of an admission."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.observer = RecordingServiceObserver()
        self.identified: list[tuple[Hashable, Hashable]] = []

    def admission(
        self,
        callers: dict[int, Caller],
        store: IContainerStore | None = None,
        identifier: ICallerIdentifier | None = None,
    ) -> CallerAdmission:
        """Return an admission that knows some callers by their pids."""
        return CallerAdmission(
            store or MemoryStore(),
            identifier or MemoryIdentifier(callers),
            MemoryPeerSource(),
            self.clock,
            lambda pid, container: self.identified.append((pid, container)),
            self.observer,
        )

    def test_identified(self) -> None:
        """A caller is identified; its pid and its container are reported."""
        caller = Caller("c1", uid=0, run=1)
        admission = self.admission({GUEST.pid: caller})
        self.assertEqual(admission.identify(StringTransport()), caller)
        self.assertEqual(admission.owner(caller), "c1")
        self.assertEqual(self.identified, [(GUEST.pid, "c1")])
        self.assertEqual(self.observer.notifications, [("connected", caller)])

    def test_not_identified(self) -> None:
        """A peer in no container has no caller; the reason is logged."""
        admission = self.admission({})
        with capturedLogs() as events:
            self.assertIsNone(admission.identify(StringTransport()))
        self.assertIsNone(admission.owner(None))
        (event,) = events
        self.assertIn(f"pid {GUEST.pid}", event["reason"])
        ((method, container, refusal, reason),) = self.observer.notifications
        self.assertEqual((method, container), ("refused", None))
        self.assertIs(refusal, Refusal.NOT_IN_CONTAINER)
        self.assertIn(event["reason"], reason)
        self.assertEqual(self.identified, [])

    def test_not_loaded(self) -> None:
        """Before the store is loaded, a refusal is not logged: there is a retry."""
        store = LoadingStore()
        admission = self.admission({}, store)
        with capturedLogs() as events:
            self.assertIsNone(admission.identify(StringTransport()))
        self.assertEqual(events, [])
        self.assertEqual(self.observer.notifications, [])
        self.assertEqual(store.pending, [])

    def test_retry(self) -> None:
        """The second attempt is the last one: its refusal is logged, once."""
        admission = self.admission({}, LoadingStore())
        with capturedLogs() as events:
            self.assertIsNone(admission.identify(StringTransport(), is_retry=True))
        self.assertEqual(len(events), 1)
        self.assertEqual([n[0] for n in self.observer.notifications], ["refused"])

    def test_container_not_loaded(self) -> None:
        """A caller whose container is not loaded yet is not identified yet."""
        caller = Caller("c1", uid=0)
        store = LoadingStore()
        admission = self.admission({}, store, AssumedIdentifier("c1"))
        with capturedLogs() as events:
            self.assertIsNone(admission.identify(StringTransport()))
        self.assertEqual(events, [])
        self.assertEqual(self.observer.notifications, [])
        self.assertEqual(store.pending, [])
        store.put(Container("c1"))
        self.assertEqual(admission.identify(StringTransport()), caller)
        self.assertEqual(self.observer.notifications, [("connected", caller)])

    def test_container_missing(self) -> None:
        """A caller whose container does not exist is identified all the same.

        The store is loaded, or this is the second attempt.
        """
        caller = Caller("c1", uid=0)
        for store, is_retry in ((MemoryStore(), False), (LoadingStore(), True)):
            admission = self.admission({}, store, AssumedIdentifier("c1"))
            self.assertEqual(admission.identify(StringTransport(), is_retry), caller)
            self.assertEqual(self.observer.notifications.pop(), ("connected", caller))

    def test_failure(self) -> None:
        """An exception of the identifier is logged, and the peer has no caller."""

        class FailingIdentifier(MemoryIdentifier):
            def identify(self, peer: object) -> Caller:
                raise ZeroDivisionError("on purpose")

        admission = self.admission({}, identifier=FailingIdentifier())
        self.assertIsNone(admission.identify(StringTransport()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_refused(self) -> None:
        """A refused connection is logged, with its container if it is known."""
        admission = self.admission({})
        for owner, container in (("c1", "c1"), (object(), None)):
            with capturedLogs() as events:
                admission.refused(owner)
            self.assertEqual([event["container"] for event in events], [owner])
            self.assertEqual(
                self.observer.notifications.pop(),
                (
                    "refused",
                    container,
                    Refusal.TOO_MANY_CONNECTIONS,
                    "too many connections",
                ),
            )

    def test_ready_when_loaded(self) -> None:
        """Identification is retried when the store has been loaded."""
        store = LoadingStore()
        ready = self.admission({}, store).when_ready()
        assert ready is not None
        self.assertNoResult(ready)
        store.pending.pop().callback(None)
        self.successResultOf(ready)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ready_in_time(self) -> None:
        """Identification is retried after a timeout if the store is still loading."""
        store = LoadingStore()
        ready = self.admission({}, store).when_ready()
        assert ready is not None
        self.clock.advance(LOADING_TIMEOUT)
        self.successResultOf(ready)
        self.assertEqual(store.pending, [])

    def test_ready_is_cancelled(self) -> None:
        """A cancelled retry leaves no timeout and no Deferred of the store."""
        store = LoadingStore()
        ready = self.admission({}, store).when_ready()
        assert ready is not None
        ready.addErrback(lambda _: None)
        ready.cancel()
        self.assertEqual(store.pending, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
