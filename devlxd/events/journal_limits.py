# -*- test-case-name: tests.events.test_journal -*-
"""The limits of the journal: how many events it keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from devlxd.limits import CurrentLimits
from devlxd.sqlite_files import DamagedError, number_of

#: How far a container may exceed its limits before events are deleted: by events,
#: and by bytes.
_SLACK = 200
_SLACK_BYTES = 1024 * 1024


class JournalLimits:
    """The limits of the journal: counts events, and deletes the oldest ones.

    The last snapshots are not counted: they are no longer than their documents.

    :param limits: the limits that are in force.
    """

    def __init__(self, limits: CurrentLimits) -> None:
        self._limits = limits
        self._bytes = 0

    def load(self, connection: sqlite3.Connection) -> None:
        """Read the current size of the events from a database."""
        self._bytes = number_of(connection, "SELECT sum(bytes) FROM incarnations")

    @contextmanager
    def restored_on_failure(self) -> Iterator[None]:
        """Restore the counted size if the block raises an exception."""
        before = self._bytes
        try:
            yield
        except BaseException:
            self._bytes = before
            raise

    def count(
        self, connection: sqlite3.Connection, incarnation: int, events: int, size: int
    ) -> None:
        """Count inserted events; negative numbers count deleted ones."""
        connection.execute(
            "UPDATE incarnations SET events = events + ?, bytes = bytes + ? "
            "WHERE number = ?",
            (events, size, incarnation),
        )
        self._bytes += size

    def prune(self, connection: sqlite3.Connection, incarnation: int) -> None:
        """Delete events beyond the limits of a container, and of all containers."""
        limits = self._limits.value
        count, size = connection.execute(
            "SELECT events, bytes FROM incarnations WHERE number = ?", (incarnation,)
        ).fetchone()
        most = limits.container_journal_bytes
        if count > limits.kept_events + _SLACK or size > most + _SLACK_BYTES:
            self._keep_newest(connection, incarnation, most)
        while (before := self._bytes) > limits.journal_bytes:
            largest, size = connection.execute(
                "SELECT number, bytes FROM incarnations ORDER BY bytes DESC LIMIT 1"
            ).fetchone()
            self._keep_newest(connection, largest, size * 3 // 4)
            if self._bytes >= before:
                raise DamagedError("the lengths are wrong")

    def delete_until(
        self, connection: sqlite3.Connection, incarnation: int, timestamp: int
    ) -> None:
        """Delete the events of a container up to and including a timestamp."""
        parameters = (incarnation, timestamp)
        count, size = connection.execute(
            "SELECT count(*), ifnull(sum(length(metadata)), 0) FROM events "
            "WHERE incarnation = ? AND timestamp <= ?",
            parameters,
        ).fetchone()
        connection.execute(
            "DELETE FROM events WHERE incarnation = ? AND timestamp <= ?", parameters
        )
        connection.execute(
            "UPDATE incarnations SET complete_since = ? WHERE number = ?",
            (timestamp, incarnation),
        )
        self.count(connection, incarnation, -count, -size)

    def _keep_newest(
        self, connection: sqlite3.Connection, incarnation: int, size: int
    ) -> None:
        """Keep only the newest events: at most ``kept_events``, and ``size`` bytes."""
        lengths = connection.execute(
            "SELECT timestamp, length(metadata) FROM events WHERE incarnation = ? "
            "ORDER BY timestamp DESC",
            (incarnation,),
        )
        with closing(lengths):
            for number, (timestamp, length) in enumerate(lengths):
                size -= length
                if number == self._limits.value.kept_events or size < 0:
                    self.delete_until(connection, incarnation, timestamp)
                    return
