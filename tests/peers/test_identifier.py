"""Tests of `devlxd.peers.identifier`, and the contract of `ICallerIdentifier`.

The attacks are simulated with the text that ``/proc`` shows for such processes.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from devlxd import fast_paths
from devlxd.containers.memory_store import MemoryStore
from devlxd.interfaces import (
    ICallerIdentifier,
    IRunIdentifier,
    IRunObserver,
    IRuntime,
    IStoreObserver,
    NotInContainer,
)
from devlxd.model import Caller, Claim, Container, Init, Peer
from devlxd.peers.assumed_identifier import AssumedIdentifier
from devlxd.peers.identifier import CallerIdentifier
from devlxd.peers.runtimes import known_runtimes
from devlxd.testing import (
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryProcess,
    MemoryProcessTable,
    RecordingRunObserver,
)
from devlxd.testing.contracts import (
    ExplainerContract,
    OutsideExplainerContract,
    RunIdentifierContract,
    RunObserverContract,
    StoreObserverContract,
)
from tests.peers import hosts
from tests.peers.test_id_maps import CURRENT, id_map_value

#: The numbers of the pid namespaces of the two containers.
ATTACKER, VICTIM = 100, 200

ID = "f" * 64

LXCPATH = "/var/lib/lxc"

#: The text of ``/proc/PID/uid_map`` in an unprivileged container.
SHIFTED = "0 100000 65536"


class IdentifierTestCase(SynchronousTestCase):
    """A host on which the containers ``attacker`` and ``victim`` run.

    :ivar host: the template of ``/proc/PID/cgroup``; see `tests.peers.hosts`.
    """

    host = hosts.V2

    def setUp(self) -> None:
        self.store = MemoryStore(
            [Container("attacker"), Container("victim"), Container("pod", id=ID)]
        )
        self.table = MemoryProcessTable()
        self.reactor = MemoryDevLXDReactor()
        self.use_new_identifier()
        self.add_init(10, "/lxc.payload.attacker", ATTACKER, "attacker")
        self.add_init(20, "/lxc.payload.victim/init.scope", VICTIM, "victim")

    def use_new_identifier(self) -> None:
        """Replace the identifier by one that knows no run."""
        self.identifier = CallerIdentifier(
            self.store, self.table, known_runtimes(), self.reactor
        )

    def add_init(
        self,
        pid: int,
        cgroup: str,
        namespace: int,
        name: str = "",
        lxcpath: str = LXCPATH,
        program: str = "/usr/bin/lxc-start",
    ) -> None:
        """Start a container: add its init and its monitor.

        :param name: the name in the title of its monitor; empty for a container
            without a monitor.
        """
        text = self.host.format(cgroup=cgroup)
        init = MemoryProcess(text, [namespace], SHIFTED, parent=1)
        self.table.processes[pid] = init
        self.table.inits[namespace] = pid
        if name:
            init.parent = 1000 + pid
            self.table.processes[1000 + pid] = MemoryProcess(
                self.host.format(cgroup=f"/lxc.monitor.{name}"),
                command_line=f"[lxc monitor] {lxcpath} {name}\0",
                program=program,
            )

    def report_ended(self) -> None:
        """Make the reactor report all processes that have ended."""
        for reader in list(self.reactor.readers):
            if reader not in self.reactor.readers:
                continue
            if not self.table.is_alive(reader.fileno()):
                reader.doRead()

    def identify(
        self,
        cgroup: str,
        namespaces: Sequence[int] = (ATTACKER,),
        uid: int = 100_000,
        uid_map: str = SHIFTED,
    ) -> Caller:
        """Identify a process in a cgroup, by default in the attacker's namespace."""
        text = self.host.format(cgroup=cgroup)
        return self.identify_text(text, namespaces, uid, uid_map)

    def identify_text(
        self,
        text: str,
        namespaces: Sequence[int] = (ATTACKER,),
        uid: int = 100_000,
        uid_map: str = SHIFTED,
    ) -> Caller:
        """Identify a process by the text of its ``/proc/PID/cgroup``."""
        self.table.processes[42] = MemoryProcess(text, namespaces, uid_map)
        pidfd = self.table.open_pidfd(42)
        try:
            return self.identifier.identify(Peer(42, uid, uid, pidfd))
        finally:
            self.table.close_pidfd(pidfd)

    def assert_refused(
        self, reason: str, text: str, namespaces: Sequence[int] = (ATTACKER,)
    ) -> None:
        """Check that a process is refused for a reason."""
        error = self.assertRaises(NotInContainer, self.identify_text, text, namespaces)
        self.assertIn(reason, str(error))


