# -*- test-case-name: tests.test_tap -*-
"""The directory in which devlxd keeps its own data (``--state``).

For each source of containers (a directory, or a prefix in etcd) it has one journal of
events, one file of guest states and one lock file, so that only one process at a time
uses them. What is kept of etcd is in a file of its own.

Only the user of devlxd can read these files. Other users may enter the directory: it
may contain the directories of sockets, which unprivileged containers mount.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devlxd.container_sources import IContainerSource
from devlxd.etcd.kept_file import KeptFile
from devlxd.events.journal import SQLiteJournal
from devlxd.guest_states.ready_file import ReadyFile
from devlxd.guestapi.dialect import Dialect
from devlxd.host.lock_file import LockedError, LockFile
from devlxd.interfaces import JournalError
from devlxd.limits import CurrentLimits
from devlxd.sqlite_files import StateFileError

#: The mode of the directory.
_MODE = 0o711


class StateError(Exception):
    """Raised when the state cannot be used; the text is the reason, in one line."""


def has_state(dialect: Dialect) -> bool:
    """Return whether ``dialect`` keeps something in the state directory."""
    return dialect.events or dialect.guest_states


class StateDirectory:
    """The journals, guest states and lock files of sources of containers.

    :param path: the state directory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def journal(
        self, containers: IContainerSource, limits: CurrentLimits | None = None
    ) -> SQLiteJournal:
        """Return the journal of the containers of a source.

        :param limits: see `SQLiteJournal`.
        """
        return SQLiteJournal(self._file_for(containers, ".sqlite"), limits)

    def guest_states(self, containers: IContainerSource) -> str:
        """Return the path of the file for the guest states of ``containers``."""
        return self._file_for(containers, ".states")

    def kept(self, containers: IContainerSource) -> str:
        """Return the path of the file for what is kept of a remote source."""
        return self._file_for(containers, ".kept")

    def check(self, containers: IContainerSource, dialect: Dialect) -> None:
        """Create the directory; check that what ``dialect`` keeps in it is usable.

        :param containers: where the containers come from.
        :raises StateError: if it is not usable, or another process uses it.
        """
        with _raising_state_errors(containers):
            try:
                self._create()
                self._lock(containers).check()
            except (FileExistsError, NotADirectoryError, PermissionError):
                raise
            except OSError:
                # devlxd also runs with a full disk, but without past events.
                pass
            if dialect.events:
                self.journal(containers).check()
            if dialect.guest_states:
                ReadyFile(self.guest_states(containers)).check()
            if containers.is_remote:
                KeptFile(self.kept(containers)).check()

    def _create(self) -> None:
        if not self._path.is_dir():
            self._path.mkdir(parents=True)
            # Path.mkdir() applies the umask.
            self._path.chmod(_MODE)

    def acquire_lock(self, containers: IContainerSource) -> None:
        """Lock the state of ``containers`` until this process ends.

        On any other error, for example on a full disk, it stays unlocked.

        :raises StateError: if another process has locked it.
        """
        with _raising_state_errors(containers), suppress(OSError):
            self._lock(containers).acquire()

    def _lock(self, containers: IContainerSource) -> LockFile:
        return LockFile(self._file_for(containers, ".lock"))

    def _file_for(self, containers: IContainerSource, suffix: str) -> str:
        """Return the path of a file, with a name made from that of ``containers``."""
        name = hashlib.sha256(containers.key).hexdigest()[:32]
        return str(self._path / f"{name}{suffix}")


@contextmanager
def _raising_state_errors(containers: IContainerSource) -> Iterator[None]:
    """Convert errors to `StateError`, with a text for the operator."""
    try:
        yield
    except LockedError as error:
        raise StateError(
            f"another devlxd (pid {error.pid}) serves {containers}"
        ) from None
    except (OSError, JournalError, StateFileError) as error:
        raise StateError(getattr(error, "strerror", None) or str(error)) from None
