"""Tests of `devlxd.containers.directory`."""

from __future__ import annotations

import errno
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from devlxd.containers import directory, places
from devlxd.containers.directory import (
    GRACE,
    IDLE_LOOK_INTERVAL,
    LOOK_INTERVAL,
    MAX_LARGE,
    QUIET_RETRIES,
    RETRIES,
    SETTLE,
    DirectoryStore,
)
from devlxd.files import birth_time_ns
from devlxd.model import Container
from devlxd.testing import MemoryWatcher
from tests.containers.test_stores import RecordingObserver, known

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
            clock.pump([0.1, 0] * (len(QUIET_RETRIES) + 10))
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
            self.assertEqual(known(store.get(name)), Container(name, {"user.a": "b"}))

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

    def test_waits_no_longer(self) -> None:
        """Who waits until all is read may give up, and leaves nothing behind."""
        store = DirectoryStore(self.path, Clock(), MemoryWatcher())
        loaded = store.loaded()
        loaded.addErrback(lambda failure: failure.trap(CancelledError))
        loaded.cancel()
        kept = weakref.ref(loaded)
        del loaded
        self.assertIsNone(kept())

    def test_one_goes_for_another(self) -> None:
        """What hears that all is read may cancel what would hear of it next."""
        clock = Clock()
        store = DirectoryStore(self.path, clock, MemoryWatcher())
        first, second, third = store.loaded(), store.loaded(), store.loaded()
        first.addCallback(lambda _: second.cancel())
        store.startService()
        self.addCleanup(store.stopService)
        clock.advance(0)
        self.assertIsNone(self.successResultOf(first))
        self.failureResultOf(second, CancelledError)
        self.assertIsNone(self.successResultOf(third))

    def test_in_slices(self) -> None:
        """A large directory is read bit by bit, and who asks is read first."""
        for n in range(1000):
            (self.path / f"c{n}.yaml").write_text(SHOWN)
        self.patch(directory, "SLICE", 0)
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


class LiveStore(SynchronousTestCase):
    """A store of a directory that changes."""

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

    def pass_quietly(self) -> None:
        """Let the time pass after which what is broken is told."""
        for seconds in QUIET_RETRIES:
            self.clock.pump([seconds, 0])


