# -*- test-case-name: tests.test_tap -*-
"""The directory in which devlxd keeps its own data (``--state``).

For each directory of containers it has one journal of events and one lock file, so
that only one process at a time uses the journal.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devlxd.events.journal import SQLiteJournal
from devlxd.host.lock_file import LockedError, LockFile
from devlxd.interfaces import JournalError


class StateError(Exception):
    """Raised when the state cannot be used; the text is the reason, in one line."""


class StateDirectory:
    """The journals and lock files of directories of containers.

    :param path: the state directory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def journal(self, containers: Path) -> SQLiteJournal:
        """Return the journal of the containers in the directory ``containers``."""
        return SQLiteJournal(self._file_for(containers, ".sqlite"))

    def check(self, containers: Path) -> None:
        """Create the directory; check that the journal of ``containers`` is usable.

        :raises StateError: if it is not usable, or another process uses it.
        """
        with _raising_state_errors(containers):
            try:
                self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock(containers).check()
            except (FileExistsError, NotADirectoryError, PermissionError):
                raise
            except OSError:
                # devlxd also runs with a full disk, but without past events.
                pass
            self.journal(containers).check()

    def acquire_lock(self, containers: Path) -> None:
        """Lock the state of ``containers`` until this process ends.

        On any other error, for example on a full disk, it stays unlocked.

        :raises StateError: if another process has locked it.
        """
        with _raising_state_errors(containers), suppress(OSError):
            self._lock(containers).acquire()

    def _lock(self, containers: Path) -> LockFile:
        return LockFile(self._file_for(containers, ".lock"))

    def _file_for(self, containers: Path, suffix: str) -> str:
        """Return the path of a file, with a name made from that of ``containers``."""
        directory = os.fsencode(containers.resolve())
        name = hashlib.sha256(directory).hexdigest()[:32]
        return str(self._path / f"{name}{suffix}")


@contextmanager
def _raising_state_errors(containers: Path) -> Iterator[None]:
    """Convert errors to `StateError`, with a text for the operator."""
    try:
        yield
    except LockedError as error:
        raise StateError(
            f"another devlxd (pid {error.pid}) serves {containers}"
        ) from None
    except (OSError, JournalError) as error:
        raise StateError(getattr(error, "strerror", None) or str(error)) from None
