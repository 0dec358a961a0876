"""Tests of `devlxd.peers.runs`."""

from __future__ import annotations

from attrs import define, evolve, field
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.interfaces import IProcessTable, IRunObserver, NotInContainer
from devlxd.model import Claim
from devlxd.peers.init_identifier import IdentifiedInit
from devlxd.peers.runs import InitError, RunRegistry
from devlxd.testing import MemoryDevLXDReactor, MemoryProcess, MemoryProcessTable

NAMESPACE = 77


@implementer(IRunObserver)
@define
class RecordingRunObserver:
    """Remembers which runs have ended."""

    heard: list[int] = field(factory=list)

    def ended(self, run: int) -> None:
        """See `IRunObserver.ended`."""
        self.heard.append(run)


@implementer(IRunObserver)
class RaisingRunObserver:
    """Fails at whatever it hears."""

    def ended(self, run: int) -> None:
        """See `IRunObserver.ended`."""
        raise ZeroDivisionError("on purpose")


class RunRegistryTests(SynchronousTestCase):
    """What is remembered of a container while its init lives."""

    monitor = 0

    def setUp(self) -> None:
        self.table = MemoryProcessTable()
        self.table.processes[10] = MemoryProcess("c1", [NAMESPACE], "0 100000 65536")
        self.table.processes[11] = MemoryProcess("c1", [NAMESPACE])
        self.table.inits[NAMESPACE] = 10
        self.reactor = MemoryDevLXDReactor()
        self.runs = RunRegistry(self.table, self.identify_init, self.reactor)
        self.observer = RecordingRunObserver()
        self.runs.observers.append(self.observer)

    def identify_init(self, pid: int) -> IdentifiedInit:
        """Take the text of the cgroup for the name."""
        cgroup = self.table.processes[pid].cgroup
        if not cgroup:
            raise NotInContainer("no cgroup")
        monitor = self.table.open_pidfd(self.monitor) if self.monitor else None
        claim = Claim(name=cgroup)
        return IdentifiedInit(claim, evolve(claim, runtime="x"), monitor)

    def assert_nothing_held(self) -> None:
        """Check that no pidfd is open, and none is watched."""
        self.assertEqual(self.table.pidfds, {})
        self.assertEqual(list(self.reactor.readers), [])

    def test_table(self) -> None:
        """The table in memory is one."""
        self.assertTrue(verifyObject(IProcessTable, self.table))

    def test_facts(self) -> None:
        """A run has the facts of the container's init."""
        run = self.runs.run_in(NAMESPACE, 11)
        self.assertEqual(run.cgroup_claim, Claim(name="c1"))
        self.assertEqual(run.confirmed_claim, Claim(name="c1", runtime="x"))
        self.assertEqual(run.id_map.inside(100000), 0)

    def test_remembered(self) -> None:
        """The init is looked at once, whoever asks and how often."""
        first = self.runs.run_in(NAMESPACE, 11)
        self.table.processes[10].cgroup = "changed"
        self.assertIs(self.runs.run_in(NAMESPACE, 10), first)
        self.assertEqual(len(self.table.pidfds), 1)

    def test_end(self) -> None:
        """When the init ends everything is dropped, and observers hear of it."""
        run = self.runs.run_in(NAMESPACE, 11)
        (watch,) = self.reactor.readers
        self.assertEqual((watch.fileno(),), run.pidfds)
        del self.table.processes[10]
        watch.doRead()
        self.assert_nothing_held()
        self.assertEqual(self.observer.heard, [run.number])

    def test_ended_for_observers(self) -> None:
        """A run can end for observers before its init does, once."""
        run = self.runs.run_in(NAMESPACE, 11)
        self.runs.end(run)
        self.runs.end(run)
        self.assert_nothing_held()
        self.assertEqual(self.observer.heard, [run.number])
        self.assertFalse(self.runs.is_running(run))
        self.assertNotEqual(self.runs.run_in(NAMESPACE, 11).number, run.number)

    def test_end_of_the_monitor(self) -> None:
        """A run ends with its init's monitor, also before the reactor knows."""
        self.monitor = 5
        for in_time in (True, False):
            self.table.processes[5] = MemoryProcess("")
            run = self.runs.run_in(NAMESPACE, 11)
            self.assertEqual(len(self.reactor.readers), 2)
            del self.table.processes[5]
            self.assertFalse(self.runs.is_running(run))
            if in_time:
                for watch in list(self.reactor.readers):
                    watch.doRead()
                self.assert_nothing_held()
            else:
                self.assertRaises(OSError, self.runs.run_in, NAMESPACE, 11)
            self.assertEqual(self.observer.heard.pop(), run.number)
            self.assertEqual(self.observer.heard, [])

    def test_mistaken_end(self) -> None:
        """An init that lives is not taken for ended, whatever the reactor heard."""
        self.runs.run_in(NAMESPACE, 11)
        (watch,) = self.reactor.readers
        watch.doRead()
        self.assertEqual(self.observer.heard, [])

    def test_end_before_the_reactor_knows(self) -> None:
        """An init that has ended is not taken for a new one in its namespace."""
        old = self.runs.run_in(NAMESPACE, 11)
        del self.table.processes[10]
        self.table.processes[12] = MemoryProcess("c2", [NAMESPACE])
        self.table.inits[NAMESPACE] = 12
        new = self.runs.run_in(NAMESPACE, 12)
        self.assertNotEqual(new.number, old.number)
        self.assertEqual(new.cgroup_claim, Claim(name="c2"))
        self.assertEqual(self.observer.heard, [old.number])
        self.assertEqual(len(self.table.pidfds), 1)

    def test_raising_observer(self) -> None:
        """An observer that fails costs nobody else anything."""
        self.runs.observers.insert(0, RaisingRunObserver())
        run = self.runs.run_in(NAMESPACE, 11)
        self.runs.end_all()
        self.assertEqual(self.observer.heard, [run.number])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_nothing_held()

    def test_not_its_init(self) -> None:
        """A process that was given the init's pid meanwhile is not the init."""
        self.table.processes[10].namespaces = [78]
        self.assertRaises(InitError, self.runs.run_in, NAMESPACE, 11)
        self.table.processes[10].namespaces = [NAMESPACE, 78]
        self.assertRaises(InitError, self.runs.run_in, NAMESPACE, 11)
        self.assert_nothing_held()

    def test_init_gone(self) -> None:
        """Whenever the init goes while it is looked at, nothing stays behind."""
        self.table.processes[10].cgroup = ""
        self.assertRaises(NotInContainer, self.runs.run_in, NAMESPACE, 11)
        self.table.processes[10].cgroup = "c1"
        self.patch(self.table, "is_alive", lambda pidfd: False)
        self.assertRaises(InitError, self.runs.run_in, NAMESPACE, 11)
        del self.table.processes[10]
        self.assertRaises(OSError, self.runs.run_in, NAMESPACE, 11)
        self.assert_nothing_held()
