"""Tests of `devlxd.events.journal_schema`: files of other versions."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent

from devlxd.events import journal_schema
from devlxd.events.journal import SQLiteJournal
from devlxd.interfaces import JournalVersionError
from devlxd.model import Container, Event
from devlxd.testing.contracts.journal import C1, NAMESPACES, ONE, RECORDED, make_event
from devlxd.timestamps import timestamp_text
from tests.events.journals import JournalFileTestCase

#: The schema of version 1.
VERSION_1 = """
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    BEGIN;
    CREATE TABLE incarnations (
        id INTEGER PRIMARY KEY,
        number INTEGER NOT NULL UNIQUE,
        name TEXT NOT NULL,
        complete_since INTEGER NOT NULL,
        last_timestamp INTEGER NOT NULL,
        events INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        document_checksum INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        document BLOB NOT NULL
    );
    CREATE TABLE events (
        incarnation INTEGER NOT NULL,
        timestamp INTEGER NOT NULL,
        type TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        text BLOB NOT NULL,
        PRIMARY KEY (incarnation, timestamp)
    ) WITHOUT ROWID;
    CREATE INDEX events_by_type ON events (incarnation, type, timestamp);
    PRAGMA user_version = 1;
    COMMIT;
"""


def make_version_1(
    path: Path, incarnation: int, container: Container, events: Sequence[Event]
) -> None:
    """Write a file of version 1, as devlxd did at that time."""

    def checksum(*facts: object, data: bytes) -> int:
        return zlib.crc32(data, zlib.crc32(repr(facts).encode()))

    messages = [
        json.dumps(
            {
                "timestamp": timestamp_text(event.timestamp),
                "type": event.type,
                "metadata": dict(event.metadata),
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
        for event in events
    ]
    document = json.dumps(
        {
            "id": container.id,
            "origin": container.origin,
            "devices": {name: dict(d) for name, d in container.devices.items()},
            "config": dict(container.config),
        }
    ).encode()
    facts = (
        incarnation,
        container.name,
        events[-1].timestamp,
        checksum(data=document),
    )
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.executescript(VERSION_1)
        file.execute(
            "INSERT INTO incarnations VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *facts[:2],
                events[0].timestamp - 1,
                facts[2],
                len(events),
                sum(map(len, messages)),
                facts[3],
                checksum(*facts, data=b""),
                document,
            ),
        )
        file.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
            [
                (
                    incarnation,
                    event.timestamp,
                    event.type,
                    checksum(event.timestamp, event.type, data=message),
                    message,
                )
                for event, message in zip(events, messages, strict=True)
            ],
        )
        file.commit()


class VersionTests(JournalFileTestCase):
    """Files of other versions of devlxd."""

    def test_older(self) -> None:
        """A file without a version is replaced by a new one, which is logged."""
        with contextlib.closing(sqlite3.connect(self.path)) as old:
            old.execute("CREATE TABLE containers (id INTEGER PRIMARY KEY)")
        with capturedLogs() as logged:
            journal = self.open_journal()
        self.assertEqual(len(logged), 1)
        journal.record(ONE, C1, 5, 5, [])
        journal.close()
        with capturedLogs() as logged:
            self.assertEqual(self.since(self.open_journal()), (5, []))
        self.assertEqual(logged, [])

    def test_version_1(self) -> None:
        """A file of version 1, with rendered messages, is migrated."""
        config = {"key": "user.a", "old_value": "", "value": "\u20ac \n"}
        device = {"name": "eth0", "action": "added", "config": {"type": "nic"}}
        events = [Event("c1", "config", 5, config), Event("c1", "device", 6, device)]
        make_version_1(self.path, ONE, RECORDED, events)
        for _ in range(2):
            with capturedLogs() as logged:
                journal = self.open_journal(container_journal_bytes=1000)
            self.assertEqual(logged, [])
            self.assertEqual(journal.last(ONE), (RECORDED, 6))
            complete_since, found = self.since(journal)
            self.assertEqual((complete_since, list(found)), (4, events))
            self.assertEqual([e.size for e in found], [e.size for e in events])
            journal.close()
        journal = self.open_journal()
        lengths = "SELECT sum(length(metadata)), bytes FROM events, incarnations"
        self.assertEqual(*journal._file.connection.execute(lengths).fetchone())
        journal.record(ONE, C1, 5, 7, [make_event(7)])
        self.assertEqual(len(self.since(journal)[1]), 3)

    def test_version_1_of_other_keys(self) -> None:
        """A file of version 1 is emptied for namespaces other than ``user.``."""
        make_version_1(self.path, ONE, RECORDED, [make_event(5)])
        journal = SQLiteJournal(str(self.path))
        self.addCleanup(journal.close)
        with capturedLogs() as logged:
            journal.open(("cloud-init.", "user."))
        self.assertEqual(len(logged), 1)
        self.assertEqual(self.since(journal), (None, []))

    def test_version_1_damaged(self) -> None:
        """A damaged file of version 1 is renamed like any other."""
        make_version_1(self.path, ONE, RECORDED, [make_event(5)])
        with contextlib.closing(sqlite3.connect(self.path)) as damaged, damaged:
            damaged.execute("UPDATE events SET text = x'7b7d'")
        with capturedLogs() as logged:
            journal = self.open_journal()
        self.assertRegex(formatEvent(logged[0]) or "", r"to \S+damaged-\d{8}T\d{6},")
        self.assertEqual(self.since(journal), (None, []))

    def test_version_1_on_a_full_disk(self) -> None:
        """A file of version 1 that cannot be migrated on a full disk is emptied."""
        make_version_1(self.path, ONE, RECORDED, [make_event(5)])

        def fail(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(journal_schema, "_migrate_events", fail)
        with capturedLogs() as logged:
            journal = self.open_journal()
        self.assertEqual(
            [formatEvent(line) for line in logged],
            [
                f"{self.path}: it cannot be migrated (database or disk is full); "
                "devlxd starts a new journal"
            ],
        )
        self.assertEqual(self.since(journal), (None, []))

    def test_other_namespaces(self) -> None:
        """A journal of other namespaces is emptied, and this is logged."""
        self.open_journal().close()
        journal = SQLiteJournal(str(self.path))
        self.addCleanup(journal.close)
        for namespaces, lines in ((("user.", "cloud-init."), 1), (NAMESPACES, 1)):
            with capturedLogs() as logged:
                journal.open(namespaces)
                journal.close()
                journal.open(namespaces)
            self.assertEqual(len(logged), lines)
            journal.close()

    def test_newer(self) -> None:
        """A newer file is not changed; the error names both versions."""
        self.open_journal().close()
        with contextlib.closing(sqlite3.connect(self.path)) as newer:
            newer.execute("PRAGMA user_version = 77")
        before = self.path.read_bytes()
        journal = SQLiteJournal(str(self.path))
        for method in (partial(journal.open, NAMESPACES), journal.check):
            error = self.assertRaises(JournalVersionError, method)
            self.assertRegex(str(error), "format is 77, .* 2$")
        journal.set_complete(False)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(os.listdir(self.path.parent), ["journal"])