class AttackTests(IdentifierTestCase):
    """Attacks by root in a container, on a host with cgroup v2."""

    def test_honest(self) -> None:
        """A process that does nothing special is root of its own container."""
        caller = self.identify("/lxc.payload.attacker")
        self.assertEqual((caller.container, caller.uid), ("attacker", 0))

    def test_cgroup_of_its_own(self) -> None:
        """A cgroup below the attacker's belongs to the attacker, whatever its name."""
        for below in (
            "/lxc.payload.victim",
            "/lxc.monitor.victim",
            "/a/b/c/lxc.payload.victim/x",
            "/../lxc.payload.victim",
            "/machine.slice/machine-victim.scope",
            "/a\\x2f../lxc.payload.victim",
        ):
            caller = self.identify(f"/lxc.payload.attacker{below}")
            self.assertEqual(caller.container, "attacker")

    def test_cgroup_of_the_victim(self) -> None:
        """A process in the victim's cgroup is refused by its pid namespace."""
        text = self.host.format(cgroup="/lxc.payload.victim")
        self.assert_refused("in the pid namespace of attacker", text)

    def test_namespace_of_the_victim(self) -> None:
        """A process in the victim's pid namespace is refused by its cgroup."""
        text = self.host.format(cgroup="/lxc.payload.attacker")
        self.assert_refused("in the pid namespace of victim", text, [VICTIM])

    def test_nested_namespaces(self) -> None:
        """Of nested pid namespaces, the outermost one below the host's is decisive."""
        self.add_init(11, "/lxc.payload.victim", 101)
        caller = self.identify("/lxc.payload.attacker", [102, 101, ATTACKER])
        self.assertEqual(caller.container, "attacker")

    def test_nested_container(self) -> None:
        """A process of a nested container is in the outer one, but is not its root."""
        caller = self.identify(
            "/lxc.payload.attacker/lxc.payload.inner",
            [101, ATTACKER],
            uid=165_536,
            uid_map="0 165536 65536",
        )
        self.assertEqual((caller.container, caller.uid), ("attacker", None))

    def test_user_namespace(self) -> None:
        """Root in a user namespace that a user has created is that user."""
        caller = self.identify(
            "/lxc.payload.attacker", uid=101_000, uid_map="0 101000 1"
        )
        self.assertEqual(caller.uid, 1000)

    def test_host_root(self) -> None:
        """The host's root is not root of an unprivileged container."""
        self.assertIsNone(self.identify("/lxc.payload.attacker", uid=0).uid)

    def test_line_ends(self) -> None:
        """A cgroup whose name contains the end of a line is one cgroup."""
        self.add_init(30, "/user.slice/x\r0::/lxc.payload.victim", 300)
        self.assert_refused(
            "in the cgroup of no container",
            self.host.format(cgroup="/user.slice/x\r0::/lxc.payload.victim"),
            [300],
        )

    def test_host_namespace(self) -> None:
        """A process of the host in a container's cgroup is not in that container."""
        text = self.host.format(cgroup="/lxc.payload.victim")
        self.assert_refused("in the host's pid namespace", text, [])

    def test_monitor(self) -> None:
        """LXC's monitor and other processes of the host are in no container."""
        for cgroup in ("/lxc.monitor.victim", "/user.slice/x", "/"):
            text = self.host.format(cgroup=cgroup)
            self.assert_refused("in the cgroup of no container", text, [])

    def test_unknown_namespace(self) -> None:
        """A peer in a pid namespace without an init is refused."""
        self.assert_refused(
            "has no init", self.host.format(cgroup="/lxc.payload.attacker"), [300]
        )

    def test_init_moved_away(self) -> None:
        """A peer whose init is in the cgroup of no container is refused."""
        self.add_init(30, "/user.slice", 300)
        self.assert_refused(
            "its init (pid 30) is in the cgroup of no container",
            self.host.format(cgroup="/lxc.payload.attacker"),
            [300],
        )

    def test_not_in_the_store(self) -> None:
        """A peer whose container is not in the store is refused."""
        self.store.remove("attacker")
        self.assert_refused(
            "not in the store", self.host.format(cgroup="/lxc.payload.attacker")
        )

    def test_recycled_pid(self) -> None:
        """A peer that has ended is not mistaken for a later process with its pid."""
        text = self.host.format(cgroup="/lxc.payload.attacker")
        self.table.processes[42] = MemoryProcess(text, [ATTACKER])
        pidfd = self.table.open_pidfd(42)
        text = self.host.format(cgroup="/lxc.payload.victim")
        self.table.processes[42] = MemoryProcess(text, [VICTIM])
        error = self.assertRaises(
            NotInContainer, self.identifier.identify, Peer(42, 100_000, 0, pidfd)
        )
        self.assertIn("ended before it was identified", str(error))

    def test_ended(self) -> None:
        """A peer that has ended is refused."""
        text = self.host.format(cgroup="/lxc.payload.attacker")
        self.table.processes[42] = MemoryProcess(text, [ATTACKER])
        peer = Peer(42, 100_000, 0, self.table.open_pidfd(42))
        del self.table.processes[42]
        self.assertRaises(NotInContainer, self.identifier.identify, peer)

    def test_no_pidfd(self) -> None:
        """A peer without a pidfd is refused, as its pid may have been reused."""
        peer = Peer(10, 100_000, 0)
        self.assertRaises(NotInContainer, self.identifier.identify, peer)

    def test_broken_id_map(self) -> None:
        """A peer in a container with an id map of an unknown format is refused."""
        self.store.put(Container("attacker", {CURRENT: "x"}))
        self.assert_refused(
            "not an id map", self.host.format(cgroup="/lxc.payload.attacker")
        )


