"""Tests of `devlxd.host.inotify` with the kernel's inotify."""

from __future__ import annotations

import errno
import os
import select
import shutil
import tempfile
from pathlib import Path

from twisted.internet.interfaces import IReadDescriptor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import devlxd.host.inotify
from devlxd.host.inotify import MOUNTS_INTERVAL, INotify
from devlxd.testing import (
    MemoryDevLXDReactor,
    MemoryWatcher,
    RecordingWatchListener,
)
from devlxd.testing.contracts import WatcherContract
from devlxd.testing.watcher import WatchNotification
from tests.descriptors import Descriptors


def overflow(path: Path) -> None:
    """Cause more events in a directory than the kernel queues."""
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        limit = int(file.read())
    one, other = path / "one", path / "other"
    one.touch()
    for _ in range(limit // 2 + 10):
        one.rename(other)
        other.rename(one)


class INotifyContractTests(WatcherContract, SynchronousTestCase):
    """`INotify` is a watcher."""

    def make_watcher(self) -> INotify:
        """See `WatcherContract.make_watcher`."""
        return INotify(MemoryDevLXDReactor())

    def overflow(self) -> None:
        """See `WatcherContract.overflow`."""
        overflow(Path(self.path))


class MemoryWatcherContractTests(WatcherContract, SynchronousTestCase):
    """`MemoryWatcher` is a watcher."""

    memory: MemoryWatcher

    def make_watcher(self) -> MemoryWatcher:
        """See `WatcherContract.make_watcher`."""
        self.memory = MemoryWatcher()
        return self.memory

    def changed(self, path: str) -> None:
        """See `WatcherContract.changed`."""
        self.memory.report(path)

    def removed(self, directory: str) -> None:
        """See `WatcherContract.removed`."""
        self.memory.report_removed(directory)

    def overflow(self) -> None:
        """See `WatcherContract.overflow`."""
        self.memory.overflow()


class MountsChanged:
    """A poll object that reports that the mount table has changed."""

    def poll(self, timeout: int) -> list[tuple[int, int]]:
        """See `select.poll`."""
        return [(0, select.POLLPRI)]


class INotifyTests(SynchronousTestCase):
    """The behaviour of `INotify` beyond the contract of a watcher."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        self.reactor = MemoryDevLXDReactor()
        self.listener = RecordingWatchListener()
        self.inotify = INotify(self.reactor)
        self.inotify.start(self.listener)
        self.addCleanup(self.inotify.stop)
        self.watch = self.inotify.watch(str(self.path))

    def notifications(self) -> list[WatchNotification]:
        """Return the notifications since the last call."""
        (reader,) = self.reactor.readers
        reader.doRead()
        while select.select([reader], [], [], 0)[0]:
            reader.doRead()
        notifications = self.listener.notifications
        self.listener.notifications = []
        return notifications

    def test_interface(self) -> None:
        """`INotify` provides `IReadDescriptor`."""
        self.assertTrue(verifyObject(IReadDescriptor, self.inotify))

    def test_write(self) -> None:
        """A file is complete when it is closed, not when it is created."""
        with open(self.path / "a", "w") as file:
            self.assertEqual(self.notifications(), [(self.watch, "a", False)])
            file.write("x")
            file.flush()
            os.fchmod(file.fileno(), 0o600)
            self.assertEqual(self.notifications(), [(self.watch, "a", False)])
        self.assertEqual(self.notifications(), [(self.watch, "a", True)])

    def test_other_changes(self) -> None:
        """Renaming, linking, creating a directory and removing are reported."""
        (self.path / "a").touch()
        self.notifications()
        (self.path / "a").rename(self.path / "b")
        self.assertEqual(
            self.notifications(), [(self.watch, "a", True), (self.watch, "b", True)]
        )
        for change in (
            lambda: (self.path / "link").symlink_to("b"),
            lambda: os.link(self.path / "b", self.path / "hard"),
            (self.path / "dir").mkdir,
            (self.path / "b").unlink,
        ):
            change()
            ((*_, complete),) = self.notifications()
            self.assertIs(complete, True)

    def test_moved_away_and_back(self) -> None:
        """A directory that was moved is lost, and can be watched again."""
        away = self.path.with_name(self.path.name + "-away")
        self.path.rename(away)
        self.assertEqual(self.notifications(), [("lost", self.watch)])
        away.rename(self.path)
        self.notifications()
        watch = self.inotify.watch(str(self.path))
        (self.path / "a").touch()
        self.assertIn((watch, "a", True), self.notifications())

    def test_no_directory(self) -> None:
        """The error has the reason why a directory cannot be watched."""
        (self.path / "a").touch()
        for name, error in (("none", FileNotFoundError), ("a", NotADirectoryError)):
            self.assertRaises(error, self.inotify.watch, str(self.path / name))

    def test_raising_listener(self) -> None:
        """An exception of the listener is logged; later events are delivered."""
        self.listener.fails = True
        (self.path / "a").touch()
        self.notifications()
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))
        self.listener.fails = False
        (self.path / "b").touch()
        self.assertIn((self.watch, "b", True), self.notifications())

    def test_slices(self) -> None:
        """Many events are delivered in slices; `poll` returns whether none are left."""
        self.patch(devlxd.host.inotify, "SLICE", 0)
        overflow(self.path)
        self.assertFalse(self.inotify.poll())
        self.assertNotIn(("overflowed",), self.listener.notifications)
        polls = 1
        while not self.inotify.poll():
            polls += 1
        self.assertGreater(polls, 50)
        self.assertIn(("overflowed",), self.listener.notifications)
        self.assertTrue(self.inotify.poll())

    def test_mounts(self) -> None:
        """The watch of a directory over which something is mounted is lost."""
        others = [Path(tempfile.mkdtemp(dir=".")) for _ in range(50)]
        watches = [self.inotify.watch(str(path)) for path in others]
        self.patch(self.inotify, "_mounts_changed", MountsChanged())
        self.reactor.advance(MOUNTS_INTERVAL)
        self.assertEqual(self.listener.notifications, [])
        self.patch(devlxd.host.inotify, "_file_id", lambda path: (0, 0))
        self.reactor.advance(MOUNTS_INTERVAL)
        lost = [("lost", watch) for watch in (self.watch, *watches)]
        self.assertEqual(self.listener.notifications, lost)
        # A listener that raises an exception is still notified of later changes.
        self.listener.fails = True
        self.inotify.watch(str(self.path))
        self.patch(devlxd.host.inotify, "_file_id", lambda path: None)
        self.reactor.advance(MOUNTS_INTERVAL)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))
        self.listener.fails = False
        watch = self.inotify.watch(str(self.path))
        self.patch(devlxd.host.inotify, "_file_id", lambda path: (1, 1))
        self.reactor.advance(MOUNTS_INTERVAL)
        self.assertIn(("lost", watch), self.listener.notifications)

    def test_no_inotify_instance(self) -> None:
        """When the kernel has no inotify instance left, `watch` raises the error."""

        def fail(nonblocking: bool) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(devlxd.host.inotify, "KernelINotify", fail)
        inotify = INotify(self.reactor)
        inotify.start(self.listener)
        error = self.assertRaises(OSError, inotify.watch, str(self.path))
        self.assertEqual(error.errno, errno.EMFILE)
        inotify.poll()
        inotify.unwatch(1)
        inotify.stop()

    def test_stop_closes(self) -> None:
        """A stopped watcher has no reader and no open descriptor."""
        descriptors = Descriptors()
        inotify = INotify(self.reactor)
        inotify.start(self.listener)
        self.assertNotEqual(descriptors.opened(), [])
        inotify.stop()
        self.assertEqual(list(self.reactor.readers), [self.inotify])
        self.assertEqual(descriptors.opened(), [])
        shutil.rmtree(self.path)
