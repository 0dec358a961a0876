"""Tests of `devlxd.peers.runs`."""

from __future__ import annotations

from attrs import evolve
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from devlxd.interfaces import IRunObserver, NotInContainer
from devlxd.model import Claim
from devlxd.peers.checks import Checks
from devlxd.peers.init_identifier import IdentifiedInit
from devlxd.peers.runs import InitError, RunRegistry
from devlxd.testing import (
    MemoryDevLXDReactor,
    MemoryProcess,
    MemoryProcessTable,
    RecordingRunObserver,
)

#: The number of the pid namespace of the container.
NAMESPACE = 77

#: The pids of the container's init, and of another process in its namespace.
INIT, OTHER = 10, 11


@implementer(IRunObserver)
class RaisingRunObserver:
    """An observer that fails whenever it is notified."""

    def ended(self, run: int) -> None:
        """See `IRunObserver.ended`."""
        raise ZeroDivisionError("on purpose")


class RunRegistryTests(SynchronousTestCase):
    """`RunRegistry`, with one container.

    :ivar monitor: the pid of the monitor of the container's init; 0 for none.
    """

    monitor = 0

    def setUp(self) -> None:
        self.table = MemoryProcessTable()
        self.table.processes[INIT] = MemoryProcess("c1", [NAMESPACE], "0 100000 65536")
        self.table.processes[OTHER] = MemoryProcess("c1", [NAMESPACE])
        self.table.inits[NAMESPACE] = INIT
        self.reactor = MemoryDevLXDReactor()
        self.runs = RunRegistry(self.table, self.identify_init, self.reactor)
        self.observer = RecordingRunObserver()
        self.runs.observers.append(self.observer)

    def identify_init(self, pid: int, checks: Checks) -> IdentifiedInit:
        """Identify an init; the text of its cgroup is the name of its container."""
        name = self.table.processes[pid].cgroup
        if not name:
            raise NotInContainer("no cgroup")
        monitor = self.table.open_pidfd(self.monitor) if self.monitor else None
        claim = Claim(name=name)
        return IdentifiedInit(claim, evolve(claim, runtime="x"), monitor)

    def assert_nothing_open(self) -> None:
        """Check that no pidfd is open, and none is watched."""
        self.assertEqual(self.table.pidfds, {})
        self.assertEqual(list(self.reactor.readers), [])

    def test_facts(self) -> None:
        """A run has the claims and the id map of its init."""
        run = self.runs.run_in(NAMESPACE, OTHER)
        self.assertEqual(run.cgroup_claim, Claim(name="c1"))
        self.assertEqual(run.confirmed_claim, Claim(name="c1", runtime="x"))
        self.assertEqual(run.id_map.inside(100000), 0)

    def test_identified_once(self) -> None:
        """The init is identified once, for all processes in its namespace."""
        first = self.runs.run_in(NAMESPACE, OTHER)
        self.table.processes[INIT].cgroup = "changed"
        self.assertIs(self.runs.run_in(NAMESPACE, INIT), first)
        self.assertEqual(len(self.table.pidfds), 1)

    def test_end_of_the_init(self) -> None:
        """When the init ends the run ends, and its pidfd is closed."""
        run = self.runs.run_in(NAMESPACE, OTHER)
        (reader,) = self.reactor.readers
        self.assertEqual((reader.fileno(),), run.pidfds)
        del self.table.processes[INIT]
        reader.doRead()
        self.assert_nothing_open()
        self.assertEqual(self.observer.runs, [run.number])

    def test_end(self) -> None:
        """`end` ends a run while its init is alive, and notifies observers once."""
        run = self.runs.run_in(NAMESPACE, OTHER)
        self.runs.end(run)
        self.runs.end(run)
        self.assert_nothing_open()
        self.assertEqual(self.observer.runs, [run.number])
        self.assertFalse(self.runs.is_running(run))
        self.assertNotEqual(self.runs.run_in(NAMESPACE, OTHER).number, run.number)

    def test_end_of_the_monitor(self) -> None:
        """When the monitor ends, the run ends, even before the reactor reports it."""
        self.monitor = 5
        for in_time in (True, False):
            self.table.processes[5] = MemoryProcess("")
            run = self.runs.run_in(NAMESPACE, OTHER)
            self.assertEqual(len(self.reactor.readers), 2)
            del self.table.processes[5]
            self.assertFalse(self.runs.is_running(run))
            if in_time:
                for reader in list(self.reactor.readers):
                    reader.doRead()
                self.assert_nothing_open()
            else:
                self.assertRaises(OSError, self.runs.run_in, NAMESPACE, OTHER)
            self.assertEqual(self.observer.runs.pop(), run.number)
            self.assertEqual(self.observer.runs, [])

    def test_spurious_read(self) -> None:
        """A run whose init is alive does not end, even if the reactor reports that."""
        self.runs.run_in(NAMESPACE, OTHER)
        (reader,) = self.reactor.readers
        reader.doRead()
        self.assertEqual(self.observer.runs, [])

    def test_reused_namespace(self) -> None:
        """A new init in a namespace of the same number is a new run.

        This holds even if the reactor has not reported the end of the old init.
        """
        old = self.runs.run_in(NAMESPACE, OTHER)
        del self.table.processes[INIT]
        self.table.processes[12] = MemoryProcess("c2", [NAMESPACE])
        self.table.inits[NAMESPACE] = 12
        new = self.runs.run_in(NAMESPACE, 12)
        self.assertNotEqual(new.number, old.number)
        self.assertEqual(new.cgroup_claim, Claim(name="c2"))
        self.assertEqual(self.observer.runs, [old.number])
        self.assertEqual(len(self.table.pidfds), 1)

    def test_raising_observer(self) -> None:
        """An exception of one observer is logged; the others are notified."""
        self.runs.observers.insert(0, RaisingRunObserver())
        run = self.runs.run_in(NAMESPACE, OTHER)
        with capturedLogs() as events:
            self.runs.end_all()
        self.assertIn(f"run {run.number} of c1 ended", formatEvent(events[0]))
        self.assertEqual(self.observer.runs, [run.number])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_nothing_open()

    def test_not_its_init(self) -> None:
        """A process that is not directly in the namespace is refused as its init."""
        self.table.processes[INIT].namespaces = [78]
        self.assertRaises(InitError, self.runs.run_in, NAMESPACE, OTHER)
        self.table.processes[INIT].namespaces = [NAMESPACE, 78]
        self.assertRaises(InitError, self.runs.run_in, NAMESPACE, OTHER)
        self.assert_nothing_open()

    def test_init_ends_early(self) -> None:
        """An init that is refused, or ends in the meantime, leaves no pidfd open."""
        self.table.processes[INIT].cgroup = ""
        self.assertRaises(NotInContainer, self.runs.run_in, NAMESPACE, OTHER)
        self.table.processes[INIT].cgroup = "c1"
        self.patch(self.table, "is_alive", lambda pidfd: False)
        self.assertRaises(InitError, self.runs.run_in, NAMESPACE, OTHER)
        del self.table.processes[INIT]
        self.assertRaises(OSError, self.runs.run_in, NAMESPACE, OTHER)
        self.assert_nothing_open()
