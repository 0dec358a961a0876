"""Tests of reading documents while they are being written."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from math import ceil
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from devlxd.containers.directory_store import DirectoryStore
from devlxd.containers.document_versions import SETTLE
from devlxd.containers.failed_reads import RETRIES
from devlxd.host.inotify import INotify
from devlxd.interfaces import IStoreObserver
from devlxd.model import Container
from devlxd.testing import MemoryDevLXDReactor, MemoryWatcher

#: The number of keys in a document, each in a line of its own.
KEYS = 6

#: The number of pieces in which a document is written. It may be valid before the
#: last piece is written.
PIECES = 3

#: The maximum time between two steps of a writer, in seconds.
INTERVAL = SETTLE * 0.8

#: The ways to replace a document.
WAYS = st.sampled_from(["in place", "unlink", "rename"])


def pieces_of(version: int) -> list[str]:
    """Return the pieces of a document that has the same value for all keys."""
    lines = ["config:\n", *(f"  user.{n}: v{version}\n" for n in range(KEYS))]
    size = -(-len(lines) // PIECES)
    return ["".join(lines[at : at + size]) for at in range(0, len(lines), size)]


@implementer(IStoreObserver)
class IncompleteDocuments:
    """An observer that records snapshots of incomplete documents.

    :ivar incomplete: the configs of these snapshots.
    :param keys: the number of keys in a complete document; all have one value.
    """

    def __init__(self, keys: int) -> None:
        self._keys = keys
        self.incomplete: list[dict[str, str]] = []

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        if new is not None:
            values = list(new.config.values())
            if len(values) != self._keys or len(set(values)) != 1:
                self.incomplete.append(dict(new.config))


class RacingWatcher(MemoryWatcher):
    """A watcher that makes a writer continue between a read and a report.

    :ivar meanwhile: functions that are called after the next read, before changes
        are reported.
    """

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], None]] = []

    def poll(self) -> bool:
        """See `IWatcher.poll`."""
        while self.meanwhile:
            self.meanwhile.pop()()
        return super().poll()

    def forget(self) -> None:
        """Drop the changes that have not been reported yet."""
        self.pending.clear()


class Writer:
    """A writer that replaces one document again and again, step by step.

    :ivar version: the number of the version that was begun last.
    :ivar steps: the remaining steps of that version.
    """

    def __init__(self, path: Path, watcher: MemoryWatcher) -> None:
        self._path = path
        self._watcher = watcher
        self.version = 0
        self.steps: list[Callable[[], None]] = []

    def step(self) -> None:
        """Do the next step."""
        if self.steps:
            self.steps.pop(0)()

    def finish(self) -> None:
        """Do all remaining steps."""
        while self.steps:
            self.step()

    def begin(self, way: str) -> None:
        """Begin the next version if the last one is complete.

        :param way: how the document is replaced; see `WAYS`.
        """
        if self.steps:
            return
        self.version += 1
        pieces = pieces_of(self.version)
        if way == "rename":
            self.steps = [lambda: self._rename("".join(pieces))]
            return
        if way == "unlink":
            # As Incus does: remove the file, create it again, write it in pieces.
            self.steps = [self._unlink]
        self.steps.append(self._open)
        self.steps += [lambda piece=piece: self._write(piece) for piece in pieces]  # type: ignore[misc]  # the default binds it
        self.steps.append(lambda: self._watcher.report(self._path))

    def _rename(self, text: str) -> None:
        new = self._path.with_name(".new")
        new.write_text(text)
        new.rename(self._path)
        self._watcher.report(self._path)

    def _unlink(self) -> None:
        self._path.unlink(missing_ok=True)
        self._watcher.report(self._path)

    def _open(self) -> None:
        """Create or truncate the file."""
        self._path.write_text("")
        self._watcher.report(self._path, complete=False)

    def _write(self, piece: str) -> None:
        with open(self._path, "a") as file:
            file.write(piece)
        self._watcher.report(self._path, complete=False)


class WritingMachine(RuleBasedStateMachine):
    """Reads, writes and reports of writes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.clock = Clock()
        self.clock.advance(time.time())
        self.watcher = RacingWatcher()
        self.observer = IncompleteDocuments(KEYS)
        self.store = DirectoryStore(self.path, self.clock, self.watcher)
        self.store.watch(self.observer)
        self.writer = Writer(self.path / "c1.yaml", self.watcher)
        self.writer.begin("rename")
        self.writer.finish()
        self.store.startService()
        self.clock.advance(0)

    @rule(way=WAYS)
    def begin(self, way: str) -> None:
        """Begin the next version of the document."""
        self.writer.begin(way)

    @rule(steps=st.integers(1, PIECES + 3))
    def write(self, steps: int) -> None:
        """Do some steps of the writer."""
        for _ in range(steps):
            self.writer.step()

    @rule()
    def report(self) -> None:
        """Report all changes since the last report."""
        self.watcher.poll()

    @rule(
        way=WAYS,
        reported=st.integers(0, 2),
        before=st.integers(0, PIECES + 2),
        meanwhile=st.integers(0, PIECES + 3),
    )
    def read(self, way: str, reported: int, before: int, meanwhile: int) -> None:
        """Read the document while it is written, before the write is reported."""

        def write() -> None:
            self.writer.begin(way)
            self.write(meanwhile)

        self.writer.begin(way)
        self.write(reported)
        self.report()
        self.write(before)
        self.watcher.meanwhile = [write]
        self.settle()
        self.watcher.meanwhile = []

    @rule(way=WAYS, before=st.integers(0, PIECES + 2), more=st.booleans())
    def overflow(self, way: str, before: int, more: bool) -> None:
        """Drop the pending reports, and report that some were lost."""
        self.writer.begin(way)
        self.write(before)
        self.watcher.forget()
        self.watcher.listener.overflowed()
        if more:
            self.settle()

    @rule(times=st.integers(1, 12))
    def wait(self, times: int) -> None:
        """Advance the clock, with a step of the writer after each `INTERVAL`."""
        for _ in range(times):
            with capturedLogs():
                self.clock.advance(INTERVAL)
            self.settle()
            self.writer.step()

    def settle(self) -> None:
        """Run the calls of the store that are due."""
        with capturedLogs():
            self.clock.pump([0] * 4)

    def check(self) -> None:
        """Check that only complete documents became snapshots."""
        assert not self.observer.incomplete, self.observer.incomplete

    def teardown(self) -> None:
        """Complete the document, and check that the snapshot is its last version."""
        self.check()
        self.writer.finish()
        self.watcher.poll()
        # If the last report was lost, a retry reads the document.
        self.wait(10 + ceil(RETRIES[-1] / INTERVAL))
        self.check()
        container = self.store.get("c1")
        assert container is not None
        assert container.config["user.0"] == f"v{self.writer.version}"
        self.store.stopService()
        shutil.rmtree(self.path)


