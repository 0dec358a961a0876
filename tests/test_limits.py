"""Tests of `devlxd.limits` and `devlxd.model.limits`."""

from __future__ import annotations

from attrs import asdict
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.limits import CurrentLimits, changed, parse_limit, table
from devlxd.model import LIMITS, Limits


class LimitsTests(SynchronousTestCase):
    """The table of limits, and their values."""

    def test_defaults(self) -> None:
        """The default of each limit is one of its permitted values."""
        self.assertEqual(asdict(CurrentLimits().value), asdict(Limits()))
        for limit in LIMITS.values():
            limit.check(limit.default)
            self.assertEqual(limit.parse(f"{limit.default}"), limit.default)

    def test_values(self) -> None:
        """A value is a number, with a unit of bytes or a fraction where it fits."""
        for text, value in (
            ("idle-timeout=60", 60),
            ("close-timeout=0.5", 0.5),
            ("journal-bytes=1GiB", 1 << 30),
            ("journal-bytes=2 MiB", 2 << 20),
            ("document-bytes=4096", 4096),
        ):
            name, _, _ = text.partition("=")
            self.assertEqual(parse_limit(text), (name, value))

    def test_mistakes(self) -> None:
        """The message of each mistake names the limit, and what is permitted."""
        for text, message in (
            ("downloads", "'downloads' must have the form NAME=VALUE"),
            (
                "download=1",
                "there is no limit 'download' (did you mean 'downloads'?); "
                "--limit=help lists all limits",
            ),
            ("downloads=many", "downloads: 'many' is not a number"),
            ("downloads=", "downloads: '' is not a number"),
            ("downloads=1KiB", "downloads: '1KiB' is not a number"),
            ("downloads=-1", "downloads: '-1' is not a number"),
            ("downloads=\uff11", "downloads: '\uff11' is not a number"),
            ("downloads=1.5", "downloads: must be a whole number"),
            ("downloads=0", "downloads: must be from 1 to 1000"),
            ("close-timeout=61", "close-timeout: must be from 0.1 s to 60 s"),
            ("journal-bytes=1", "journal-bytes: must be from 1 MiB to 1024 GiB"),
        ):
            error = self.assertRaises(ValueError, parse_limit, text)
            self.assertEqual(str(error), message)

    @given(st.sampled_from(list(LIMITS)), st.text() | st.from_regex(r"[0-9.]+[KMG]iB"))
    def test_any_text(self, name: str, text: str) -> None:
        """Any text is a permitted value, or an error of one line."""
        try:
            _, value = parse_limit(f"{name}={text}")
        except ValueError as error:
            self.assertTrue(str(error).isprintable(), error)
            self.assertLess(len(str(error)), 500)
        else:
            LIMITS[name].check(value)
            Limits().with_values({name: value})

    def test_construction(self) -> None:
        """A program, too, can set permitted values only."""
        self.assertEqual(Limits(downloads=7).as_mapping()["downloads"], 7)
        for value in (0, 1001, float("nan"), float("inf")):
            self.assertRaises(ValueError, Limits().with_values, {"downloads": value})

    def test_changed(self) -> None:
        """The limits that an operator has changed are listed with their units."""
        new = Limits(downloads=7, journal_bytes=1 << 30)
        self.assertEqual(
            changed(Limits(), new), {"downloads": "7", "journal-bytes": "1 GiB"}
        )

    def test_table(self) -> None:
        """The table for a terminal has all limits, in lines of up to 80 characters."""
        lines = table().splitlines()
        self.assertEqual(len(lines), 2 * len(LIMITS) + 2)
        self.assertLessEqual(max(map(len, lines)), 80)
        for limit in LIMITS.values():
            self.assertIn(f"    {limit.description}", lines)
