"""Tests of `devlxd.peers.identify`: attacks, as the text of /proc shows them."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.containers.memory import MemoryStore
from devlxd.interfaces import ICallerIdentifier, NotInContainer
from devlxd.model import Caller, Container, Peer
from devlxd.peers.identify import AssumedIdentifier, CallerIdentifier
from devlxd.peers.runtimes import known_runtimes
from devlxd.testing import (
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryProcess,
    MemoryProcessTable,
)
from tests.peers import hosts
from tests.peers.test_idmap import CURRENT, idmap
from tests.peers.test_lives import RecordingLifeObserver

#: The pid namespaces of the containers' inits.
ATTACKER, VICTIM = 100, 200

ID = "f" * 64

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
        self.add_init(10, "/lxc.payload.attacker", ATTACKER)
        self.add_init(20, "/lxc.payload.victim/init.scope", VICTIM)

    def add_init(self, pid: int, cgroup: str, namespace: int) -> None:
        """Let a container run."""
        text = self.host.format(cgroup=cgroup)
        self.table.processes[pid] = MemoryProcess(text, [namespace], SHIFTED)
        self.table.inits[namespace] = pid

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
        pidfd = self.table.hold(42)
        try:
            return self.identifier.identify(Peer(42, uid, uid, pidfd))
        finally:
            self.table.let_go(pidfd)

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
        """Were it to get into the victim's cgroup, the other witness would tell."""
        text = self.host.format(cgroup="/lxc.payload.victim")
        self.assert_refused("its pid namespace of attacker", text)

    def test_namespace_of_the_victim(self) -> None:
        """Were it to get into the victim's pid namespace, the first one would."""
        text = self.host.format(cgroup="/lxc.payload.attacker")
        self.assert_refused("its pid namespace of victim", text, [VICTIM])

    def test_nested_namespaces(self) -> None:
        """A pid namespace below the attacker's is its own; its init is no witness."""
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
            "its cgroup is of no container",
            self.host.format(cgroup="/user.slice/x\r0::/lxc.payload.victim"),
            [300],
        )

    def test_host_namespace(self) -> None:
        """A process of the host that is in a container's cgroup is not in it."""
        text = self.host.format(cgroup="/lxc.payload.victim")
        self.assert_refused("its pid namespace is the host's", text, [])

    def test_monitor(self) -> None:
        """Nor is LXC's monitor, or anybody else on the host."""
        for cgroup in ("/lxc.monitor.victim", "/user.slice/x", "/"):
            text = self.host.format(cgroup=cgroup)
            self.assert_refused("its cgroup is of no container", text, [])

    def test_unknown_namespace(self) -> None:
        """A peer in a pid namespace without an init is refused."""
        self.assert_refused(
            "has no init", self.host.format(cgroup="/lxc.payload.attacker"), [300]
        )

    def test_init_moved_away(self) -> None:
        """An init that nobody has a claim to vouches for nobody."""
        self.add_init(30, "/user.slice", 300)
        self.assert_refused(
            "pid 30: its cgroup is of no container",
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
        pidfd = self.table.hold(42)
        text = self.host.format(cgroup="/lxc.payload.victim")
        self.table.processes[42] = MemoryProcess(text, [VICTIM])
        error = self.assertRaises(
            NotInContainer, self.identifier.identify, Peer(42, 100_000, 0, pidfd)
        )
        self.assertIn("gone before it was placed", str(error))

    def test_gone(self) -> None:
        """Nor is one that ended and whose pid nobody has."""
        text = self.host.format(cgroup="/lxc.payload.attacker")
        self.table.processes[42] = MemoryProcess(text, [ATTACKER])
        peer = Peer(42, 100_000, 0, self.table.hold(42))
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


class HybridAttackTests(AttackTests):
    """The same on a hybrid host."""

    host = hosts.HYBRID

    def test_contradiction(self) -> None:
        """A peer that is in two containers is in none."""
        text = self.host.format(cgroup="/lxc.payload.attacker").replace(
            "8:pids:/lxc.payload.attacker", "8:pids:/lxc.payload.victim"
        )
        self.assert_refused("its cgroups are of attacker and victim", text)


class V1AttackTests(HybridAttackTests):
    """The same on a host without cgroup v2."""

    host = hosts.V1

    def test_contradiction(self) -> None:
        """A peer that is in two containers is in none."""
        text = self.host.format(cgroup="/lxc.payload.attacker").replace(
            "5:memory:/lxc.payload.attacker", "5:memory:/lxc.payload.victim"
        )
        self.assert_refused("its cgroups are of attacker and victim", text)


class CallerIdentifierTests(IdentifierTestCase):
    """Callers, and what is remembered of their containers."""

    def test_interface(self) -> None:
        """All that identify callers do."""
        for identifier in (self.identifier, AssumedIdentifier("x"), MemoryIdentifier()):
            self.assertTrue(verifyObject(ICallerIdentifier, identifier))

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
        self.add_init(30, "/lxc.payload.pod", 300)
        error = self.assertRaises(
            NotInContainer, self.identify, "/lxc.payload.pod", [300]
        )
        self.assertIn("known by its id", str(error))

    def test_restarted(self) -> None:
        """A container that was started anew has another life."""
        observer = RecordingLifeObserver()
        self.identifier.watch(observer)
        first = self.identify("/lxc.payload.attacker")
        self.assertEqual(self.identify("/lxc.payload.attacker"), first)
        del self.table.processes[10]
        self.add_init(11, "/lxc.payload.attacker", ATTACKER + 1)
        second = self.identify("/lxc.payload.attacker", [ATTACKER + 1])
        self.assertNotEqual(first.life, second.life)
        self.assertEqual(observer.heard, [])
        for watch in list(self.reactor.readers):
            if not self.table.is_alive(watch.fileno()):
                watch.doRead()
        self.assertEqual(observer.heard, [first.life])
        self.identifier.unwatch(observer)
        self.identifier.stopService()
        self.assertEqual(observer.heard, [first.life])

    def test_stop(self) -> None:
        """When it stops it holds nothing any more."""
        self.identify("/lxc.payload.attacker")
        self.identifier.startService()
        self.identifier.stopService()
        self.assertEqual(self.table.held, {})
        self.assertEqual(list(self.reactor.readers), [])


class AssumedIdentifierTests(SynchronousTestCase):
    """``--assume``."""

    def test_everybody(self) -> None:
        """Everybody is the root of the container, for ever."""
        identifier = AssumedIdentifier("c1")
        observer = RecordingLifeObserver()
        identifier.watch(observer)
        self.assertEqual(identifier.identify(Peer(1, 2, 3)), Caller("c1", 0))
        identifier.unwatch(observer)
