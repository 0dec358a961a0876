"""Tests of the store of containers in etcd."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.containers.etcd_store import KEPT_DELAY, EtcdStore
from devlxd.etcd.errors import TooLargeError
from devlxd.etcd.following import INTERVAL, SECOND_LOOK, THOROUGH
from devlxd.etcd.messages import RangeAnswer
from devlxd.etcd.synchronizer import LONGEST_PAUSE
from devlxd.interfaces import IContainerStore, IDocuments, IRemoteStore, IStoreService
from devlxd.limits import CurrentLimits
from devlxd.model import Container, Limits
from devlxd.testing import MemoryDevLXDReactor, MemoryEtcd, RecordingStoreObserver
from devlxd.testing.contracts import LoadingStoreContract

PREFIX = "/devlxd/h1/"


def document(value: str) -> str:
    """Return a document with one key."""
    return json.dumps({"config": {"user.a": value}})


class EtcdStoreContractTests(LoadingStoreContract, SynchronousTestCase):
    """The contract of a store in etcd, changed by putting keys."""

    def make_store(self) -> IContainerStore:
        """See `ContainerStoreContract.make_store`."""
        store = self.make_loading_store()
        self.finish_loading(store)
        return store

    def make_loading_store(self) -> IContainerStore:
        """See `LoadingStoreContract.make_loading_store`."""
        self.clock = Clock()
        self.etcd = MemoryEtcd(self.clock)
        return EtcdStore(PREFIX, [self.etcd.member()], self.clock)

    def finish_loading(self, store: IContainerStore) -> None:
        """See `LoadingStoreContract.finish_loading`."""
        assert isinstance(store, EtcdStore)
        store.startService()
        self.addCleanup(store.stopService)
        self.clock.advance(0)

    def put_container(self, container: Container) -> None:
        """See `ContainerStoreContract.put_container`."""
        devices = {name: dict(device) for name, device in container.devices.items()}
        config = dict(container.config)
        value = {"config": config, "devices": devices, "id": container.id}
        self.etcd.put(f"{PREFIX}{container.name}", json.dumps(value))
        self.clock.advance(0)

    def remove_container(self, name: str) -> None:
        """See `ContainerStoreContract.remove_container`."""
        self.etcd.delete(f"{PREFIX}{name}")
        self.clock.advance(0)


class EtcdStoreTestCase(SynchronousTestCase):
    """A base class of tests with a store, an etcd with two members, and a state."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.etcd = MemoryEtcd(self.clock)
        self.members = [self.etcd.member("one"), self.etcd.member("two")]
        self.state = Path(tempfile.mkdtemp(dir=".")).absolute() / "kept"
        self.limits = CurrentLimits()
        self.observer = RecordingStoreObserver()
        self.store = self.make_store()

    def make_store(self) -> EtcdStore:
        """Return a new store, as after a restart; its observer is the same."""
        store = EtcdStore(
            PREFIX,
            self.members,
            self.clock,
            str(self.state),
            wall=lambda: 1000 + self.clock.seconds(),
            limits=self.limits,
        )
        store.watch(self.observer)
        self.addCleanup(store.stopService)
        return store

    def start(self) -> None:
        """Start the store, and let it follow etcd."""
        self.store.startService()
        self.work(2)

    def restart(self) -> None:
        """Stop the store, and start another one with the same state."""
        self.store.stopService()
        self.observer.changes.clear()
        self.store = self.make_store()
        self.store.startService()
        self.work(1)

    def work(self, seconds: float = 0) -> None:
        """Let time pass."""
        self.clock.pump([0.0, 0.0, *[0.25] * int(4 * seconds), 0.0, 0.0])

    def put(self, name: str, value: str) -> None:
        """Put a document with one key."""
        self.etcd.put(f"{PREFIX}{name}", document(value))
        self.work()

    def fail_all(self, text: str = "no luck") -> None:
        """Let no member answer."""
        for member in self.members:
            member.fail(text)

    def recover_all(self) -> None:
        """Let all members answer."""
        for member in self.members:
            member.recover()

    def values(self) -> dict[str, str]:
        """Return the values of ``user.a`` of all containers."""
        found = [self.store.get(name) for name in self.store.names()]
        return {one.name: one.config["user.a"] for one in found if one}

    def seen(self) -> list[tuple[str, str | None]]:
        """Return the names and the new values of all changes since the last call."""
        changes = [*self.observer.changes]
        self.observer.changes.clear()
        return [
            (name, None if new is None else new.config["user.a"])
            for name, _, new in changes
        ]


