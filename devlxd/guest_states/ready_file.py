# -*- test-case-name: tests.guest_states.test_ready_file -*-
"""The file with the records of ready guests, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from twisted.logger import Logger

from devlxd.model import Init, is_container_name
from devlxd.sqlite_files import DamagedError, StateFile

#: The version of the schema, in ``PRAGMA user_version``.
VERSION = 1

#: The statements that create the table of `VERSION`. Without runs, the columns of the
#: init are ``NULL``.
_SCHEMA = (
    """CREATE TABLE ready (
        container TEXT PRIMARY KEY,
        pid INTEGER,
        started INTEGER,
        boot TEXT
    ) WITHOUT ROWID""",
    f"PRAGMA user_version = {VERSION}",
)

_READ = "SELECT container, pid, started, boot FROM ready"
_PUT = "INSERT OR REPLACE INTO ready (container, pid, started, boot) VALUES (?,?,?,?)"
_REMOVE = "DELETE FROM ready WHERE container = ?"


class ReadyFile(StateFile[Mapping[str, Init | None]]):
    """A file with a record of each container whose guest is ready.

    A record is the init of the run that is ready; ``None`` where there are no runs. The
    content are the records by the names of the containers.
    """

    version = VERSION
    schema = _SCHEMA
    _log = Logger()

    def write(
        self, changed: Mapping[str, Init | None], removed: Collection[str]
    ) -> None:
        """Write records, and remove others: either all of them or none.

        :raises StateFileError: if that fails, or the file is not open.
        """
        with self.transaction() as connection:
            connection.executemany(_PUT, map(_row_of, changed, changed.values()))
            connection.executemany(_REMOVE, [(name,) for name in removed])

    def read(self, connection: sqlite3.Connection) -> Mapping[str, Init | None]:
        """See `StateFile.read`."""
        return dict(map(_record_in, connection.execute(_READ)))

    def log_damage(self, reason: str, renamed: str) -> None:
        """See `StateFile.log_damage`."""
        self._log.error(
            "{path} is damaged ({reason}); devlxd has renamed it to {renamed}, and "
            "treats every guest as not ready",
            path=self.path,
            reason=reason,
            renamed=renamed,
        )


def _row_of(name: str, init: Init | None) -> tuple[object, ...]:
    if init is None:
        return name, None, None, None
    return name, init.pid, init.started, init.boot


def _record_in(row: tuple[object, ...]) -> tuple[str, Init | None]:
    """Return the record in a row.

    :raises DamagedError: if the row is not one that `ReadyFile.write` writes.
    """
    name, pid, started, boot = row
    if isinstance(name, str) and is_container_name(name):
        if (pid, started, boot) == (None, None, None):
            return name, None
        if isinstance(pid, int) and isinstance(started, int) and isinstance(boot, str):
            return name, Init(pid, started, boot)
    raise DamagedError("it has a wrong value")