class MonitorTests(IdentifierTestCase):
    """The monitor of a container's init, on a host with cgroup v2."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("c1", "c1-1"):
            self.store.put(Container(name))

    def container_name(self, cgroup: str, namespace: int) -> str:
        """Return the name of a process's container."""
        return self.identify(f"/lxc.payload.{cgroup}", [namespace]).container

    def assert_refused_in(self, reason: str, name: str, namespace: int) -> None:
        """Check that a process in the cgroup of a container is refused."""
        text = self.host.format(cgroup=f"/lxc.payload.{name}")
        self.assert_refused(reason, text, [namespace])

    def test_stale_cgroup(self) -> None:
        """A container is identified although LXC appended a number to its cgroup."""
        self.add_init(30, "/lxc.payload.c1-1", 300, "c1")
        self.add_init(31, "/lxc.payload.c1-2/init.scope", 310, "c1-2")
        self.store.put(Container("c1-2"))
        self.assertEqual(self.container_name("c1-1", 300), "c1")
        self.assertEqual(self.container_name("c1-2", 310), "c1-2")

    def test_name_of_the_cgroup_of_another(self) -> None:
        """A container is identified although another one uses its cgroup."""
        self.add_init(30, "/lxc.payload.c1-1", 300, "c1")
        self.add_init(31, "/lxc.payload.c1-1-1", 310, "c1-1")
        self.assertEqual(self.container_name("c1-1", 300), "c1")
        self.assertEqual(self.container_name("c1-1-1", 310), "c1-1")
        self.assert_refused_in("in the pid namespace of c1-1-1", "c1-1", 310)
        self.assert_refused_in("in the pid namespace of c1-1", "c1", 300)

    def test_contradicting_monitor(self) -> None:
        """A container is refused if its monitor is that of another container."""
        self.add_init(30, "/lxc.payload.c1", 300, "victim")
        self.assert_refused_in("its monitor is that of another container", "c1", 300)

    def test_title_in_a_container(self) -> None:
        """A process of the attacker is not a monitor, even with the title of one."""
        self.add_init(30, "/lxc.payload.victim", 300, "victim")
        monitor = self.table.processes[1030]
        monitor.namespaces = [ATTACKER]
        self.assert_refused_in("is in a container", "victim", 300)
        monitor.namespaces, monitor.uid = [], 100_000
        self.assert_refused_in("does not belong to the host's root", "victim", 300)
        # Its command line is not read: that could block indefinitely.
        self.patch(self.table, "command_line", lambda pid: self.fail("read"))
        self.assert_refused_in("does not belong to the host's root", "victim", 300)

    def test_outlived_monitor(self) -> None:
        """An init that has outlived its monitor is refused."""
        self.table.processes[1] = MemoryProcess(
            "0::/init.scope\n", command_line="init\0"
        )
        self.add_init(30, "/lxc.payload.c1", 300)
        self.assert_refused_in("is not a monitor", "c1", 300)
        self.table.processes[30].parent = 0
        self.assert_refused_in("is not on this host", "c1", 300)

    def test_monitor_ends(self) -> None:
        """An init whose monitor ends, or is replaced, in the meantime is refused."""
        self.add_init(30, "/lxc.payload.c1", 300, "c1")
        init, monitor = self.table.processes[30], self.table.processes[1030]
        program = self.table.program

        def end(pid: int) -> str:
            self.table.processes.pop(1030)
            return monitor.program

        def replace(pid: int) -> str:
            init.parent = 1
            return program(pid)

        def recycle(pid: int) -> str:
            self.table.processes[1030] = MemoryProcess(
                monitor.cgroup, command_line=f"[lxc monitor] {LXCPATH} victim\0"
            )
            return program(pid)

        for happens, reason in (
            (end, "no process 1030"),
            (replace, "has lost its parent"),
            (recycle, "has ended"),
        ):
            self.patch(self.table, "program", happens)
            self.assert_refused_in(reason, "c1", 300)
            self.table.processes[1030], init.parent = monitor, 1030
            self.assertEqual(self.table.pidfds, {})
        self.patch(self.table, "program", program)
        self.assertEqual(self.container_name("c1", 300), "c1")

    def test_monitor_is_killed(self) -> None:
        """When the monitor ends, the run ends, even if its init is alive."""
        observer = RecordingRunObserver()
        self.identifier.watch(observer)
        self.add_init(30, "/lxc.payload.c1", 300, "c1")
        run = self.identify("/lxc.payload.c1", [300]).run
        del self.table.processes[1030]
        self.table.processes[30].parent = 1
        self.assert_refused_in("no process 1", "c1", 300)
        self.assertEqual(observer.runs, [run])
        self.assertEqual(self.table.pidfds, {})

    def test_examined_once(self) -> None:
        """The monitor is examined once for each run."""
        self.add_init(30, "/lxc.payload.c1-1", 300, "c1")
        self.assertEqual(self.container_name("c1-1", 300), "c1")
        self.patch(self.table, "command_line", lambda pid: self.fail("read again"))
        self.assertEqual(self.container_name("c1-1", 300), "c1")

    def test_without_a_name(self) -> None:
        """A runtime without a name and without monitors can be used."""

        @implementer(IRuntime)
        class OldPlugin:  # type: ignore[misc] # without a name, on purpose
            def claim(self, cgroup: str) -> Claim | None:
                return Claim("c1") if cgroup.startswith("/jails/") else None

        identifier = CallerIdentifier(
            self.store, self.table, [OldPlugin()], self.reactor
        )
        self.identifier = identifier
        self.add_init(30, "/jails/c1", 300)
        self.assertEqual(self.identify("/jails/c1", [300]).container, "c1")
        self.store.put(Container("c1", runtime="lxc"))
        self.assert_refused(
            "the document of c1 is for a container of lxc",
            self.host.format(cgroup="/jails/c1"),
            [300],
        )


