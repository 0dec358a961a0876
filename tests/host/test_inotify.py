"""Tests of `devlxd.host.inotify`, on the kernel's inotify; the reactor is in memory."""

from __future__ import annotations

import errno
import os
import select
import shutil
import tempfile
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReadDescriptor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

import devlxd.host.inotify
from devlxd.host.inotify import MOUNTS_INTERVAL, INotify
from devlxd.interfaces import IWatcher, IWatchListener
from devlxd.testing import MemoryDevLXDReactor, MemoryWatcher
from tests.descriptors import Descriptors


@implementer(IWatchListener)
@define
class RecordingListener:
    """Remembers what it hears, each thing once."""

    heard: list[Any] = field(factory=list)
    fail: bool = False

    def touched(self, watch: int, entry: str, complete: bool) -> None:
        """See `IWatchListener.touched`."""
        self._hear((watch, entry, complete))

    def lost(self, watch: int) -> None:
        """See `IWatchListener.lost`."""
        self._hear(("lost", watch))

    def overflowed(self) -> None:
        """See `IWatchListener.overflowed`."""
        self._hear("overflowed")

    def _hear(self, what: object) -> None:
        if self.fail:
            raise ZeroDivisionError("on purpose")
        if what not in self.heard:
            self.heard.append(what)


class MountsChanged:
    """Says of the table of mounts that it has changed."""

    def poll(self, timeout: int) -> list[tuple[int, int]]:
        """See `select.poll`."""
        return [(0, select.POLLPRI)]


