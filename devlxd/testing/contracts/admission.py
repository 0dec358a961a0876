# -*- test-case-name: tests.peers.test_admission -*-
"""The contract of `IAdmission`."""

from __future__ import annotations

import json

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import ITransport
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from devlxd.interfaces import IAdmission
from devlxd.testing.contracts.base import ContractBase


class AdmissionContract(ContractBase):
    """Tests of an admission.

    Override `make_admission`, `make_transport` and `make_unknown_transport`. Use
    `LoadingAdmissionContract` if a caller that cannot be identified at first may be
    identified later.

    :ivar admission: a new admission for each test.
    """

    admission: IAdmission

    def make_admission(self) -> IAdmission:
        """Hook: return a new admission that can identify all callers."""
        raise NotImplementedError

    def make_transport(self) -> ITransport:
        """Hook: return a new connection of a caller that `admission` identifies.

        Each call returns a connection of the same caller.
        """
        raise NotImplementedError

    def make_unknown_transport(self) -> ITransport:
        """Hook: return a new connection whose caller cannot be identified."""
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the admission."""
        super().setUp()
        self.admission = self.make_admission()

    def test_interface(self) -> None:
        """The admission provides `IAdmission`."""
        self.assertTrue(verifyObject(IAdmission, self.admission))

    def test_identified(self) -> None:
        """All connections of a caller have the same owner."""
        owners = set()
        for _ in range(2):
            caller = self.admission.identify(self.make_transport())
            self.assertIsNotNone(caller)
            owners.add(self.admission.owner(caller))
        self.assertEqual(len(owners), 1)

    def test_not_identified(self) -> None:
        """Connections whose callers are not identified have an owner of their own."""
        caller = self.admission.identify(self.make_transport())
        self.assertIsNone(self.admission.identify(self.make_unknown_transport()))
        owners = {self.admission.owner(caller), self.admission.owner(None)}
        self.assertEqual(len(owners), 2)

    def test_refused(self) -> None:
        """After connections were refused, further ones are still identified."""
        caller = self.admission.identify(self.make_transport())
        for owner in (self.admission.owner(caller), self.admission.owner(None)):
            self.admission.refused(owner)
        self.assertIsNotNone(self.admission.identify(self.make_transport()))

    def test_recognized(self) -> None:
        """A caller is recognized by its record, which consists of values of JSON."""
        caller = self.admission.identify(self.make_transport())
        assert caller is not None
        record = json.loads(json.dumps(self.admission.record_of(caller)))
        self.assertEqual(
            self.admission.recorded_owner(record), self.admission.owner(caller)
        )
        self.assertIsNone(self.admission.when_loaded())
        transport = self.make_transport()
        self.assertEqual(self.admission.recognize(transport, record), caller)

    def test_not_recognized(self) -> None:
        """A caller that is not identified is not recognized; nothing is logged."""
        caller = self.admission.identify(self.make_transport())
        assert caller is not None
        record = self.admission.record_of(caller)
        transport = self.make_unknown_transport()
        with capturedLogs() as events:
            self.assertIsNone(self.admission.recognize(transport, record))
        self.assertEqual(events, [])

    def test_malformed_record(self) -> None:
        """A malformed record is that of no caller."""
        self.admission.recorded_owner({})
        self.assertIsNone(self.admission.recognize(self.make_transport(), {}))

    def test_ready(self) -> None:
        """An admission that can identify all callers needs no retry."""
        self.assertIsNone(self.admission.when_ready())


class LoadingAdmissionContract(AdmissionContract):
    """Tests of an admission that cannot identify all callers at first.

    Override `make_loading_admission` and `finish_loading`, and the hooks of
    `AdmissionContract`.
    """

    def make_loading_admission(self) -> IAdmission:
        """Hook: return a new admission that does not know all callers yet."""
        raise NotImplementedError

    def finish_loading(self) -> None:
        """Hook: make the admission of `make_loading_admission` know all callers."""
        raise NotImplementedError

    def test_ready_later(self) -> None:
        """The Deferreds fire when a retry may succeed; then no retry is needed."""
        admission = self.make_loading_admission()
        ready, other = admission.when_ready(), admission.when_ready()
        assert ready is not None and other is not None
        self.assertNoResult(ready)
        self.finish_loading()
        self.successResultOf(ready)
        self.successResultOf(other)
        self.assertIsNone(admission.when_ready())

    def test_loaded_later(self) -> None:
        """The Deferred fires when all callers are known; it may be cancelled."""
        admission = self.make_loading_admission()
        loaded, other = admission.when_loaded(), admission.when_loaded()
        assert loaded is not None and other is not None
        other.addErrback(lambda failure: failure.trap(CancelledError))
        other.cancel()
        self.assertNoResult(loaded)
        self.finish_loading()
        self.successResultOf(loaded)
        self.assertIsNone(admission.when_loaded())

    def test_ready_cancelled(self) -> None:
        """A Deferred may be cancelled; others still fire."""
        admission = self.make_loading_admission()
        ready, other = admission.when_ready(), admission.when_ready()
        assert ready is not None and other is not None
        ready.addErrback(lambda failure: failure.trap(CancelledError))
        ready.cancel()
        self.successResultOf(ready)
        self.assertNoResult(other)
        self.finish_loading()
        self.successResultOf(other)
