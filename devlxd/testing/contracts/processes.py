# -*- test-case-name: tests.peers -*-
"""The contracts of `IProcessTable` and of `IIDMap`."""

from __future__ import annotations

from unittest import SkipTest
from uuid import UUID

from zope.interface.verify import verifyObject

from devlxd.interfaces import IIDMap, IProcessTable
from devlxd.testing.contracts.base import ContractBase

#: A pid that no process can have: ``pid_max`` is at most 2 ** 22 (``proc(5)``).
NO_PID = 2**22 + 1


class ProcessTableContract(ContractBase):
    """Tests of a process table.

    Override `make_table`, `start_process`, `end_process`, `start_in_namespace` and
    the three attributes that `start_process` refers to.

    :ivar table: a new table for each test.
    """

    table: IProcessTable

    def make_table(self) -> IProcessTable:
        """Hook: return a new table."""
        raise NotImplementedError

    def start_process(self) -> int:
        """Hook: start a process in the host's pid namespace; return its pid.

        Its parent, uid and program are `expected_parent`, `expected_uid` and
        `expected_program`. Its command line has at least one word.
        """
        raise NotImplementedError

    def end_process(self, pid: int) -> None:
        """Hook: end a process, and wait until it has ended."""
        raise NotImplementedError

    def start_in_namespace(self) -> int:
        """Hook: start the init of a new pid namespace; return its pid.

        :raises SkipTest: where the user that runs the tests may not create a pid
            namespace.
        """
        raise NotImplementedError

    expected_parent: int
    expected_uid: int
    expected_program: str

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the table."""
        super().setUp()
        self.table = self.make_table()

    def test_interface(self) -> None:
        """The table provides `IProcessTable`."""
        self.assertTrue(verifyObject(IProcessTable, self.table))

    def test_host(self) -> None:
        """A process in the host's pid namespace is in no other, and has no init."""
        pid = self.start_process()
        self.assertEqual(list(self.table.pid_namespaces(pid)), [])
        self.assertRaises(OSError, self.table.init, pid)

    def test_facts(self) -> None:
        """The parent, uid and program of a process are those it was started with."""
        pid = self.start_process()
        status = self.table.status(pid)
        self.assertEqual(status.parent, self.expected_parent)
        self.assertEqual(status.uid, self.expected_uid)
        self.assertEqual(self.table.program(pid), self.expected_program)
        self.assertTrue(self.table.command_line(pid).endswith("\0"))
        self.assertTrue(verifyObject(IIDMap, self.table.id_map(pid)))

    def test_cgroups(self) -> None:
        """A process is in at least one cgroup; all paths are absolute."""
        cgroups = self.table.cgroups(self.start_process())
        self.assertGreater(len(cgroups), 0)
        for cgroup in cgroups:
            self.assertTrue(cgroup.startswith("/"), cgroup)

    def test_namespace(self) -> None:
        """An init is in one pid namespace below the host's, and is its init."""
        init = self.start_in_namespace()
        self.assertEqual(len(self.table.pid_namespaces(init)), 1)
        self.assertEqual(self.table.init(init), init)

    def test_started(self) -> None:
        """The time of a process's start is in this boot, and does not change."""
        pid = self.start_process()
        started = self.table.started(pid)
        self.assertGreaterEqual(started, 0)
        self.assertEqual(self.table.started(pid), started)

    def test_boot(self) -> None:
        """The id of the boot is a UUID, which does not change."""
        boot = self.table.boot()
        self.assertEqual(str(UUID(boot)), boot)
        self.assertEqual(self.table.boot(), boot)

    def test_pidfd(self) -> None:
        """A pidfd shows whether its process has ended."""
        pid = self.start_process()
        pidfds = [self.table.open_pidfd(pid) for _ in range(2)]
        self.assertNotEqual(*pidfds)
        self.table.close_pidfd(pidfds[0])
        self.assertTrue(self.table.is_alive(pidfds[1]))
        self.end_process(pid)
        self.assertFalse(self.table.is_alive(pidfds[1]))
        self.table.close_pidfd(pidfds[1])

    def test_cgroup_key(self) -> None:
        """A process that stays in its cgroups has the same key."""
        pid = self.start_process()
        pidfds = [self.table.open_pidfd(pid) for _ in range(2)]
        keys = {self.table.cgroup_key(pid, pidfd) for pidfd in pidfds}
        self.assertEqual(len(keys), 1)
        self.assertNotIn(None, keys)
        for pidfd in pidfds:
            self.table.close_pidfd(pidfd)

    def test_namespace_among(self) -> None:
        """Of the namespaces of a process, that which is asked for is found."""
        init = self.start_in_namespace()
        (number,) = self.table.pid_namespaces(init)
        pidfd = self.table.open_pidfd(init)
        try:
            found = self.table.namespace_among(pidfd, {number, number + 1})
            self.assertEqual(found, number)
            for others in ((), {number + 1}):
                self.assertIsNone(self.table.namespace_among(pidfd, others))
        except OSError as error:
            raise SkipTest(f"this kernel does not return it: {error}") from error
        finally:
            self.table.close_pidfd(pidfd)

    def test_namespace_of_the_host(self) -> None:
        """A process in the host's pid namespace is in none that is found."""
        pidfd = self.table.open_pidfd(self.start_process())
        try:
            found = self.table.namespace_among(pidfd, range(2**32))
        except OSError as error:
            raise SkipTest(f"this kernel does not return it: {error}") from error
        finally:
            self.table.close_pidfd(pidfd)
        self.assertIsNone(found)

    def test_facts_of_an_ended_process(self) -> None:
        """The facts of a pidfd are never those of a process that has ended."""
        pid = self.start_process()
        pidfd = self.table.open_pidfd(pid)
        self.end_process(pid)
        self.assertRaises(OSError, self.table.cgroup_key, pid, pidfd)
        self.assertRaises(OSError, self.table.namespace_among, pidfd, ())
        self.table.close_pidfd(pidfd)

    def test_no_process(self) -> None:
        """Each method raises `OSError` when there is no such process."""
        ended = self.start_process()
        self.end_process(ended)
        for pid in (NO_PID, ended):
            for method in (
                self.table.cgroups,
                self.table.pid_namespaces,
                self.table.init,
                self.table.id_map,
                self.table.status,
                self.table.started,
                self.table.command_line,
                self.table.program,
                self.table.open_pidfd,
            ):
                self.assertRaises(OSError, method, pid)


