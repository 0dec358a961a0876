"""Tests of `devlxd.peers.identifier`: attacks, as the text of /proc shows them."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.containers.memory import MemoryStore
from devlxd.interfaces import (
    ICallerIdentifier,
    IRunObserver,
    IRuntime,
    IStoreObserver,
    NotInContainer,
)
from devlxd.model import Caller, Claim, Container, Peer
from devlxd.peers.identifier import AssumedIdentifier, CallerIdentifier
from devlxd.peers.runtimes import known_runtimes
from devlxd.testing import (
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryProcess,
    MemoryProcessTable,
)
from tests.peers import hosts
from tests.peers.test_id_maps import CURRENT, idmap
from tests.peers.test_runs import RecordingRunObserver

#: The pid namespaces of the containers' inits.
ATTACKER, VICTIM = 100, 200

ID = "f" * 64

LXCPATH = "/var/lib/lxc"

#: What ``/proc/PID/uid_map`` says in an unprivileged container.
SHIFTED = "0 100000 65536"


class IdentifierTestCase(SynchronousTestCase):
    """Has a host on which the attacker and the victim run, each with an init."""

    host = hosts.V2

    def setUp(self) -> None:
        self.store = MemoryStore(
            [Container("attacker"), Container("victim"), Container("pod", id=ID)]
        )
        self.table = MemoryProcessTable()
        self.reactor = MemoryDevLXDReactor()
        self.identifier = CallerIdentifier(
            self.store, self.table, known_runtimes(), self.reactor
        )
        self.add_init(10, "/lxc.payload.attacker", ATTACKER, "attacker")
        self.add_init(20, "/lxc.payload.victim/init.scope", VICTIM, "victim")

    def add_init(
        self,
        pid: int,
        cgroup: str,
        namespace: int,
        name: str = "",
        lxcpath: str = LXCPATH,
        program: str = "/usr/bin/lxc-start",
    ) -> None:
        """Let a container run; with ``name``, its monitor says so."""
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

    def identify(
        self,
        cgroup: str,
        namespaces: Sequence[int] = (ATTACKER,),
        uid: int = 100_000,
        uid_map: str = SHIFTED,
    ) -> Caller:
        """Identify a process whose cgroup the runtime, or the attacker, has made."""
        text = self.host.format(cgroup=cgroup)
        return self.identify_text(text, namespaces, uid, uid_map)

    def identify_text(
        self,
        text: str,
        namespaces: Sequence[int] = (ATTACKER,),
        uid: int = 100_000,
        uid_map: str = SHIFTED,
    ) -> Caller:
        """Identify a process whose ``/proc/PID/cgroup`` is ``text``."""
        self.table.processes[42] = MemoryProcess(text, namespaces, uid_map)
        pidfd = self.table.open_pidfd(42)
        try:
            return self.identifier.identify(Peer(42, uid, uid, pidfd))
        finally:
            self.table.close_pidfd(pidfd)

    def assert_refused(
        self, reason: str, text: str, namespaces: Sequence[int] = (ATTACKER,)
    ) -> None:
        """Check that a process is refused, and for what reason."""
        error = self.assertRaises(NotInContainer, self.identify_text, text, namespaces)
        self.assertIn(reason, str(error))


class AttackTests(IdentifierTestCase):
    """What the attacker's root can do, and what comes of it; on a v2 host."""

    def test_honest(self) -> None:
        """Whoever does nothing of it is its own container's root."""
        caller = self.identify("/lxc.payload.attacker")
        self.assertEqual((caller.container, caller.uid), ("attacker", 0))

    def test_cgroup_of_its_own(self) -> None:
        """A cgroup named as the victim's, at any depth, is still the attacker's."""
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
        """Were it to get into the victim's cgroup, another check would tell."""
        text = self.host.format(cgroup="/lxc.payload.victim")
        self.assert_refused("in the pid namespace of attacker", text)

    def test_namespace_of_the_victim(self) -> None:
        """Were it to get into the victim's pid namespace, the first one would."""
        text = self.host.format(cgroup="/lxc.payload.attacker")
        self.assert_refused("in the pid namespace of victim", text, [VICTIM])

    def test_nested_namespaces(self) -> None:
        """A pid namespace below the attacker's is its own; its init is not asked."""
        self.add_init(11, "/lxc.payload.victim", 101)
        caller = self.identify("/lxc.payload.attacker", [102, 101, ATTACKER])
        self.assertEqual(caller.container, "attacker")

    def test_nested_container(self) -> None:
        """A container in a container is the outer one, its root some other user."""
        caller = self.identify(
            "/lxc.payload.attacker/lxc.payload.inner",
            [101, ATTACKER],
            uid=165_536,
            uid_map="0 165536 65536",
        )
        self.assertEqual((caller.container, caller.uid), ("attacker", None))

    def test_user_namespace(self) -> None:
        """Being root of a user namespace of its own makes nobody root."""
        caller = self.identify(
            "/lxc.payload.attacker", uid=101_000, uid_map="0 101000 1"
        )
        self.assertEqual(caller.uid, 1000)

    def test_host_root(self) -> None:
        """The host's root in an unprivileged container's place is not its root."""
        self.assertIsNone(self.identify("/lxc.payload.attacker", uid=0).uid)

    def test_line_ends(self) -> None:
        """A cgroup whose name looks like the end of a line is still one cgroup."""
        self.add_init(30, "/user.slice/x\r0::/lxc.payload.victim", 300)
        self.assert_refused(
            "in the cgroup of no container",
            self.host.format(cgroup="/user.slice/x\r0::/lxc.payload.victim"),
            [300],
        )

    def test_host_namespace(self) -> None:
        """A process of the host that is in a container's cgroup is not in it."""
        text = self.host.format(cgroup="/lxc.payload.victim")
        self.assert_refused("in the host's pid namespace", text, [])

    def test_monitor(self) -> None:
        """Nor is LXC's monitor, or anybody else on the host."""
        for cgroup in ("/lxc.monitor.victim", "/user.slice/x", "/"):
            text = self.host.format(cgroup=cgroup)
            self.assert_refused("in the cgroup of no container", text, [])

    def test_unknown_namespace(self) -> None:
        """A peer in a pid namespace without an init is refused."""
        self.assert_refused(
            "has no init", self.host.format(cgroup="/lxc.payload.attacker"), [300]
        )

    def test_init_moved_away(self) -> None:
        """An init that nobody has a claim to vouches for nobody."""
        self.add_init(30, "/user.slice", 300)
        self.assert_refused(
            "its init (pid 30) is in the cgroup of no container",
            self.host.format(cgroup="/lxc.payload.attacker"),
            [300],
        )

    def test_not_in_the_store(self) -> None:
        """A container that the store does not know is refused."""
        self.store.remove("attacker")
        self.assert_refused(
            "not in the store", self.host.format(cgroup="/lxc.payload.attacker")
        )

    def test_recycled_pid(self) -> None:
        """A peer that ended is not taken for the process that got its pid."""
        text = self.host.format(cgroup="/lxc.payload.attacker")
        self.table.processes[42] = MemoryProcess(text, [ATTACKER])
        pidfd = self.table.open_pidfd(42)
        text = self.host.format(cgroup="/lxc.payload.victim")
        self.table.processes[42] = MemoryProcess(text, [VICTIM])
        error = self.assertRaises(
            NotInContainer, self.identifier.identify, Peer(42, 100_000, 0, pidfd)
        )
        self.assertIn("ended before it was identified", str(error))

    def test_gone(self) -> None:
        """Nor is one that ended and whose pid nobody has."""
        text = self.host.format(cgroup="/lxc.payload.attacker")
        self.table.processes[42] = MemoryProcess(text, [ATTACKER])
        peer = Peer(42, 100_000, 0, self.table.open_pidfd(42))
        del self.table.processes[42]
        self.assertRaises(NotInContainer, self.identifier.identify, peer)

    def test_not_held(self) -> None:
        """A peer that nothing holds is refused, as its pid may be anybody's."""
        peer = Peer(10, 100_000, 0)
        self.assertRaises(NotInContainer, self.identifier.identify, peer)

    def test_broken_id_map(self) -> None:
        """A container whose id map cannot be read has no root."""
        self.store.put(Container("attacker", {CURRENT: "x"}))
        self.assert_refused(
            "not an id map", self.host.format(cgroup="/lxc.payload.attacker")
        )


