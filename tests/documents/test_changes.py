"""Tests of `devlxd.documents.changes`: what changes in a text, and what stays."""

from __future__ import annotations

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.document_parser import Format, parse_document
from devlxd.documents.changes import (
    ChangeError,
    NotSetError,
    Remove,
    SetValue,
    changed,
)
from devlxd.model import Container
from devlxd.turns import finish

#: A document as an operator keeps it.
DOCUMENT = """\
# The web server 😀.
name: c1
config:
    # In bytes.
    limits.memory:   '1024'   # see the plan
    user.long: %s
    user.script: |  # runs at boot
        #!/bin/sh
        exec true

    user.plain: 2017-12-21
devices: {}   # none yet
profiles:
- default
""" % ("word " * 60 + "end")

#: Any text that a value can be.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]), max_size=12
) | st.sampled_from(
    ["", "yes", "0644", "2017-12-21", "~", "a: b", "# a", "l1\nl2\n", "- a", "{", "1e3"]
)

#: Names of keys.
KEYS = st.from_regex(r"[a-z][a-z.]{0,5}", fullmatch=True)


def parsed(text: str, format: Format = Format.YAML) -> Container:
    """Return the container of a document."""
    return finish(parse_document("c1", text.encode(), format)).container


def difference(old: str, new: str) -> tuple[str, str]:
    """Return what differs between two texts, in whole lines of both."""
    before, after = old.splitlines(True), new.splitlines(True)
    while before and after and before[0] == after[0]:
        del before[0], after[0]
    while before and after and before[-1] == after[-1]:
        del before[-1], after[-1]
    return "".join(before), "".join(after)


class DocumentTests(SynchronousTestCase):
    """One change of a document as an operator keeps it."""

    def assert_changed(
        self, change: SetValue | Remove, old: str, new: str, text: str = DOCUMENT
    ) -> None:
        """Check that a change replaces some lines by others, and no more."""
        self.assertEqual(
            difference(text, changed(text, Format.YAML, [change])), (old, new)
        )

    def test_value(self) -> None:
        """The quotes and the comment of a value stay, and so do all other lines."""
        self.assert_changed(
            SetValue(("config", "limits.memory"), "2048"),
            "    limits.memory:   '1024'   # see the plan\n",
            "    limits.memory:   '2048'   # see the plan\n",
        )

    def test_text_only(self) -> None:
        """A value that YAML reads as something else than text is written in quotes."""
        for value in ("yes", "0644", "2018-01-01", "1", "null", "y", "1e3", "12:30:45"):
            text = changed(
                DOCUMENT, Format.YAML, [SetValue(("config", "user.plain"), value)]
            )
            read = yaml.safe_load(text)["config"]["user.plain"]
            self.assertEqual(read, value)

    def test_several_lines(self) -> None:
        """A value of several lines is written below ``|``, and replaced as a whole."""
        self.assert_changed(
            SetValue(("config", "user.plain"), "a\n\nb\n"),
            "    user.plain: 2017-12-21\n",
            "    user.plain: |\n      a\n\n      b\n",
        )
        self.assert_changed(
            SetValue(("config", "user.script"), "none"),
            "    user.script: |  # runs at boot\n        #!/bin/sh\n"
            "        exec true\n",
            "    user.script: none  # runs at boot\n",
        )

    def test_new_key(self) -> None:
        """A new key is the last one of its section, indented as the others."""
        self.assert_changed(
            SetValue(("config", "user.new"), "1"), "", '    user.new: "1"\n'
        )

    def test_first_key(self) -> None:
        """The first key of a section takes the place of the empty braces."""
        self.assert_changed(
            SetValue(("devices", "eth0", "type"), "nic"),
            "devices: {}   # none yet\n",
            "devices:   # none yet\n    eth0:\n        type: nic\n",
        )

    def test_new_section(self) -> None:
        """A missing section is added at the end."""
        self.assert_changed(
            SetValue(("config", "a"), "b"), "", "config:\n  a: b\n", "name: c1\n"
        )
        for empty in ("config:\n", "config: null\n", "config: ~ # c\n"):
            text = changed(empty, Format.YAML, [SetValue(("config", "a"), "b")])
            self.assertEqual(dict(parsed(text).config), {"a": "b"})

    def test_remove(self) -> None:
        """A removed key takes its lines with it, and leaves the comments around it."""
        self.assert_changed(
            Remove(("config", "limits.memory")),
            "    limits.memory:   '1024'   # see the plan\n",
            "",
        )

    def test_remove_last(self) -> None:
        """A section without keys becomes empty braces."""
        text = "config: # c\n  # d\n  a: b\nname: x\n"
        self.assert_changed(
            Remove(("config", "a")),
            "config: # c\n  # d\n  a: b\n",
            "config: {} # c\n  # d\n",
            text,
        )

    def test_not_set(self) -> None:
        """What is not there cannot be removed."""
        for path in (("config", "x"), ("devices", "x", "y"), ("other", "x")):
            with self.assertRaises(NotSetError):
                changed(DOCUMENT, Format.YAML, [Remove(path)])

    def test_line_breaks(self) -> None:
        """Line breaks of Windows and the missing one at the end stay."""
        change = SetValue(("config", "b"), "2")
        for old, new in (
            ("config:\r\n  a: '1'\r\n", "config:\r\n  a: '1'\r\n  b: \"2\"\r\n"),
            ("config:\n  a: '1'", "config:\n  a: '1'\n  b: \"2\""),
            ("\ufeffconfig:\n  b: '1'\n", "\ufeffconfig:\n  b: '2'\n"),
            ("---\nconfig:\n  é: 1\n...\n", '---\nconfig:\n  é: 1\n  b: "2"\n...\n'),
        ):
            self.assertEqual(changed(old, Format.YAML, [change]), new)

    def test_braces(self) -> None:
        """Mappings in braces stay what they are."""
        text = changed(
            "config: {a: '1', b: [} # c\n".replace("[", "x"),
            Format.YAML,
            [
                SetValue(("config", "a"), "2"),
                SetValue(("config", "c"), "x\n]"),
                Remove(("config", "b")),
            ],
        )
        self.assertEqual(text, 'config: {a: "2", c: "x\\n]"} # c\n')

    def test_alias(self) -> None:
        """A value that others refer to is not changed, and the reason is given."""
        text = "config:\n  a: &x 1\n  b: *x\n"
        for change in (SetValue(("config", "a"), "2"), Remove(("config", "a"))):
            with self.assertRaises(ChangeError) as raised:
                changed(text, Format.YAML, [change])
            self.assertIn("devlxd container edit", raised.exception.reason)
        self.assert_changed(
            SetValue(("config", "b"), "2"), "  b: *x\n", '  b: "2"\n', text
        )
        shared = "config: &x\n  a: b\nuser: *x\n"
        with self.assertRaises(ChangeError):
            changed(shared, Format.YAML, [SetValue(("config", "c"), "d")])

    def test_same_value(self) -> None:
        """A value that a key already has changes nothing, not even its quotes."""
        change = SetValue(("config", "user.plain"), "2017-12-21")
        self.assertEqual(changed(DOCUMENT, Format.YAML, [change]), DOCUMENT)