class IDMapContract(ContractBase):
    """Tests of an id map. Override `make_id_map`."""

    def make_id_map(self, *ranges: tuple[int, int, int]) -> IIDMap:
        """Hook: return an id map.

        :param ranges: for each range, the first id in the container, the first id
            on the host, and the number of ids.
        """
        raise NotImplementedError

    def test_interface(self) -> None:
        """The map provides `IIDMap`."""
        self.assertTrue(verifyObject(IIDMap, self.make_id_map((0, 1, 1))))

    def test_ranges(self) -> None:
        """An id is mapped by the range that contains it."""
        id_map = self.make_id_map((0, 100000, 1000), (1000, 5000, 1))
        for host_id, inside in (
            (100000, 0),
            (100999, 999),
            (5000, 1000),
        ):
            self.assertEqual(id_map.inside(host_id), inside)

    def test_unmapped(self) -> None:
        """An id in no range is not mapped, not even that of the host's root."""
        id_map = self.make_id_map((0, 100000, 1000), (1000, 5000, 1))
        for host_id in (0, 4999, 5001, 65534, 99999, 101000):
            self.assertIsNone(id_map.inside(host_id))

    def test_all(self) -> None:
        """A map of all ids to themselves maps them all."""
        id_map = self.make_id_map((0, 0, 2**32 - 1))
        for host_id in (0, 1000, 2**32 - 2):
            self.assertEqual(id_map.inside(host_id), host_id)