class HybridMonitorTests(MonitorTests):
    """The monitor of a container's init, on a hybrid host."""

    host = hosts.HYBRID


class V1MonitorTests(MonitorTests):
    """The monitor of a container's init, on a host without cgroup v2."""

    host = hosts.V1


class SameNameTests(IdentifierTestCase):
    """Two containers of the same name, one of LXC and one of Incus."""

    def setUp(self) -> None:
        super().setUp()
        self.store.put(Container("c1"))
        self.add_init(30, "/lxc.payload.c1", 300, "c1")
        self.add_init(
            40,
            "/lxc.payload.c1-1",
            400,
            "c1",
            lxcpath="/var/lib/incus/containers",
            program="/usr/libexec/incus/incusd",
        )

    def lxc(self) -> Caller:
        """Identify a process in the container of LXC."""
        return self.identify("/lxc.payload.c1", [300])

    def incus(self) -> Caller:
        """Identify a process in the container of Incus."""
        return self.identify("/lxc.payload.c1-1", [400])

    def test_first(self) -> None:
        """While both containers run, only the first one to connect is served."""
        self.assertEqual(self.incus().container, "c1")
        error = self.assertRaises(NotInContainer, self.lxc)
        self.assertIn("(incus in /var/lib/incus/containers)", str(error))
        self.assertIn("(lxc in /var/lib/lxc)", str(error))
        self.assertIn("write 'runtime:' or 'lxcpath:'", str(error))
        self.assertEqual(error.kind, ("c1", "name in use"))
        self.assertEqual(self.incus().container, "c1")
        del self.table.processes[40]
        self.assertEqual(self.lxc().container, "c1")

    def test_restarted(self) -> None:
        """A container that has been restarted is served, as its old run has ended."""
        self.lxc()
        del self.table.processes[30]
        self.add_init(31, "/lxc.payload.c1", 310, "c1")
        self.assertEqual(self.identify("/lxc.payload.c1", [310]).container, "c1")

    def test_document(self) -> None:
        """Only the container that the document describes is served."""
        self.identifier.startService()
        self.addCleanup(self.identifier.stopService)
        for container, served, refused in (
            (Container("c1", runtime="lxc"), self.lxc, self.incus),
            (Container("c1", runtime="incus"), self.incus, self.lxc),
            (Container("c1", lxcpath="/var/lib/lxc/"), self.lxc, self.incus),
            (
                Container("c1", runtime="incus", lxcpath="/var/lib/incus/containers"),
                self.incus,
                self.lxc,
            ),
        ):
            self.store.put(container)
            error = self.assertRaises(NotInContainer, refused)
            self.assertIn("the document of c1 is for", str(error))
            self.assertEqual(
                error.kind, ("c1" if refused == self.lxc else "c1-1", "another runtime")
            )
            self.assertEqual(served().container, "c1")
            self.assertRaises(NotInContainer, refused)
        self.store.put(Container("c1", runtime="lxd"))
        for identify in (self.lxc, self.incus):
            self.assertRaises(NotInContainer, identify)

    def test_unknown_path(self) -> None:
        """A document that names an LXC path does not describe an unknown path."""
        self.table.processes[1030].command_line = "lxc-start\0-F\0-n\0c1\0"
        for container in (Container("c1"), Container("c1", runtime="lxc")):
            self.store.put(container)
            self.assertEqual(self.lxc().container, "c1")
        self.store.put(Container("c1", lxcpath=LXCPATH))
        self.assertRaises(NotInContainer, self.lxc)

    def test_document_changes(self) -> None:
        """A run ends when its document is changed to describe another container."""
        observer = RecordingRunObserver()
        self.identifier.watch(observer)
        self.identifier.startService()
        first = self.lxc()
        self.store.put(Container("c1", {"user.a": "b"}))
        self.store.put(Container("c2", runtime="incus"))
        self.assertEqual(observer.runs, [])
        self.store.put(Container("c1", runtime="incus"))
        self.assertEqual(observer.runs, [first.run])
        self.assertEqual(self.incus().container, "c1")
        self.identifier.stopService()
        self.assertEqual(self.table.pidfds, {})


