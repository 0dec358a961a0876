"""Tests of documents that cannot be read, and of log lines about documents."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.python.monkey import MonkeyPatcher

from devlxd.containers import directory_store, document_files, document_versions
from devlxd.containers.directory_store import IDLE_SCAN_INTERVAL
from devlxd.containers.directory_watches import SCAN_INTERVAL
from devlxd.containers.document_files import Document
from devlxd.containers.document_paths import DocumentPath
from devlxd.containers.failed_reads import QUIET_RETRIES, RETRIES
from devlxd.containers.removals import GRACE
from tests.containers.directory_test_case import DirectoryStoreTestCase


class FailureTests(DirectoryStoreTestCase):
    """Broken documents, system errors, and likely mistakes."""

    def test_broken_exists(self) -> None:
        """A container whose document is broken exists, but has no snapshot."""
        self.start()
        with capturedLogs():
            self.file.write_text("config: [")
            self.report(self.file)
        self.assertIsNone(self.store.get("c1"))
        self.assertTrue(self.store.has("c1"))
        self.file.unlink()
        self.report(self.file)
        self.assertFalse(self.store.has("c1"))

    def test_broken_once(self) -> None:
        """A document is logged once when it breaks, and once when it is read again."""
        self.start()
        self.write("1")
        with capturedLogs() as events:
            for text in ("config: [", "config: [", "config: {}", "config: ["):
                self.file.write_text(text)
                self.report(self.file)
                self.pass_quiet_retries()
        lines = [formatEvent(event) for event in events]
        self.assertEqual(len(lines), 3, lines)
        self.assertEqual(lines[0], lines[2])
        self.assertIn(f"{self.file}:1: ", lines[0])
        self.assertEqual(lines[1], "container c1 can be read again")
        self.assertIsNone(self.value())

    def test_broken_briefly(self) -> None:
        """A document that is broken for a moment is not logged."""
        self.start()
        self.write("1")
        with capturedLogs() as events:
            for _ in range(100):
                self.file.write_text("config: [")
                self.watcher.listener.overflowed()
                self.clock.pump([0, 0.5, 0])
                self.assertEqual(self.value(), "1")
                self.assertTrue(self.store.has("c1"))
                self.file.write_text("config: {user.a: 1}")
                self.clock.pump([0.5, 0])
        lines = {formatEvent(event) for event in events}
        self.assertEqual(
            lines, {f"changes in {self.path} were lost, scanning all documents"}
        )

    def test_completed_unreported(self) -> None:
        """A broken document that becomes complete is read without a report."""
        self.start()
        self.file.write_text("config: [")
        self.report(self.file)
        self.file.write_text("config: {user.a: 1}")
        self.clock.pump([QUIET_RETRIES[0], 0])
        self.assertEqual(self.value(), "1")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_broken_in_many_ways(self) -> None:
        """Log lines about one container are limited; those about others are not."""
        self.start()
        other = self.path / "c2.yaml"
        other.write_text("config: [")
        with capturedLogs() as events:
            for n in range(100):
                self.file.write_text("\n" * n + ("config: [" if n % 2 else "- a"))
                self.report(self.file)
                self.pass_quiet_retries()
            self.report(other)
            self.pass_quiet_retries()
        lines = [formatEvent(event) for event in events]
        self.assertLess(len(lines), 60)
        self.assertEqual(sum(str(other) in line for line in lines), 1)
        self.file.unlink()
        other.unlink()
        self.report(self.file)
        self.report(other)
        self.assertFalse(self.store.has("c1"))
        # The number of suppressed lines is logged; only the next scan remains.
        self.clock.advance(60)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_failed_read(self) -> None:
        """An unchanged document is read again after a system error."""
        self.start()
        self.write("1")
        for number in (errno.EMFILE, errno.EIO):

            def fail(path: Path, number: int = number) -> int:
                raise OSError(number, os.strerror(number))

            # The signature does not show that the document has changed.
            self.patch(document_versions, "signature_of", lambda *_: ("same",))
            with self.failing_to_open(fail), capturedLogs() as events:
                self.write(f"after {number}")
                self.clock.pump([1.0, 0] * 30)
                self.assertNotEqual(self.value(), f"after {number}")
                self.watcher.listener.overflowed()
            lines = [formatEvent(event) for event in events]
            self.assertEqual(len(lines), 2, lines)
            self.assertIn(os.strerror(number), lines[0])
            with capturedLogs() as events:
                self.clock.pump([RETRIES[-1], 0])
            self.assertEqual(self.value(), f"after {number}")
            self.assertEqual(
                [formatEvent(event) for event in events],
                ["container c1 can be read again"],
            )

    @contextmanager
    def failing_to_open(self, fail: Callable[[Path], int]) -> Iterator[None]:
        """Make opening a document fail."""
        patcher = MonkeyPatcher((document_files, "open_regular", fail))
        patcher.patch()
        try:
            yield
        finally:
            patcher.restore()

    def test_failed_list(self) -> None:
        """A directory that cannot be listed is listed again soon."""
        self.file.write_text("config: {user.a: 1}")

        def fail(path: Path) -> list[str]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patcher = MonkeyPatcher((os, "listdir", fail))
        with capturedLogs() as events:
            patcher.runWithPatches(self.start)
        (event,) = events
        self.assertIn("cannot be listed (Too many open files)", formatEvent(event))
        self.clock.pump([SCAN_INTERVAL, 0])
        self.assertEqual(self.value(), "1")

    def test_warnings(self) -> None:
        """A new warning is logged with the file and the line."""
        self.start()
        with capturedLogs() as events:
            for text in ("\nconifg: {}\n", "conifg: {user.a: b}\n", "config: {}\n"):
                self.file.write_text(text)
                self.report(self.file)
            self.file.write_text("Config: {}\n")
            self.report(self.file)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                f"{self.file}:2: conifg has no effect; did you mean config?",
                f"{self.file}:1: Config has no effect; did you mean config?",
            ],
        )
        self.assertIsNotNone(self.store.get("c1"))

    def test_same_id(self) -> None:
        """Two containers with the same id are logged once."""
        self.start()
        with capturedLogs() as events:
            for name in ("c1", "c2"):
                path = self.path / f"{name}.yaml"
                path.write_text("config: {}\nid: abc\n")
                for _ in range(2):
                    self.report(path)
        (event,) = events
        self.assertEqual(
            formatEvent(event),
            f"{self.path}/c2.yaml:2: id is also the id of c1, and neither container "
            "is found by it; write the id of this container",
        )

    def test_ignored(self) -> None:
        """A file that was probably meant as a document is logged once."""
        names = ("c1.YAML", "c2.Json", "c3.conf")
        for name in names:
            (self.path / name).write_text("config: {}\n")
        with capturedLogs() as events:
            self.start()
            for name in names:
                self.report(self.path / name)
            self.clock.pump([IDLE_SCAN_INTERVAL, 0])
        lines = sorted(formatEvent(event) for event in events)
        self.assertEqual(len(lines), 3, lines)
        for name, line in zip(names, lines, strict=True):
            self.assertTrue(line.startswith(f"{self.path / name}: is ignored"), line)
        self.assertEqual(list(self.store.names()), [])
        (self.path / names[0]).unlink()
        self.report(self.path / names[0])
        (self.path / names[0]).write_text("config: {}\n")
        with capturedLogs() as events:
            self.report(self.path / names[0])
        self.assertEqual(len(events), 1)

    def test_unexpected_error(self) -> None:
        """An unexpected exception is logged, and the other documents are read."""
        read_document = document_files.read_document

        def fail(name: str, paths: list[DocumentPath], size: int) -> Document | None:
            if name == "c1":
                raise ZeroDivisionError("on purpose")
            return read_document(name, paths, size)

        self.file.write_text("config: {}")
        (self.path / "c2.yaml").write_text("config: {}")
        self.patch(directory_store, "read_document", fail)
        with capturedLogs() as events:
            self.start()
        self.assertIn("keeping its last snapshot", formatEvent(events[0]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.store.names(), ["c2"])
        self.assertIsNone(self.successResultOf(self.store.loaded()))

    def test_unreadable_while_missing(self) -> None:
        """A container is not removed while it is unknown whether it has a document."""
        self.start()
        self.write("1")
        self.file.unlink()
        self.report(self.file)
        (self.path / "c1").symlink_to("c1")
        with capturedLogs():
            self.clock.pump([GRACE, 0])
        self.assertEqual(self.value(), "1")
