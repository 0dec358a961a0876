"""Tests of `devlxd.logs.event_names`."""

from __future__ import annotations

import re
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from devlxd.logs.event_names import EVENT_NAMES
from tests.test_docs import log_calls


class EventNamesTests(SynchronousTestCase):
    """The names of events, which programs can rely on."""

    def test_complete(self) -> None:
        """Each line that devlxd can log has a name, and each name a line."""
        self.assertEqual(sorted(EVENT_NAMES), sorted({line for line, _ in log_calls()}))

    def test_names(self) -> None:
        """No two lines have the same name; a name has small letters and hyphens."""
        self.assertEqual({*Counter(EVENT_NAMES.values()).values()}, {1})
        for name in EVENT_NAMES.values():
            self.assertTrue(re.fullmatch(r"[a-z]+(-[a-z]+)*", name), name)
