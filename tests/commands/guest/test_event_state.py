"""Tests of `devlxd.commands.guest.event_state`."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.commands.guest.event_state import EventState
from devlxd.commands.outcomes import CommandError

FIRST = "2026-11-26T14:41:11.123456789+01:00"
SECOND = "2026-11-26T14:41:12Z"


class EventStateTests(SynchronousTestCase):
    """The file that remembers the last event."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "state"

    def since(self) -> str | None:
        """Return what another run of the command would find."""
        with EventState(self.path) as state:
            return state.since

    def assert_refused(self, reason: str) -> None:
        """Check that the file is refused, and why."""
        with self.assertRaisesRegex(CommandError, reason) as caught:
            self.since()
        self.assertIn(str(self.path), str(caught.exception))

    def test_remembers(self) -> None:
        """The next run finds the last timestamp; the first finds none."""
        self.assertIsNone(self.since())
        with EventState(self.path) as state:
            state.save(FIRST)
        self.assertEqual(self.since(), FIRST)
        with EventState(self.path) as state:
            self.assertEqual(state.since, FIRST)
            state.save(SECOND)
            state.save(SECOND)
        self.assertEqual(self.since(), SECOND)

    def test_files(self) -> None:
        """Besides the file only its lock is left."""
        with EventState(self.path) as state:
            state.save(FIRST)
        self.assertEqual({*os.listdir(self.directory)}, {"state", "state.lock"})

    def test_replaced(self) -> None:
        """The file is replaced, never written in place: a crash leaves it whole."""
        with EventState(self.path) as state:
            state.save(FIRST)
            with open(self.path, "rb") as before:
                state.save(SECOND)
                self.assertIn(FIRST.encode(), before.read())

    def test_durable(self) -> None:
        """The new file is on the disk before it replaces the old one, and after."""
        calls: list[str] = []

        def record(name: str) -> None:
            original = getattr(os, name)

            def call(*arguments: object) -> object:
                calls.append(name)
                return original(*arguments)

            self.patch(os, name, call)

        record("fsync")
        record("replace")
        with EventState(self.path) as state:
            state.save(FIRST)
        self.assertEqual(calls, ["fsync", "replace", "fsync"])

    def test_leftover(self) -> None:
        """What a killed run has left is no obstacle, and no state."""
        (self.directory / "state.new").write_bytes(b'{"version"')
        self.assertIsNone(self.since())
        with EventState(self.path) as state:
            state.save(FIRST)
        self.assertEqual(self.since(), FIRST)

    def test_symbolic_link(self) -> None:
        """A symbolic link stays one: the file that it names is replaced."""
        target = self.directory / "target"
        self.path.symlink_to("target")
        with EventState(self.path) as state:
            state.save(FIRST)
        self.assertTrue(self.path.is_symlink())
        self.assertTrue(target.is_file())
        self.assertEqual(self.since(), FIRST)

    def test_two_processes(self) -> None:
        """Of two processes with one file the second is refused, and changes nothing."""
        with EventState(self.path) as state:
            state.save(FIRST)
            self.assert_refused("another devlxd events uses it")
            state.save(SECOND)
        self.assertEqual(self.since(), SECOND)

    def test_no_directory(self) -> None:
        """A file that cannot be written is refused at the beginning."""
        self.path = self.directory / "nope" / "state"
        self.assert_refused("No such file or directory")

    def test_full_disk(self) -> None:
        """If the file cannot be replaced, the old one stays."""
        with EventState(self.path) as state:
            state.save(FIRST)
            (self.directory / "state.new").mkdir()
            with self.assertRaisesRegex(CommandError, "Is a directory"):
                state.save(SECOND)
        (self.directory / "state.new").rmdir()
        self.assertEqual(self.since(), FIRST)

    def test_later_version(self) -> None:
        """A file of a later version is refused, and stays as it is."""
        self.path.write_text('{"version": 2, "since": 1}\n')
        self.assert_refused("later version")
        self.assertEqual(self.path.read_text(), '{"version": 2, "since": 1}\n')

    def test_cut_off(self) -> None:
        """A file that was cut off anywhere is refused, and stays as it is."""
        with EventState(self.path) as state:
            state.save(FIRST)
        whole = self.path.read_bytes()
        for length in range(len(whole) - 1):
            self.path.write_bytes(whole[:length])
            self.assert_refused("damaged")
            self.assertEqual(self.path.read_bytes(), whole[:length])

    @given(
        st.binary()
        | st.sampled_from(
            [
                b"[]",
                b"1",
                b"[" * 4000,
                b'{"version": 1}',
                b'{"version": 1, "since": 1}',
                b'{"version": 1, "since": "yesterday"}',
                b'{"since": "2026-11-26T14:41:12Z"}',
                b'{"version": [], "since": "2026-11-26T14:41:12Z"}',
                b'{"version": 1, "since": "2026-11-26T14:41:12Z"}' + b" " * 5000 + b"x",
            ]
        )
    )
    def test_damaged(self, data: bytes) -> None:
        """Whatever a file contains instead is refused, and stays as it is."""
        self.path.write_bytes(data)
        self.assert_refused("damaged")
        self.assertEqual(self.path.read_bytes(), data)