class RefusalTests(IdentifierTestCase):
    """The description of a refused peer, for the log."""

    def refusal(
        self, text: str, namespaces: Sequence[int] = (ATTACKER,)
    ) -> NotInContainer:
        """Return the exception for a process that is refused."""
        error: NotInContainer = self.assertRaises(
            NotInContainer, self.identify_text, text, namespaces
        )
        return error

    def test_facts(self) -> None:
        """The text has the pid, uid, command and cgroup of the peer."""
        self.table.processes[42] = MemoryProcess(
            self.host.format(cgroup="/user.slice/x"), [], program="/usr/bin/curl"
        )
        peer = Peer(42, 1000, 1000, self.table.open_pidfd(42))
        error = self.assertRaises(NotInContainer, self.identifier.identify, peer)
        self.assertEqual(
            str(error),
            "pid 42 (uid 1000, command curl, cgroup /user.slice/x): "
            "it is in the cgroup of no container",
        )

    def test_printable(self) -> None:
        """The text is short and printable for any names that the peer has chosen."""
        cgroup = "/x\r\x1b[2J\udcff\u202e" + "y" * 4000
        error = self.refusal(self.host.format(cgroup=cgroup))
        self.assertTrue(str(error).isascii() and str(error).isprintable())
        self.assertIn("cgroup /x??[2J??yyy", str(error))
        self.assertLess(len(str(error)), 400)
        self.assertEqual([*error.facts], ["pid", "uid", "command", "cgroup"])
        self.assertTrue(all(str(fact).isprintable() for fact in error.facts.values()))
        self.assertLess(len(str(error.facts["cgroup"])), 300)

    def test_kinds(self) -> None:
        """The kind of a refusal is the container, or the top cgroup, and the reason."""
        attacker = self.host.format(cgroup="/lxc.payload.attacker")
        unknown = self.host.format(cgroup="/lxc.payload.unknown")
        self.add_init(30, "/lxc.payload.unknown", 300, "unknown")
        for text, namespaces, kind in (
            (attacker, [], ("attacker", "host's pid namespace")),
            (attacker, [VICTIM], ("attacker", "contradiction")),
            (attacker, [999], ("attacker", "error")),
            (unknown, [300], ("unknown", "not in the store")),
            (
                self.host.format(cgroup="/user.slice/a"),
                [],
                ("/user.slice", "no container"),
            ),
            (
                self.host.format(cgroup="/user.slice/b"),
                [],
                ("/user.slice", "no container"),
            ),
        ):
            self.assertEqual(self.refusal(text, namespaces).kind, kind)

    def test_kind_below(self) -> None:
        """The names of cgroups below that of a container do not change the kind."""
        kinds = {
            self.refusal(
                self.host.format(cgroup=f"/lxc.payload.attacker/{n}/lxc.payload.x{n}"),
                [],
            ).kind
            for n in range(10)
        }
        self.assertEqual(kinds, {("attacker", "host's pid namespace")})

    def test_ended(self) -> None:
        """A peer that has ended is not described by facts of a later process."""
        self.table.processes[42] = MemoryProcess(self.host.format(cgroup="/a"))
        peer = Peer(42, 1000, 1000, self.table.open_pidfd(42))
        self.table.processes[42] = MemoryProcess(self.host.format(cgroup="/b"))
        error = self.assertRaises(NotInContainer, self.identifier.identify, peer)
        self.assertIn("(uid 1000, has ended)", str(error))
        self.assertNotIn("/b", str(error))
        self.assertEqual(error.kind, ("", "no container"))
        del self.table.processes[42]
        error = self.assertRaises(NotInContainer, self.identifier.identify, peer)
        self.assertIn("(uid 1000, has ended)", str(error))


