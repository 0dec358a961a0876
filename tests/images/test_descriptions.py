"""Tests of `devlxd.images.descriptions`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.images.descriptions import (
    MAX_DESCRIPTION,
    Description,
    DescriptionError,
    read_description,
)


class DescriptionTests(SynchronousTestCase):
    """Parsing ``FINGERPRINT.yaml``."""

    def test_all(self) -> None:
        """A description has ``public``, ``cached`` and ``filename``."""
        for yes in ("true", "1", "YES", "on", '"true"'):
            self.assertEqual(
                read_description(f"public: {yes}\nfilename: a b.tar\n".encode()),
                Description(public=True, filename="a b.tar"),
            )
        self.assertEqual(
            read_description(b"public: false\ncached: true\nx: y\n"),
            Description(cached=True),
        )

    def test_text(self) -> None:
        """A filename that looks like a date is read as text."""
        description = read_description(b"filename: 2017-12-21\n")
        self.assertEqual(description.filename, "2017-12-21")

    def test_malformed(self) -> None:
        """A malformed description is an error that says what is wrong, and where."""
        for content, reason, line in (
            (b"public: maybe\n", "public: neither true nor false", None),
            (b"cached: [true]\n", "cached: neither true nor false", None),
            (b"public: true\nfilename: a/b\n", "filename", None),
            (b'filename: "a\\nb"\n', "filename", None),
            (b"filename: ..\n", "filename", None),
            (b"filename: {}\n", "filename", None),
            (b"public: true\n  cached: x\n", "mapping values", 2),
            (b"[true]\n", "not a mapping", None),
            (b"", "not a mapping", None),
            (b"\xff\xfe\x00", "not YAML", None),
            (b"[" * 60_000, "not YAML", None),
            (b"x" * (MAX_DESCRIPTION + 1), "more than", None),
        ):
            error = self.assertRaises(DescriptionError, read_description, content)
            self.assertIn(reason, str(error), content[:40])
            self.assertEqual(error.line, line, content[:40])
