"""Tests of the nodes of documents: where each part of a text is."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.documents.json_nodes import read_json_nodes
from devlxd.documents.nodes import Kind, Node, line_end, line_start, outline
from devlxd.documents.yaml_nodes import read_yaml_nodes

JSON = st.recursive(
    st.text(max_size=3),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(st.text(max_size=3), values, max_size=3)
    ),
)


class NodeTests(SynchronousTestCase):
    """Reading nodes."""

    def places(self, text: str, node: Node) -> dict[str, str]:
        """Return the characters of each value of a mapping."""
        return {k.text: text[v.start : v.end] for k, v in node.entries}

    def test_yaml(self) -> None:
        """A node ends before comments and empty lines, but for those of ``|+``."""
        text = (
            "a: b # c\n# d\ne: |  # f\n  g\n\n\n# h\ni: |+\n  j\n\n"
            "k: &l 'm'\nn: *l\no:\np:\n- q\n- {r: s}  # t\nu: |\n\nv: \"w\n  x\" # y\n"
        )
        self.assertEqual(
            self.places(text, read_yaml_nodes(text)),
            {
                "a": "b",
                "e": "|  # f\n  g",
                "i": "|+\n  j\n",
                "k": "&l 'm'",
                "n": "*l",
                "o": "",
                "p": "- q\n- {r: s}",
                "u": "|",
                "v": '"w\n  x"',
            },
        )

    def test_alias(self) -> None:
        """An alias says what it refers to."""
        root = read_yaml_nodes("a: &x {b: c}\nd: *x\n")
        self.assertEqual(outline(root), {"a": {"b": "c"}, "d": {"b": "c"}})
        self.assertIs(root.entries[1][1].kind, Kind.ALIAS)
        with self.assertRaises(ValueError):
            read_yaml_nodes("a: *x\n")

    def test_empty(self) -> None:
        """A text without a document is an error."""
        with self.assertRaises(ValueError):
            read_yaml_nodes("# nothing\n")

    @given(JSON, st.sampled_from([None, 0, 3]))
    def test_json(self, value: object, indent: int | None) -> None:
        """JSON is read as Python reads it, with the place of each node."""
        text = json.dumps(value, indent=indent)
        root = read_json_nodes(f" {text}\n")
        self.assertEqual(outline(root), value)
        self.assertEqual((root.start, root.end), (1, 1 + len(text)))

    def test_json_scalars(self) -> None:
        """Numbers and the like stay as they are written."""
        root = read_json_nodes('{"a": 1.50, "b": null, "c": [true, -1]}')
        self.assertEqual(outline(root), {"a": "1.50", "b": "null", "c": ["true", "-1"]})

    def test_lines(self) -> None:
        """A line ends at any line break of YAML 1.1."""
        for newline in ("\n", "\r\n", "\r", "\x85", "\u2028"):
            text = f"ab{newline}cd{newline}ef"
            at = text.index("d")
            self.assertEqual(line_start(text, at), text.index("c"))
            self.assertEqual(line_end(text, at), at + 1)
        self.assertEqual(line_end("ab", 1), 2)
