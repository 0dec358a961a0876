"""Tests of `devlxd.peers.admission`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Hashable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IPeerSource,
    NotInContainer,
)
from devlxd.model import Caller, Container, Init, JSONValue, Peer, Refusal
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


def _called(container: str | None, _transport: ITransport) -> str | None:
    return container


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


class RecognizeTests(SynchronousTestCase):
    """`CallerAdmission.recognize`: connections that the last process handed over.

    :ivar transport: a connection whose peer runs.
    """

    INIT = Init(pid=10, started=5, boot="b")

    def setUp(self) -> None:
        self.callers = {GUEST.pid: Caller("c1", 1000, run=7, init=self.INIT)}
        self.observer = RecordingServiceObserver()
        self.store = MemoryStore()
        self.record = self.admission().record_of(self.callers[GUEST.pid])
        self.transport = StringTransport()

    def admission(
        self,
        peers: IPeerSource | None = None,
        identifier: ICallerIdentifier | None = None,
    ) -> CallerAdmission:
        """Return the admission of the next process; default: the peer runs."""
        return CallerAdmission(
            self.store,
            identifier or MemoryIdentifier(self.callers),
            peers or MemoryPeerSource(),
            Clock(),
            lambda pid, container: None,
            self.observer,
        )

    def ended_peer(self) -> IPeerSource:
        """Return a source of a peer that has ended, with its pidfd."""
        with subprocess.Popen(["true"]) as process:
            pidfd = os.pidfd_open(process.pid)
            self.addCleanup(os.close, pidfd)
        return MemoryPeerSource(Peer(process.pid, 101_000, 101_000, pidfd))

    def test_peer_runs(self) -> None:
        """A peer that runs is identified anew: the run has another number."""
        later = Caller("c1", 1000, run=1, init=self.INIT)
        self.callers[GUEST.pid] = later
        admission = self.admission()
        self.assertEqual(admission.recognize(self.transport, self.record), later)
        self.assertEqual(self.observer.notifications, [("connected", later)])

    def test_peer_ended(self) -> None:
        """If the peer has ended but the run has not, the caller keeps its uid."""
        for peers in (self.ended_peer(), MemoryPeerSource(None)):
            caller = self.admission(peers).recognize(self.transport, self.record)
            self.assertEqual(caller, Caller("c1", 1000, run=7, init=self.INIT))

    def test_run_ended(self) -> None:
        """If the run has ended, the connection is not recognized, nothing is logged."""
        peers = self.ended_peer()
        self.callers[GUEST.pid] = Caller("c1", 0, 8, Init(10, 6, "b"))
        for admission in (self.admission(peers), self.admission()):
            with capturedLogs() as events:
                self.assertIsNone(admission.recognize(self.transport, self.record))
            self.assertEqual(events, [])
        self.assertEqual(self.observer.notifications, [])

    def test_peer_is_refused(self) -> None:
        """A peer that runs, but cannot be identified, is not taken for its run.

        Its container may be switched to another document, for example.
        """
        admission = self.admission(MemoryPeerSource(Peer(GUEST.pid + 1, 0, 0)))
        self.assertIsNone(admission.recognize(self.transport, self.record))

    def test_another_container(self) -> None:
        """A peer that is now in a container of another name is not recognized."""
        self.callers[GUEST.pid] = Caller("c2", 1000, 7, self.INIT)
        for peers in (MemoryPeerSource(), self.ended_peer()):
            admission = self.admission(peers)
            self.assertIsNone(admission.recognize(self.transport, self.record))

    def test_without_runs(self) -> None:
        """An identifier that knows no runs recognizes peers that run only."""
        assumed = AssumedIdentifier("c1")
        record = self.admission().record_of(assumed.identify(GUEST))
        admission = self.admission(identifier=assumed)
        recognized = admission.recognize(self.transport, record)
        self.assertEqual(recognized, Caller("c1", 0))
        admission = self.admission(MemoryPeerSource(None), assumed)
        self.assertIsNone(admission.recognize(self.transport, record))
        self.assertIsNone(admission.recognize(self.transport, self.record))

    def test_malformed(self) -> None:
        """Records of another form are not recognized."""
        admission = self.admission()
        malformed: dict[str, list[JSONValue]] = {
            "container": [None, 1, [], {}],
            "uid": ["0", [], 1.5],
            "init": [[], [1, 2], ["1", 2, "b"], [1, 2, 3], "init", 7, {}],
        }
        for key, values in malformed.items():
            for value in values:
                record = {**self.record, key: value}
                self.assertIsNone(admission.recognize(self.transport, record), record)
                if key == "container":
                    self.assertIsNone(admission.recorded_owner(record))
        self.assertIsNone(admission.recorded_owner({}))
        self.assertEqual(admission.recorded_owner(self.record), "c1")

    def test_failure(self) -> None:
        """An unexpected failure is logged, and the connection is not recognized."""
        self.patch(MemoryIdentifier, "identify", lambda *_: 1 // 0)
        self.assertIsNone(self.admission().recognize(self.transport, self.record))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_loaded(self) -> None:
        """Connections are recognized when the store is loaded."""
        self.assertIsNone(self.admission().when_loaded())
        self.store = MemoryStore(loaded=False)
        loaded = self.admission().when_loaded()
        assert loaded is not None
        self.assertNoResult(loaded)
        self.store.mark_loaded()
        self.successResultOf(loaded)


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
        called: Callable[[ITransport], str | None] | None = None,
    ) -> CallerAdmission:
        """Return an admission that knows some callers by their pids."""
        return CallerAdmission(
            store or MemoryStore(),
            identifier or MemoryIdentifier(callers),
            MemoryPeerSource(),
            self.clock,
            lambda pid, container: self.identified.append((pid, container)),
            self.observer,
            called=called,
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

    def test_facts(self) -> None:
        """A refusal is logged with what is known about the peer, as fields."""
        admission = self.admission({})
        facts: dict[str, str | int]
        facts = {"pid": 7, "uid": 5, "cgroup": "/x", "has ended": 1}

        def refuse(identifier: MemoryIdentifier, peer: Peer) -> None:
            raise NotInContainer("why", facts=facts)

        self.patch(MemoryIdentifier, "identify", refuse)
        with capturedLogs() as events:
            admission.identify(StringTransport())
        (event,) = events
        found = [event[name] for name in ("pid", "uid", "cgroup", "has_ended")]
        self.assertEqual(found, [7, 5, "/x", 1])

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

    def test_called_own_socket(self) -> None:
        """A caller that calls the socket of its own container is identified."""
        caller = Caller("c1", uid=0)
        admission = self.admission({GUEST.pid: caller}, called=lambda _: "c1")
        self.assertEqual(admission.identify(StringTransport()), caller)

    def test_called_other_socket(self) -> None:
        """One that calls another container's is refused; the log has all names."""
        for called in ("c2", None):
            admission = self.admission(
                {GUEST.pid: Caller("c1", uid=0)},
                called=partial(_called, called),
            )
            with capturedLogs() as events:
                self.assertIsNone(admission.identify(StringTransport()))
            (event,) = events
            self.assertEqual(
                event["reason"],
                f"pid {GUEST.pid} (uid {GUEST.uid}): it is in c1, but has called the "
                f"socket of {called}",
            )
            self.assertEqual((event["container"], event["called"]), ("c1", str(called)))
            ((method, container, refusal, _),) = self.observer.notifications
            self.assertEqual((method, container), ("refused", None))
            self.assertIs(refusal, Refusal.NOT_IN_CONTAINER)
            self.observer.notifications.clear()
        # The process is known all the same, for its limits.
        self.assertEqual(self.identified, [(GUEST.pid, "c1")] * 2)

    def test_recognized_at_other_socket(self) -> None:
        """So is one whose connection the last process has handed over."""
        caller = Caller("c1", uid=0)
        called = "c1"
        admission = self.admission({GUEST.pid: caller}, called=lambda _: called)
        record = admission.record_of(caller)
        self.assertEqual(admission.recognize(StringTransport(), record), caller)
        called = "c2"
        self.assertIsNone(admission.recognize(StringTransport(), record))
