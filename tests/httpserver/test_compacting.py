"""Tests of `devlxd.httpserver.compacting`."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from devlxd.httpserver.compacting import compact


class Parser:
    """An object with many attributes, most of which have their usual values."""

    line = b""
    count = 0
    other: object = None

    def __init__(self) -> None:
        self.line = b""
        self.count = 0
        self.kept = "kept"
        self.other = ["different"]
        for number in range(50):
            setattr(self, f"temporary{number}", number)


class CompactTests(SynchronousTestCase):
    """The memory of attributes."""

    def test_values(self) -> None:
        """All attributes have the same values as before, and can be set."""
        parser = Parser()
        compact(parser)
        self.assertEqual((parser.line, parser.count), (b"", 0))
        self.assertEqual((parser.kept, parser.other), ("kept", ["different"]))
        self.assertNotIn("count", vars(parser))
        parser.count += 1
        self.assertEqual((parser.count, Parser.count), (1, 0))

    def test_memory(self) -> None:
        """Attributes that were deleted need no memory."""
        parser = Parser()
        for number in range(50):
            delattr(parser, f"temporary{number}")
        before = sys.getsizeof(vars(parser))
        compact(parser)
        self.assertLess(sys.getsizeof(vars(parser)), before // 2)
