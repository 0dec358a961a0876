# -*- test-case-name: tests.host.test_socket_directories -*-
"""A directory with a UNIX socket for each container: ``DIR/NAME/sock``.

``DIR/NAME`` is mounted in the container ``NAME``. It stays the same directory while
its socket is made again, and after a restart: a mount follows the inode, not the name.

Only this process's user and root may change ``DIR``, so that nobody else determines
what ``DIR/NAME`` is. ``DIR/NAME`` may contain what root of a privileged container has
put there, if it was not mounted read-only. Therefore nothing here follows a symbolic
link in it: the mode of the socket is set by the umask, not by ``chmod(2)``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from attrs import frozen
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import ISystemHandle, ITransport

from devlxd.host.accepting import ListeningSocket
from devlxd.host.socket_files import MAX_PATH, create_directory
from devlxd.model import is_container_name
from devlxd.socket_options import deny_descriptors

#: How an endpoint begins that is such a directory.
PREFIX = "each:"

#: The name of each socket.
SOCKET = "sock"

#: The name of the file that a process locks while it has the directory. The names of
#: containers do not begin with a dot.
LOCK = ".lock"

#: How many connections the kernel queues before they are accepted, for each socket: as
#: many as one container may have by default.
BACKLOG = 1024


@frozen
class HandedOverSocket:
    """The socket of a container on its way to the next process.

    :ivar container: the name of the container.
    :ivar descriptor: the file descriptor.
    :ivar inode: see `SocketDirectories.inode`.
    """

    container: str
    descriptor: int
    inode: int


class SocketDirectories:
    """The directories of all containers, with their sockets.

    No method but `check`, `acquire` and `release` needs the lock; the caller has it.

    :ivar path: the absolute path of the directory that they are in.
    """

    def __init__(self, path: str) -> None:
        if not path:
            raise ValueError(f"must have the form {PREFIX}DIRECTORY")
        self.path = os.path.abspath(path)
        size = len(os.fsencode(self.socket_path("x")))
        if size > MAX_PATH:
            raise ValueError(
                f"the path {self.path} has {size - len('/x/sock')} bytes: too many, as "
                f"that of each socket has at most {MAX_PATH}"
            )
        self._lock: int | None = None

    @property
    def address(self) -> str:
        """The endpoint, for operators."""
        return PREFIX + self.path

    def socket_path(self, name: str) -> str:
        """Return the path of the socket of a container."""
        return os.path.join(self.path, name, SOCKET)

    def check(self) -> None:
        """Create the directory if it is missing; check that sockets can be made in it.

        :raises CannotListenError: if they cannot, or another process makes them there.
        """
        self.acquire()
        self.release()

    def acquire(self) -> None:
        """Lock the directory until `release`, or until this process ends.

        It is created if it is missing.

        :raises CannotListenError: if sockets cannot be made there, or another process
            has locked it.
        """
        try:
            if os.path.lexists(self.path) and not os.path.isdir(self.path):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            create_directory(self.path, 0o755)
            self._check_owner()
            self._lock = self._acquired_lock()
        except OSError as error:
            raise CannotListenError(None, self.address, error) from error

    def _check_owner(self) -> None:
        status = os.stat(self.path)
        if status.st_uid not in (0, os.geteuid()):
            raise PermissionError(
                errno.EPERM, f"{self.path} belongs to the user {status.st_uid}"
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            mode = stat.S_IMODE(status.st_mode)
            raise PermissionError(
                errno.EPERM, f"other users may write to {self.path} (mode {mode:o})"
            )

    def _acquired_lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(os.path.join(self.path, LOCK), flags, 0o600)
        try:
            # Of the open file, not of the process (fcntl(2)): it also keeps two
            # services of one process apart.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d" % os.getpid(), 0)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode("ascii", "replace")
            os.close(lock)
            reason = f"another devlxd (pid {pid}) makes the sockets in {self.path}"
            raise OSError(errno.EADDRINUSE, reason) from None
        except OSError:
            os.close(lock)
            raise
        return lock

    def release(self) -> None:
        """Unlock the directory; do nothing if it is not locked."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def make(self, name: str) -> ListeningSocket:
        """Return a new listening socket for a container, in place of an old one.

        Its directory is created if it is missing.

        :raises OSError: if that is not possible; the text is the reason.
        """
        path = self._checked_path(name)
        self._make_directory(os.path.dirname(path))
        with contextlib.suppress(FileNotFoundError):
            # Clients could not connect to it: this process has the lock.
            os.unlink(path)
        listening = ListeningSocket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        )
        try:
            with _umask(0o111):
                listening.bind(path)
            # Before a client can connect: connections inherit it.
            deny_descriptors(listening)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        return listening

    def adopt(self, one: HandedOverSocket) -> ListeningSocket | None:
        """Return the socket of a container that the last process has made.

        :return: ``None`` if clients do not find it at its path any more. Then it is
            closed.
        """
        adopted = ListeningSocket(fileno=one.descriptor)
        try:
            path = self._checked_path(one.container)
            accepts = adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            is_there = self.inode(one.container) == one.inode
            if accepts and is_there and adopted.getsockname() == path:
                adopted.setblocking(False)
                return adopted
        except OSError:
            pass
        adopted.close()
        return None

    def inode(self, name: str) -> int | None:
        """Return the number of a container's socket; ``None`` if there is no file."""
        try:
            return os.lstat(self.socket_path(name)).st_ino
        except OSError:
            return None

    def remove_socket(self, name: str) -> None:
        """Remove the socket of a container; its directory stays.

        :raises OSError: if it cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self.socket_path(name))

    def remove(self, name: str) -> bool:
        """Remove the directory of a container, and the socket in it.

        :return: whether it is gone; it is not if there is anything else in it.
        """
        directory = os.path.join(self.path, name)
        try:
            with os.scandir(directory) as entries:
                # Root of a privileged container may have created millions of files.
                found = [entry.name for entry in islice(entries, 2)]
            if found == [SOCKET]:
                path = self.socket_path(name)
                if stat.S_ISSOCK(os.lstat(path).st_mode):
                    os.unlink(path)
            os.rmdir(directory)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def names(self) -> list[str]:
        """Return the names of the containers that have a directory.

        :raises OSError: if they cannot be listed.
        """
        with os.scandir(self.path) as entries:
            return [
                entry.name
                for entry in entries
                if is_container_name(entry.name) and entry.is_dir(follow_symlinks=False)
            ]

    def container_of(self, transport: ITransport) -> str | None:
        """Return the container whose socket the peer of a connection has called.

        The kernel knows the path: an accepted connection has the address of the
        listening socket, also in the process that it is handed over to.

        :return: ``None`` if it has not called one of these sockets.
        """
        handle = ISystemHandle(transport).getHandle()
        assert isinstance(handle, socket.SocketType)
        directory, name = os.path.split(os.path.dirname(handle.getsockname()))
        return name if directory == self.path else None

    def _checked_path(self, name: str) -> str:
        """Return the path of the socket of a container.

        :raises OSError: if there can be none.
        """
        if not is_container_name(name):
            raise OSError(errno.EINVAL, "its name cannot be that of a directory")
        path = self.socket_path(name)
        size = len(os.fsencode(path))
        if size > MAX_PATH:
            raise OSError(
                errno.ENAMETOOLONG,
                f"the path has {size} bytes; that of a socket has at most {MAX_PATH}",
            )
        return path

    def _make_directory(self, path: str) -> None:
        try:
            with _umask(0o022):
                os.mkdir(path, 0o755)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise NotADirectoryError(
                    errno.ENOTDIR, f"{path} is not a directory"
                ) from None


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