class MonitorTests(IdentifierTestCase):
    """What the parent of a container's init says, on a v2 host."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("c1", "c1-1"):
            self.store.put(Container(name))

    def identified(self, cgroup: str, namespace: int) -> str:
        """Return the name of the container that a process is found to be of."""
        return self.identify(f"/lxc.payload.{cgroup}", [namespace]).container

    def assert_unplaced(self, reason: str, name: str, namespace: int) -> None:
        """Check that a process in the cgroup of a container is refused."""
        text = self.host.format(cgroup=f"/lxc.payload.{name}")
        self.assert_refused(reason, text, [namespace])

    def test_stale_cgroup(self) -> None:
        """A container whose cgroup was still there is served, as what it is."""
        self.add_init(30, "/lxc.payload.c1-1", 300, "c1")
        self.add_init(31, "/lxc.payload.c1-2/init.scope", 310, "c1-2")
        self.store.put(Container("c1-2"))
        self.assertEqual(self.identified("c1-1", 300), "c1")
        self.assertEqual(self.identified("c1-2", 310), "c1-2")

    def test_name_of_the_cgroup_of_another(self) -> None:
        """A container is itself where another one has the cgroup of its name."""
        self.add_init(30, "/lxc.payload.c1-1", 300, "c1")
        self.add_init(31, "/lxc.payload.c1-1-1", 310, "c1-1")
        self.assertEqual(self.identified("c1-1", 300), "c1")
        self.assertEqual(self.identified("c1-1-1", 310), "c1-1")
        self.assert_unplaced("in the pid namespace of c1-1-1", "c1-1", 310)
        self.assert_unplaced("in the pid namespace of c1-1", "c1", 300)

    def test_contradicting_monitor(self) -> None:
        """A container is nobody if its monitor is another one's."""
        self.add_init(30, "/lxc.payload.c1", 300, "victim")
        self.assert_unplaced("its monitor is that of another container", "c1", 300)

    def test_title_in_a_container(self) -> None:
        """A process of the attacker's is not a monitor, whatever its title says."""
        self.add_init(30, "/lxc.payload.victim", 300, "victim")
        monitor = self.table.processes[1030]
        monitor.namespaces = [ATTACKER]
        self.assert_unplaced("is in a container", "victim", 300)
        monitor.namespaces, monitor.uid = [], 100_000
        self.assert_unplaced("does not belong to the host's root", "victim", 300)
        # It is not even asked: that could take for ever.
        self.patch(self.table, "command_line", lambda pid: self.fail("asked"))
        self.assert_unplaced("does not belong to the host's root", "victim", 300)

    def test_outlived_monitor(self) -> None:
        """An init that has outlived its monitor is nobody's."""
        self.table.processes[1] = MemoryProcess(
            "0::/init.scope\n", command_line="init\0"
        )
        self.add_init(30, "/lxc.payload.c1", 300)
        self.assert_unplaced("is not a monitor", "c1", 300)
        self.table.processes[30].parent = 0
        self.assert_unplaced("is not on this host", "c1", 300)

    def test_monitor_ends(self) -> None:
        """Nor is one whose monitor ends, or is replaced, while it is looked at."""
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
            self.assert_unplaced(reason, "c1", 300)
            self.table.processes[1030], init.parent = monitor, 1030
            self.assertEqual(self.table.pidfds, {})
        self.patch(self.table, "program", program)
        self.assertEqual(self.identified("c1", 300), "c1")

    def test_monitor_is_killed(self) -> None:
        """When the monitor ends so does the run, whatever its init does."""
        observer = RecordingRunObserver()
        self.identifier.watch(observer)
        self.add_init(30, "/lxc.payload.c1", 300, "c1")
        run = self.identify("/lxc.payload.c1", [300]).run
        del self.table.processes[1030]
        self.table.processes[30].parent = 1
        self.assert_unplaced("no process 1", "c1", 300)
        self.assertEqual(observer.heard, [run])
        self.assertEqual(self.table.pidfds, {})

    def test_asked_once(self) -> None:
        """The monitor is looked at once for each run of the container."""
        self.add_init(30, "/lxc.payload.c1-1", 300, "c1")
        self.assertEqual(self.identified("c1-1", 300), "c1")
        self.patch(self.table, "command_line", lambda pid: self.fail("asked again"))
        self.assertEqual(self.identified("c1-1", 300), "c1")

    def test_without_a_name(self) -> None:
        """A runtime that has no name and no monitor is served all the same."""

        @implementer(IRuntime)
        class OldPlugin:  # type: ignore[misc] # has no name, on purpose
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
    """The same on a hybrid host."""

    host = hosts.HYBRID


