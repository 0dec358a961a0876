# -*- test-case-name: tests.events.test_journal -*-
"""The file of the journal: its connection, its lock, and its replacement."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from twisted.logger import Logger

from devlxd.events.journal_integrity import UnusableError
from devlxd.events.journal_schema import VERSION, prepare_schema
from devlxd.interfaces import (
    JournalError,
    JournalLockedError,
    JournalReplacedError,
    JournalVersionError,
)
from devlxd.sqlite_files import (
    CONTENT_ERRORS,
    MEMORY,
    PRAGMAS,
    DamagedError,
    check_content,
    connect,
    create_private,
    delete,
    is_damage,
    number_of,
    reason_of,
    rename_damaged,
    version_of,
)

#: Has an effect on a new file only, before the first write.
_AUTO_VACUUM = "auto_vacuum = INCREMENTAL"

#: The number of unused pages that the file may have, and the maximum number of pages
#: that are returned to the file system after one transaction if it has more.
_FREE_PAGES = 512
_FREED_PAGES = 128

#: The sticky bit, which Linux ignores on files, marks a journal that lacks events. It
#: can be set even if the disk is full.
_INCOMPLETE = stat.S_ISVTX


class JournalFile:
    """An SQLite database that one process at a time may use.

    A damaged file is replaced by a new one, after it was renamed: the date and the time
    are added to its name. A file that lacks events, was recorded with other namespaces
    or cannot be migrated is deleted, and replaced by a new one.

    :param path: the path of the file, or ``:memory:``.
    :param connected: called with each new connection, before it is used.
    :ivar is_complete: see `IJournal.set_complete`.
    """

    _log = Logger()

    def __init__(
        self, path: str, connected: Callable[[sqlite3.Connection], None]
    ) -> None:
        self._path = path
        self._connected = connected
        self._namespaces: Collection[str] = ()
        self._connection: sqlite3.Connection | None = None
        self._refusal: JournalError | None = None
        self.is_complete = True

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._connection is not None

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection to the database.

        :raises JournalError: when the file is not open.
        """
        if self._connection is None:
            raise JournalError(f"{self._path}: not open")
        return self._connection

    def size(self) -> int:
        """Return the size of the file and of its write-ahead log, in bytes."""
        total = 0
        for path in (self._path, f"{self._path}-wal"):
            with suppress(OSError):
                total += os.stat(path).st_size if self._path != MEMORY else 0
        return total

    def check(self) -> None:
        """Check that the file is not locked, and not written by a newer devlxd.

        Creates a missing file; of an existing one it reads only the version. All other
        problems are left to `open`.

        :raises JournalLockedError: when another process uses it.
        :raises JournalVersionError: when a newer devlxd has written it.
        """
        self._refusal = None
        with suppress(JournalError), self.reported():
            self._make_private()
            with closing(connect(self._path)) as connection:
                self._check_version(connection)
        if self._refusal is not None:
            raise self._refusal

    def open(self, namespaces: Collection[str]) -> None:
        """Open the file, unless it is open; see `IJournal.open`.

        :raises JournalLockedError: when another process uses the file.
        :raises JournalVersionError: when a newer devlxd has written it.
        :raises JournalError: when the file cannot be used for another reason.
        """
        if self._connection is not None:
            return
        self._namespaces = frozenset(namespaces)
        with self.reported():
            try:
                self._load()
            except UnusableError as error:
                self._log.warn(
                    "{path}: {reason}; devlxd starts a new journal",
                    path=self._path,
                    reason=error,
                )
                delete(self._path)
                self._load()
            except Exception as error:
                if not is_damage(error):
                    raise
                self._replace(error)

    def close(self) -> None:
        """Close the file; harmless if it is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def set_complete(self, complete: bool) -> None:
        """See `IJournal.set_complete`."""
        if complete != self.is_complete and self._refusal is None:
            if self._path != MEMORY:
                with suppress(OSError):
                    os.chmod(self._path, 0o600 if complete else 0o600 | _INCOMPLETE)
            self.is_complete = complete

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Convert errors of the block to `JournalError`; replace a damaged file."""
        try:
            yield
        except JournalVersionError as error:
            self._refusal = error
            raise
        except (OSError, sqlite3.Error, DamagedError, *CONTENT_ERRORS) as error:
            reason = f"{self._path}: {reason_of(error)}"
            if "database is locked" in reason:
                self._refusal = JournalLockedError(reason)
                raise self._refusal from error
            if self._connection is not None and is_damage(error):
                with self.reported():
                    self._replace(error)
                raise JournalReplacedError(reason) from error
            raise JournalError(reason) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit the changes of the block; roll back if it raises an exception."""
        connection = self.connection
        connection.execute("BEGIN")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back already if the disk is full.
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        _shrink(connection)

    def _load(self) -> None:
        self._refusal = None
        self.is_complete = not self._make_private()
        with ExitStack() as stack:
            connection = stack.enter_context(closing(connect(self._path)))
            self._check_version(connection)
            for pragma in (_AUTO_VACUUM, *PRAGMAS):
                connection.execute(f"PRAGMA {pragma}")
            check_content(connection)
            if not self.is_complete:
                raise UnusableError("not everything could be written to it")
            prepare_schema(connection, self._namespaces)
            self._connected(connection)
            self._connection = connection
            stack.pop_all()

    def _make_private(self) -> bool:
        """Create the file if it is missing, readable by this user only.

        :return: whether it is marked as incomplete.
        """
        if self._path == MEMORY:
            return False
        return bool(create_private(self._path) & _INCOMPLETE)

    def _check_version(self, connection: sqlite3.Connection) -> None:
        version = version_of(connection)
        if version > VERSION:
            raise JournalVersionError(
                f"{self._path}: written by a newer devlxd: its format is {version}, "
                f"this one's {VERSION}"
            )

    def _replace(self, error: Exception) -> None:
        """Rename a damaged file, and open a new one."""
        self.close()
        renamed = rename_damaged(self._path)
        self._log.error(
            "{path} is damaged ({reason}); devlxd has renamed it to {renamed}, "
            "and starts a new journal",
            path=self._path,
            reason=reason_of(error),
            renamed=renamed,
        )
        self._load()


def _shrink(connection: sqlite3.Connection) -> None:
    """Return some unused pages of the file to the file system."""
    if number_of(connection, "PRAGMA freelist_count") > _FREE_PAGES:
        with suppress(sqlite3.OperationalError):
            # execute() would free one page only.
            connection.executescript(f"PRAGMA incremental_vacuum({_FREED_PAGES})")
