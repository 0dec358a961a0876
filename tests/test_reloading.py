"""Tests of `devlxd.reloading`."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.limits import CurrentLimits
from devlxd.logs.choice import LogChoice
from devlxd.model import Limits
from devlxd.reloading import Reloaded, Reloader, Reread


class ReloaderTests(SynchronousTestCase):
    """Reloading while guests are served."""

    def setUp(self) -> None:
        self.limits = CurrentLimits()
        self.choice = LogChoice()
        self.choice.make("text", None)
        self.new = Reread("/etc/devlxd.yaml", Limits(), None, [])
        self.calls: list[str] = []
        others = [lambda: self.calls.append("documents")]
        self.reloader = Reloader(self.reread, self.limits, self.choice, others)

    def reread(self) -> Reread:
        """Return what the file says now."""
        return self.new

    def reload(self) -> tuple[Reloaded, list[str]]:
        """Reload; return the result and the lines in the log."""
        with capturedLogs() as events:
            reloaded = self.reloader.reload()
        return reloaded, [str(formatEvent(event)) for event in events]

    def test_nothing(self) -> None:
        """If the file is as before, the documents are read again, nothing else."""
        self.assertEqual(self.reload(), (Reloaded(), []))
        self.assertEqual(self.calls, ["documents"])

    def test_limits(self) -> None:
        """New limits are in force at once, and logged with their units."""
        new = Limits(downloads=7, journal_bytes=1 << 30)
        self.new = Reread("/etc/devlxd.yaml", new, None, [])
        reloaded, lines = self.reload()
        self.assertIs(self.limits.value, new)
        self.assertEqual(reloaded.changed, ("journal-bytes=1 GiB", "downloads=7"))
        self.assertEqual(
            lines, ["limits have changed: journal-bytes=1 GiB, downloads=7"]
        )

    def test_level(self) -> None:
        """A new level is in force at once; without one it is the default again."""
        for level, now in (("error", "error"), (None, "info")):
            self.new = Reread("/etc/devlxd.yaml", Limits(), level, [])
            reloaded, lines = self.reload()
            self.assertEqual(self.choice.level, now)
            self.assertEqual(reloaded.changed, (f"log-level={now}",))
            self.assertEqual(lines, [f"the log level is {now} now"])

    def test_needs_restart(self) -> None:
        """What needs a restart is named, in one line."""
        self.new = Reread("/x", Limits(), None, ["listen", "state"])
        reloaded, lines = self.reload()
        self.assertEqual(reloaded, Reloaded(needs_restart=("listen", "state")))
        self.assertEqual(
            lines,
            ["restart devlxd to apply what has changed in /x: listen, state"],
        )

    def test_log_of_twistd(self) -> None:
        """If twistd writes the log, a level needs a restart."""
        self.choice.is_made = False
        self.new = Reread("/etc/devlxd.yaml", Limits(), "debug", [])
        reloaded, _ = self.reload()
        self.assertEqual(reloaded, Reloaded(needs_restart=("log-level",)))

    def test_mistake(self) -> None:
        """A mistake in the file changes nothing; documents are read again."""

        def fail() -> Reread:
            raise ValueError("/etc/devlxd.yaml:3: there is no option x")

        self.reloader = Reloader(
            fail, self.limits, self.choice, [lambda: self.calls.append("documents")]
        )
        reloaded, lines = self.reload()
        self.assertEqual(
            reloaded, Reloaded(problem="/etc/devlxd.yaml:3: there is no option x")
        )
        self.assertEqual(
            lines,
            [
                "--config: /etc/devlxd.yaml:3: there is no option x; everything in it "
                "stays as it was"
            ],
        )
        self.assertEqual((self.limits.value, self.calls), (Limits(), ["documents"]))