class HybridAttackTests(AttackTests):
    """Attacks by root in a container, on a hybrid host."""

    host = hosts.HYBRID

    def test_contradiction(self) -> None:
        """A process in the cgroups of two containers is refused."""
        text = self.host.format(cgroup="/lxc.payload.attacker").replace(
            "8:pids:/lxc.payload.attacker", "8:pids:/lxc.payload.victim"
        )
        self.assert_refused("in the cgroups of attacker and victim", text)


class V1AttackTests(HybridAttackTests):
    """Attacks by root in a container, on a host without cgroup v2."""

    host = hosts.V1

    def test_contradiction(self) -> None:
        """A process in the cgroups of two containers is refused."""
        text = self.host.format(cgroup="/lxc.payload.attacker").replace(
            "5:memory:/lxc.payload.attacker", "5:memory:/lxc.payload.victim"
        )
        self.assert_refused("in the cgroups of attacker and victim", text)


class KnownAttackTests(AttackTests):
    """Attacks by root in a container whose run and cgroup are known."""

    def setUp(self) -> None:
        super().setUp()
        self.identify("/lxc.payload.attacker")
        self.identify("/lxc.payload.victim", [VICTIM])


class HybridKnownAttackTests(HybridAttackTests, KnownAttackTests):
    """Attacks by root in a container that is known, on a hybrid host."""


class V1KnownAttackTests(V1AttackTests, KnownAttackTests):
    """Attacks by root in a container that is known, on a host without cgroup v2."""