class V1MonitorTests(MonitorTests):
    """The same on a host without cgroup v2."""

    host = hosts.V1


class SameNameTests(IdentifierTestCase):
    """Two containers of one name, one of LXC's and one of Incus'."""

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
        """Ask from within LXC's."""
        return self.identify("/lxc.payload.c1", [300])

    def incus(self) -> Caller:
        """Ask from within Incus'."""
        return self.identify("/lxc.payload.c1-1", [400])

    def test_first(self) -> None:
        """The one that asked first is served while it lives, the other is not."""
        self.assertEqual(self.incus().container, "c1")
        error = self.assertRaises(NotInContainer, self.lxc)
        self.assertIn("(incus in /var/lib/incus/containers)", str(error))
        self.assertIn("(lxc in /var/lib/lxc)", str(error))
        self.assertIn("write 'runtime:' or 'lxcpath:'", str(error))
        self.assertEqual(error.kind, ("c1", "name in use"))
        self.assertEqual(self.incus().container, "c1")
        del self.table.processes[40]
        self.assertEqual(self.lxc().container, "c1")

    def test_started_anew(self) -> None:
        """A container that is started anew is served, as the old one is over."""
        self.lxc()
        del self.table.processes[30]
        self.add_init(31, "/lxc.payload.c1", 310, "c1")
        self.assertEqual(self.identify("/lxc.payload.c1", [310]).container, "c1")

    def test_document(self) -> None:
        """A document may say whose it is; no other one is served."""
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
        for ask in (self.lxc, self.incus):
            self.assertRaises(NotInContainer, ask)

    def test_unknown_path(self) -> None:
        """Where it is not known what a container is of, it may be another's."""
        self.table.processes[1030].command_line = "lxc-start\0-F\0-n\0c1\0"
        for container in (Container("c1"), Container("c1", runtime="lxc")):
            self.store.put(container)
            self.assertEqual(self.lxc().container, "c1")
        self.store.put(Container("c1", lxcpath=LXCPATH))
        self.assertRaises(NotInContainer, self.lxc)

    def test_document_changes(self) -> None:
        """When a document is another's from now on, the run ends for observers."""
        observer = RecordingRunObserver()
        self.identifier.watch(observer)
        self.identifier.startService()
        first = self.lxc()
        self.store.put(Container("c1", {"user.a": "b"}))
        self.store.put(Container("c2", runtime="incus"))
        self.assertEqual(observer.heard, [])
        self.store.put(Container("c1", runtime="incus"))
        self.assertEqual(observer.heard, [first.run])
        self.assertEqual(self.incus().container, "c1")
        self.identifier.stopService()
        self.assertEqual(self.table.pidfds, {})