class EtcdStoreTests(EtcdStoreTestCase):
    """What a store in etcd serves while etcd answers."""

    def test_interfaces(self) -> None:
        """The store provides all interfaces of stores."""
        for interface in (IDocuments, IRemoteStore, IStoreService):
            self.assertTrue(verifyObject(interface, self.store))

    def test_prefix(self) -> None:
        """Only keys below the prefix are containers."""
        for key in ("/devlxd/h10/c1", "/devlxd/h1", "/devlxd/h2/c1"):
            self.etcd.put(key, document("1"))
        self.put("c1", "2")
        self.start()
        self.etcd.put("/devlxd/h10/c2", document("3"))
        self.put("c3", "4")
        self.assertEqual(self.values(), {"c1": "2", "c3": "4"})

    def test_unencrypted(self) -> None:
        """A password that others on the network can read is a line in the log."""
        places = "http://127.0.0.1,http://localhost,http://[::1],unix:/a,https://b"
        query = "?prefix=/h1/&user=h1&password-file=pw"
        for text, count in (
            (f"etcd:{places}{query}", 0),
            (f"etcd:{places},http://10.0.0.1:1{query}", 1),
            ("etcd:http://10.0.0.1?prefix=/h1/", 0),
        ):
            with capturedLogs() as events:
                EtcdStore.at(text, MemoryDevLXDReactor())
            self.assertEqual(
                [*map(formatEvent, events)],
                [
                    "the password of user h1 is sent to http://10.0.0.1:1 unencrypted; "
                    "use https"
                ][:count],
            )

    def test_formats(self) -> None:
        """What begins with ``{`` is JSON, and all else is YAML."""
        crab = "\N{CRAB}"
        self.etcd.put(f"{PREFIX}c1", document(crab))
        self.etcd.put(f"{PREFIX}c2", " \n" + document(crab))
        self.etcd.put(f"{PREFIX}c3", f"config:\n  user.a: {crab}\n")
        self.start()
        self.assertEqual({*self.values().values()}, {crab})
        self.assertEqual(len(self.values()), 3)

    def test_every_change(self) -> None:
        """Observers hear of each of many changes of a container, in their order."""
        self.start()
        for number in range(50):
            self.etcd.put(f"{PREFIX}c1", document(str(number)))
        self.etcd.delete(f"{PREFIX}c1")
        self.work()
        expected = [("c1", str(number)) for number in range(50)]
        self.assertEqual(self.seen(), [*expected, ("c1", None)])

    def test_created_again(self) -> None:
        """A container that was created again is another one: it has another origin."""
        self.put("c1", "1")
        self.start()
        first = self.store.get("c1")
        self.put("c1", "2")
        second = self.store.get("c1")
        self.etcd.delete(f"{PREFIX}c1")
        self.put("c1", "3")
        third = self.store.get("c1")
        assert first and second and third
        self.assertEqual(first.origin, second.origin)
        self.assertNotEqual(second.origin, third.origin)
        self.assertNotIn("", (first.origin, third.origin))

    def test_bad_document(self) -> None:
        """A document with a mistake is logged at once; the last snapshot stays."""
        self.put("c1", "1")
        self.start()
        with capturedLogs() as events:
            self.etcd.put(f"{PREFIX}c1", "config: [")
            self.work()
        (event,) = events
        self.assertIn("etcd:/devlxd/h1/c1:1: ", formatEvent(event))
        self.assertEqual(self.values(), {"c1": "1"})
        (fault,) = self.store.faults()
        self.assertEqual((fault.file, fault.line), ("etcd:/devlxd/h1/c1", 1))
        self.assertTrue(fault.breaks)
        with capturedLogs() as events:
            self.put("c1", "2")
        (event,) = events
        self.assertEqual(formatEvent(event), "container c1 can be read again")
        self.assertEqual(self.store.faults(), [])
        self.assertEqual(self.store.document_of("c1"), "etcd:/devlxd/h1/c1")
        self.assertIsNone(self.store.document_of("c2"))

    def test_bad_names(self) -> None:
        """A key whose rest is no name is one line in the log, and harms nothing."""
        self.etcd.put(PREFIX, document("0"))
        self.etcd.put(f"{PREFIX}a/b", document("0"))
        self.etcd.put(f"{PREFIX}\udcff\n", document("0"))
        self.etcd.put(f"{PREFIX}{'x' * 1_000_000}", document("0"))
        self.put("c1", "1")
        with capturedLogs() as events:
            self.start()
        lines = [
            formatEvent(event) for event in events if event["log_level"].name == "error"
        ]
        self.assertEqual(len(lines), 4)
        self.assertTrue(all(line.isprintable() for line in lines))
        self.assertLess(max(map(len, lines)), 1000)
        self.assertLess(max(len(fault.file) for fault in self.store.faults()), 1000)
        self.assertEqual(self.values(), {"c1": "1"})

    def test_too_large(self) -> None:
        """A document that is too large is logged; the others are loaded."""
        self.limits.value = Limits(document_bytes=4096)
        self.etcd.put(f"{PREFIX}c0", "#" * 5000)
        self.etcd.put(f"{PREFIX}c1", b"#" * 10_000_000)
        self.put("c2", "1")
        self.start()
        faults = sorted(self.store.faults())
        self.assertEqual([fault.container for fault in faults], ["c0", "c1"])
        for fault in faults:
            self.assertIn("longer than 4096 bytes", fault.text)
        self.assertEqual(self.values(), {"c2": "1"})

    def test_large_change(self) -> None:
        """A change that is too large for a watch loses none of the others."""
        self.put("c1", "1")
        self.start()
        self.limits.value = Limits(document_bytes=4096)
        self.etcd.put(f"{PREFIX}c0", b"#" * 30_000_000)
        self.put("c1", "2")
        self.work(5)
        self.assertEqual(self.values(), {"c1": "2"})
        (fault,) = self.store.faults()
        self.assertIn("longer than 4096 bytes", fault.text)

    def test_shared_ids(self) -> None:
        """Two containers with one id are a fault of each of them."""
        for name in ("c1", "c2"):
            self.etcd.put(f"{PREFIX}{name}", "config: {}\nid: abc\n")
        self.start()
        self.assertEqual(len(self.store.faults()), 2)
        self.assertIsNone(self.store.by_id("abc"))

    def test_reload(self) -> None:
        """A reload logs all warnings again, and changes nothing."""
        self.etcd.put(f"{PREFIX}c1", "conifg: {}\nconfig: {user.a: 1}\n")
        self.etcd.put(f"{PREFIX}c2", "config: [")
        self.start()
        self.seen()
        with capturedLogs() as events:
            self.store.reload()
            self.work(1)
        lines = [formatEvent(event) for event in events]
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("reading all documents in etcd:/devlxd/h1/ again", lines[0])
        self.assertIn("did you mean config?", lines[1])
        self.assertEqual(self.seen(), [])
        self.put("c1", "2")
        self.assertEqual(self.seen(), [("c1", "2")])

    def test_pausing(self) -> None:
        """Etcd is not read further while too many changes wait; none is lost."""
        self.start()
        padding = "#" * 1_000_000
        for number in range(40):
            self.etcd.put(f"{PREFIX}c1", f"config: {{user.a: {number}}}\n{padding}")
        self.work(2)
        self.assertEqual(self.seen(), [("c1", str(number)) for number in range(40)])

    def test_restarted_service(self) -> None:
        """A service that is started again follows what has changed meanwhile."""
        self.put("c1", "1")
        self.put("c2", "1")
        self.start()
        self.store.stopService()
        self.seen()
        self.put("c1", "2")
        self.etcd.delete(f"{PREFIX}c2")
        self.assertNoResult(loading := self.store.loaded())
        self.store.startService()
        self.work(2)
        self.successResultOf(loading)
        self.assertEqual(self.seen(), [("c1", "2"), ("c2", None)])

    def test_nothing_left(self) -> None:
        """A store that was stopped leaves nothing in the reactor."""
        self.put("c1", "1")
        self.start()
        self.store.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([member.watches for member in self.members], [[], []])