class INotifyTests(SynchronousTestCase):
    """Watching directories."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        self.reactor = MemoryDevLXDReactor()
        self.listener = RecordingListener()
        self.inotify = INotify(self.reactor)
        self.inotify.start(self.listener)
        self.addCleanup(self.inotify.stop)
        self.watch = self.inotify.watch(str(self.path))

    def hear(self) -> list[Any]:
        """Return what was heard since the last time."""
        (reader,) = self.reactor.readers
        reader.doRead()
        while select.select([reader], [], [], 0)[0]:
            reader.doRead()
        heard, self.listener.heard = self.listener.heard, []
        return heard

    def test_interface(self) -> None:
        """It is a watcher, as the one in memory is, and can be read."""
        for watcher in (self.inotify, MemoryWatcher()):
            self.assertTrue(verifyObject(IWatcher, watcher))
        self.assertTrue(verifyObject(IReadDescriptor, self.inotify))

    def test_write(self) -> None:
        """A file is complete when it was closed, not when it was made."""
        with open(self.path / "a", "w") as file:
            self.assertEqual(self.hear(), [(self.watch, "a", False)])
            file.write("x")
            file.flush()
            os.fchmod(file.fileno(), 0o600)
            self.assertEqual(self.hear(), [(self.watch, "a", False)])
        self.assertEqual(self.hear(), [(self.watch, "a", True)])

    def test_other_changes(self) -> None:
        """Whatever else may bring or take an entry is told."""
        (self.path / "a").touch()
        self.hear()
        (self.path / "a").rename(self.path / "b")
        self.assertEqual(
            self.hear(), [(self.watch, "a", True), (self.watch, "b", True)]
        )
        for change in (
            lambda: (self.path / "link").symlink_to("b"),
            lambda: os.link(self.path / "b", self.path / "hard"),
            (self.path / "dir").mkdir,
            (self.path / "b").unlink,
        ):
            change()
            ((_watch, _entry, complete),) = self.hear()
            self.assertTrue(complete)

    def test_watch_is_the_same(self) -> None:
        """The same directory has the same watch, whatever its path (T25)."""
        link = self.path / "link"
        link.symlink_to(".")
        self.assertEqual(self.inotify.watch(str(link)), self.watch)

    def test_one_directory_goes(self) -> None:
        """A directory that goes takes no other watch with it (T22)."""
        other = Path(tempfile.mkdtemp(dir="."))
        watch = self.inotify.watch(str(other))
        other.rmdir()
        self.assertEqual(self.hear(), [("lost", watch)])
        (self.path / "a").touch()
        self.assertIn((self.watch, "a", True), self.hear())

    def test_moved_away_and_back(self) -> None:
        """A directory that was moved is lost, and can be watched again (T26)."""
        away = self.path.with_name(self.path.name + "-away")
        self.path.rename(away)
        self.assertEqual(self.hear(), [("lost", self.watch)])
        away.rename(self.path)
        self.hear()
        watch = self.inotify.watch(str(self.path))
        (self.path / "a").touch()
        self.assertIn((watch, "a", True), self.hear())

    def test_unwatch(self) -> None:
        """Of what is not watched any more nothing is heard."""
        self.inotify.unwatch(self.watch)
        self.inotify.unwatch(self.watch)
        (self.path / "a").touch()
        self.assertEqual(self.hear(), [])

    def test_no_directory(self) -> None:
        """The error says why a directory cannot be watched (T27)."""
        (self.path / "a").touch()
        for name, error in (("none", FileNotFoundError), ("a", NotADirectoryError)):
            self.assertRaises(error, self.inotify.watch, str(self.path / name))

    def test_raising_listener(self) -> None:
        """A listener that fails loses what it fails at, and no more (T23)."""
        self.listener.fail = True
        (self.path / "a").touch()
        self.hear()
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))
        self.listener.fail = False
        (self.path / "b").touch()
        self.assertIn((self.watch, "b", True), self.hear())

    def fill(self) -> None:
        """Do more than the kernel can keep in mind."""
        with open("/proc/sys/fs/inotify/max_queued_events") as file:
            room = int(file.read())
        one, other = self.path / "one", self.path / "other"
        one.touch()
        for _ in range(room // 2 + 10):
            one.rename(other)
            other.rename(one)

    def test_overflow(self) -> None:
        """That the kernel has lost events is told (T21)."""
        self.fill()
        self.assertIn("overflowed", self.hear())
        (self.path / "one").rename(self.path / "other")
        self.assertIn((self.watch, "other", True), self.hear())

    def test_in_slices(self) -> None:
        """Much that has happened is told bit by bit, and who polls hears of that."""
        self.patch(devlxd.host.inotify, "SLICE", 0)
        self.fill()
        self.assertFalse(self.inotify.poll())
        self.assertNotIn("overflowed", self.listener.heard)
        polls = 1
        while not self.inotify.poll():
            polls += 1
        self.assertGreater(polls, 50)
        self.assertIn("overflowed", self.listener.heard)
        self.assertTrue(self.inotify.poll())

    def test_mounts(self) -> None:
        """Where something may be mounted over a directory, its watch is given up."""
        others = [Path(tempfile.mkdtemp(dir=".")) for _ in range(50)]
        watches = [self.inotify.watch(str(path)) for path in others]
        self.patch(self.inotify, "_mounts_changed", MountsChanged())
        self.reactor.advance(MOUNTS_INTERVAL)
        self.assertEqual(self.listener.heard, [])
        self.patch(devlxd.host.inotify, "_place_of", lambda path: (0, 0))
        self.reactor.advance(MOUNTS_INTERVAL)
        lost = [("lost", watch) for watch in (self.watch, *watches)]
        self.assertEqual(self.listener.heard, lost)
        # A listener that fails at one hears of what happens later.
        self.listener.fail = True
        self.inotify.watch(str(self.path))
        self.patch(devlxd.host.inotify, "_place_of", lambda path: None)
        self.reactor.advance(MOUNTS_INTERVAL)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))
        self.listener.fail = False
        watch = self.inotify.watch(str(self.path))
        self.patch(devlxd.host.inotify, "_place_of", lambda path: (1, 1))
        self.reactor.advance(MOUNTS_INTERVAL)
        self.assertIn(("lost", watch), self.listener.heard)

    def test_nothing_to_watch_with(self) -> None:
        """Where the kernel has no inotify left, nothing can be watched."""

        def fail(nonblocking: bool) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(devlxd.host.inotify, "_INotify", fail)
        inotify = INotify(self.reactor)
        inotify.start(self.listener)
        error = self.assertRaises(OSError, inotify.watch, str(self.path))
        self.assertEqual(error.errno, errno.EMFILE)
        inotify.poll()
        inotify.unwatch(1)
        inotify.stop()

    def test_stop(self) -> None:
        """When it is stopped, nothing is read and nothing is open."""
        descriptors = Descriptors()
        inotify = INotify(self.reactor)
        inotify.start(self.listener)
        self.assertNotEqual(descriptors.opened(), [])
        inotify.stop()
        self.assertEqual(list(self.reactor.readers), [self.inotify])
        self.assertEqual(descriptors.opened(), [])
        shutil.rmtree(self.path)
