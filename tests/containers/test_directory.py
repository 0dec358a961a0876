"""Tests of `devlxd.containers.directory`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet import task
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers import directory
from devlxd.containers.directory import (
    GRACE,
    IDLE_LOOK_INTERVAL,
    LOOK_INTERVAL,
    DirectoryStore,
)
from devlxd.model import Container
from devlxd.testing import MemoryWatcher
from tests.containers.test_stores import RecordingObserver

SHOWN = "config: {user.a: b}\n"
RECORD = "container: {expanded_config: {user.a: b}, expanded_devices: {}}\n"


class TickingClock(Clock):
    """A clock on which even what is due at once takes its turn."""

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """See `IReactorTime.callLater`."""
        return super().callLater(max(delay, 0.01), callable, *args, **kw)


class DirectoryStoreTests(SynchronousTestCase):
    """A directory of documents."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        (self.path / "good.yaml").write_text(SHOWN)

    def load(self) -> tuple[list[str], list[str]]:
        """Load the directory; return the names in it and the lines of the log."""
        clock = Clock()
        store = DirectoryStore(self.path, clock, MemoryWatcher())
        with capturedLogs() as events:
            store.startService()
            clock.advance(0)
            # All is looked at again and again, but each problem is named once.
            clock.pump([IDLE_LOOK_INTERVAL, 0])
        store.stopService()
        return sorted(store.names()), [formatEvent(event) for event in events]

    def assert_only_good(self, *words: str) -> None:
        """Check that the good one is served and one log line has ``words``."""
        names, lines = self.load()
        self.assertEqual(names, ["good"])
        self.assertEqual(len(lines), 1, lines)
        for word in words:
            self.assertIn(word, lines[0])
        self.assertNotIn("\n", lines[0])

    def test_all_forms(self) -> None:
        """Every documented form of a container on disk is read."""
        (self.path / "c1.yml").write_text(SHOWN)
        (self.path / "c2.json").write_text('{"config": {"user.a": "b"}}')
        (self.path / "c3").mkdir()
        (self.path / "c3" / "config.yaml").write_text(SHOWN)
        (self.path / "pool").mkdir()
        (self.path / "pool" / "backup.yaml").write_text(RECORD)
        (self.path / "c4").symlink_to("pool")
        (self.path / "pool" / "rootfs").mkdir()
        store, clock = self.started()
        clock.advance(0)
        self.assertEqual(
            sorted(store.names()), ["c1", "c2", "c3", "c4", "good", "pool"]
        )
        for name in store.names():
            self.assertEqual(store.get(name), Container(name, {"user.a": "b"}))

    def test_nothing_to_do_with_it(self) -> None:
        """What is no container's, such as an editor's files, is passed over."""
        (self.path / ".good.yaml.swp").write_text("x")
        (self.path / ".hidden.yaml").write_text("x")
        (self.path / "README").write_text("x")
        (self.path / "good.yaml~").write_text("x")
        (self.path / "lost+found").mkdir()
        os.mkfifo(self.path / "pipe")
        self.assertEqual(self.load(), (["good"], []))

    def test_broken(self) -> None:
        """A broken file is named with its line, the others are served."""
        (self.path / "bad.yaml").write_text("config:\n  a: [\n")
        self.assert_only_good("bad.yaml:3: ")

    def test_unreadable(self) -> None:
        """A directory where a file should be is named."""
        (self.path / "bad.yaml").mkdir()
        self.assert_only_good("bad.yaml", "directory")

    def test_fifo(self) -> None:
        """A FIFO holds nobody up."""
        os.mkfifo(self.path / "bad.yaml")
        self.assert_only_good("bad.yaml", "not a regular file")

    def test_dangling_links(self) -> None:
        """A link that leads nowhere is named."""
        (self.path / "bad.yaml").symlink_to("nowhere")
        self.assert_only_good("bad.yaml", "leads nowhere")
        (self.path / "bad.yaml").unlink()
        (self.path / "bad").symlink_to("nowhere")
        self.assert_only_good("bad", "leads nowhere")
        (self.path / "bad").unlink()
        (self.path / "bad").symlink_to("bad")
        self.assert_only_good("bad", "symbolic links")

    def test_no_name(self) -> None:
        """A name that no container can have is named."""
        (self.path / "a b.yaml").write_text(SHOWN)
        self.assert_only_good("a b.yaml", "not a container's name")

    def test_name_that_is_no_text(self) -> None:
        """A name that is not even UTF-8 is named, escaped."""
        Path(os.fsdecode(os.fsencode(self.path) + b"/\xff\n.yaml")).write_text(SHOWN)
        self.assert_only_good("not a container's name")

    def test_two_for_one(self) -> None:
        """Of two documents for one name neither is served: who is to tell?"""
        (self.path / "bad.yaml").write_text(SHOWN)
        (self.path / "bad").mkdir()
        (self.path / "bad" / "config.yaml").write_text(SHOWN)
        self.assert_only_good("bad.yaml", "config.yaml", "more than one document")

    def test_bomb(self) -> None:
        """A YAML bomb is named and does not go off."""
        levels = [f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]\n" for n in range(1, 30)]
        (self.path / "bad.yaml").write_text("a0: &a0 [x]\n" + "".join(levels))
        self.assert_only_good("bad.yaml", "aliases make it too large")

    def started(self) -> tuple[DirectoryStore, Clock]:
        """Start a store."""
        clock = Clock()
        store = DirectoryStore(self.path, clock, MemoryWatcher())
        store.startService()
        self.addCleanup(store.stopService)
        return store, clock

    def test_in_slices(self) -> None:
        """A large directory is read bit by bit, and who asks is read first."""
        for n in range(1000):
            (self.path / f"c{n}.yaml").write_text(SHOWN)
        self.patch(task._Timer, "MAX_SLICE", 0)
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

    def test_no_directory(self) -> None:
        """A directory that comes later is found when it is there."""
        self.path /= "later"
        with capturedLogs() as events:
            store, clock = self.started()
            clock.pump([0, LOOK_INTERVAL, 0, LOOK_INTERVAL])
        self.assertEqual(len(events), 1)
        self.path.mkdir()
        (self.path / "c1.yaml").write_text(SHOWN)
        clock.pump([LOOK_INTERVAL, 0])
        self.assertEqual(store.names(), ["c1"])