class AwayTests(EtcdStoreTestCase):
    """What a store serves while etcd is away, and when it is back."""

    def test_missed_changes(self) -> None:
        """Each change that was missed is received later, in its order, and once."""
        self.put("c1", "1")
        self.start()
        self.seen()
        self.fail_all()
        for value in ("2", "3"):
            self.put("c1", value)
        self.etcd.delete(f"{PREFIX}c1")
        self.put("c1", "4")
        self.work(20)
        self.assertEqual(self.values(), {"c1": "1"})
        self.recover_all()
        self.work(LONGEST_PAUSE)
        missed = [("c1", "2"), ("c1", "3"), ("c1", None), ("c1", "4")]
        self.assertEqual(self.seen(), missed)

    def test_one_line(self) -> None:
        """A line is logged when no member answers, and one when one does again."""
        self.put("c1", "1")
        self.start()
        with capturedLogs() as events:
            self.fail_all()
            self.work(60)
        (event,) = events
        self.assertEqual(event["problem"][-7:], "no luck")
        self.assertIn("does not answer", formatEvent(event))
        state = self.store.source_state()
        self.assertFalse(state.is_answering)
        self.assertIn("no luck", state.problem)
        assert state.age is not None
        self.assertGreaterEqual(state.age, 60)
        self.assertIsNone(self.store.problem())
        with capturedLogs() as events:
            self.recover_all()
            self.work(LONGEST_PAUSE)
        (event,) = events
        self.assertIn("answers again", formatEvent(event))
        state = self.store.source_state()
        self.assertEqual((state.is_answering, state.problem), (True, ""))

    def test_other_member(self) -> None:
        """The next member is asked at once, and nothing is logged."""
        self.put("c1", "1")
        self.start()
        with capturedLogs() as events:
            self.members[0].fail("it is gone")
            self.work(1)
        self.assertEqual(events, [])
        self.put("c1", "2")
        self.assertEqual(self.values(), {"c1": "2"})

    def test_hanging_member(self) -> None:
        """A member that hangs is given up within 30 seconds."""
        self.put("c1", "1")
        self.start()
        self.members[0].hang()
        self.put("c1", "2")
        self.assertEqual(self.values(), {"c1": "1"})
        self.work(30)
        self.assertEqual(self.values(), {"c1": "2"})
        self.assertTrue(self.store.source_state().is_answering)

    def lose(self, *changes: tuple[str, str | None]) -> None:
        """Change containers without sending that to watches."""
        for member in self.members:
            member.loses = True
        for name, value in changes:
            text = None if value is None else document(value)
            self.etcd.transaction({f"{PREFIX}{name}": text})
        for member in self.members:
            member.loses = False

    def test_silent_watch(self) -> None:
        """If a watch sends nothing, the next one delivers each change in order."""
        self.put("c1", "1")
        self.put("c2", "1")
        self.start()
        self.seen()
        self.lose(("c1", "2"), ("c1", "3"), ("c2", None))
        with capturedLogs() as events:
            self.work(INTERVAL + SECOND_LOOK + 1)
        self.assertEqual(events, [])
        seen = self.seen()
        self.assertEqual(
            [one for one in seen if one[0] == "c1"], [("c1", "2"), ("c1", "3")]
        )
        self.assertIn(("c2", None), seen)

    def test_lost_removal(self) -> None:
        """A removal that was lost among others is found by the number of keys."""
        self.put("c1", "1")
        self.put("c2", "1")
        self.start()
        self.lose(("c2", None))
        self.put("c1", "2")
        self.seen()
        with capturedLogs() as events:
            self.work(2 * (INTERVAL + SECOND_LOOK + 1))
        (event,) = events
        self.assertIn("has not sent all changes", formatEvent(event))
        self.assertEqual(self.seen(), [("c2", None)])

    def test_lost_put(self) -> None:
        """A put that was lost among others is found when all keys are compared."""
        self.put("c1", "1")
        self.put("c2", "1")
        self.start()
        self.lose(("c2", "2"))
        self.put("c1", "2")
        self.seen()
        with capturedLogs() as events:
            self.work(THOROUGH * INTERVAL)
        (event,) = events
        self.assertIn("has not sent all changes", formatEvent(event))
        self.assertEqual(self.seen(), [("c2", "2")])

    def test_removed_meanwhile(self) -> None:
        """What changes while all keys are compared is not missing."""
        self.put("c1", "1")
        self.start()
        self.clock.advance(INTERVAL)
        with capturedLogs() as events:
            for number in range(4 * THOROUGH * int(INTERVAL) + 40):
                self.etcd.put(f"{PREFIX}c2", document(str(number)))
                self.clock.advance(0.125)
                self.etcd.delete(f"{PREFIX}c2")
                self.clock.advance(0.125)
        self.assertEqual(events, [])
        self.assertEqual(len(self.members[0].watches), 1)

    def test_late(self) -> None:
        """As long as changes arrive, those that are missing are on their way."""
        self.put("c1", "0")
        self.start()
        self.seen()
        self.clock.advance(INTERVAL - 0.5)
        (watch,) = self.members[0].watches
        for number in range(1, 6):
            watch.pause()
            self.etcd.put(f"{PREFIX}c{number}", document("1"))
            self.clock.advance(0.9)
            watch.resume()
            self.put("c0", str(number))
        self.work(1)
        self.assertEqual(len(self.members[0].watches), 1)
        self.assertEqual(len(self.seen()), 10)

    def test_compacted(self) -> None:
        """If changes were compacted, all that differs is changed."""
        for name in ("c1", "c2", "c3"):
            self.put(name, "1")
        self.start()
        self.seen()
        before = self.store.get("c2")
        self.fail_all()
        self.put("c1", "2")
        self.etcd.delete(f"{PREFIX}c2")
        self.put("c2", "2")
        self.etcd.delete(f"{PREFIX}c3")
        self.etcd.compact(self.etcd.revision)
        self.recover_all()
        self.work(5)
        self.assertEqual(
            self.seen(), [("c3", None), ("c1", "2"), ("c2", None), ("c2", "2")]
        )
        after = self.store.get("c2")
        assert before and after
        self.assertNotEqual(before.origin, after.origin)

    def test_restored(self) -> None:
        """An etcd that was restored is noticed, although its revision is higher."""
        self.put("c1", "1")
        snapshot = self.etcd.snapshot()
        self.put("c1", "2")
        self.put("c2", "2")
        self.start()
        self.seen()
        self.fail_all()
        self.etcd.restore(snapshot)
        for number in range(9):
            self.put("c3", str(number))
        self.recover_all()
        with capturedLogs() as events:
            self.work(5)
        (event,) = events
        self.assertIn("another history", formatEvent(event))
        self.assertEqual(self.values(), {"c1": "1", "c3": "8"})
        self.assertEqual(len(self.seen()), 3)

    def test_wiped(self) -> None:
        """An etcd that was wiped is noticed, and what it has is served."""
        self.put("c1", "1")
        self.start()
        self.etcd.restore()
        self.put("c2", "2")
        self.work(5)
        self.assertEqual(self.values(), {"c2": "2"})
        self.put("c2", "3")
        self.assertEqual(self.values(), {"c2": "3"})

    def test_restored_elsewhere(self) -> None:
        """A container that another history never had is removed."""
        self.put("c1", "1")
        snapshot = self.etcd.snapshot()
        self.put("c2", "2")
        self.start()
        self.fail_all()
        self.etcd.restore(snapshot)
        for number in range(9):
            self.etcd.put("/elsewhere", str(number))
        self.recover_all()
        self.work(5)
        self.assertEqual(self.values(), {"c1": "1"})

    def test_talkative_endpoint(self) -> None:
        """A member whose answers are all too long is no better than one without any."""
        self.put("c1", "1")

        def too_long(*_: object) -> Deferred[RangeAnswer]:
            return fail(TooLargeError("the answer is longer than 1 bytes"))

        self.patch(self.members[0], "range", too_long)
        self.start()
        self.assertEqual(self.values(), {"c1": "1"})
        self.patch(self.members[1], "range", too_long)
        self.work(10)
        self.assertIn("longer than", self.store.source_state().problem)

    def test_wrong_endpoint(self) -> None:
        """A member of another cluster does not remove all containers.

        It is followed only when no other member answers.
        """
        other = MemoryEtcd(self.clock)
        other.cluster_id = "18"
        self.members[1] = other.member("wrong")
        self.store = self.make_store()
        self.put("c1", "1")
        self.start()
        self.members[0].cut()
        self.put("c1", "2")
        self.work(10)
        self.assertEqual(self.seen(), [("c1", "1"), ("c1", "2")])
        self.members[0].fail("no luck")
        with capturedLogs() as events:
            self.work(10)
        lines = [*map(formatEvent, events)]
        self.assertIn("it is another cluster", " ".join(lines))
        self.assertEqual(self.values(), {})


