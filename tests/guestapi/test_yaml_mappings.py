"""Tests of ``devlxd.guestapi.yaml_mappings`` and ``devlxd.guestapi.yaml_nodes``."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.guestapi.yaml_mappings import MappingText, read_mapping
from devlxd.guestapi.yaml_nodes import MAX_NODES, NotMergeableError, write
from devlxd.turns import finish

VALUES = st.recursive(
    st.text() | st.integers() | st.booleans() | st.none() | st.dates(),
    lambda child: st.lists(child) | st.dictionaries(st.text(), child),
)


def read(text: str, *wanted: str) -> MappingText:
    """Read a text that is a mapping."""
    mapping = finish(read_mapping(text, wanted))
    assert mapping is not None
    return mapping


class EntriesTests(SynchronousTestCase):
    """The places of the entries of a text."""

    def test_equal_keys(self) -> None:
        """Keys are equal if PyYAML reads both as the same value."""
        keys = ("5", "0x5", "! 5", "! '5'", "!!int '5'", "'5'", "!!str 5")
        for key in keys:
            mapping = read(f"5: 1\n{key}: 2\n")
            first, second = mapping.entries
            is_equal = len(yaml.load(mapping.text, yaml.CSafeLoader)) == 1
            self.assertEqual(first.key == second.key, is_equal, key)

    def test_wrong_keys(self) -> None:
        """Keys that PyYAML cannot construct differ from all others, and are kept."""
        for key in ("!!bool a", "!!timestamp a", "!!int ''", "!!float ''", "!!int a"):
            mapping = read(f"{key}: 1\n{key}: 2\n")
            first, second = mapping.entries
            self.assertNotEqual(first.key, second.key)
            self.assertFalse(mapping.has("a"))

    def test_places(self) -> None:
        """The entries are the parts of the text from one key to the next."""
        for text, parts in (
            ("# c\na: 1\n? b\n: 2 # d\nc:\n- x\n...", ["a: 1\n", "? b\n: 2 # d\n"]),
            ("\ufeff{é: [1], 'b' : {c: d}, e}", ["é: [1], ", "'b' : {c: d}, "]),
            ("--- !!map\na: &x 1\r\nb: *x\r\nc: 2", ["a: &x 1\r\n", "b: *x\r\n"]),
        ):
            mapping = read(text)
            found = [mapping.text[e.start : e.end] for e in mapping.entries]
            self.assertEqual(found[:-1], parts)
            self.assertEqual(mapping.position, mapping.entries[0].start)

    def test_keys(self) -> None:
        """Keys are what a YAML reader takes them for."""
        mapping = read("a: 1\n'1': 2\n0x1: 3\nyes: 4\n<<: {b: 5, c: 6}\n")
        self.assertEqual([e.key for e in mapping.entries][:4], ["a", "1", 1, True])
        self.assertTrue(mapping.has("b"))
        self.assertFalse(mapping.has("d"))

    def test_references(self) -> None:
        """An entry that aliases of other entries refer to is marked."""
        mapping = read("a: &x 1\nb: [*x, &y 2, *y]\n&z c: 3\nd: *z\n")
        referenced = [entry.is_referenced for entry in mapping.entries]
        self.assertEqual(referenced, [True, False, True, False])

    def test_comments(self) -> None:
        """A text of comments only is no mapping, and no error."""
        self.assertIsNone(finish(read_mapping("# c\n\n# d")))
        self.assertTrue(read("--- # c").is_null)


class NodesTests(SynchronousTestCase):
    """Values that are written to another place."""

    @given(VALUES, st.booleans() | st.none(), st.sampled_from([None, '"', "|", ">"]))
    def test_round_trip(
        self, value: object, flow: bool | None, style: str | None
    ) -> None:
        """What is written is read as the same value."""
        text = yaml.safe_dump(
            {"a": 1, "key": value},
            default_flow_style=flow,
            default_style=style,
            allow_unicode=True,
        )
        node = read(text, "key").nodes["key"]
        written = finish(write(node))
        self.assertEqual(yaml.safe_load(written), yaml.safe_load(text)["key"])

    def test_as_written(self) -> None:
        """Scalars are not converted; aliases are expanded."""
        node = read("x: &x [0644]\nkey: [yes, 0x10, *x, '1', 1e3]", "key").nodes["key"]
        self.assertEqual(finish(write(node)), "[yes, 0x10, [0644], '1', 1e3]\n")

    def test_too_many(self) -> None:
        """A value of very many nodes is refused; others may be as large."""
        items = "- a\n" * (MAX_NODES + 1)
        read(f"key: 1\nother:\n{items}", "key")
        error = self.assertRaises(NotMergeableError, read, f"key:\n{items}", "key")
        self.assertEqual(error.reason, "too many values")
