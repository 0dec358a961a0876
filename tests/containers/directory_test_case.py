"""A base class for tests of the directory store, and a clock for them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.directory_store import DirectoryStore
from devlxd.containers.failed_reads import QUIET_RETRIES
from devlxd.testing import MemoryWatcher, RecordingStoreObserver


class TickingClock(Clock):
    """A clock that delays each call by at least 10 ms, even if no delay is given."""

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """See `IReactorTime.callLater`."""
        return super().callLater(max(delay, 0.01), callable, *args, **kw)


class DirectoryStoreTestCase(SynchronousTestCase):
    """A base class of tests with a store for a temporary directory."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.file = self.path / "c1.yaml"
        # This clock starts at 0, and the clock of file timestamps at the present.
        self.clock = Clock()
        started = time.time()
        self.watcher = MemoryWatcher()
        self.observer = RecordingStoreObserver()
        self.store = DirectoryStore(
            self.path,
            self.clock,
            self.watcher,
            wall=lambda: started + self.clock.seconds(),
        )
        self.store.watch(self.observer)
        self.addCleanup(self.store.stopService)

    def start(self) -> None:
        """Start the store, let it read the directory, and clear recorded changes."""
        self.store.startService()
        self.clock.advance(0)
        self.observer.changes.clear()

    def report(self, path: Path, complete: bool = True) -> None:
        """Report a change of ``path``, and let the store handle it."""
        self.watcher.report(path, complete)
        self.watcher.poll()
        self.clock.advance(0)

    def value(self) -> str | None:
        """Return the value of ``user.a`` of the container ``c1``."""
        container = self.store.get("c1")
        return container.config.get("user.a") if container else None

    def write(self, value: str, path: Path | None = None) -> None:
        """Write a document, and report that it was written and closed."""
        path = path or self.file
        path.write_text(f"config: {{user.a: {value}}}\n")
        self.watcher.report(path, complete=False)
        self.report(path)

    def pass_quiet_retries(self) -> None:
        """Advance the clock past the retries after which a failed read is logged."""
        for seconds in QUIET_RETRIES:
            self.clock.pump([seconds, 0])