class WritingTests(SynchronousTestCase):
    """Documents that are being written, reported by a watcher in memory."""

    def test_any_order(self) -> None:
        """No incomplete document becomes a snapshot, in any order of events."""
        run_state_machine_as_test(
            WritingMachine,
            settings=settings(max_examples=200, stateful_step_count=20, deadline=None),
        )


#: A program that writes a document of 100 KB a thousand times, as Incus writes
#: ``backup.yaml``: removed, created again, and written 32 KiB at a time.
INCUS = """
import os, sys
for version in range(1, 1001):
    value = f"{version:0180}"
    lines = [f"  user.{key:04}: {value}" for key in range(500)]
    text = "container:\\n expanded_config:\\n" + "\\n".join(lines) + "\\n"
    data = text.encode()
    if os.path.exists(sys.argv[1]):
        os.unlink(sys.argv[1])
    with open(sys.argv[1], "wb", buffering=0) as file:
        for at in range(0, len(data), 32 * 1024):
            file.write(data[at : at + 32 * 1024])
"""


class KernelTests(SynchronousTestCase):
    """The store with the kernel's inotify, while another process writes."""

    def test_as_incus_writes(self) -> None:
        """No incomplete ``backup.yaml`` becomes a snapshot while Incus writes it."""
        path = Path(tempfile.mkdtemp(dir=".")).absolute()
        (path / "c1").mkdir()
        reactor = MemoryDevLXDReactor()
        observer = IncompleteDocuments(500)
        store = DirectoryStore(path, reactor, INotify(reactor))
        store.watch(observer)
        store.startService()
        self.addCleanup(store.stopService)
        (reader,) = reactor.readers
        writer = subprocess.Popen(
            [sys.executable, "-c", INCUS, str(path / "c1" / "backup.yaml")]
        )
        self.addCleanup(writer.wait)
        self.addCleanup(writer.kill)
        latest = None
        deadline = time.monotonic() + 60
        while latest != f"{1000:0180}" and time.monotonic() < deadline:
            reader.doRead()
            reactor.advance(0.0001)
            container = store.get("c1")
            latest = container.config.get("user.0000") if container else None
        self.assertEqual(latest, f"{1000:0180}")
        self.assertEqual([len(config) for config in observer.incomplete], [])
