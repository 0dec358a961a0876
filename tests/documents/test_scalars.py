"""Tests of `devlxd.documents.scalars`: the text is the same for every reader."""

from __future__ import annotations

import io
import json

import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from twisted.trial.unittest import SynchronousTestCase

from devlxd.documents.nodes import Kind
from devlxd.documents.scalars import write_json, write_yaml, write_yaml_flow

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

STYLES = st.sampled_from(list(Kind))


class ScalarTests(SynchronousTestCase):
    """Writing texts."""

    def assert_same(self, document: str, value: str) -> None:
        """Check that readers of YAML 1.1 and 1.2 read ``value``."""
        self.assertEqual(yaml.safe_load(document), {"k": value})
        read = YAML(typ="safe", pure=True).load(io.StringIO(document))
        self.assertEqual(read, {"k": value})

    @given(TEXTS, STYLES)
    def test_yaml(self, value: str, old: Kind) -> None:
        """A value on a line of its own is read as it is, as text."""
        written = write_yaml(value, old)
        body = [f"  {line}" if line else "" for line in written.body]
        self.assert_same("\n".join([f"k: {written.head}", *body, ""]), value)

    @given(TEXTS, STYLES)
    def test_flow(self, value: str, old: Kind) -> None:
        """A value in braces is read as it is, as text."""
        written = write_yaml_flow(value, old)
        self.assertNotIn("\n", written)
        self.assert_same(f"{{k: {written}}}\n", value)

    @given(TEXTS)
    def test_json(self, value: str) -> None:
        """A value in JSON is read as it is."""
        self.assertEqual(json.loads(write_json(value)), value)

    def test_styles(self) -> None:
        """Values are written as ``lxc config show`` writes them."""
        for value, head in (
            ("text", "text"),
            ("10.0.0.1", "10.0.0.1"),
            ("1", '"1"'),
            ("true", '"true"'),
            ("", '""'),
            ("a: b", "'a: b'"),
            ("x" * 300 + " y", "x" * 300 + " y"),
        ):
            self.assertEqual(write_yaml(value).head, head)
            self.assertEqual(write_yaml(value).body, ())
        self.assertEqual(write_yaml("a\nb\n").head, "|")
        self.assertEqual(write_yaml("a\nb").body, ("a", "b"))
        self.assertEqual(write_yaml("it", Kind.SINGLE).head, "'it'")
        self.assertEqual(write_yaml("it", Kind.DOUBLE).head, '"it"')