class LiveTests(SynchronousTestCase):
    """A directory that changes."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.file = self.path / "c1.yaml"
        # What waits and what files say of time have clocks of their own.
        self.clock = Clock()
        began = time.time()
        self.watcher = MemoryWatcher()
        self.observer = RecordingObserver()
        self.store = DirectoryStore(
            self.path,
            self.clock,
            self.watcher,
            wall=lambda: began + self.clock.seconds(),
        )
        self.store.watch(self.observer)
        self.addCleanup(self.store.stopService)

    def start(self) -> None:
        """Start the store, and let it read what there is."""
        self.store.startService()
        self.clock.advance(0)
        self.observer.heard.clear()

    def tell(self, path: Path, complete: bool = True) -> None:
        """Tell that ``path`` was touched, and let the store do what it does then."""
        self.watcher.tell(path, complete)
        self.watcher.poll()
        self.clock.advance(0)

    def value(self) -> str | None:
        """Return what the container has for ``user.a``."""
        container = self.store.get("c1")
        return container.config.get("user.a") if container else None

    def write(self, value: str, path: Path | None = None) -> None:
        """Write a document, and close it."""
        path = path or self.file
        path.write_text(f"config: {{user.a: {value}}}\n")
        self.watcher.tell(path, complete=False)
        self.tell(path)

    def test_change(self) -> None:
        """A document that was written is read."""
        self.start()
        for value in ("1", "2", "3"):
            self.write(value)
            self.assertEqual(self.value(), value)
        self.assertEqual(len(self.observer.heard), 3)

    def test_half_written(self) -> None:
        """While somebody writes to it, a document changes nothing."""
        self.start()
        self.write("1")
        self.file.write_text("config: {")
        self.tell(self.file, complete=False)
        self.assertEqual(self.value(), "1")
        self.write("2")
        self.assertEqual(self.value(), "2")

    def test_written_while_read(self) -> None:
        """What was read while somebody wrote to it is not believed."""
        self.start()
        self.write("1")
        self.file.write_text("config: {user.a: half}")
        self.watcher.tell(self.file)
        self.watcher.poll()
        self.watcher.tell(self.file, complete=False)
        with capturedLogs() as events:
            self.clock.advance(0)
        self.assertEqual((self.value(), events), ("1", []))
        self.write("2")
        self.assertEqual(self.value(), "2")

    def test_looked_at_while_written(self) -> None:
        """What is being written is not believed when all is looked at either."""
        self.start()
        self.write("1")
        self.file.write_text("config: {user.a: half}")
        self.tell(self.file, complete=False)
        self.clock.pump([IDLE_LOOK_INTERVAL - 1, 1, 0])
        self.assertEqual(self.value(), "1")
        # If nobody ever says that it is done, it is done in the end.
        self.clock.pump([IDLE_LOOK_INTERVAL, 0])
        self.assertEqual(self.value(), "half")

    def test_touched_first(self) -> None:
        """A change is read before what is merely looked at."""
        self.start()
        for n in range(100):
            (self.path / f"z{n}.yaml").write_text("config: {}")
        self.file.write_text("config: {user.a: 1}")
        self.patch(task._Timer, "MAX_SLICE", 0)
        self.clock.__class__ = TickingClock
        self.watcher.listener.overflowed()
        self.watcher.tell(self.file)
        self.watcher.poll()
        self.clock.advance(0.02)
        self.assertEqual(self.value(), "1")
        self.assertLess(len(self.store.names()), 10)

    def test_unread_is_there(self) -> None:
        """A container whose document is broken is there, if unknown."""
        self.start()
        with capturedLogs():
            self.file.write_text("config: [")
            self.tell(self.file)
        self.assertIsNone(self.store.get("c1"))
        self.assertTrue(self.store.has("c1"))
        self.file.unlink()
        self.tell(self.file)
        self.assertFalse(self.store.has("c1"))

    def test_watches_are_given_up(self) -> None:
        """What matters no more is watched no more, and looked at no more."""
        pool = Path(tempfile.mkdtemp(dir=".")).absolute()
        (pool / "doc").write_text("config: {}")
        (self.path / "c2.yaml").symlink_to(pool / "doc")
        (self.path / "c3.yaml").symlink_to("/nonexistent/doc")
        with capturedLogs():
            self.start()
        self.assertEqual(len(self.watcher.watches), 2)
        for name in ("c2.yaml", "c3.yaml"):
            (self.path / name).unlink()
            self.tell(self.path / name)
        self.assertEqual(list(self.watcher.watches), [str(self.path)])
        self.clock.pump([GRACE, LOOK_INTERVAL, 0])
        self.patch(self.store, "_watch_top", None)
        self.clock.pump([IDLE_LOOK_INTERVAL / 2, 0])

    def test_broken_once(self) -> None:
        """A broken document is named once, and again when it was mended between."""
        self.start()
        self.write("1")
        with capturedLogs() as events:
            for text in ("config: [", "config: [", "config: {}", "config: ["):
                self.file.write_text(text)
                self.tell(self.file)
        self.assertEqual(len(events), 2)
        self.assertIsNone(self.value())

    def test_rename_dance(self) -> None:
        """An editor that moves the old file away first does no harm."""
        self.start()
        self.write("1")
        self.file.rename(self.path / "c1.yaml~")
        self.tell(self.file)
        self.clock.advance(GRACE / 2)
        self.write("2")
        self.clock.advance(GRACE)
        self.assertEqual(
            [new is None for _, _, new in self.observer.heard], [False] * 2
        )

    def test_removed(self) -> None:
        """A document that is gone for good takes its container with it."""
        self.start()
        self.write("1")
        self.file.unlink()
        self.tell(self.file)
        self.assertEqual(self.value(), "1")
        self.clock.advance(GRACE)
        self.assertIsNone(self.store.get("c1"))

    def test_back_unheard(self) -> None:
        """A document that is back is not forgotten, even if nobody told."""
        self.start()
        self.write("1")
        self.file.unlink()
        self.tell(self.file)
        self.file.write_text("config: {user.a: 2}")
        self.clock.pump([GRACE, 0])
        self.assertEqual(self.value(), "2")

    def test_inside(self) -> None:
        """A container's own directory is watched, also through a link."""
        pool = Path(tempfile.mkdtemp(dir=".")).absolute()
        (self.path / "c1").symlink_to(pool)
        self.start()
        self.write("1", pool / "config.yaml")
        self.assertEqual(self.value(), "1")
        (pool / "other").write_text("x")
        self.tell(pool / "other")
        self.assertEqual(len(self.observer.heard), 1)

    def test_linked_document(self) -> None:
        """So is what a link to a document points to, wherever it now points."""
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
        self.tell(self.file)
        self.assertEqual(self.value(), "1")
        self.write("changed too", pools[1] / "doc")
        self.assertEqual(self.value(), "changed too")
        self.assertNotIn(str(pools[0]), self.watcher.watches)

    def test_overflow(self) -> None:
        """When events were lost all is looked at."""
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

    def test_directory_made_again(self) -> None:
        """A directory that was removed and made again is found again."""
        self.start()
        self.write("1")
        away = self.path.with_name(self.path.name + "-away")
        self.path.rename(away)
        with capturedLogs():
            self.watcher.watches = {str(away): n for n in self.watcher.watches.values()}
            self.watcher.lose(away)
            self.clock.pump([0, GRACE])
        self.assertEqual(self.store.names(), [])
        self.path.mkdir()
        self.file.write_text("config: {user.a: 2}")
        self.clock.pump([LOOK_INTERVAL, 0])
        self.assertEqual(self.value(), "2")
        self.write("3")
        self.assertEqual(self.value(), "3")

    def test_no_more_watches(self) -> None:
        """What cannot be watched is looked at, and the log says so once."""
        (self.path / "c1").mkdir()
        document = self.path / "c1" / "config.yaml"
        document.write_text("config: {user.a: 1}")
        self.watcher.room = 1
        with capturedLogs() as events:
            self.start()
            document.write_text("config: {user.a: 2}")
            self.clock.pump([LOOK_INTERVAL, 0, LOOK_INTERVAL, 0])
        self.assertEqual(self.value(), "2")
        (event,) = events
        self.assertIn("No space left on device", formatEvent(event))

    def test_untouched(self) -> None:
        """Looking costs no reading where nothing was touched."""
        self.file.write_text("config: {}")
        self.clock.advance(10)
        self.start()
        self.patch(directory, "read_places", None)
        self.clock.pump([IDLE_LOOK_INTERVAL, 0])
        self.patch(directory, "read_places", lambda name, places: None)
        self.file.write_text("config: {user.a: 1}")
        self.clock.pump([IDLE_LOOK_INTERVAL, 0, GRACE])

    def test_reload(self) -> None:
        """Who asks for it has everything read, also what nobody saw change."""
        self.patch(directory, "signature_of", lambda *_: ("same",))
        self.write("1")
        self.start()
        self.file.write_text("config: {user.a: 2}")
        self.clock.pump([IDLE_LOOK_INTERVAL, 0])
        self.assertEqual(self.value(), "1")
        with capturedLogs() as events:
            self.store.reload()
            self.clock.advance(0)
        self.assertEqual(self.value(), "2")
        self.assertIn("read anew", formatEvent(events[0]))
        self.store.stopService()
        self.store.reload()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_and_start(self) -> None:
        """A store that was stopped changes no more, until it is started again."""
        self.start()
        self.write("1")
        self.store.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.file.write_text("config: {user.a: 2}")
        self.assertEqual(self.value(), "1")
        self.start()
        self.assertEqual(self.value(), "2")