class RefusalTests(IdentifierTestCase):
    """What the log is told of who is refused."""

    def refusal(
        self, text: str, namespaces: Sequence[int] = (ATTACKER,)
    ) -> NotInContainer:
        """Return why a process is refused."""
        error: NotInContainer = self.assertRaises(
            NotInContainer, self.identify_text, text, namespaces
        )
        return error

    def test_facts(self) -> None:
        """Its reason names pid, uid, command and cgroup."""
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
        """Whatever the caller has called them, they are short and printable."""
        cgroup = "/x\r\x1b[2J\udcff\u202e" + "y" * 4000
        error = self.refusal(self.host.format(cgroup=cgroup))
        self.assertTrue(str(error).isascii() and str(error).isprintable())
        self.assertIn("cgroup /x??[2J??yyy", str(error))
        self.assertLess(len(str(error)), 400)

    def test_kinds(self) -> None:
        """Its kind is the container, or the top of the cgroup, and the reason."""
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

    def test_what_a_guest_chooses(self) -> None:
        """Nothing below a container's own cgroup makes another kind."""
        kinds = {
            self.refusal(
                self.host.format(cgroup=f"/lxc.payload.attacker/{n}/lxc.payload.x{n}"),
                [],
            ).kind
            for n in range(10)
        }
        self.assertEqual(kinds, {("attacker", "host's pid namespace")})

    def test_gone(self) -> None:
        """Of who is gone nothing is told that may be of somebody else."""
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
    """The same on a hybrid host."""

    host = hosts.HYBRID

    def test_contradiction(self) -> None:
        """A peer that is in two containers is in none."""
        text = self.host.format(cgroup="/lxc.payload.attacker").replace(
            "8:pids:/lxc.payload.attacker", "8:pids:/lxc.payload.victim"
        )
        self.assert_refused("in the cgroups of attacker and victim", text)


