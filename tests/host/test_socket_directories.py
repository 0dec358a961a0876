"""Tests of `devlxd.host.socket_directories`."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from devlxd.host.socket_directories import HandedOverSocket, SocketDirectories


@implementer(ISystemHandle)
class SocketTransport(StringTransport):
    """A transport of a real socket."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection

    def getHandle(self) -> object:
        """See `ISystemHandle.getHandle`."""
        return self._connection


@contextmanager
def _recording_scandir(
    scandir: Callable[[str], Iterator[os.DirEntry[str]]], read: list[str], path: str
) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Record in ``read`` the names that are read of a directory."""
    yield (read.append(entry.name) or entry for entry in scandir(path))  # type: ignore[func-returns-value] # None


class SocketDirectoriesTestCase(SynchronousTestCase):
    """A test with a directory for sockets."""

    def setUp(self) -> None:
        self.home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.home)
        self.path = f"{self.home}/each"
        self.directories = SocketDirectories(self.path)
        self.directories.acquire()
        self.addCleanup(self.directories.release)

    def make(self, name: str) -> socket.socket:
        """Return a new socket of a container."""
        listening = self.directories.make(name)
        self.addCleanup(listening.close)
        return listening

    def reason(self, name: str) -> str:
        """Return the reason for which no socket can be made."""
        return str(self.assertRaises(OSError, self.directories.make, name).strerror)


class DirectoryTests(SocketDirectoriesTestCase):
    """The directory in which the sockets are."""

    def assert_refused(self, path: str, reason: str) -> None:
        """Check that sockets cannot be made in a directory."""
        directories = SocketDirectories(path)
        for method in (directories.check, directories.acquire):
            error = self.assertRaises(CannotListenError, method)
            self.assertIn(reason, str(error))

    def test_created(self) -> None:
        """It is created, with its parents; every user may enter it."""
        path = f"{self.home}/new/each"
        SocketDirectories(path).check()
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o755)

    def test_locked(self) -> None:
        """Two devlxd never share it, not even two services of one process."""
        self.assert_refused(self.path, f"another devlxd (pid {os.getpid()})")
        self.directories.release()
        other = SocketDirectories(self.path)
        other.check()
        other.acquire()
        self.addCleanup(other.release)
        self.assert_refused(self.path, "another devlxd")

    def test_lock(self) -> None:
        """No other user can open the lock, to hold it."""
        mode = os.stat(f"{self.path}/.lock").st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_lock_link(self) -> None:
        """A symbolic link in place of the lock is not followed."""
        os.mkdir(f"{self.home}/other", 0o755)
        os.symlink(f"{self.home}/target", f"{self.home}/other/.lock")
        self.assert_refused(f"{self.home}/other", os.strerror(errno.ELOOP))
        self.assertFalse(os.path.exists(f"{self.home}/target"))

    def test_writable(self) -> None:
        """A directory that others may write to is refused: they could plant links."""
        for mode in (0o775, 0o757, 0o1777):
            os.chmod(self.path, mode)
            self.assert_refused(self.path, f"may write to {self.path} (mode {mode:o})")

    def test_foreign(self) -> None:
        """So is one that belongs to another user."""
        self.patch(os, "geteuid", lambda: 12345)
        status = os.stat(self.path)
        foreign = os.stat_result((*status[:4], 999, *status[5:]))
        self.patch(os, "stat", lambda _path: foreign)
        self.assert_refused(self.path, "belongs to the user 999")

    def test_file(self) -> None:
        """A file is no directory."""
        with open(f"{self.home}/file", "w"):
            pass
        self.assert_refused(f"{self.home}/file", "Not a directory")

    def test_path(self) -> None:
        """A path that leaves no room for any socket, or none, is refused."""
        for path, reason in (
            ("", "must have the form each:DIRECTORY"),
            (f"/{'x' * 100}", "101 bytes"),
        ):
            with self.assertRaisesRegex(ValueError, reason):
                SocketDirectories(path)

    def test_names(self) -> None:
        """The directories of containers are listed, and nothing else."""
        for name in ("c1", "-no-name"):
            os.mkdir(f"{self.path}/{name}")
        os.symlink(self.path, f"{self.path}/link")
        self.assertEqual(self.directories.names(), ["c1"])


class SocketTests(SocketDirectoriesTestCase):
    """The sockets."""

    def test_made(self) -> None:
        """Every user may connect to a socket, whatever the umask is."""
        self.addCleanup(os.umask, os.umask(0o077))
        self.make("c1")
        mode = os.stat(f"{self.path}/c1/sock").st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o666)
        self.assertEqual(stat.S_IMODE(os.stat(f"{self.path}/c1").st_mode), 0o755)
        self.assertEqual(os.umask(0o077), 0o077)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{self.path}/c1/sock")

    def test_same_directory(self) -> None:
        """The directory, which is mounted, stays the same when a socket is replaced."""
        self.make("c1").close()
        before = os.stat(f"{self.path}/c1").st_ino
        self.make("c1")
        self.assertEqual(os.stat(f"{self.path}/c1").st_ino, before)
        self.directories.remove_socket("c1")
        self.directories.remove_socket("c1")
        self.make("c1")
        self.assertEqual(os.stat(f"{self.path}/c1").st_ino, before)

    def test_links(self) -> None:
        """No link that root of a privileged container has planted is followed."""
        target = f"{self.home}/target"
        with open(target, "w"):
            pass
        os.chmod(target, 0o600)
        os.mkdir(f"{self.path}/c1")
        os.symlink(target, f"{self.path}/c1/sock")
        self.make("c1")
        self.assertEqual(stat.S_IMODE(os.stat(target).st_mode), 0o600)
        self.assertTrue(stat.S_ISSOCK(os.lstat(f"{self.path}/c1/sock").st_mode))

    def test_no_directory(self) -> None:
        """A link or a file in place of the directory of a container is refused."""
        os.symlink(self.home, f"{self.path}/c1")
        with open(f"{self.path}/c2", "w"):
            pass
        for name in ("c1", "c2"):
            self.assertIn(f"{self.path}/{name} is not a directory", self.reason(name))
            self.directories.remove_socket(name)
        self.assertFalse(os.path.exists(f"{self.home}/sock"))

    def test_directory_as_socket(self) -> None:
        """A directory in place of the socket is kept; no descriptor is lost."""
        os.makedirs(f"{self.path}/c1/sock")
        self.assertEqual(self.reason("c1"), os.strerror(errno.EISDIR))

    def test_names(self) -> None:
        """A name that is no plain name of a file has no socket."""
        for name in ("..", "a/b", ".hidden", "", "a\nb"):
            self.assertIn("cannot be that of a directory", self.reason(name))

    def test_long(self) -> None:
        """A path that is too long for a socket is refused, with its length."""
        room = 107 - len(f"{self.path}//sock")
        self.make("x" * room)
        self.assertIn("the path has 108 bytes", self.reason("x" * (room + 1)))

    def test_remove(self) -> None:
        """A directory is removed with its socket, but not with anything else."""
        for name in ("c1", "c2", "c3"):
            self.make(name)
        self.directories.remove_socket("c2")
        with open(f"{self.path}/c3/file", "w"):
            pass
        for name in ("c1", "c2", "gone"):
            self.assertTrue(self.directories.remove(name))
        self.assertFalse(self.directories.remove("c3"))
        self.assertEqual(self.directories.names(), ["c3"])
        self.assertEqual(sorted(os.listdir(f"{self.path}/c3")), ["file", "sock"])

    def test_remove_crowded(self) -> None:
        """A directory that a guest has filled is not read to its end."""
        os.mkdir(f"{self.path}/c1")
        for number in range(100):
            with open(f"{self.path}/c1/{number}", "w"):
                pass
        read: list[str] = []
        self.patch(os, "scandir", partial(_recording_scandir, os.scandir, read))
        self.assertFalse(self.directories.remove("c1"))
        self.assertEqual(len(read), 2)

    def test_remove_file(self) -> None:
        """A file of the socket's name is not the socket."""
        os.mkdir(f"{self.path}/c1")
        with open(f"{self.path}/c1/sock", "w"):
            pass
        self.assertFalse(self.directories.remove("c1"))

    def test_container_of(self) -> None:
        """The kernel knows which socket a client has called."""
        listening = self.make("c1")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{self.path}/c1/sock")
            accepted, _ = socket.socket.accept(listening)
        with accepted:
            transport = SocketTransport(accepted)
            self.assertEqual(self.directories.container_of(transport), "c1")
            other = SocketDirectories(f"{self.home}/other")
            self.assertIsNone(other.container_of(transport))
        pair = socket.socketpair()
        with pair[0], pair[1]:
            transport = SocketTransport(pair[0])
            self.assertIsNone(self.directories.container_of(transport))


