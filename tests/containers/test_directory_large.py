"""Tests of reading large documents in turns with other documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import evolve
from twisted.logger import capturedLogs, formatEvent

from devlxd.containers import reading_queue
from devlxd.containers.comparison import are_equal
from devlxd.model import Container
from tests.containers.directory_test_case import DirectoryStoreTestCase, TickingClock
from tests.default_limits import MAX_LARGE


class LargeTests(DirectoryStoreTestCase):
    """Large documents, which are read in turns with other documents."""

    def setUp(self) -> None:
        self.patch(reading_queue, "SLICE", 0)
        super().setUp()
        self.clock.__class__ = TickingClock

    def write_large(self, name: str, value: str, keys: int = 10_000) -> Path:
        """Write a large document, and report it."""
        path = self.path / f"{name}.yaml"
        lines = [f"  user.{n}: {value}\n" for n in range(keys)]
        path.write_text(f"config:\n  user.a: {value}\n" + "".join(lines))
        self.watcher.report(path)
        self.watcher.poll()
        return path

    def steps_until(self, is_done: Callable[[], bool]) -> int:
        """Advance the clock until ``is_done()``; return the number of steps."""
        for step in range(20_000):
            if is_done():
                return step
            self.clock.advance(0.01)
        raise AssertionError("not done")

    def test_concurrent(self) -> None:
        """While a large document is read, other documents are read, too."""
        self.start()
        self.write_large("c1", "1")
        self.steps_until(lambda: self.value() == "1")
        self.write_large("c1", "2")
        for n in range(10):
            self.write(f"{n}", self.path / "c2.yaml")

            def is_read(n: int = n) -> bool:
                container = self.store.get("c2")
                return bool(container and container.config["user.a"] == f"{n}")

            self.assertLess(self.steps_until(is_read), 20)
            self.assertEqual(self.value(), "1")
        self.assertGreater(self.steps_until(lambda: self.value() == "2"), 100)

    def test_in_order(self) -> None:
        """A large document that changes while it is read is read again afterwards."""
        self.start()
        self.write_large("c1", "1")
        self.clock.pump([0.01] * 20)
        self.write("2")
        self.assertEqual((self.value(), self.store.has("c1")), (None, True))
        self.steps_until(lambda: self.value() is not None)
        self.assertEqual(self.value(), "1")
        self.assertLess(self.steps_until(lambda: self.value() == "2"), 20)
        self.assertEqual(len(self.observer.changes), 2)

    def test_round_robin(self) -> None:
        """Up to `MAX_LARGE` large documents are read concurrently, others later."""
        self.start()
        names = [f"c{n}" for n in range(MAX_LARGE + 3)]
        for name in names:
            self.write_large(name, "1", keys=5_000)
        self.steps_until(lambda: self.store.has(names[-1]))
        for name in names:
            self.assertTrue(self.store.has(name))
        self.steps_until(lambda: len(self.store.names()) == 1)
        self.assertLess(
            self.steps_until(lambda: len(self.store.names()) >= MAX_LARGE), 50
        )
        self.assertGreater(
            self.steps_until(lambda: len(self.store.names()) == len(names)), 50
        )

    def test_loading(self) -> None:
        """The store is loaded when it has read the large documents, too."""
        for n in range(MAX_LARGE + 2):
            self.write_large(f"c{n}", "1", keys=5_000)
        (self.path / "small.yaml").write_text("config: {user.a: 1}\n")
        self.store.startService()
        loaded = self.store.loaded()
        self.assertIsNone(self.store.get("c1"))
        self.assertIsNotNone(self.store.get("small"))
        self.clock.pump([0.01] * 50)
        self.assertIsNone(self.store.get("c1"))
        self.assertNoResult(loaded)
        self.steps_until(lambda: len(self.store.names()) == MAX_LARGE + 3)
        self.assertIsNone(self.successResultOf(loaded))

    def test_equal(self) -> None:
        """A changed large document replaces the snapshot only if its values differ."""
        self.start()
        path = self.write_large("c1", "1")
        self.steps_until(lambda: self.value() == "1")
        before = self.store.get("c1")
        for text, is_same in ((" # unchanged\n", True), ("  user.b: 1\n", False)):
            with path.open("a") as file:
                file.write(text)
            self.report(path)
            self.clock.pump([0.01] * 1000)
            self.assertEqual(self.store.get("c1") is before, is_same)
        self.assertEqual(len(self.observer.changes), 2)

    def test_equal_in_slices(self) -> None:
        """Two snapshots with many keys or devices are compared in slices."""
        some = {str(n): "x" for n in range(5000)}
        many = {str(n): {"type": "nic"} for n in range(5000)}
        for one in (Container("c1", some), Container("c1", {}, many)):
            slices = list(are_equal(one, evolve(one)))
            self.assertGreater(len(slices), 3)

    def test_stopped(self) -> None:
        """A stopped store abandons the document that it is reading."""
        self.start()
        self.write_large("c1", "1")
        self.clock.pump([0.01] * 20)
        self.store.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.value())
        self.store.startService()
        self.steps_until(lambda: self.value() == "1")

    def test_broken(self) -> None:
        """A large document with an error at its end leaves the snapshot unchanged."""
        self.start()
        path = self.write_large("c1", "1")
        self.steps_until(lambda: self.value() == "1")
        with path.open("a") as file:
            file.write("broken: [\n")
        with capturedLogs() as events:
            self.report(path)
            self.clock.pump([0.01] * 3000)
        (event,) = events
        self.assertIn(f"{path}:10003: ", formatEvent(event))
        self.assertEqual(self.value(), "1")
