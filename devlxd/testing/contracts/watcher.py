# -*- test-case-name: tests.host.test_inotify -*-
"""The contract of `IWatcher` and of how it notifies an `IWatchListener`."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile

from zope.interface.verify import verifyObject

from devlxd.interfaces import IWatcher
from devlxd.testing.contracts.base import ContractBase
from devlxd.testing.watcher import RecordingWatchListener, WatchNotification


class WatcherContract(ContractBase):
    """Tests of a watcher of directories.

    Override `make_watcher` and `overflow`. A watcher that does not observe the
    file system needs `changed` and `removed` too.

    :ivar path: a directory that is watched.
    :ivar watcher: a new watcher for each test, which has been started.
    :ivar listener: its listener.
    :ivar watch: the watch of `path`.
    """

    path: str
    watcher: IWatcher
    listener: RecordingWatchListener
    watch: int

    def make_watcher(self) -> IWatcher:
        """Hook: return a new watcher that has not been started."""
        raise NotImplementedError

    def changed(self, path: str) -> None:
        """Hook: called when an entry was changed; default: do nothing."""

    def removed(self, directory: str) -> None:
        """Hook: called when a directory was removed; default: do nothing."""

    def overflow(self) -> None:
        """Hook: cause so many changes in `path` that the watcher loses some."""
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes and starts the watcher."""
        super().setUp()
        self.path = self.make_directory()
        self.listener = RecordingWatchListener()
        self.watcher = self.make_watcher()
        self.watcher.start(self.listener)
        self.addCleanup(self.watcher.stop)
        self.watch = self.watcher.watch(self.path)

    def make_directory(self) -> str:
        """Return the path of a new directory, which the test removes at its end."""
        path = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    def write(self, path: str) -> None:
        """Write a file, and close it."""
        with open(path, "w") as file:
            file.write("x")
        self.changed(path)

    def notifications(self) -> list[WatchNotification]:
        """Return the notifications since the last call."""
        while not self.watcher.poll():
            pass
        notifications = self.listener.notifications
        self.listener.notifications = []
        return notifications

    def test_interface(self) -> None:
        """The watcher provides `IWatcher`."""
        self.assertTrue(verifyObject(IWatcher, self.watcher))

    def test_written(self) -> None:
        """A file that was written and closed is reported as complete."""
        self.write(os.path.join(self.path, "a"))
        self.assertIn((self.watch, "a", True), self.notifications())
        self.assertEqual(self.notifications(), [])

    def test_which_directory(self) -> None:
        """Each notification has the number of the watch of its directory."""
        other = self.make_directory()
        watch = self.watcher.watch(other)
        self.assertNotEqual(watch, self.watch)
        self.write(os.path.join(other, "a"))
        watches = {notification[0] for notification in self.notifications()}
        self.assertEqual(watches, {watch})

    def test_same_directory(self) -> None:
        """The same directory has one watch, even through a symbolic link."""
        self.assertEqual(self.watcher.watch(self.path), self.watch)
        link = os.path.join(self.make_directory(), "link")
        os.symlink(self.path, link)
        self.assertEqual(self.watcher.watch(link), self.watch)

    def test_unwatch(self) -> None:
        """Changes in a directory that is no longer watched are not reported."""
        self.watcher.unwatch(self.watch)
        self.watcher.unwatch(self.watch)
        self.write(os.path.join(self.path, "a"))
        self.assertEqual(self.notifications(), [])

    def test_no_directory(self) -> None:
        """Watching a missing directory, or a file, raises `OSError`."""
        path = os.path.join(self.make_directory(), "a")
        for make in (lambda: None, lambda: self.write(path)):
            make()
            error = self.assertRaises(OSError, self.watcher.watch, path)
            self.assertIn(error.errno, (errno.ENOENT, errno.ENOTDIR))

    def test_removed_directory(self) -> None:
        """The watch of a removed directory is lost; the other watches remain."""
        other = self.make_directory()
        watch = self.watcher.watch(other)
        os.rmdir(other)
        self.removed(other)
        self.assertEqual(self.notifications(), [("lost", watch)])
        self.watcher.unwatch(watch)
        self.write(os.path.join(self.path, "a"))
        self.assertIn((self.watch, "a", True), self.notifications())

    def test_watch_again(self) -> None:
        """A directory that replaces a removed one can be watched."""
        os.rmdir(self.path)
        self.removed(self.path)
        self.notifications()
        os.mkdir(self.path)
        watch = self.watcher.watch(self.path)
        self.write(os.path.join(self.path, "a"))
        self.assertIn((watch, "a", True), self.notifications())

    def test_overflow(self) -> None:
        """When changes are lost, the listener is notified; later ones are reported."""
        self.overflow()
        self.assertIn(("overflowed",), self.notifications())
        self.write(os.path.join(self.path, "later"))
        self.assertIn((self.watch, "later", True), self.notifications())

    def test_stop(self) -> None:
        """A watcher that was stopped reports nothing, and may be stopped again."""
        self.watcher.stop()
        self.write(os.path.join(self.path, "a"))
        self.assertEqual(self.notifications(), [])