class AdoptedSocketTests(SocketDirectoriesTestCase):
    """The sockets that the last process has made."""

    def handed_over(self, name: str = "c1") -> HandedOverSocket:
        """Return a socket of the last process."""
        listening = self.directories.make(name)
        inode = self.directories.inode(name)
        assert inode is not None
        return HandedOverSocket(name, listening.detach(), inode)

    def assert_useless(self, one: HandedOverSocket) -> None:
        """Check that a socket is not used, and is closed."""
        self.assertIsNone(self.directories.adopt(one))
        self.assertRaises(OSError, os.fstat, one.descriptor)

    def test_adopted(self) -> None:
        """A client that has connected in the meantime is accepted."""
        one = self.handed_over()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{self.path}/c1/sock")
            adopted = self.directories.adopt(one)
            assert adopted is not None
            with adopted:
                connection, _ = adopted.accept()
                connection.close()
                self.assertRaises(BlockingIOError, adopted.accept)

    def test_removed(self) -> None:
        """A socket that clients do not find any more is of no use."""
        one = self.handed_over()
        self.directories.remove_socket("c1")
        self.assert_useless(one)

    def test_replaced(self) -> None:
        """So is one in whose place there is another one."""
        one = self.handed_over()
        os.rename(f"{self.path}/c1/sock", f"{self.path}/c1/old")
        self.make("c1")
        self.assert_useless(one)

    def test_other(self) -> None:
        """A socket of another container, or one that does not listen, is refused."""
        one = self.handed_over()
        self.assert_useless(HandedOverSocket("c2", one.descriptor, one.inode))
        pair = socket.socketpair()
        with pair[0]:
            self.make("c3")
            inode = self.directories.inode("c3") or 0
            self.assert_useless(HandedOverSocket("c3", pair[1].detach(), inode))
            descriptor = os.dup(pair[0].fileno())
            self.assert_useless(HandedOverSocket("../c3", descriptor, inode))
