"""Tests of the directory store and the bus together.

The disk is real; the watcher and the clock are in memory. Hypothesis decides which
changes the watcher reports, and when.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
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

from devlxd.containers.directory_store import DirectoryStore
from devlxd.containers.removals import GRACE
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.model import End
from devlxd.testing import MemoryWatcher
from tests.events.test_bus import (
    CONFIGS,
    DEVICES,
    NAMESPACES,
    Subscribed,
    subscribed_viewers,
)

NAMES = st.sampled_from(["c1", "c2"])

FORMS = st.sampled_from(["{}.yaml", "{}.json", "{}/config.yaml"])


class LiveDirectoryMachine(RuleBasedStateMachine):
    """Writes, renames, deletions, overflows, subscriptions and pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.clock = Clock()
        self.watcher = MemoryWatcher()
        started = time.time()
        self.store = DirectoryStore(
            self.path,
            self.clock,
            self.watcher,
            wall=lambda: started + self.clock.seconds(),
        )
        self.bus = EventBus(
            self.store, SQLiteJournal(), Clock(), lambda: 0, namespaces=NAMESPACES
        )
        self.bus.startService()
        self.store.startService()
        self.clock.advance(0)
        self.subscribed: list[Subscribed] = []
        self.paused: list[Subscribed] = []

    def report(self, path: Path, complete: bool = True) -> None:
        """Report a change to the store."""
        self.watcher.report(path, complete)
        with capturedLogs():
            self.watcher.poll()
            self.clock.advance(0)

    def document(self, name: str, form: str) -> Path:
        """Return the path of a document; create its directory."""
        path = self.path / form.format(name)
        if path.parent != self.path and not path.parent.exists():
            path.parent.mkdir()
            self.report(path.parent)
        return path

    @rule(
        name=NAMES,
        form=FORMS,
        config=CONFIGS,
        devices=DEVICES,
        is_reported=st.booleans(),
    )
    def write(
        self,
        name: str,
        form: str,
        config: dict[str, str],
        devices: dict[str, dict[str, str]],
        is_reported: bool,
    ) -> None:
        """Write a document in place."""
        path = self.document(name, form)
        path.write_text(json.dumps({"config": config, "devices": devices}))
        if is_reported:
            self.report(path, complete=False)
            self.report(path)

    @rule(name=NAMES, form=FORMS, text=st.sampled_from(["", "{", "config: ["]))
    def write_invalid(self, name: str, form: str, text: str) -> None:
        """Write an invalid document."""
        path = self.document(name, form)
        path.write_text(text)
        self.report(path)

    @rule(name=NAMES, form=FORMS, config=CONFIGS)
    def rename(self, name: str, form: str, config: dict[str, str]) -> None:
        """Replace a document like vim, which renames the old one first."""
        path = self.document(name, form)
        backup = path.with_name(path.name + "~")
        if path.exists():
            path.rename(backup)
            self.report(path)
        path.write_text(json.dumps({"config": config}))
        self.report(path)
        backup.unlink(missing_ok=True)

    @rule(name=NAMES, form=FORMS, is_reported=st.booleans())
    def delete(self, name: str, form: str, is_reported: bool) -> None:
        """Delete a document."""
        path = self.path / form.format(name)
        path.unlink(missing_ok=True)
        if is_reported:
            self.report(path)

    @rule(seconds=st.sampled_from([GRACE / 2, GRACE]))
    def wait(self, seconds: float) -> None:
        """Advance the clock."""
        with capturedLogs():
            self.clock.advance(seconds)

    @rule(name=NAMES)
    def subscribe(self, name: str) -> None:
        """Add a subscriber that knows the current snapshot."""
        self.subscribed += subscribed_viewers(self.store, self.bus, name)

    @rule()
    def pause(self) -> None:
        """Pause a subscription."""
        if self.subscribed:
            self.paused.append(self.subscribed.pop(0))
            self.paused[-1][2].pause()

    @rule()
    def overflow(self) -> None:
        """Report lost changes, wait until all documents are read, and compare."""
        with capturedLogs():
            self.watcher.listener.overflowed()
            self.clock.pump([0, GRACE, 0, GRACE])
        for _, _, subscription in self.paused:
            subscription.resume()
        self.subscribed += self.paused
        self.paused = []
        self.compare()

    def compare(self) -> None:
        """Compare the snapshots with the disk, and the views with the snapshots."""
        for name in ("c1", "c2"):
            forms = ("{}.yaml", "{}.json", "{}/config.yaml")
            paths = [self.path / form.format(name) for form in forms]
            texts = [path.read_text() for path in paths if path.exists()]
            container = self.store.get(name)
            if not texts:
                assert container is None
            elif len(texts) == 1 and texts[0].startswith('{"'):
                document = json.loads(texts[0])
                assert container is not None
                assert dict(container.config) == document["config"]
                assert dict(container.devices) == document.get("devices", {})
        for name, subscriber, _ in self.subscribed:
            if subscriber.ends:
                assert subscriber.ends == [End.REMOVED]
                assert not any(
                    subscriber.config[k]
                    for k in ("user.a", "user.b")
                    if k in subscriber.config
                )
                assert not subscriber.devices
                continue
            container = self.store.get(name)
            assert container is not None
            for key in ("user.a", "user.b"):
                assert subscriber.config.get(key, "") == container.config.get(key, "")
            assert subscriber.devices == container.devices

    def teardown(self) -> None:
        """Compare once more, and clean up."""
        self.overflow()
        self.store.stopService()
        self.bus.stopService()
        shutil.rmtree(self.path)


class LiveDirectoryTests(SynchronousTestCase):
    """Events of changes on disk."""

    def test_any_sequence(self) -> None:
        """The views of all subscribers finally agree with the disk."""
        run_state_machine_as_test(
            LiveDirectoryMachine,
            settings=settings(max_examples=100, stateful_step_count=30, deadline=None),
        )
