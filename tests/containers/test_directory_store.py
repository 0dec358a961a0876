"""Tests of the directory store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.containers import (
    directory_store,
    directory_watches,
    document_files,
    document_versions,
    reading_queue,
)
from devlxd.containers.directory_store import IDLE_SCAN_INTERVAL, DirectoryStore
from devlxd.containers.directory_watches import SCAN_INTERVAL
from devlxd.containers.document_versions import SETTLE
from devlxd.containers.failed_reads import QUIET_RETRIES
from devlxd.containers.removals import GRACE
from devlxd.files import birth_time_ns
from devlxd.interfaces import IWatchListener
from devlxd.model import Container
from devlxd.testing import MemoryWatcher
from devlxd.testing.contracts.stores import without_origin
from tests.containers.directory_test_case import DirectoryStoreTestCase, TickingClock

DOCUMENT = "config: {user.a: b}\n"
BACKUP = "container: {expanded_config: {user.a: b}, expanded_devices: {}}\n"


class DirectoryStoreTests(SynchronousTestCase):
    """Loading a directory of documents."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        (self.path / "good.yaml").write_text(DOCUMENT)

    def load(self) -> tuple[list[str], list[str]]:
        """Load the directory; return the names of its containers and the log lines."""
        clock = Clock()
        store = DirectoryStore(self.path, clock, MemoryWatcher())
        with capturedLogs() as events:
            store.startService()
            clock.advance(0)
            clock.pump([0.1, 0] * (len(QUIET_RETRIES) + 10))
            # A scan does not log the same problem again.
            clock.pump([IDLE_SCAN_INTERVAL, 0])
        store.stopService()
        return sorted(store.names()), [formatEvent(event) for event in events]

    def assert_only_good(self, *words: str) -> None:
        """Check that only ``good`` is loaded, and one line with ``words`` is logged."""
        names, lines = self.load()
        self.assertEqual(names, ["good"])
        self.assertEqual(len(lines), 1, lines)
        for word in words:
            self.assertIn(word, lines[0])
        self.assertNotIn("\n", lines[0])

    def test_all_formats(self) -> None:
        """Documents are read with each supported file name and in each format."""
        (self.path / "c1.yml").write_text(DOCUMENT)
        (self.path / "c2.json").write_text('{"config": {"user.a": "b"}}')
        (self.path / "c3").mkdir()
        (self.path / "c3" / "config.yaml").write_text(DOCUMENT)
        (self.path / "pool").mkdir()
        (self.path / "pool" / "backup.yaml").write_text(BACKUP)
        (self.path / "c4").symlink_to("pool")
        (self.path / "pool" / "rootfs").mkdir()
        store, clock = self.started()
        clock.advance(0)
        self.assertEqual(
            sorted(store.names()), ["c1", "c2", "c3", "c4", "good", "pool"]
        )
        for name in store.names():
            self.assertEqual(
                without_origin(store.get(name)), Container(name, {"user.a": "b"})
            )

    def test_other_files(self) -> None:
        """Other files, such as those of editors, are skipped."""
        (self.path / ".good.yaml.swp").write_text("x")
        (self.path / ".hidden.yaml").write_text("x")
        (self.path / "README").write_text("x")
        (self.path / "good.yaml~").write_text("x")
        (self.path / "lost+found").mkdir()
        os.mkfifo(self.path / "pipe")
        self.assertEqual(self.load(), (["good"], []))

    def test_broken(self) -> None:
        """A broken document is logged with its line; the others are loaded."""
        (self.path / "bad.yaml").write_text("config:\n  a: [\n")
        self.assert_only_good("bad.yaml:2: ")

    def test_unreadable(self) -> None:
        """A directory in the place of a document is logged."""
        (self.path / "bad.yaml").mkdir()
        self.assert_only_good("bad.yaml", "directory")

    def test_fifo(self) -> None:
        """A FIFO does not block the store."""
        os.mkfifo(self.path / "bad.yaml")
        self.assert_only_good("bad.yaml", "not a regular file")

    def test_dangling_links(self) -> None:
        """A dangling symbolic link is logged."""
        (self.path / "bad.yaml").symlink_to("nowhere")
        self.assert_only_good("bad.yaml", "dangling symbolic link")
        (self.path / "bad.yaml").unlink()
        (self.path / "bad").symlink_to("nowhere")
        self.assert_only_good("bad", "dangling symbolic link")
        (self.path / "bad").unlink()
        (self.path / "bad").symlink_to("bad")
        self.assert_only_good("bad", "symbolic links")

    def test_invalid_name(self) -> None:
        """An invalid container name is logged."""
        (self.path / "a b.yaml").write_text(DOCUMENT)
        self.assert_only_good("a b.yaml", "not a valid container name")

    def test_name_not_text(self) -> None:
        """A file name that is not UTF-8 is logged as an invalid container name."""
        Path(os.fsdecode(os.fsencode(self.path) + b"/\xff\n.yaml")).write_text(DOCUMENT)
        self.assert_only_good("not a valid container name")

    def test_two_for_one(self) -> None:
        """Neither of two documents for one container is read."""
        (self.path / "bad.yaml").write_text(DOCUMENT)
        (self.path / "bad").mkdir()
        (self.path / "bad" / "config.yaml").write_text(DOCUMENT)
        self.assert_only_good("bad.yaml", "config.yaml", "more than one document")

    def test_bomb(self) -> None:
        """A YAML bomb is rejected without being expanded."""
        levels = [f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]\n" for n in range(1, 30)]
        (self.path / "bad.yaml").write_text("a0: &a0 [x]\n" + "".join(levels))
        self.assert_only_good("bad.yaml", "too large when its aliases are expanded")

    def started(self) -> tuple[DirectoryStore, Clock]:
        """Return a store that is started, and its clock."""
        clock = Clock()
        store = DirectoryStore(self.path, clock, MemoryWatcher())
        store.startService()
        self.addCleanup(store.stopService)
        return store, clock

    def test_in_slices(self) -> None:
        """A directory is read in slices, but a requested container immediately."""
        for n in range(1000):
            (self.path / f"c{n}.yaml").write_text(DOCUMENT)
        self.patch(reading_queue, "SLICE", 0)
        clock = TickingClock()
        store = DirectoryStore(self.path, clock, MemoryWatcher())
        store.startService()
        self.addCleanup(store.stopService)
        loaded = store.loaded()
        self.assertEqual(list(store.names()), [])
        self.assertIsNotNone(store.get("c999"))
        self.assertIsNone(store.get("c1000"))
        clock.advance(0.01)
        self.assertLess(len(store.names()), 50)
        self.assertNoResult(loaded)
        clock.pump([0.01] * 1002)
        self.successResultOf(loaded)
        self.assertEqual(len(store.names()), 1001)

    def test_looks_once(self) -> None:
        """The directory is searched once for the links of a document without any."""
        searched: list[str] = []

        def entries(_directory: Path, name: str) -> set[tuple[str, str]]:
            searched.append(name)
            return set()

        self.patch(directory_watches, "entries_elsewhere", entries)
        self.load()
        # When it is loaded, and by the scan.
        self.assertEqual(searched, ["good", "good"])

    def test_no_directory(self) -> None:
        """A directory that is created after the start of its store is read."""
        self.path /= "later"
        with capturedLogs() as events:
            store, clock = self.started()
            clock.pump([0, SCAN_INTERVAL, 0, SCAN_INTERVAL])
        self.assertEqual(len(events), 1)
        self.path.mkdir()
        (self.path / "c1.yaml").write_text(DOCUMENT)
        clock.pump([SCAN_INTERVAL, 0])
        self.assertEqual(store.names(), ["c1"])


