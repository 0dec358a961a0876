"""Tests of `devlxd.peers.known_runs` and `devlxd.peers.known_cgroups`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd import fast_paths
from devlxd.fast_paths import FastPath
from devlxd.interfaces import NotInContainer
from devlxd.model import Container, Peer
from devlxd.peers.known_cgroups import MAX_KNOWN_CGROUPS, KnownCgroups
from devlxd.testing import MemoryProcess
from tests.peers import hosts
from tests.peers.test_id_maps import CURRENT, id_map_value
from tests.peers.test_identifier import ATTACKER, SHIFTED, VICTIM, IdentifierTestCase

#: The cgroups of the two containers.
OF_ATTACKER, OF_VICTIM = "/lxc.payload.attacker", "/lxc.payload.victim"


class KnownCgroupsTests(SynchronousTestCase):
    """`KnownCgroups`."""

    def test_bounded(self) -> None:
        """Of too many cgroups the oldest one is forgotten."""
        known = KnownCgroups()
        for key in range(MAX_KNOWN_CGROUPS + 1):
            known.add(key)
            self.assertIn(key, known)
        known.add(MAX_KNOWN_CGROUPS)
        self.assertEqual(len(known), MAX_KNOWN_CGROUPS)
        self.assertNotIn(0, known)
        self.assertIn(1, known)


class KnownRunTestCase(IdentifierTestCase):
    """Two containers, whose runs and cgroups are known.

    :ivar examined: the pids whose cgroups were examined, in their order.
    """

    def setUp(self) -> None:
        super().setUp()
        self.patch(fast_paths, "enabled", {FastPath.CALLERS})
        self.use_new_identifier()
        self.identify(OF_ATTACKER)
        self.identify(OF_VICTIM, [VICTIM])
        self.examined: list[int] = []
        cgroups = self.table.cgroups

        def examine(pid: int) -> object:
            self.examined.append(pid)
            return cgroups(pid)

        self.patch(self.table, "cgroups", examine)


class KnownRunTests(KnownRunTestCase):
    """Callers whose run and cgroups are known."""

    def test_known(self) -> None:
        """A caller in known cgroups is identified without examining them again."""
        for uid, inside in ((100_000, 0), (101_000, 1000), (0, None)):
            caller = self.identify(OF_ATTACKER, uid=uid)
            self.assertEqual((caller.container, caller.uid), ("attacker", inside))
        self.assertEqual(self.identify(OF_VICTIM, [VICTIM]).container, "victim")
        self.assertEqual(self.examined, [])

    def test_same_caller(self) -> None:
        """The caller is the same one that all checks find."""
        known = self.identify(OF_ATTACKER)
        self.patch(fast_paths, "enabled", set())
        self.use_new_identifier()
        found = self.identify(OF_ATTACKER)
        self.assertEqual(
            (known.container, known.uid, known.init),
            (found.container, found.uid, found.init),
        )
        self.assertEqual(self.examined, [42, 10, 1010])

    def test_switched_off(self) -> None:
        """Without this fast path the cgroups of every caller are examined."""
        self.patch(fast_paths, "enabled", set())
        self.use_new_identifier()
        self.identify(OF_ATTACKER)
        self.identify(OF_ATTACKER)
        self.assertEqual(self.examined, [42, 10, 1010, 42])

    def test_older_kernel(self) -> None:
        """On an older kernel the cgroups of every caller are examined."""
        self.table.has_pidfd_namespaces = False
        self.assertEqual(self.identify(OF_ATTACKER).container, "attacker")
        self.assertEqual(self.examined, [42])

    def test_other_cgroup(self) -> None:
        """The first caller in each cgroup is examined; the next ones are not."""
        for _ in range(2):
            self.identify(f"{OF_ATTACKER}/system.slice")
            self.assertEqual(self.examined, [42])

    def test_nested(self) -> None:
        """A caller in nested namespaces belongs to the run of the outermost one."""
        caller = self.identify(OF_ATTACKER, [102, 101, ATTACKER])
        self.assertEqual((caller.container, self.examined), ("attacker", []))

    def test_first_of_a_run(self) -> None:
        """The first caller of each run is examined, even in a cgroup of before."""
        del self.table.processes[10]
        self.add_init(11, OF_ATTACKER, ATTACKER + 1, "attacker")
        self.identify(OF_ATTACKER, [ATTACKER + 1])
        self.assertEqual(self.examined, [42, 11, 1011])

    def test_explained(self) -> None:
        """An explanation shows all checks, as they are made now."""
        before = self.identifier.explain(10)
        self.assertIn(10, self.examined)
        self.table.processes[10].cgroup = "0::/user.slice\n"
        after = self.identifier.explain(10)
        self.assertEqual((before.container, after.container), ("attacker", None))

    def test_not_for_life(self) -> None:
        """What is known of a run is forgotten when it ends."""
        first = self.identify(OF_ATTACKER)
        del self.table.processes[10]
        self.report_ended()
        self.add_init(11, OF_ATTACKER, ATTACKER, "attacker")
        self.assertNotEqual(self.identify(OF_ATTACKER).run, first.run)
        self.assertEqual(self.examined, [42, 11, 1011])


class KnownRunAttackTests(KnownRunTestCase):
    """Attacks on what is known of runs, by root in a container."""

    def move(self, peer: Peer, cgroup: str) -> None:
        """Move a process to another cgroup."""
        self.table.processes[peer.pid].cgroup = self.host.format(cgroup=cgroup)

    def start(self, cgroup: str, namespace: int = ATTACKER) -> Peer:
        """Start a process."""
        text = self.host.format(cgroup=cgroup)
        self.table.processes[42] = MemoryProcess(text, [namespace], SHIFTED)
        return Peer(42, 100_000, 100_000, self.table.open_pidfd(42))

    def assert_peer_refused(self, reason: str, peer: Peer) -> None:
        """Check that a peer is refused for a reason."""
        error = self.assertRaises(NotInContainer, self.identifier.identify, peer)
        self.assertIn(reason, str(error))

    def test_known_cgroup_of_the_victim(self) -> None:
        """A known cgroup of the victim does not make a process of another its own."""
        self.assert_peer_refused("in the pid namespace of", self.start(OF_VICTIM))

    def test_known_namespace_of_the_victim(self) -> None:
        """Being in the victim's namespace does not help from another known cgroup."""
        peer = self.start(OF_ATTACKER, VICTIM)
        self.assert_peer_refused("in the pid namespace of victim", peer)

    def test_moved(self) -> None:
        """A process is in the cgroup that it is in now, not when it connected."""
        peer = self.start(OF_ATTACKER)
        self.move(peer, OF_VICTIM)
        self.assert_peer_refused("in the pid namespace of attacker", peer)
        self.move(peer, "/user.slice")
        self.assert_peer_refused("in the cgroup of no container", peer)

    def test_moved_while_examined(self) -> None:
        """The cgroup of a process that moves while it is examined is not remembered."""
        peer = self.start(f"{OF_ATTACKER}/a")
        examine = self.table.cgroups

        def move(pid: int) -> object:
            found = examine(pid)
            self.move(peer, f"{OF_ATTACKER}/b")
            return found

        self.patch(self.table, "cgroups", move)
        self.identifier.identify(peer)
        self.patch(self.table, "cgroups", examine)
        for below in "ab":
            self.examined.clear()
            self.identify(f"{OF_ATTACKER}/{below}")
            self.assertEqual(self.examined, [42])

    def test_many_cgroups(self) -> None:
        """A guest that creates many cgroups affects what is known of itself only."""
        runs = self.identifier._runs
        for n in range(10 * MAX_KNOWN_CGROUPS):
            self.identify(f"{OF_ATTACKER}/{n}")
        known = runs.known(ATTACKER), runs.known(VICTIM)
        counts = [len(run.cgroups) for run in known if run is not None]
        self.assertEqual(counts, [MAX_KNOWN_CGROUPS, 1])
        self.examined.clear()
        self.identify(OF_VICTIM, [VICTIM])
        self.assertEqual(self.examined, [])

    def test_refused_is_not_known(self) -> None:
        """Nothing is remembered of a process that is refused."""
        for _ in range(2):
            self.assert_peer_refused("namespace of attacker", self.start(OF_VICTIM))
        self.assertEqual(self.examined.count(42), 4)

    def test_ended(self) -> None:
        """A peer that has ended is refused, although its run and cgroup are known."""
        peer = self.start(OF_ATTACKER)
        del self.table.processes[42]
        self.assert_peer_refused("no process 42", peer)

    def test_recycled_pid(self) -> None:
        """A peer that has ended is not taken for a known process with its pid."""
        peer = self.start(OF_ATTACKER)
        self.start(OF_VICTIM, VICTIM)
        self.assert_peer_refused("ended before it was identified", peer)

    def test_recycled_pid_while_found(self) -> None:
        """This holds also if the pid is used again while the facts are read."""
        peer = self.start(OF_ATTACKER)
        key_of = self.table.cgroup_key

        def recycle(pid: int, pidfd: int) -> object:
            key = key_of(pid, pidfd)
            self.start(OF_VICTIM, VICTIM)
            return key

        self.patch(self.table, "cgroup_key", recycle)
        self.assert_peer_refused("ended before it was identified", peer)

    def test_reused_namespace(self) -> None:
        """A known namespace that has ended is not taken for a later one of its number.

        This holds before the reactor has reported the end.
        """
        del self.table.processes[10]
        self.add_init(30, f"{OF_VICTIM}/init.scope", ATTACKER, "victim")
        self.assert_peer_refused("namespace of victim", self.start(OF_ATTACKER))
        # The run that is served is still the one in the other namespace.
        self.assert_peer_refused("is running and is served", self.start(OF_VICTIM))

    def test_nested_namespace_reused(self) -> None:
        """The number of a nested namespace says nothing about a later one."""
        self.identify(OF_ATTACKER, [300, ATTACKER])
        self.assertEqual(self.identify(OF_VICTIM, [300, VICTIM]).container, "victim")
        peer = self.start(OF_ATTACKER)
        self.table.processes[42].namespaces = [300, VICTIM]
        self.assert_peer_refused("in the pid namespace of victim", peer)
        self.table.processes[42].namespaces = [300]
        self.assert_peer_refused("has no init", peer)

    def test_host_namespace(self) -> None:
        """A process of the host in a known cgroup is not in that container."""
        peer = self.start(OF_ATTACKER)
        self.table.processes[42].namespaces = []
        self.assert_peer_refused("in the host's pid namespace", peer)

    def test_killed_monitor(self) -> None:
        """A known run ends with its monitor, before the reactor reports it."""
        del self.table.processes[1010]
        self.assert_peer_refused("no process 1010", self.start(OF_ATTACKER))

    def test_no_pidfd(self) -> None:
        """A peer without a pidfd is refused."""
        self.start(OF_ATTACKER)
        self.assert_peer_refused("no pidfd", Peer(42, 100_000, 100_000))