class SlowAttackTests(AttackTests):
    """Attacks by root in a container, where all checks are made for each peer."""

    def setUp(self) -> None:
        self.patch(fast_paths, "enabled", set())
        super().setUp()


class CallerIdentifierTests(IdentifierTestCase):
    """Callers and their runs."""

    def test_recorded_map_first(self) -> None:
        """The id map that LXD has recorded takes precedence over that of the init."""
        self.store.put(Container("attacker", {CURRENT: id_map_value(500_000)}))
        self.assertIsNone(self.identify("/lxc.payload.attacker").uid)
        self.assertEqual(self.identify("/lxc.payload.attacker", uid=500_000).uid, 0)

    def test_by_id(self) -> None:
        """A container whose cgroup has an id is found by its id."""
        cgroup = f"/machine.slice/libpod-{ID}.scope/container"
        self.add_init(30, cgroup, 300)
        self.assertEqual(self.identify(cgroup, [300]).container, "pod")

    def test_name_of_a_container_with_an_id(self) -> None:
        """A container with an id is not found by its name."""
        self.add_init(30, "/lxc.payload.pod", 300, "pod")
        error = self.assertRaises(
            NotInContainer, self.identify, "/lxc.payload.pod", [300]
        )
        self.assertIn("for a container with an id", str(error))

    def test_restarted(self) -> None:
        """A container that has been restarted has another run."""
        observer = RecordingRunObserver()
        self.identifier.watch(observer)
        first = self.identify("/lxc.payload.attacker")
        self.assertEqual(self.identify("/lxc.payload.attacker"), first)
        del self.table.processes[10]
        self.add_init(11, "/lxc.payload.attacker", ATTACKER + 1, "attacker")
        second = self.identify("/lxc.payload.attacker", [ATTACKER + 1])
        self.assertNotEqual(first.run, second.run)
        self.assertEqual(observer.runs, [])
        self.report_ended()
        self.assertEqual(observer.runs, [first.run])
        self.identifier.unwatch(observer)
        self.identifier.stopService()
        self.assertEqual(observer.runs, [first.run])

    def test_stop(self) -> None:
        """When the service is stopped, all pidfds are closed."""
        self.identify("/lxc.payload.attacker")
        self.identifier.startService()
        self.identifier.stopService()
        self.assertEqual(self.table.pidfds, {})
        self.assertEqual(list(self.reactor.readers), [])


class CallerIdentifierContractTests(
    RunIdentifierContract, OutsideExplainerContract, IdentifierTestCase
):
    """The contract of `IRunIdentifier`, run on `CallerIdentifier`."""

    identifier: CallerIdentifier

    def make_identifier(self) -> ICallerIdentifier:
        return self.identifier

    def make_later_identifier(self) -> IRunIdentifier:
        return CallerIdentifier(self.store, self.table, known_runtimes(), self.reactor)

    def make_process(self, pid: int, cgroup: str) -> Peer:
        """Return a process in the attacker's pid namespace."""
        if pid not in self.table.processes:
            text = self.host.format(cgroup=cgroup)
            self.table.processes[pid] = MemoryProcess(
                text, [ATTACKER], SHIFTED, uid=100_000
            )
        return Peer(pid, 100_000, 100_000, self.table.open_pidfd(pid))

    def make_peer(self) -> Peer:
        return self.make_process(42, "/lxc.payload.attacker")

    def make_outside_peer(self) -> Peer:
        return self.make_process(43, "/user.slice")

    def end_run(self) -> None:
        del self.table.processes[10]
        self.report_ended()


