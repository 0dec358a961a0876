"""Tests of `devlxd.logs.choice`."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile

from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.logs import choice as choices
from devlxd.logs.choice import LogChoice, observer
from tests.logs.events import refusal


def event(level: LogLevel) -> LogEvent:
    """Return an event of a level."""
    return {**refusal(), "log_level": level}


class ChoiceTests(SynchronousTestCase):
    """The format and the level that the operator chooses."""

    def setUp(self) -> None:
        self.choice = LogChoice()
        self.bytes = io.BytesIO()
        self.stdout = io.TextIOWrapper(self.bytes, encoding="ascii")

    def written(self) -> list[str]:
        """Return the lines on the standard output."""
        return self.bytes.getvalue().decode("ascii").splitlines()

    def test_text(self) -> None:
        """Text is the default; each line is written at once."""
        self.assertFalse(self.choice.is_made)
        self.choice.make(None, "info")
        self.assertTrue(self.choice.is_made)
        write = self.choice.observer(self.stdout)
        write(refusal(reason="caf\u00e9"))
        (line,) = self.written()
        self.assertTrue(line.endswith("not in a container: caf\\xe9"), line)

    def test_json(self) -> None:
        """JSON is written to the standard output."""
        self.choice.make("json", None)
        self.choice.observer(self.stdout)(refusal())
        (line,) = self.written()
        self.assertEqual(json.loads(line)["event"], "caller-refused")

    def test_levels(self) -> None:
        """Lines below the level in force are not written; the level can change."""
        levels = (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error)
        for name, count in (("debug", 5), ("info", 4), ("warn", 3), ("error", 2)):
            self.setUp()
            self.choice.make("text", name)
            write = self.choice.observer(self.stdout)
            for level in (*levels, LogLevel.critical):
                write(event(level))
            self.assertEqual(len(self.written()), count)
        self.assertTrue(self.choice.set_level("debug"))
        self.assertFalse(self.choice.set_level("debug"))
        write(event(LogLevel.debug))
        self.assertEqual(len(self.written()), 3)
        self.assertTrue(self.choice.set_level(None))
        self.assertEqual(self.choice.level, "info")

    def test_no_journal(self) -> None:
        """Without a journald, text is written to the standard output."""
        self.choice.make("journal", None)
        with capturedLogs() as events:
            write = self.choice.observer(self.stdout, "/nonexistent")
        self.assertIn("no journal at /nonexistent", formatEvent(events[0]))
        write(refusal())
        self.assertEqual(len(self.written()), 1)

    def test_closed(self) -> None:
        """With a closed standard output nothing is written, and nothing fails."""
        self.choice.make("text", None)
        self.choice.observer(None)(refusal())

    def test_full_pipe(self) -> None:
        """Lines that a full pipe does not take are dropped, and counted in JSON."""
        readable, writable = os.pipe()
        self.choice.make("json", None)
        with open(writable, "w") as pipe, open(readable, "rb", buffering=0) as reader:
            write = self.choice.observer(pipe)
            for _ in range(1000):
                write(refusal(reason="x" * 500))
            reader.read(200_000)
            write(refusal())
            os.set_blocking(readable, False)
            text = reader.read(200_000)
            assert text is not None
            last = [json.loads(line) for line in text.splitlines()[-2:]]
        self.assertEqual(last[0]["event"], "lines-dropped")
        self.assertGreater(last[0]["count"], 100)
        self.assertEqual(last[1]["message"], "not in a container: r")

    def test_of_process(self) -> None:
        """twistd receives the observer of the standard output of the process."""
        self.patch(choices, "PROCESS_CHOICE", self.choice)
        self.choice.make("text", None)
        with tempfile.TemporaryFile("w+") as file:
            self.patch(sys, "__stdout__", file)
            observer()(refusal())
            file.seek(0)
            self.assertIn("not in a container", file.read())