class ChangeTests(DirectoryStoreTestCase):
    """Changes of documents."""

    def test_interface(self) -> None:
        """The store provides `IWatchListener`."""
        self.assertTrue(verifyObject(IWatchListener, self.store))

    def test_change(self) -> None:
        """A written document is read."""
        self.start()
        for value in ("1", "2", "3"):
            self.write(value)
            self.assertEqual(self.value(), value)
        self.assertEqual(len(self.observer.changes), 3)

    def test_half_written(self) -> None:
        """A document is not read while it is being written."""
        self.start()
        self.write("1")
        self.file.write_text("config: {")
        self.report(self.file, complete=False)
        self.assertEqual(self.value(), "1")
        self.write("2")
        self.assertEqual(self.value(), "2")

    def test_written_while_read(self) -> None:
        """What was read is discarded if a write is reported after the read."""
        self.start()
        self.write("1")
        self.file.write_text("config: {user.a: half}")
        self.watcher.report(self.file)
        self.watcher.poll()
        self.watcher.report(self.file, complete=False)
        with capturedLogs() as events:
            self.clock.advance(0)
        self.assertEqual((self.value(), events), ("1", []))
        self.write("2")
        self.assertEqual(self.value(), "2")

    def test_scanned_while_written(self) -> None:
        """A scan does not read a document that is being written."""
        self.start()
        self.write("1")
        self.file.write_text("config: {user.a: half}")
        self.report(self.file, complete=False)
        self.clock.pump([IDLE_SCAN_INTERVAL - 1, 1, 0])
        self.assertEqual(self.value(), "1")
        # The end of the write is never reported: it is assumed after a minute.
        self.clock.pump([IDLE_SCAN_INTERVAL, 0])
        self.assertEqual(self.value(), "half")

    def test_changed_first(self) -> None:
        """A reported change is read before documents that are only scanned."""
        self.patch(reading_queue, "SLICE", 0)
        self.start()
        for n in range(100):
            (self.path / f"z{n}.yaml").write_text("config: {}")
        self.file.write_text("config: {user.a: 1}")
        self.clock.__class__ = TickingClock
        self.watcher.listener.overflowed()
        self.watcher.report(self.file)
        self.watcher.poll()
        self.clock.advance(0.02)
        self.assertEqual(self.value(), "1")
        self.assertLess(len(self.store.names()), 10)

    def test_watches_are_removed(self) -> None:
        """Watches that no container needs are removed, and scans become rare again."""
        pool = Path(tempfile.mkdtemp(dir=".")).absolute()
        (pool / "doc").write_text("config: {}")
        (self.path / "c2.yaml").symlink_to(pool / "doc")
        (self.path / "c3.yaml").symlink_to("/nonexistent/doc")
        with capturedLogs():
            self.start()
        self.assertEqual(len(self.watcher.watches), 2)
        for name in ("c2.yaml", "c3.yaml"):
            (self.path / name).unlink()
            self.report(self.path / name)
        self.assertEqual(list(self.watcher.watches), [str(self.path)])
        self.clock.pump([GRACE, SCAN_INTERVAL, 0])
        # No scan is due yet: it would fail.
        self.patch(self.store, "_list_containers", None)
        self.clock.pump([IDLE_SCAN_INTERVAL / 2, 0])

    def test_half_written_unreported(self) -> None:
        """Half a document is not read, even if its writing was not reported."""
        self.start()
        self.write("1")
        for text in ("config: {}", "config: {user.b: x}", "config: {user.a: 2}"):
            self.file.write_text(text)
            self.watcher.listener.overflowed()
            self.clock.pump([0, 0.1, 0, 0.1, 0])
            self.assertEqual(self.value(), "1")
        self.clock.pump([SETTLE, 0, SETTLE, 0])
        self.assertEqual(self.value(), "2")
        self.assertEqual(len(self.observer.changes), 2)

    def test_replaced_by_editor(self) -> None:
        """A document may be missing for a moment, while an editor replaces it."""
        self.start()
        self.write("1")
        self.file.rename(self.path / "c1.yaml~")
        self.report(self.file)
        self.clock.advance(GRACE / 2)
        self.write("2")
        self.clock.advance(GRACE)
        self.assertEqual(
            [new is None for _, _, new in self.observer.changes], [False] * 2
        )

    def test_removed(self) -> None:
        """A container is removed `GRACE` seconds after its document."""
        self.start()
        self.write("1")
        self.file.unlink()
        self.report(self.file)
        self.assertEqual(self.value(), "1")
        self.clock.advance(GRACE)
        self.assertIsNone(self.store.get("c1"))

    def test_back_unreported(self) -> None:
        """A container is not removed if its document returns without a report."""
        self.start()
        self.write("1")
        self.file.unlink()
        self.report(self.file)
        self.file.write_text("config: {user.a: 2}")
        self.clock.pump([GRACE, 0])
        self.assertEqual(self.value(), "2")

    def test_own_directory(self) -> None:
        """A container's own directory is watched, also through a symbolic link."""
        pool = Path(tempfile.mkdtemp(dir=".")).absolute()
        (self.path / "c1").symlink_to(pool)
        self.start()
        self.write("1", pool / "config.yaml")
        self.assertEqual(self.value(), "1")
        (pool / "other").write_text("x")
        self.report(pool / "other")
        self.assertEqual(len(self.observer.changes), 1)

    def test_own_directory_removed(self) -> None:
        """A container is removed if its own directory has been removed."""
        own = self.path / "c1"
        own.mkdir()
        self.start()
        self.write("1", own / "config.yaml")
        (own / "config.yaml").unlink()
        own.rmdir()
        self.watcher.report_removed(own)
        self.clock.pump([0, GRACE])
        self.assertEqual(self.store.names(), [])

    def test_linked_document(self) -> None:
        """The target of a symbolic link is watched, even after the link changes."""
        pools = [Path(tempfile.mkdtemp(dir=".")).absolute() for _ in range(2)]
        for n, pool in enumerate(pools):
            (pool / "doc").write_text(f"config: {{user.a: {n}}}")
        self.file.symlink_to(pools[0] / "doc")
        self.start()
        self.assertEqual(self.value(), "0")
        self.write("changed", pools[0] / "doc")
        self.assertEqual(self.value(), "changed")
        self.file.unlink()
        self.file.symlink_to(pools[1] / "doc")
        self.report(self.file)
        self.assertEqual(self.value(), "1")
        self.write("changed too", pools[1] / "doc")
        self.assertEqual(self.value(), "changed too")
        self.assertNotIn(str(pools[0]), self.watcher.watches)

    def test_overflow(self) -> None:
        """All documents are scanned when reports were lost."""
        self.start()
        self.file.write_text("config: {user.a: 1}")
        (self.path / "c2.yaml").write_text("config: {}")
        self.watcher.listener.overflowed()
        self.clock.advance(0)
        self.assertEqual(sorted(self.store.names()), ["c1", "c2"])
        self.file.unlink()
        self.watcher.listener.overflowed()
        self.clock.pump([0, GRACE])
        self.assertEqual(self.store.names(), ["c2"])

    def test_directory_created_again(self) -> None:
        """A directory that is removed and created again is read again."""
        self.start()
        self.write("1")
        away = self.path.with_name(self.path.name + "-away")
        self.path.rename(away)
        with capturedLogs():
            self.watcher.watches = {str(away): n for n in self.watcher.watches.values()}
            self.watcher.report_removed(away)
            self.clock.pump([0, GRACE])
        self.assertEqual(self.store.names(), [])
        self.path.mkdir()
        self.file.write_text("config: {user.a: 2}")
        self.clock.pump([SCAN_INTERVAL, 0])
        self.assertEqual(self.value(), "2")
        self.write("3")
        self.assertEqual(self.value(), "3")

    def test_no_more_watches(self) -> None:
        """Without enough watches all documents are scanned, and that is logged once."""
        (self.path / "c1").mkdir()
        document = self.path / "c1" / "config.yaml"
        document.write_text("config: {user.a: 1}")
        self.watcher.max_watches = 1
        with capturedLogs() as events:
            self.start()
            document.write_text("config: {user.a: 2}")
            self.clock.pump([SCAN_INTERVAL, 0, SCAN_INTERVAL, 0])
        self.assertEqual(self.value(), "2")
        (event,) = events
        self.assertIn("No space left on device", formatEvent(event))

    def test_unchanged(self) -> None:
        """A scan reads only changed documents, and keeps containers that have one."""
        self.file.write_text("config: {}")
        self.clock.advance(10)
        self.start()
        # A read would fail.
        self.patch(directory_store, "read_document", None)
        self.clock.pump([IDLE_SCAN_INTERVAL, 0])
        self.patch(directory_store, "read_document", lambda *_: None)
        self.file.write_text("config: {user.a: 1}")
        self.clock.pump([IDLE_SCAN_INTERVAL, 0, GRACE])
        # The document exists, whatever the failed read has returned.
        self.assertEqual(list(self.store.names()), ["c1"])

    def test_reload(self) -> None:
        """A reload reads all documents, even if they seem unchanged."""
        self.patch(document_versions, "signature_of", lambda *_: ("same",))
        self.write("1")
        self.start()
        self.file.write_text("config: {user.a: 2}\nconifg: {}")
        self.clock.pump([IDLE_SCAN_INTERVAL, 0])
        self.assertEqual(self.value(), "1")
        with capturedLogs() as events:
            for _ in range(2):
                self.store.reload()
                self.clock.advance(0)
        self.assertEqual(self.value(), "2")
        lines = [formatEvent(event) for event in events]
        self.assertEqual(
            [line.count("reading all documents") for line in lines], [1, 0, 1, 0]
        )
        self.assertEqual([line.count("conifg") for line in lines], [0, 1, 0, 1])
        self.store.stopService()
        self.store.reload()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reload_half_written(self) -> None:
        """A reload does not read a document that is being written."""
        self.start()
        self.file.write_text("config: {user.a: ha")
        self.report(self.file, complete=False)
        self.store.reload()
        self.clock.advance(0)
        self.assertFalse(self.store.has("c1"))
        self.write("whole")
        self.assertEqual(self.value(), "whole")

    def start_half_written(self) -> Deferred[None]:
        """Start the store while ``c1`` is being written; return when it is loaded."""
        self.file.write_text("config: {user.a: ha")
        (self.path / "c2.yaml").write_text("config: {user.a: x}")
        self.store.startService()
        loaded = self.store.loaded()
        self.report(self.file, complete=False)
        self.assertEqual(list(self.store.names()), ["c2"])
        self.assertNoResult(loaded)
        return loaded

    def test_load_half_written(self) -> None:
        """The store is loaded when a document is complete that is being written."""
        loaded = self.start_half_written()
        self.write("whole")
        self.successResultOf(loaded)
        self.assertEqual(self.value(), "whole")

    def test_load_removed(self) -> None:
        """The store does not wait for a half-written document that is removed."""
        loaded = self.start_half_written()
        self.file.unlink()
        self.report(self.file)
        self.successResultOf(loaded)

    def test_load_endless(self) -> None:
        """The store is loaded after a minute, even if a write never ends."""
        loaded = self.start_half_written()
        for _ in range(59):
            self.clock.advance(1)
            self.report(self.file, complete=False)
        self.assertNoResult(loaded)
        self.clock.pump([1, 0])
        self.successResultOf(loaded)
        self.assertIsNone(self.value())

    def test_stop_and_start(self) -> None:
        """A stopped store does not change until it is started again."""
        self.start()
        self.write("1")
        self.store.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.file.write_text("config: {user.a: 2}")
        self.assertEqual(self.value(), "1")
        self.start()
        self.assertEqual(self.value(), "2")