class LiveTests(LiveStore):
    """A directory that changes."""

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
        self.patch(directory, "SLICE", 0)
        self.start()
        for n in range(100):
            (self.path / f"z{n}.yaml").write_text("config: {}")
        self.file.write_text("config: {user.a: 1}")
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
        """A broken document is named once, that it is mended too, and so on."""
        self.start()
        self.write("1")
        with capturedLogs() as events:
            for text in ("config: [", "config: [", "config: {}", "config: ["):
                self.file.write_text(text)
                self.tell(self.file)
                self.pass_quietly()
        lines = [formatEvent(event) for event in events]
        self.assertEqual(len(lines), 3, lines)
        self.assertEqual(lines[0], lines[2])
        self.assertIn(f"{self.file}:2: ", lines[0])
        self.assertEqual(lines[1], "container c1 is read again")
        self.assertIsNone(self.value())

    def test_broken_in_passing(self) -> None:
        """What is being written when nobody tells of that is nobody's concern."""
        self.start()
        self.write("1")
        with capturedLogs() as events:
            for _ in range(100):
                self.file.write_text("config: [")
                self.watcher.listener.overflowed()
                self.clock.pump([0, 0.5, 0])
                self.assertEqual(self.value(), "1")
                self.assertTrue(self.store.has("c1"))
                self.file.write_text("config: {user.a: 1}")
                self.clock.pump([0.5, 0])
        lines = {formatEvent(event) for event in events}
        self.assertEqual(lines, {f"events of {self.path} were lost"})

    def test_half_unheard(self) -> None:
        """Half of a document is believed neither when nobody told who writes it."""
        self.start()
        self.write("1")
        for text in ("config: {}", "config: {user.b: x}", "config: {user.a: 2}"):
            self.file.write_text(text)
            self.watcher.listener.overflowed()
            self.clock.pump([0, 0.1, 0, 0.1, 0])
            self.assertEqual(self.value(), "1")
        self.clock.pump([SETTLE, 0, SETTLE, 0])
        self.assertEqual(self.value(), "2")
        self.assertEqual(len(self.observer.heard), 2)

    def test_mended_unheard(self) -> None:
        """A document that was broken in passing is read without further word."""
        self.start()
        self.file.write_text("config: [")
        self.tell(self.file)
        self.file.write_text("config: {user.a: 1}")
        self.clock.pump([QUIET_RETRIES[0], 0])
        self.assertEqual(self.value(), "1")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_broken_anew(self) -> None:
        """What breaks in so many ways fills no log, and keeps nobody else out."""
        self.start()
        other = self.path / "c2.yaml"
        other.write_text("config: [")
        with capturedLogs() as events:
            for n in range(100):
                self.file.write_text("\n" * n + ("config: [" if n % 2 else "- a"))
                self.tell(self.file)
                self.pass_quietly()
            self.tell(other)
            self.pass_quietly()
        lines = [formatEvent(event) for event in events]
        self.assertLess(len(lines), 60)
        self.assertEqual(sum(str(other) in line for line in lines), 1)
        self.file.unlink()
        other.unlink()
        self.tell(self.file)
        self.tell(other)
        self.assertFalse(self.store.has("c1"))
        # The log has still to hear how much was left out.
        self.clock.advance(60)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_failed_read(self) -> None:
        """What could not be read is read as soon as it can be, untouched or not."""
        self.start()
        self.write("1")
        for number in (errno.EMFILE, errno.EIO):

            def fail(path: Path, number: int = number) -> int:
                raise OSError(number, os.strerror(number))

            # All is cold: nobody can tell by its times that it has changed.
            self.patch(directory, "signature_of", lambda *_: ("same",))
            with self.failing_to_open(fail), capturedLogs() as events:
                self.write(f"after {number}")
                self.clock.pump([1.0, 0] * 30)
                self.assertNotEqual(self.value(), f"after {number}")
                self.watcher.listener.overflowed()
            lines = [formatEvent(event) for event in events]
            self.assertEqual(len(lines), 2, lines)
            self.assertIn(os.strerror(number), lines[0])
            with capturedLogs() as events:
                self.clock.pump([RETRIES[-1], 0])
            self.assertEqual(self.value(), f"after {number}")
            self.assertEqual(
                [formatEvent(event) for event in events], ["container c1 is read again"]
            )

    @contextmanager
    def failing_to_open(self, fail: Callable[[Path], int]) -> Iterator[None]:
        """Let nothing be opened for a while."""
        patcher = MonkeyPatcher((places, "open_regular", fail))
        patcher.patch()
        try:
            yield
        finally:
            patcher.restore()

    def test_failed_list(self) -> None:
        """A directory that could not be listed is listed again soon."""
        self.file.write_text("config: {user.a: 1}")

        def fail(path: Path) -> list[str]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patcher = MonkeyPatcher((os, "listdir", fail))
        with capturedLogs() as events:
            patcher.runWithPatches(self.start)
        (event,) = events
        self.assertIn("cannot be listed (Too many open files)", formatEvent(event))
        self.clock.pump([LOOK_INTERVAL, 0])
        self.assertEqual(self.value(), "1")

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
        with capturedLogs() as events:
            self.tell(self.file)
            self.assertEqual(self.value(), "1")
            self.clock.advance(GRACE)
        self.assertIsNone(self.store.get("c1"))
        (event,) = events
        self.assertEqual(formatEvent(event), "container c1 has no document any more")

    def test_hints(self) -> None:
        """What looks like a mistake is named with file and line, while it is new."""
        self.start()
        with capturedLogs() as events:
            for text in ("\nconifg: {}\n", "conifg: {user.a: b}\n", "config: {}\n"):
                self.file.write_text(text)
                self.tell(self.file)
            self.file.write_text("Config: {}\n")
            self.tell(self.file)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                f"{self.file}:2: conifg means nothing; config is meant?",
                f"{self.file}:1: Config means nothing; config is meant?",
            ],
        )
        self.assertIsNotNone(self.store.get("c1"))

    def test_same_id(self) -> None:
        """Of two containers with one id both are named, once."""
        self.start()
        with capturedLogs() as events:
            for name in ("c1", "c2"):
                path = self.path / f"{name}.yaml"
                path.write_text("config: {}\nid: abc\n")
                for _ in range(2):
                    self.tell(path)
        (event,) = events
        self.assertEqual(
            formatEvent(event),
            f"{self.path}/c2.yaml:2: id abc is also that of c1: neither is found by it",
        )

    def test_ignored(self) -> None:
        """What is hardly meant not to be a document is named once."""
        names = ("c1.YAML", "c2.Json", "c3.conf")
        for name in names:
            (self.path / name).write_text("config: {}\n")
        with capturedLogs() as events:
            self.start()
            for name in names:
                self.tell(self.path / name)
            self.clock.pump([IDLE_LOOK_INTERVAL, 0])
        lines = sorted(formatEvent(event) for event in events)
        self.assertEqual(len(lines), 3, lines)
        for name, line in zip(names, lines, strict=True):
            self.assertTrue(line.startswith(f"{self.path / name} is ignored"), line)
        self.assertEqual(list(self.store.names()), [])
        (self.path / names[0]).unlink()
        self.tell(self.path / names[0])
        (self.path / names[0]).write_text("config: {}\n")
        with capturedLogs() as events:
            self.tell(self.path / names[0])
        self.assertEqual(len(events), 1)

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
        self.patch(directory, "read_document", None)
        self.clock.pump([IDLE_LOOK_INTERVAL, 0])
        self.patch(directory, "read_document", lambda name, places: None)
        self.file.write_text("config: {user.a: 1}")
        self.clock.pump([IDLE_LOOK_INTERVAL, 0, GRACE])

    def test_reload(self) -> None:
        """Who asks for it has everything read, also what nobody saw change."""
        self.patch(directory, "signature_of", lambda *_: ("same",))
        self.write("1")
        self.start()
        self.file.write_text("config: {user.a: 2}\nconifg: {}")
        self.clock.pump([IDLE_LOOK_INTERVAL, 0])
        self.assertEqual(self.value(), "1")
        with capturedLogs() as events:
            for _ in range(2):
                self.store.reload()
                self.clock.advance(0)
        self.assertEqual(self.value(), "2")
        lines = [formatEvent(event) for event in events]
        self.assertEqual([line.count("read anew") for line in lines], [1, 0, 1, 0])
        self.assertEqual([line.count("conifg") for line in lines], [0, 1, 0, 1])
        self.store.stopService()
        self.store.reload()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reload_half_written(self) -> None:
        """What is being written to is not read before that is done."""
        self.start()
        self.file.write_text("config: {user.a: ha")
        self.tell(self.file, complete=False)
        self.store.reload()
        self.clock.advance(0)
        self.assertFalse(self.store.has("c1"))
        self.write("whole")
        self.assertEqual(self.value(), "whole")

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


