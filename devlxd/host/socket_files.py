# -*- test-case-name: tests.host.test_socket_files -*-
"""The files of UNIX sockets: creating directories, replacing stale sockets.

A UNIX socket stays in the file system when its process ends (``unix(7)``). A
stale socket, on which no process listens, is replaced; any other is kept.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from attrs import frozen
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IConnector, IListeningPort, IReactorUNIX
from twisted.internet.protocol import ClientFactory, Factory
from zope.interface import implementer

from devlxd.socket_options import credentials_of

#: How many connections the kernel queues before they are accepted. All guests of
#: a host may start at the same time. The kernel's own limit is ``net.core.somaxconn``.
BACKLOG = 4096

#: The maximum length of the path of a UNIX socket, in bytes (``unix(7)``).
MAX_PATH = 107


@frozen
class SocketFile:
    """The file of a socket that this process listens on.

    :ivar path: its path.
    :ivar device: the file system that it is on.
    :ivar inode: its number there.
    """

    path: str
    device: int
    inode: int

    @classmethod
    def at(cls, path: str) -> SocketFile | None:
        """Return the file at a path; ``None`` if this process cannot see one."""
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        return cls(path, status.st_dev, status.st_ino)

    def is_there(self) -> bool:
        """Return whether clients find this file at its path.

        A file that cannot be looked at, such as one in a directory of another user, is
        taken to be there.
        """
        try:
            status = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return (status.st_dev, status.st_ino) == (self.device, self.inode)


@implementer(IReactorUNIX)
@frozen
class StaleSocketReplacer:
    """A reactor that replaces stale sockets when it listens.

    Twisted's own protection, a lock file beside the socket, is not used: a lock
    file can outlive its process too.

    :ivar reactor: the reactor that listens.
    :ivar creates_directory: whether to create a missing directory of the socket.
    :ivar directory_mode: the mode of such a directory; default: guests may enter it.
    """

    reactor: IReactorUNIX
    creates_directory: bool = False
    directory_mode: int = 0o755

    def listenUNIX(
        self,
        address: str,
        factory: Factory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> IListeningPort:
        """See `IReactorUNIX.listenUNIX`; ``wantPID`` is ignored.

        :raises CannotListenError: if the path cannot be used, or another
            server listens there.
        """
        if self.creates_directory:
            create_directory(_directory_of(address), self.directory_mode)
        remove_stale_socket(address)
        backlog = max(backlog, BACKLOG)
        # Twisted sets the mode after it has created the socket.
        umask = os.umask(0o777 & ~mode)
        try:
            return self.reactor.listenUNIX(address, factory, backlog, mode)
        finally:
            os.umask(umask)

    def connectUNIX(
        self,
        address: str,
        factory: ClientFactory,
        timeout: float = 30,
        checkPID: bool = False,
    ) -> IConnector:
        """See `IReactorUNIX.connectUNIX`."""
        return self.reactor.connectUNIX(address, factory, timeout, checkPID)


def remove_stale_socket(path: str) -> None:
    """Check that a UNIX socket can be bound at ``path``; remove a stale one.

    :raises CannotListenError: if the path cannot be used, or another server listens
        there.
    """
    try:
        _check_path(path)
        if os.path.lexists(path):
            _check_stale(path)
            _remove(path)
    except OSError as error:
        raise CannotListenError(None, path, error) from error


def closed_directory(path: str) -> str | None:
    """Return the outermost directory above a socket that other users may not enter.

    An unprivileged container cannot mount a directory below it: LXC prepares the
    mounts as the root of the container, which is another user on the host.

    :param path: the absolute path of the socket, without symbolic links.
    :return: ``None`` if every user may enter all directories.
    """
    for directory in reversed(Path(path).parents):
        if not directory.stat().st_mode & stat.S_IXOTH:
            return str(directory)
    return None


def _directory_of(path: str) -> str:
    return os.path.dirname(path) or "."


def create_directory(path: str, mode: int) -> None:
    """Create a directory, and its parents, which all users may enter.

    :raises CannotListenError: if that fails.
    """
    try:
        if os.path.lexists(path) and not os.path.isdir(path):
            reason = f"not a directory; for a socket of that name write unix:{path}"
            raise OSError(errno.ENOTDIR, reason)
        missing, parent = [], path
        while parent and not os.path.lexists(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        for directory in reversed(missing):
            last = directory == missing[0]
            os.mkdir(directory, 0o700)
            # os.mkdir() applies the umask.
            os.chmod(directory, mode if last else 0o755)
    except OSError as error:
        raise CannotListenError(None, path, error) from error


def _check_path(path: str) -> None:
    """Check the length and the directory of a socket's path.

    :raises OSError: if no socket can be created there.
    """
    if not path:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if len(os.fsencode(path)) > MAX_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    os.stat(_directory_of(path) + "/.")
    if not os.access(_directory_of(path), os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _remove(path: str) -> None:
    """Remove the stale socket at ``path``, but not one that has replaced it.

    Another process may find the same stale socket, remove it and bind its own
    between the check and the removal. Therefore the socket is renamed first and
    checked again. A lock would not help: guests might hold it.
    """
    aside = os.path.join(_directory_of(path), f"~{os.getpid()}")
    os.rename(path, aside)
    try:
        _check_stale(aside)
    except OSError:
        os.rename(aside, path)
        raise
    os.unlink(aside)


def _check_stale(path: str) -> None:
    """Check that ``path`` is a socket on which no process listens.

    :raises OSError: if it is not a socket, or a process listens.
    """
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(errno.EEXIST, "it exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return
        except BlockingIOError:
            # The queue of the listening socket is full.
            server = "another server"
        else:
            server = _describe_server(client)
    raise OSError(errno.EADDRINUSE, f"{server} serves {path}")


def _describe_server(connection: socket.socket) -> str:
    """Return which process listens at the other end, for an error message."""
    # SO_PEERCRED of a client describes the process that called listen().
    pid, _uid, _gid = credentials_of(connection)
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        words = []
    return f"another {'devlxd' if b'devlxd' in words else 'server'} (pid {pid})"