class V1AttackTests(HybridAttackTests):
    """The same on a host without cgroup v2."""

    host = hosts.V1

    def test_contradiction(self) -> None:
        """A peer that is in two containers is in none."""
        text = self.host.format(cgroup="/lxc.payload.attacker").replace(
            "5:memory:/lxc.payload.attacker", "5:memory:/lxc.payload.victim"
        )
        self.assert_refused("in the cgroups of attacker and victim", text)


class CallerIdentifierTests(IdentifierTestCase):
    """Callers, and what is remembered of their containers."""

    def test_interface(self) -> None:
        """All that identify callers do."""
        for identifier in (self.identifier, AssumedIdentifier("x"), MemoryIdentifier()):
            self.assertTrue(verifyObject(ICallerIdentifier, identifier))
        for interface in (IRunObserver, IStoreObserver):
            self.assertTrue(verifyObject(interface, self.identifier))

    def test_recorded_map_first(self) -> None:
        """The id map that LXD wrote down counts before that of the init."""
        self.store.put(Container("attacker", {CURRENT: idmap(500_000)}))
        self.assertIsNone(self.identify("/lxc.payload.attacker").uid)
        self.assertEqual(self.identify("/lxc.payload.attacker", uid=500_000).uid, 0)

    def test_by_id(self) -> None:
        """A container that its runtime knows by an id is found by it."""
        cgroup = f"/machine.slice/libpod-{ID}.scope/container"
        self.add_init(30, cgroup, 300)
        self.assertEqual(self.identify(cgroup, [300]).container, "pod")

    def test_name_of_one_with_an_id(self) -> None:
        """A container that is known by its id cannot be had by its name."""
        self.add_init(30, "/lxc.payload.pod", 300, "pod")
        error = self.assertRaises(
            NotInContainer, self.identify, "/lxc.payload.pod", [300]
        )
        self.assertIn("for a container with an id", str(error))

    def test_restarted(self) -> None:
        """A container that was started anew has another run."""
        observer = RecordingRunObserver()
        self.identifier.watch(observer)
        first = self.identify("/lxc.payload.attacker")
        self.assertEqual(self.identify("/lxc.payload.attacker"), first)
        del self.table.processes[10]
        self.add_init(11, "/lxc.payload.attacker", ATTACKER + 1, "attacker")
        second = self.identify("/lxc.payload.attacker", [ATTACKER + 1])
        self.assertNotEqual(first.run, second.run)
        self.assertEqual(observer.heard, [])
        for watch in list(self.reactor.readers):
            if watch in self.reactor.readers and not self.table.is_alive(
                watch.fileno()
            ):
                watch.doRead()
        self.assertEqual(observer.heard, [first.run])
        self.identifier.unwatch(observer)
        self.identifier.stopService()
        self.assertEqual(observer.heard, [first.run])

    def test_stop(self) -> None:
        """When it stops it holds nothing any more."""
        self.identify("/lxc.payload.attacker")
        self.identifier.startService()
        self.identifier.stopService()
        self.assertEqual(self.table.pidfds, {})
        self.assertEqual(list(self.reactor.readers), [])


class AssumedIdentifierTests(SynchronousTestCase):
    """``--assume``."""

    def test_everybody(self) -> None:
        """Everybody is the root of the container, for ever."""
        identifier = AssumedIdentifier("c1")
        observer = RecordingRunObserver()
        identifier.watch(observer)
        self.assertEqual(identifier.identify(Peer(1, 2, 3)), Caller("c1", 0))
        identifier.unwatch(observer)