class CallerOfTests(IdentifierTestCase):
    """`CallerIdentifier.caller_of`: the runs that an earlier devlxd has identified."""

    def setUp(self) -> None:
        super().setUp()
        init = self.identify("/lxc.payload.attacker").init
        assert init is not None
        self.init = init
        self.use_new_identifier()

    def assert_unknown(self, reason: str, init: Init | None = None) -> None:
        """Check that an init is refused, by default that of the attacker's run."""
        error = self.assertRaises(
            NotInContainer, self.identifier.caller_of, init or self.init
        )
        self.assertIn(reason, str(error))

    def test_facts(self) -> None:
        """The init of a caller is recognized by pid, start and boot."""
        self.assertEqual(self.init, Init(10, 0, self.table.boot_id))
        self.assertEqual(self.identifier.caller_of(self.init).container, "attacker")

    def test_recycled_pid(self) -> None:
        """A later process with the same pid is not taken for the init."""
        self.add_init(10, "/lxc.payload.attacker", ATTACKER, "attacker")
        self.table.processes[10].started = 1
        self.assert_unknown("pid 10 is now another process")

    def test_another_boot(self) -> None:
        """After a boot, no process is taken for the init, not even a similar one."""
        self.table.boot_id = "11111111-1111-4111-8111-111111111111"
        self.assert_unknown("pid 10 is now another process")

    def test_not_in_the_store(self) -> None:
        """A run whose container was removed from the store is refused."""
        self.store.remove("attacker")
        self.assert_unknown("not in the store")

    def test_monitor_ended(self) -> None:
        """A run whose monitor has ended is refused, as it is for a peer."""
        del self.table.processes[1010]
        self.assert_unknown("no process 1010")

    def test_not_the_init(self) -> None:
        """Another process of a container is not taken for its init."""
        text = self.host.format(cgroup="/lxc.payload.attacker")
        self.table.processes[42] = MemoryProcess(text, [ATTACKER], SHIFTED)
        self.identifier.caller_of(self.init)
        self.assert_unknown("is not its init", Init(42, 0, self.table.boot_id))

    def test_ends_meanwhile(self) -> None:
        """An init that ends while it is examined is refused, and nothing stays open."""

        def end(pid: int) -> int:
            raise ProcessLookupError(f"no process {pid}")

        self.patch(self.table, "started", end)
        pidfds = list(self.table.pidfds)
        self.assert_unknown("no process 10")
        self.assertEqual(list(self.table.pidfds), pidfds)


class RunObserverContractTests(RunObserverContract, IdentifierTestCase):
    """`CallerIdentifier` as an observer of its runs."""

    def make_observer(self) -> IRunObserver:
        return self.identifier


class StoreObserverContractTests(StoreObserverContract, IdentifierTestCase):
    """`CallerIdentifier` as an observer of its store."""

    def make_observer(self) -> IStoreObserver:
        return self.identifier


class RecordingRunObserverTests(RunObserverContract, SynchronousTestCase):
    """The contract of `IRunObserver`, run on `RecordingRunObserver`."""

    def make_observer(self) -> IRunObserver:
        return RecordingRunObserver()

    def test_records(self) -> None:
        """The observer records the numbers of the runs in their order."""
        observer = RecordingRunObserver()
        for run in (3, 1):
            observer.ended(run)
        self.assertEqual(observer.runs, [3, 1])


class MemoryIdentifierTests(
    RunIdentifierContract, OutsideExplainerContract, SynchronousTestCase
):
    """The contract of `IRunIdentifier`, run on `MemoryIdentifier`."""

    def make_identifier(self) -> ICallerIdentifier:
        init = Init(pid=1, started=5, boot="00000000-0000-4000-8000-000000000000")
        self.callers = {1: Caller("c1", uid=0, run=7, init=init)}
        self.memories: list[MemoryIdentifier] = []
        return self.make_later_identifier()

    def make_later_identifier(self) -> IRunIdentifier:
        self.memories.append(MemoryIdentifier(self.callers))
        return self.memories[-1]

    def make_peer(self) -> Peer:
        return Peer(1, 0, 0)

    def make_outside_peer(self) -> Peer:
        return Peer(2, 0, 0)

    def end_run(self) -> None:
        self.callers.clear()
        for memory in self.memories:
            memory.end(7)


class AssumedIdentifierTests(ExplainerContract, SynchronousTestCase):
    """The contract of `ICallerIdentifier`, run on `AssumedIdentifier`."""

    def make_identifier(self) -> ICallerIdentifier:
        return AssumedIdentifier("c1")

    def make_peer(self) -> Peer:
        return Peer(1, 2, 3)

    def test_every_peer(self) -> None:
        """Every peer is identified as root of the container."""
        identifier = AssumedIdentifier("c1")
        observer = RecordingRunObserver()
        identifier.watch(observer)
        self.assertEqual(identifier.identify(Peer(1, 2, 3)), Caller("c1", 0))
        identifier.unwatch(observer)
