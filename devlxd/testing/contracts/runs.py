# -*- test-case-name: tests.peers -*-
"""The contracts of `IRunObserver`, `IRunIdentifier`, and of the ends of runs."""

from __future__ import annotations

from attrs import evolve
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.interfaces import IRunIdentifier, IRunObserver, NotInContainer
from devlxd.model import Init
from devlxd.testing.callers import RecordingRunObserver
from devlxd.testing.contracts.base import ContractBase
from devlxd.testing.contracts.peers import CallerIdentifierContract


@implementer(IRunObserver)
class _RaisingRunObserver:
    """An observer that raises an exception for each notification."""

    def ended(self, run: int) -> None:
        """See `IRunObserver.ended`."""
        raise ZeroDivisionError("on purpose")


class RunObserverContract(ContractBase):
    """Tests of an observer of runs. Override `make_observer`."""

    def make_observer(self) -> IRunObserver:
        """Hook: return a new observer that has not been notified yet."""
        raise NotImplementedError

    def test_interface(self) -> None:
        """The observer provides `IRunObserver`."""
        self.assertTrue(verifyObject(IRunObserver, self.make_observer()))

    def test_runs(self) -> None:
        """An observer accepts the end of runs that it does not know."""
        observer = self.make_observer()
        for run in (1, 7, 2):
            observer.ended(run)


class EndingRunsContract(CallerIdentifierContract):
    """Tests of an identifier that detects the ends of runs.

    Override `end_run`, and the hooks of `CallerIdentifierContract`.
    """

    def end_run(self) -> None:
        """Hook: end the run of the peer of `make_peer`.

        Return when `identifier` has noticed it.
        """
        raise NotImplementedError

    def test_end(self) -> None:
        """Each observer is notified once when a run ends."""
        observers = [RecordingRunObserver(), RecordingRunObserver()]
        for observer in observers:
            self.identifier.watch(observer)
        caller = self.identifier.identify(self.make_peer())
        for observer in observers:
            self.assertEqual(observer.runs, [])
        self.end_run()
        for observer in observers:
            self.assertEqual(observer.runs, [caller.run])

    def test_end_unwatched(self) -> None:
        """An observer that was removed is not notified."""
        observer = RecordingRunObserver()
        self.identifier.watch(observer)
        self.identifier.unwatch(observer)
        self.identifier.identify(self.make_peer())
        self.end_run()
        self.assertEqual(observer.runs, [])

    def test_raising_observer(self) -> None:
        """An exception of one observer is logged; the others are notified."""
        observer = RecordingRunObserver()
        self.identifier.watch(_RaisingRunObserver())
        self.identifier.watch(observer)
        caller = self.identifier.identify(self.make_peer())
        self.end_run()
        self.assertEqual(observer.runs, [caller.run])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RunIdentifierContract(EndingRunsContract):
    """Tests of an identifier that recognizes the runs of an earlier process.

    Override `make_later_identifier`, and the hooks of `EndingRunsContract`.
    """

    def make_later_identifier(self) -> IRunIdentifier:
        """Hook: return a new identifier of the same host, like that of a new process.

        `end_run` is called afterwards, and must also wait for this identifier.
        """
        raise NotImplementedError

    def init_of_run(self) -> Init:
        """Return the init of the run of the peer of `make_peer`."""
        init = self.identifier.identify(self.make_peer()).init
        assert init is not None
        return init

    def test_run_identifier(self) -> None:
        """The identifier provides `IRunIdentifier`."""
        self.assertTrue(verifyObject(IRunIdentifier, self.identifier))

    def test_recognized(self) -> None:
        """A later identifier returns root of the same run, as for a peer in it."""
        init = self.init_of_run()
        later = self.make_later_identifier()
        caller = later.caller_of(init)
        self.assertEqual((caller.uid, caller.init), (0, init))
        self.assertEqual(later.caller_of(init), caller)
        self.assertEqual(evolve(later.identify(self.make_peer()), uid=0), caller)

    def test_end_of_recognized(self) -> None:
        """Observers are notified of the end of a run that was recognized."""
        init = self.init_of_run()
        later = self.make_later_identifier()
        observer = RecordingRunObserver()
        later.watch(observer)
        caller = later.caller_of(init)
        self.assertEqual(observer.runs, [])
        self.end_run()
        self.assertEqual(observer.runs, [caller.run])
        self.assertRaises(NotInContainer, later.caller_of, init)

    def test_ended_before(self) -> None:
        """A run that has ended in the meantime is refused."""
        init = self.init_of_run()
        self.end_run()
        later = self.make_later_identifier()
        self.assertRaises(NotInContainer, later.caller_of, init)

    def test_other_process(self) -> None:
        """A process with the same pid, of another time or boot, is refused."""
        init = self.init_of_run()
        later = self.make_later_identifier()
        for other in (
            evolve(init, started=init.started + 1),
            evolve(init, boot="11111111-1111-4111-8111-111111111111"),
        ):
            error = self.assertRaises(NotInContainer, later.caller_of, other)
            self.assertIn(f"pid {init.pid}", str(error))