class OriginTests(LiveStore):
    """What tells a container from the one that had its name before it."""

    def origin(self) -> str:
        """Return the container's origin, where the file system knows of one."""
        container = self.store.get("c1")
        assert container is not None
        if birth_time_ns(self.path) is None:
            raise SkipTest("this file system knows no birth times")
        return container.origin

    def test_in_place(self) -> None:
        """A document that is written in place is that of the same container."""
        self.start()
        self.write("1")
        origin = self.origin()
        inode, birth = map(int, origin.split(":"))
        self.assertEqual(inode, self.file.stat().st_ino)
        self.assertEqual(birth, birth_time_ns(self.file))
        self.write("2")
        self.assertEqual(self.origin(), origin)

    def test_new_document(self) -> None:
        """A new document may be that of another one, and nobody misses that."""
        self.start()
        self.write("1")
        origin = self.origin()
        new = self.path / ".new"
        new.write_text(self.file.read_text())
        new.rename(self.file)
        self.tell(self.file)
        self.assertNotEqual(self.origin(), origin)
        name, old, now = self.observer.heard[-1]
        self.assertEqual((name, old), ("c1", now))
        self.assertEqual(len(self.observer.heard), 2)

    def test_own_directory(self) -> None:
        """In its own directory the directory counts, through links to it."""
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
                self.tell(old)
            (pool / name).write_text(text)
            self.tell(pool / name)
            self.assertIn(self.value() or "", text)
            self.assertEqual(
                self.origin(), f"{pool.stat().st_ino}:{birth_time_ns(pool)}"
            )

    def test_unknown(self) -> None:
        """Where the birth time is not known, none is made up."""
        self.patch(places, "birth_time_ns", lambda _: None)
        self.start()
        self.write("1")
        container = self.store.get("c1")
        assert container is not None
        self.assertEqual(container.origin, "")