class OriginTests(DirectoryStoreTestCase):
    """The origin, which differs between two containers of the same name."""

    def origin(self) -> str:
        """Return the origin; skip the test if the file system has no birth times."""
        container = self.store.get("c1")
        assert container is not None
        if birth_time_ns(self.path) is None:
            raise SkipTest("this file system has no birth times")
        return container.origin

    def test_in_place(self) -> None:
        """A document that is written in place keeps its origin."""
        self.start()
        self.write("1")
        origin = self.origin()
        inode, birth = map(int, origin.split(":"))
        self.assertEqual(inode, self.file.stat().st_ino)
        self.assertEqual(birth, birth_time_ns(self.file))
        self.write("2")
        self.assertEqual(self.origin(), origin)

    def test_new_document(self) -> None:
        """A new document has a new origin, of which observers are notified."""
        self.start()
        self.write("1")
        origin = self.origin()
        new = self.path / ".new"
        new.write_text(self.file.read_text())
        new.rename(self.file)
        self.report(self.file)
        self.assertNotEqual(self.origin(), origin)
        name, old, now = self.observer.changes[-1]
        self.assertEqual(name, "c1")
        self.assertEqual(without_origin(old), without_origin(now))
        self.assertEqual(len(self.observer.changes), 2)

    def test_own_directory(self) -> None:
        """A document in a container's own directory has the directory's origin."""
        pool = Path(tempfile.mkdtemp(dir=".")).absolute()
        (self.path / "c1").symlink_to(pool)
        self.start()
        for name, text in (
            ("config.yaml", "config: {user.a: 1}\n"),
            ("backup.yaml", "container: {expanded_config: {user.a: 2}}\n"),
            ("backup.yaml", "container: {expanded_config: {user.a: 3}}\n"),
        ):
            for old in pool.iterdir():
                old.unlink()
                self.report(old)
            (pool / name).write_text(text)
            self.report(pool / name)
            self.assertIn(self.value() or "", text)
            self.assertEqual(
                self.origin(), f"{pool.stat().st_ino}:{birth_time_ns(pool)}"
            )

    def test_unknown(self) -> None:
        """Without a birth time the origin is empty."""
        self.patch(document_files, "birth_time_ns", lambda _: None)
        self.start()
        self.write("1")
        container = self.store.get("c1")
        assert container is not None
        self.assertEqual(container.origin, "")
