"""Tests of `devlxd.logs.text`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.logs.text import TextObserver
from tests.logs.events import ESCAPED, HOSTILE, failure, refusal


class TextTests(SynchronousTestCase):
    """The log as text."""

    def setUp(self) -> None:
        self.written: list[str] = []
        self.observer = TextObserver(self.written.append)

    def test_line(self) -> None:
        """A line has the time, the level and the message; a guest adds no line."""
        self.assertTrue(verifyObject(ILogObserver, self.observer))
        self.observer(refusal(reason=HOSTILE))
        self.assertEqual(
            self.written,
            [f"1970-01-01T00:00:01.500Z warn     not in a container: {ESCAPED}\n"],
        )

    def test_traceback(self) -> None:
        """The lines of a traceback are indented, whatever an exception says."""
        self.observer(failure("boom\n1970-01-01T00:00:01.500Z info     forged"))
        head, *lines = "".join(self.written).rstrip("\n").split("\n")
        self.assertTrue(
            head.endswith("critical a turn of c1 failed; its other turns continue")
        )
        self.assertIn("    1970-01-01T00:00:01.500Z info     forged", lines)
        self.assertTrue(all(line.startswith("    ") for line in lines))

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is written on the one line of its event."""
        written: list[str] = []
        TextObserver(written.append)(refusal(reason=text))
        self.assertEqual(len("".join(written).splitlines()), 1)