class KeptTests(EtcdStoreTestCase):
    """What a store serves that is started while etcd is away."""

    def test_kept(self) -> None:
        """The last good documents are served, and their faults are known."""
        self.put("c1", "1")
        self.put("c2", "1")
        self.start()
        self.etcd.put(f"{PREFIX}c2", "config: [")
        self.work(1)
        self.fail_all()
        self.restart()
        self.successResultOf(self.store.loaded())
        self.assertEqual(self.values(), {"c1": "1", "c2": "1"})
        (fault,) = self.store.faults()
        self.assertEqual(fault.container, "c2")
        state = self.store.source_state()
        self.assertFalse(state.is_answering)
        self.clock.advance(100)
        age = self.store.source_state().age
        assert age is not None
        self.assertGreater(age, 100)

    def test_missed_changes(self) -> None:
        """After a restart, each change that was missed is received in its order."""
        self.put("c1", "1")
        self.start()
        self.store.stopService()
        self.put("c1", "2")
        self.put("c1", "3")
        self.restart()
        self.work(1)
        self.assertEqual(self.seen(), [("c1", "1"), ("c1", "2"), ("c1", "3")])

    def test_origin(self) -> None:
        """After a restart a container has the same origin: it is the same one."""
        self.put("c1", "1")
        self.start()
        before = self.store.get("c1")
        for _ in range(2):
            self.restart()
            after = self.store.get("c1")
            assert before and after
            self.assertEqual(before.origin, after.origin)

    def test_killed(self) -> None:
        """After a crash what was missed is received, and nothing twice."""
        self.put("c1", "1")
        self.start()
        self.put("c1", "2")
        copy = self.state.with_name("copy")
        self.work(1)
        for suffix in ("", "-wal"):
            path = Path(f"{self.state}{suffix}")
            Path(f"{copy}{suffix}").write_bytes(path.read_bytes())
        self.put("c1", "3")
        self.store.stopService()
        self.state = copy
        self.restart()
        self.work(1)
        self.assertEqual(self.seen(), [("c1", "2"), ("c1", "3")])

    def test_crash(self) -> None:
        """After a crash nothing is older than what observers have seen."""
        self.put("c1", "1")
        self.start()
        for value in ("2", "3", None, "4"):
            text = None if value is None else document(value)
            self.etcd.transaction({f"{PREFIX}c1": text})
        self.work()
        self.etcd.put(f"{PREFIX}c1", "config: [")
        self.work()
        self.crash()
        self.assertEqual(self.seen(), [("c1", "4")])
        self.assertEqual(len(self.store.faults()), 1)

    def crash(self) -> None:
        """Start another store with the file as it is now, while etcd is away."""
        copy = self.state.with_name("copy")
        for suffix in ("", "-wal"):
            path = Path(f"{self.state}{suffix}")
            Path(f"{copy}{suffix}").write_bytes(path.read_bytes())
        self.store.stopService()
        self.fail_all()
        self.state = copy
        self.restart()

    def test_crash_after_bad(self) -> None:
        """A good document is kept before it is used, whatever follows it."""
        self.put("c1", "1")
        self.start()
        self.etcd.put(f"{PREFIX}c1", document("2"))
        self.etcd.put(f"{PREFIX}c1", "config: [")
        self.work()
        self.assertEqual(self.values(), {"c1": "2"})
        self.crash()
        self.assertEqual(self.values(), {"c1": "2"})

    def test_bad_after_removal(self) -> None:
        """The document of a removed container is not the last good one of another."""
        self.start()
        for value in (document("1"), None, "config: ["):
            self.etcd.transaction({f"{PREFIX}c1": value})
        self.work(1)
        self.assertEqual(self.values(), {})
        self.crash()
        self.assertEqual(self.values(), {})

    def test_hanging(self) -> None:
        """What is kept is served soon if etcd hangs."""
        self.put("c1", "1")
        self.start()
        for member in self.members:
            member.hang()
        self.restart()
        self.assertNoResult(loaded := self.store.loaded())
        self.work(KEPT_DELAY)
        self.successResultOf(loaded)
        self.assertEqual(self.values(), {"c1": "1"})

    def test_nothing_kept(self) -> None:
        """With nothing kept, the store waits, says so, and is not loaded."""
        self.fail_all()
        loaded, settled = self.store.loaded(), self.store.settled()
        with capturedLogs() as events:
            self.start()
        (event,) = events
        self.assertIn("nothing is known of it", formatEvent(event))
        self.successResultOf(settled)
        self.assertNoResult(loaded)
        self.assertIn("no luck", self.store.problem() or "")
        self.assertIsNone(self.store.source_state().age)
        self.put("c1", "1")
        self.recover_all()
        self.work(LONGEST_PAUSE)
        self.successResultOf(loaded)
        self.assertEqual(self.values(), {"c1": "1"})
        self.assertIsNone(self.store.problem())

    def test_empty(self) -> None:
        """That there is no container is known as well."""
        self.start()
        self.fail_all()
        self.restart()
        self.successResultOf(self.store.loaded())
        self.assertEqual(self.values(), {})

    def test_removed(self) -> None:
        """Containers that were removed are not kept."""
        self.put("c1", "1")
        self.put("c2", "1")
        self.start()
        self.etcd.delete(f"{PREFIX}c1")
        self.work(1)
        self.fail_all()
        self.restart()
        self.assertEqual(self.values(), {"c2": "1"})

    def test_not_usable(self) -> None:
        """Without a usable file the store works, and says that nothing is kept."""
        self.state = Path("/nope/kept")
        self.store = self.make_store()
        self.put("c1", "1")
        with capturedLogs() as events:
            self.start()
        self.assertIn("does not keep", formatEvent(events[0]))
        self.assertEqual(self.values(), {"c1": "1"})

    def test_damaged(self) -> None:
        """A damaged file is renamed, and another one is begun."""
        self.state.write_bytes(b"not a database" * 1000)
        self.put("c1", "1")
        with capturedLogs() as events:
            self.start()
        self.assertIn("is damaged", formatEvent(events[0]))
        self.fail_all()
        self.restart()
        self.assertEqual(self.values(), {"c1": "1"})
