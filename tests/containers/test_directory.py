"""Tests of `devlxd.containers.directory`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.directory import DirectoryStore
from devlxd.model import Container

SHOWN = "config: {user.a: b}\n"
RECORD = "container: {expanded_config: {user.a: b}, expanded_devices: {}}\n"


class DirectoryStoreTests(SynchronousTestCase):
    """A directory of documents."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        (self.path / "good.yaml").write_text(SHOWN)

    def load(self) -> tuple[list[str], list[str]]:
        """Load the directory; return the names in it and the lines of the log."""
        store = DirectoryStore(self.path)
        with capturedLogs() as events:
            store.load()
        errors = [event for event in events if event["log_level"] is LogLevel.error]
        return sorted(store.names()), [str(event["error"]) for event in errors]

    def assert_only_good(self, *words: str) -> None:
        """Check that the good one is served and one log line has ``words``."""
        names, lines = self.load()
        self.assertEqual(names, ["good"])
        self.assertEqual(len(lines), 1, lines)
        for word in words:
            self.assertIn(word, lines[0])
        self.assertNotIn("\n", lines[0])

    def test_all_forms(self) -> None:
        """Every documented form of a container on disk is read."""
        (self.path / "c1.yml").write_text(SHOWN)
        (self.path / "c2.json").write_text('{"config": {"user.a": "b"}}')
        (self.path / "c3").mkdir()
        (self.path / "c3" / "config.yaml").write_text(SHOWN)
        (self.path / "pool").mkdir()
        (self.path / "pool" / "backup.yaml").write_text(RECORD)
        (self.path / "c4").symlink_to("pool")
        (self.path / "pool" / "rootfs").mkdir()
        store = DirectoryStore(self.path)
        store.load()
        self.assertEqual(
            sorted(store.names()), ["c1", "c2", "c3", "c4", "good", "pool"]
        )
        for name in store.names():
            self.assertEqual(store.get(name), Container(name, {"user.a": "b"}))

    def test_nothing_to_do_with_it(self) -> None:
        """What is no container's, such as an editor's files, is passed over."""
        (self.path / ".good.yaml.swp").write_text("x")
        (self.path / ".hidden.yaml").write_text("x")
        (self.path / "README").write_text("x")
        (self.path / "good.yaml~").write_text("x")
        (self.path / "lost+found").mkdir()
        os.mkfifo(self.path / "pipe")
        self.assertEqual(self.load(), (["good"], []))

    def test_broken(self) -> None:
        """A broken file is named with its line, the others are served."""
        (self.path / "bad.yaml").write_text("config:\n  a: [\n")
        self.assert_only_good("bad.yaml:3: ")

    def test_unreadable(self) -> None:
        """A directory where a file should be is named."""
        (self.path / "bad.yaml").mkdir()
        self.assert_only_good("bad.yaml", "directory")

    def test_fifo(self) -> None:
        """A FIFO holds nobody up."""
        os.mkfifo(self.path / "bad.yaml")
        self.assert_only_good("bad.yaml", "not a regular file")

    def test_dangling_links(self) -> None:
        """A link that leads nowhere is named."""
        (self.path / "bad.yaml").symlink_to("nowhere")
        self.assert_only_good("bad.yaml", "leads nowhere")
        (self.path / "bad.yaml").unlink()
        (self.path / "bad").symlink_to("nowhere")
        self.assert_only_good("bad", "leads nowhere")
        (self.path / "bad").unlink()
        (self.path / "bad").symlink_to("bad")
        self.assert_only_good("bad", "symbolic links")

    def test_no_name(self) -> None:
        """A name that no container can have is named."""
        (self.path / "a b.yaml").write_text(SHOWN)
        self.assert_only_good("a b.yaml", "not a container's name")

    def test_name_that_is_no_text(self) -> None:
        """A name that is not even UTF-8 is named, escaped."""
        Path(os.fsdecode(os.fsencode(self.path) + b"/\xff\n.yaml")).write_text(SHOWN)
        self.assert_only_good("not a container's name")

    def test_two_for_one(self) -> None:
        """Of two documents for one name neither is served: who is to tell?"""
        (self.path / "bad.yaml").write_text(SHOWN)
        (self.path / "bad").mkdir()
        (self.path / "bad" / "config.yaml").write_text(SHOWN)
        self.assert_only_good("bad.yaml", "config.yaml", "more than one document")

    def test_bomb(self) -> None:
        """A YAML bomb is named and does not go off."""
        levels = [f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]\n" for n in range(1, 30)]
        (self.path / "bad.yaml").write_text("a0: &a0 [x]\n" + "".join(levels))
        self.assert_only_good("bad.yaml", "aliases make it too large")

    def test_last_good_stays(self) -> None:
        """A file that was broken since keeps the container as it was."""
        store = DirectoryStore(self.path)
        store.load()
        before = store.get("good")
        (self.path / "good.yaml").write_text("config: [")
        with capturedLogs():
            store.load()
        self.assertIs(store.get("good"), before)

    def test_no_directory(self) -> None:
        """A directory that is not there is an error, not a host without guests."""
        self.assertRaises(OSError, DirectoryStore(self.path / "none").load)
