"""Tests of `devlxd.documents.changes` with documents in many styles."""

from __future__ import annotations

import contextlib

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.document_parser import Format
from devlxd.containers.document_trees import DocumentError
from devlxd.documents.changes import ChangeError, Remove, SetValue, changed
from devlxd.model import Container
from tests.documents.test_changes import KEYS, TEXTS, parsed

#: The lines between entries.
BETWEEN = ["", "\n", "  # a comment\n", "# another\n\n"]

#: How the value of a key is written.
VALUES = [
    "text",
    "two words   # comment",
    "'it''s'",
    '"a\\tb" # c',
    "12",
    "",
    "~",
    "|\n    some\n\n    lines",
    "|- # c\n    some\n     lines",
    ">\n    folded\n    lines",
    "|+\n    kept\n\n",
    "plain\n    in two lines",
    "&anchor used",
]


@frozen
class Pieces:
    """A document in pieces.

    :ivar head: what is before the first entry.
    :ivar entries: the keys, and the text of each entry with its line break.
    :ivar between: the lines before each entry, and those after the last one.
    :ivar tail: the rest.
    """

    head: str
    entries: dict[str, str]
    between: list[str]
    tail: str

    def text(self) -> str:
        """Return the document."""
        return "".join(self.around(None)) + self.tail

    def around(self, key: str | None) -> tuple[str, str]:
        """Return what is before the entry of a key, and what is after it."""
        before, after, current = [self.head], list[str](), list[str]()
        current = before
        for name, between in zip(self.entries, self.between, strict=False):
            current.append(between)
            if name == key:
                current = after
            else:
                current.append(self.entries[name])
        rest = self.between[-1]
        if key is None:
            return "".join(before), rest
        if key not in self.entries:
            return "".join(before), rest + self.tail
        return "".join(before), "".join(after) + rest + self.tail

    def container(self) -> Container | None:
        """Return the container of the document, if it is valid."""
        with contextlib.suppress(DocumentError):
            return parsed(self.text())
        return None


@st.composite
def documents(draw: st.DrawFn) -> Pieces:
    """Return documents in many styles."""
    newline = draw(st.sampled_from(["\n", "\n", "\r\n"]))

    def drawn(texts: list[str]) -> str:
        return draw(st.sampled_from(texts)).replace("\n", newline)

    indent = drawn([" ", "  ", "   "])
    entries = {
        key: f"{indent}{key}:{drawn([' ', '   '])}{drawn(VALUES)}{newline}"
        for key in draw(st.lists(KEYS, unique=True, min_size=1, max_size=4))
    }
    return Pieces(
        drawn(["", "# top\n", "---\n", "name: c1\n"]) + drawn(["config:\n"]),
        entries,
        [drawn(BETWEEN) for _ in range(len(entries) + 1)],
        drawn(["", "devices: {}\n", "profiles:\n- a", "name: x # end"]),
    )


class AnyDocumentTests(SynchronousTestCase):
    """Changes of documents in any style."""

    def test_most_are_changed(self) -> None:
        """Each style of a value can be replaced, and removed, but for an anchor."""
        for value in VALUES:
            text = f"config:\n  a: {value}\n  b: *x\n"
            text = text if "&" in value else text.replace("*x", "1")
            changes: list[SetValue | Remove] = [
                SetValue(("config", "a"), "new"),
                Remove(("config", "a")),
            ]
            for change in changes:
                if "&" in value:
                    with self.assertRaises(ChangeError):
                        changed(text.replace("&anchor", "&x"), Format.YAML, [change])
                else:
                    new = changed(text, Format.YAML, [change])
                    self.assertIn("  b: 1\n", new)

    @given(documents(), st.data())
    def test_set(self, document: Pieces, data: st.DataObject) -> None:
        """One value changes; all characters outside of its lines stay."""
        before = document.container()
        if before is None:
            return
        key = data.draw(st.sampled_from(sorted(before.config)) | KEYS)
        value = data.draw(TEXTS)
        change = SetValue(("config", key), value)
        new = changed(document.text(), Format.YAML, [change])
        after = parsed(new)
        self.assertEqual(dict(after.config), {**before.config, key: value})
        self.assertEqual(after.devices, before.devices)
        start, end = document.around(key)
        self.assertTrue(new.startswith(start))
        self.assertTrue(new.endswith(end), (new, end))
        comments = document.entries.get(key, "").count(" # c")
        self.assertEqual(new[len(start) : len(new) - len(end)].count(" # c"), comments)

    @given(documents(), st.data())
    def test_remove(self, document: Pieces, data: st.DataObject) -> None:
        """One key goes; all characters outside of its lines stay."""
        before = document.container()
        if before is None:
            return
        key = data.draw(st.sampled_from(sorted(before.config)))
        try:
            new = changed(document.text(), Format.YAML, [Remove(("config", key))])
        except ChangeError:
            # The empty lines after it would become a part of the text before it.
            self.assertIn("|+", document.text())
            return
        after = parsed(new)
        left = {name: value for name, value in before.config.items() if name != key}
        self.assertEqual(dict(after.config), left)
        # The empty lines that follow it are part of a text below |+.
        if left and "|+" not in document.entries[key]:
            self.assertEqual(new, "".join(document.around(key)))

    @given(documents(), st.lists(st.tuples(KEYS, TEXTS), max_size=4))
    def test_many(self, document: Pieces, pairs: list[tuple[str, str]]) -> None:
        """Any number of changes are made one after the other."""
        before = document.container()
        if before is None:
            return
        changes = [SetValue(("config", key), value) for key, value in pairs]
        new = changed(document.text(), Format.YAML, changes)
        self.assertEqual(dict(parsed(new).config), {**before.config, **dict(pairs)})
