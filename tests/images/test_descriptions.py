"""Tests of `devlxd.images.descriptions`."""

from __future__ import annotations

import contextlib

from attrs import evolve
from hypothesis import given
from hypothesis.strategies import binary, booleans, sampled_from, text
from twisted.trial.unittest import SynchronousTestCase

from devlxd.images.descriptions import (
    MAX_DESCRIPTION,
    Description,
    DescriptionError,
    read_description,
    with_public,
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


class WithPublicTests(SynchronousTestCase):
    """`with_public`."""

    def assert_changed(self, before: str, after: str) -> None:
        """Check what a description becomes when the image is published."""
        self.assertEqual(with_public(before.encode(), True).decode(), after)

    def test_rest(self) -> None:
        """Only the value changes: comments, quotes and other keys stay."""
        self.assert_changed(
            "# a\r\nx: 'y'  # b\r\n\r\npublic: \"no\" # c\r\nfilename: \u2014\r\n",
            "# a\r\nx: 'y'  # b\r\n\r\npublic: true # c\r\nfilename: \u2014\r\n",
        )
        self.assert_changed("---\n{public: off, x: y}\n", "---\n{public: true, x: y}\n")
        self.assert_changed("public: true", "public: true")

    def test_last(self) -> None:
        """Of several values the last counts."""
        self.assert_changed("public: yes\npublic: no\n", "public: yes\npublic: true\n")

    def test_missing(self) -> None:
        """A value is added where there is none."""
        self.assert_changed("# a\nx: y\n", "# a\npublic: true\nx: y\n")
        self.assert_changed("  x: y\n", "  public: true\n  x: y\n")
        self.assert_changed("{x: y}", "{public: true, x: y}")
        self.assert_changed("{}", "{public: true}")

    def test_malformed(self) -> None:
        """A malformed description is not changed."""
        error = self.assertRaises(DescriptionError, with_public, b"[", True)
        self.assertEqual(error.line, 1)

    def test_unsafe(self) -> None:
        """A description whose other values might change is refused."""
        for content in (
            b"filename: &a true\npublic: *a\n",
            b"public: &a true\nfilename: *a\n",
            "public: true\n".encode("utf-16"),
        ):
            error = self.assertRaises(DescriptionError, with_public, content, False)
            self.assertIn("public cannot be changed", str(error), content)

    @given(
        sampled_from(["", "filename: a\n", "{", "&a ", "? "]),
        text("publictruefalse:, {}\n#&*'\"?|>-", max_size=30) | text(max_size=10),
        booleans(),
    )
    def test_any(self, start: str, rest: str, public: bool) -> None:
        """The result differs in nothing but what was asked for."""
        content = (start + rest).encode("utf-8", "replace")
        with contextlib.suppress(DescriptionError):
            before = read_description(content)
            after = read_description(with_public(content, public))
            self.assertEqual(after, evolve(before, public=public))

    @given(binary(max_size=40), booleans())
    def test_bytes(self, content: bytes, public: bool) -> None:
        """No bytes cause another error."""
        with contextlib.suppress(DescriptionError):
            with_public(b"public: true\nfilename: " + content, public)
