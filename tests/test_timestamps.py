"""Tests of `devlxd.timestamps`."""

from __future__ import annotations

import os
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.timestamps import (
    duration_text,
    local_time,
    timestamp_of,
    timestamp_text,
    utc_text,
)


class TimestampTests(SynchronousTestCase):
    """Timestamps of RFC 3339, with nanoseconds."""

    def set_zone(self, zone: str) -> None:
        """Set the time zone of this process until the test ends."""
        old = os.environ.get("TZ")
        os.environ["TZ"] = zone
        time.tzset()
        local_time.cache_clear()
        self.addCleanup(local_time.cache_clear)
        self.addCleanup(time.tzset)
        self.addCleanup(
            lambda: os.environ.pop("TZ") if old is None else os.environ.update(TZ=old)
        )

    def test_of_the_specification(self) -> None:
        """The example in LXD's documentation can be parsed and formatted."""
        self.set_zone("EST5")
        text = "2017-12-21T18:28:26.846603815-05:00"
        self.assertEqual(timestamp_text(1513898906846603815), text)
        self.assertEqual(timestamp_of(text), 1513898906846603815)

    def test_utc(self) -> None:
        """Operators read UTC, in whatever zone the host is."""
        for zone in ("UTC", "EST5"):
            self.set_zone(zone)
            text = utc_text(1513898906846603815)
            self.assertEqual(text, "2017-12-21T23:28:26.846603Z")
            self.assertEqual(timestamp_of(text), 1513898906846603000)

    def test_forms(self) -> None:
        """All forms that RFC 3339 allows are parsed."""
        for text in (
            "2017-12-21T23:28:26.846603815Z",
            "2017-12-21t23:28:26.846603815z",
            "2017-12-22T05:13:26.8466038150+05:45",
            "2017-12-21T18:28:26.846603815-05:00",
        ):
            self.assertEqual(timestamp_of(text), 1513898906846603815, text)
        self.assertEqual(timestamp_of("1970-01-01T00:00:01.5Z"), 1_500_000_000)
        self.assertEqual(timestamp_of("1970-01-01T00:00:00Z"), 0)

    def test_invalid(self) -> None:
        """Other texts raise `ValueError`."""
        for text in (
            "",
            "now",
            "1513898906",
            "2017-12-21",
            "2017-12-21T18:28:26",
            "2017-13-21T18:28:26Z",
            "2017-12-21T25:28:26Z",
            "2017-12-21T18:28:26Z\n",
            "2017-12-21T18:28:26+24:00",
            "2017-12-21T18:28:26-00:60",
            "\u0662017-12-21T18:28:26Z",
        ):
            self.assertRaises(ValueError, timestamp_of, text)

    @given(st.integers(0, 4 * 10**18), st.sampled_from(["UTC", "EST5", "IST-5:30"]))
    def test_round_trip(self, nanoseconds: int, zone: str) -> None:
        """Parsing a formatted timestamp returns the same time, in every zone."""
        self.set_zone(zone)
        self.assertEqual(timestamp_of(timestamp_text(nanoseconds)), nanoseconds)


class DurationTests(SynchronousTestCase):
    """Durations for people."""

    def test_units(self) -> None:
        """A duration has its two largest units, one after the other."""
        for seconds, text in (
            *((0, "0 s"), (0.5, "0 s"), (59.9, "59 s"), (61, "1 min 1 s")),
            *((3601, "1 h 0 min"), (90061, "1 d 1 h"), (86400 * 400, "400 d 0 h")),
        ):
            self.assertEqual(duration_text(seconds), text)
