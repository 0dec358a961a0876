"""Tests of `devlxd.printable_text`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.printable_text import (
    MAX_SHOWN,
    escaped,
    printable,
    printable_ascii,
    printable_path,
)

#: Any text, also one with lone surrogates, as in the names of files.
TEXTS = st.text(st.characters(), max_size=50)


class PrintableTextTests(SynchronousTestCase):
    """Texts for people."""

    @given(TEXTS)
    def test_any(self, text: str) -> None:
        """No text has a character that begins a line or controls a terminal."""
        for function in (escaped, printable, printable_ascii, printable_path):
            self.assertTrue(function(text).isprintable(), function)

    def test_ordinary(self) -> None:
        """An ordinary text stays as it is; only for guests it must be ASCII."""
        for function in (escaped, printable, printable_ascii, printable_path):
            self.assertEqual(function("user.a b"), "user.a b")
        self.assertEqual(escaped("caf\u00e9"), "caf\u00e9")
        self.assertEqual(printable_ascii("caf\u00e9\n"), "caf??")

    def test_escaped(self) -> None:
        """Control characters are shown as in Python."""
        text = "a\n\x1b\u202e\ud800"
        self.assertEqual(escaped(text), r"a\n\x1b\u202e\ud800")
        for function in (printable, printable_path):
            self.assertEqual(function(text), r"'a\n\x1b\u202e\ud800'")

    def test_long(self) -> None:
        """A long name is cut off, a path is not."""
        text = "x" * (MAX_SHOWN + 1)
        self.assertEqual(printable(text), text[:-1] + "...")
        self.assertEqual(printable_ascii(text), text[:-1] + "...")
        self.assertEqual(printable_ascii(text, 3), "xxx...")
        self.assertEqual(printable_path(text), text)