class KnownDocumentTests(KnownRunTestCase):
    """Documents that change while the run of a container is known."""

    def assert_attacker_refused(self, reason: str) -> None:
        """Check that a process of the attacker is refused without the walk."""
        error = self.assertRaises(NotInContainer, self.identify, OF_ATTACKER)
        self.assertIn(reason, str(error))

    def test_removed(self) -> None:
        """A caller of a container that was removed is refused."""
        self.store.remove("attacker")
        self.assert_attacker_refused("not in the store")

    def test_another_container(self) -> None:
        """A document that describes another container now is not that of the run."""
        for document in (
            Container("attacker", runtime="incus"),
            Container("attacker", lxcpath="/elsewhere"),
            Container("attacker", id="e" * 64),
        ):
            self.store.put(document)
            self.assert_attacker_refused("the document of attacker is for")
        self.store.put(Container("attacker"))
        self.assertEqual(self.identify(OF_ATTACKER).container, "attacker")

    def test_name_in_use(self) -> None:
        """Of two known runs with one name only the one that is served is served."""
        cgroup = f"{OF_ATTACKER}-1"
        self.add_init(30, cgroup, 300, "attacker", program="/usr/bin/incusd")
        for _ in range(2):
            error = self.assertRaises(NotInContainer, self.identify, cgroup, [300])
            self.assertIn("is running and is served", str(error))
            self.assertEqual(self.identify(OF_ATTACKER).container, "attacker")
        # Both are known now. The document says which of them it describes.
        self.store.put(Container("attacker", runtime="incus"))
        self.assert_attacker_refused("the document of attacker is for")

    def test_id_map(self) -> None:
        """The id map is that of the present document, else that of the init."""
        self.store.put(Container("attacker", {CURRENT: id_map_value(500_000)}))
        self.assertIsNone(self.identify(OF_ATTACKER).uid)
        self.assertEqual(self.identify(OF_ATTACKER, uid=500_000).uid, 0)
        self.store.put(Container("attacker"))
        self.assertEqual(self.identify(OF_ATTACKER).uid, 0)
        self.assertEqual(self.examined, [])


class HybridKnownRunAttackTests(KnownRunAttackTests):
    """Attacks on what is known of runs, on a hybrid host."""

    host = hosts.HYBRID

    def test_contradiction(self) -> None:
        """A process in known cgroups of two containers is refused."""
        text = self.host.format(cgroup=OF_ATTACKER)
        for hierarchy in ("0:", "8:pids"):
            contradicting = text.replace(
                f"{hierarchy}:{OF_ATTACKER}", f"{hierarchy}:{OF_VICTIM}"
            )
            for namespace in (ATTACKER, VICTIM):
                self.assert_refused(
                    "in the cgroups of attacker and victim", contradicting, [namespace]
                )


class V1KnownRunAttackTests(KnownRunAttackTests):
    """Attacks on what is known of runs, on a host without cgroup v2."""

    host = hosts.V1
