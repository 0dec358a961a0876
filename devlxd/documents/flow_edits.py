# -*- test-case-name: tests.documents.test_changes -*-
"""Changing mappings in braces: those of JSON, and those of YAML in a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from devlxd.documents.nodes import Node


@frozen
class FlowEditor:
    """Changes mappings in braces.

    :param text: the document.
    :param write: writes a text as a key or a value.
    :param keeps_colons: whether a new key gets the same space around its colon as
        the one before it. YAML needs a space there.
    :param step: the indentation of what is one level deeper.
    """

    text: str
    write: Callable[[str], str]
    keeps_colons: bool
    step: str = "  "

    def replace(self, value: Node, new: str) -> str:
        """Return the document with another value of a key."""
        space = " " if self.text[value.start - 1] == ":" and not value.text else ""
        return self._spliced(value.start, value.end, space + self.write(new))

    def insert(self, mapping: Node, names: Sequence[str], value: str) -> str:
        """Return the document with a value that is added to a mapping.

        :param names: its key; before it those of the mappings to make around it.
        """
        if not mapping.entries:
            return self._fill(mapping, names, value)
        last, last_value = mapping.entries[-1]
        colon = ": "
        if self.keeps_colons:
            colon = self.text[last.end : last_value.start]
        gap = self._gap(mapping, "" if colon == ":" else " ")
        entry = self._entry(names, value, gap, colon)
        end = max(last.end, last_value.end)
        return self._spliced(end, end, f",{gap}{entry}")

    def remove(self, mapping: Node, index: int) -> str:
        """Return the document without an entry of a mapping."""
        entries = mapping.entries
        key, value = entries[index]
        end = max(key.end, value.end)
        if index + 1 < len(entries):
            return self._spliced(key.start, entries[index + 1][0].start, "")
        if index > 0:
            before = max(node.end for node in entries[index - 1])
            return self._spliced(before, end, "")
        return self._spliced(mapping.start, mapping.end, "{}")

    def _entry(
        self, names: Sequence[str], value: str, gap: str, colon: str = ": "
    ) -> str:
        return f"{self.write(names[0])}{colon}{self._value(names[1:], value, gap)}"

    def _value(self, names: Sequence[str], value: str, gap: str) -> str:
        """Return a text, or a mapping with it.

        :param gap: the white space before the key whose value it is.
        """
        if not names:
            return self.write(value)
        if "\n" not in gap:
            return f"{{{self._entry(names, value, gap)}}}"
        inner = gap + self.step
        return f"{{{inner}{self._entry(names, value, inner)}{gap}}}"

    def _fill(self, mapping: Node, names: Sequence[str], value: str) -> str:
        """Return the document with the first entry of an empty mapping."""
        inside = self.text[mapping.start : mapping.end].removeprefix("{")
        if inside.removesuffix("}").strip():  # a comment
            entry = self._entry(names, value, "")
            return self._spliced(mapping.end - 1, mapping.end - 1, entry)
        gap = ""
        if self.keeps_colons and "\n" in self.text.strip():
            line = self.text[self.text.rfind("\n", 0, mapping.start) + 1 :]
            gap = "\n" + line[: len(line) - len(line.lstrip(" \t"))]
        new = self._value(names, value, gap)
        return self._spliced(mapping.start, mapping.end, new)

    def _gap(self, mapping: Node, default: str) -> str:
        """Return the white space before the last key of a mapping.

        :param default: what to return where there is more, or no other key.
        """
        key, _ = mapping.entries[-1]
        if not mapping.entries[1:]:
            gap = self.text[mapping.start + 1 : key.start] or default
        else:
            before = max(node.end for node in mapping.entries[-2])
            gap = self.text[before : key.start].partition(",")[2]
        return default if gap.strip() else gap

    def _spliced(self, start: int, end: int, new: str) -> str:
        return self.text[:start] + new + self.text[end:]