class JSONTests(SynchronousTestCase):
    """Changes of JSON documents."""

    def test_indented(self) -> None:
        """Order and indentation stay."""
        document = {"name": "c1", "config": {"b": "1", "a": 2}, "devices": {}}
        for indent in (1, 2, 4, "\t"):
            text = json.dumps(document, indent=indent)
            new = changed(
                text,
                Format.JSON,
                [
                    SetValue(("config", "c"), "é\n"),
                    SetValue(("devices", "eth0", "type"), "nic"),
                    Remove(("config", "b")),
                ],
            )
            expected = {
                "name": "c1",
                "config": {"a": 2, "c": "é\n"},
                "devices": {"eth0": {"type": "nic"}},
            }
            self.assertEqual(json.loads(new), expected)
            if indent != "\t":
                shown = json.dumps(expected, indent=indent, ensure_ascii=False)
                self.assertEqual(new, shown)

    def test_compact(self) -> None:
        """A document in one line stays in one line."""
        document = {"config": {"b": "1"}, "devices": {"d": {"a": "1"}}}
        for separators in ((",", ":"), (", ", ": ")):
            text = json.dumps(document, separators=separators)
            changes = [
                SetValue(("config", "c"), "2"),
                SetValue(("devices", "d", "a"), "3"),
            ]
            expected = {"config": {"b": "1", "c": "2"}, "devices": {"d": {"a": "3"}}}
            self.assertEqual(
                changed(text, Format.JSON, changes),
                json.dumps(expected, separators=separators),
            )

    @given(
        st.dictionaries(st.text(max_size=3), TEXTS, min_size=1, max_size=4),
        st.sampled_from([None, 0, 2, 3]),
        st.data(),
    )
    def test_any(
        self, config: dict[str, str], indent: int | None, data: st.DataObject
    ) -> None:
        """After any change the document says that one thing else."""
        text = json.dumps({"config": config, "x": [1, {}]}, indent=indent)
        key = data.draw(st.sampled_from(sorted(config)) | KEYS)
        value = data.draw(TEXTS)
        new = json.loads(changed(text, Format.JSON, [SetValue(("config", key), value)]))
        self.assertEqual(new, {"config": {**config, key: value}, "x": [1, {}]})
        self.assertEqual(list(new["config"]), list({**config, key: value}))
        if key in config:
            left = {name: value for name, value in config.items() if name != key}
            new = json.loads(changed(text, Format.JSON, [Remove(("config", key))]))
            self.assertEqual(new, {"config": left, "x": [1, {}]})