class LargeTests(LiveStore):
    """Large documents, read while others have their turns."""

    def setUp(self) -> None:
        self.patch(directory, "SLICE", 0)
        super().setUp()
        self.clock.__class__ = TickingClock

    def write_large(self, name: str, value: str, keys: int = 10_000) -> Path:
        """Write a large document, and tell that it is there."""
        path = self.path / f"{name}.yaml"
        lines = [f"  user.{n}: {value}\n" for n in range(keys)]
        path.write_text(f"config:\n  user.a: {value}\n" + "".join(lines))
        self.watcher.tell(path)
        self.watcher.poll()
        return path

    def steps_until(self, is_done: Callable[[], bool]) -> int:
        """Let the store work until something is done; return in how many steps."""
        for step in range(20_000):
            if is_done():
                return step
            self.clock.advance(0.01)
        raise AssertionError("it is never done")

    def test_beside(self) -> None:
        """Others are read meanwhile, and the last snapshot stays until then."""
        self.start()
        self.write_large("c1", "1")
        self.steps_until(lambda: self.value() == "1")
        self.write_large("c1", "2")
        for n in range(10):
            self.write(f"{n}", self.path / "c2.yaml")

            def is_read(n: int = n) -> bool:
                container = self.store.get("c2")
                return bool(container and container.config["user.a"] == f"{n}")

            self.assertLess(self.steps_until(is_read), 20)
            self.assertEqual(self.value(), "1")
        self.assertGreater(self.steps_until(lambda: self.value() == "2"), 100)

    def test_in_order(self) -> None:
        """A change while a large document is read is read after that."""
        self.start()
        self.write_large("c1", "1")
        self.clock.pump([0.01] * 20)
        self.write("2")
        self.assertEqual((self.value(), self.store.has("c1")), (None, True))
        self.steps_until(lambda: self.value() is not None)
        self.assertEqual(self.value(), "1")
        self.assertLess(self.steps_until(lambda: self.value() == "2"), 20)
        self.assertEqual(len(self.observer.heard), 2)

    def test_round_robin(self) -> None:
        """Some are read at a time, one slice of each, and the others after them."""
        self.start()
        names = [f"c{n}" for n in range(MAX_LARGE + 3)]
        for name in names:
            self.write_large(name, "1", keys=5_000)
        self.steps_until(lambda: self.store.has(names[-1]))
        for name in names:
            self.assertTrue(self.store.has(name))
        self.steps_until(lambda: len(self.store.names()) == 1)
        self.assertLess(
            self.steps_until(lambda: len(self.store.names()) >= MAX_LARGE), 50
        )
        self.assertGreater(
            self.steps_until(lambda: len(self.store.names()) == len(names)), 50
        )

    def test_at_the_start(self) -> None:
        """A directory is read when its large documents are, and no sooner."""
        for n in range(MAX_LARGE + 2):
            self.write_large(f"c{n}", "1", keys=5_000)
        (self.path / "small.yaml").write_text("config: {user.a: 1}\n")
        self.store.startService()
        loaded = self.store.loaded()
        self.assertIsNone(self.store.get("c1"))
        self.assertIsNotNone(self.store.get("small"))
        self.clock.pump([0.01] * 50)
        self.assertIsNone(self.store.get("c1"))
        self.assertNoResult(loaded)
        self.steps_until(lambda: len(self.store.names()) == MAX_LARGE + 3)
        self.assertIsNone(self.successResultOf(loaded))

    def test_equal(self) -> None:
        """A large document that says the same as before changes nothing."""
        self.start()
        path = self.write_large("c1", "1")
        self.steps_until(lambda: self.value() == "1")
        before = self.store.get("c1")
        for text, is_same in ((" # as it was\n", True), ("  user.b: 1\n", False)):
            with path.open("a") as file:
                file.write(text)
            self.tell(path)
            self.clock.pump([0.01] * 1000)
            self.assertEqual(self.store.get("c1") is before, is_same)
        self.assertEqual(len(self.observer.heard), 2)

    def test_equal_in_slices(self) -> None:
        """To compare two snapshots, also of many devices, keeps nobody waiting."""
        some = {str(n): "x" for n in range(5000)}
        many = {str(n): {"type": "nic"} for n in range(5000)}
        for one in (Container("c1", some), Container("c1", {}, many)):
            slices = list(directory._are_equal(one, evolve(one)))
            self.assertGreater(len(slices), 3)

    def test_stopped(self) -> None:
        """A store that is stopped leaves no half of a document behind."""
        self.start()
        self.write_large("c1", "1")
        self.clock.pump([0.01] * 20)
        self.store.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.value())
        self.store.startService()
        self.steps_until(lambda: self.value() == "1")

    def test_broken(self) -> None:
        """A large document that is broken at its end changes nothing."""
        self.start()
        path = self.write_large("c1", "1")
        self.steps_until(lambda: self.value() == "1")
        with path.open("a") as file:
            file.write("broken: [\n")
        with capturedLogs() as events:
            self.tell(path)
            self.clock.pump([0.01] * 3000)
        (event,) = events
        self.assertIn(f"{path}:10004: ", formatEvent(event))
        self.assertEqual(self.value(), "1")
