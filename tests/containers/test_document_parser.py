"""Tests of parsing documents."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers import document_parser
from devlxd.containers.document_parser import Format, parse_document
from devlxd.containers.document_trees import MAX_DOCUMENT, PIECES, DocumentError
from devlxd.containers.json_trees import read_json
from devlxd.model import Container
from devlxd.turns import finish

#: Any text that UTF-8 can encode.
TEXT = st.text(st.characters(codec="utf-8"))

CONFIGS = st.dictionaries(TEXT, TEXT, max_size=5)

DEVICES = st.dictionaries(TEXT.filter(bool), CONFIGS, max_size=3)

SHOWN = b"""\
architecture: x86_64
config:
  user.foo: bar
  user.number: 0644
  user.truth: yes
  user.date: 2017-12-21
  user.percent: 100%s
  user.quoted: "say \\"hi\\""
  user.multi: |+
    two lines

    and a blank one

  user.empty: ""
devices:
  eth0: {type: nic, nictype: ipvlan, ipv4.address: 80.80.90.60}
ephemeral: false
profiles:
- default
"""

BACKUP = b"""\
container:
  config: {user.foo: local}
  devices: {}
  expanded_config:
    user.foo: local
    user.of-profile: "1"
  expanded_devices:
    root: {path: /, pool: default, type: disk}
  name: c1
pool:
  name: default
"""


def parse_container(name: str, content: bytes, format: Format) -> Container:
    """Parse the document of the container ``name`` in one slice."""
    return finish(parse_document(name, content, format)).container


def parse(content: bytes, format: Format = Format.YAML) -> Container:
    """Parse the document of a container ``c1``."""
    return parse_container("c1", content, format)


class ReadTests(SynchronousTestCase):
    """Valid documents."""

    def test_shown_config(self) -> None:
        """The output of ``lxc config show --expanded`` is read, values unchanged."""
        container = parse(SHOWN)
        self.assertEqual(
            dict(container.config),
            {
                "user.foo": "bar",
                "user.number": "0644",
                "user.truth": "yes",
                "user.date": "2017-12-21",
                "user.percent": "100%s",
                "user.quoted": 'say "hi"',
                "user.multi": "two lines\n\nand a blank one\n\n",
                "user.empty": "",
            },
        )
        self.assertEqual(
            {name: dict(device) for name, device in container.devices.items()},
            {
                "eth0": {
                    "type": "nic",
                    "nictype": "ipvlan",
                    "ipv4.address": "80.80.90.60",
                }
            },
        )

    def test_backup(self) -> None:
        """The expanded config and devices of LXD's ``backup.yaml`` are read."""
        container = parse(BACKUP, Format.BACKUP)
        self.assertEqual(
            dict(container.config), {"user.foo": "local", "user.of-profile": "1"}
        )
        self.assertEqual(list(container.devices), ["root"])

    def test_identity(self) -> None:
        """A document may have an id, and ``backup.yaml`` has a hostname."""
        self.assertEqual(parse(b"id: 0042\n"), Container("c1", id="0042"))
        record = parse_container("web_c1", BACKUP, Format.BACKUP)
        self.assertEqual((record.name, record.hostname), ("web_c1", "c1"))

    def test_runtime(self) -> None:
        """A document may name the runtime and the LXC path of its container."""
        container = parse(b"runtime: lxc\nlxcpath: /var/lib/lxc/\n")
        self.assertEqual(container.runtime, "lxc")
        self.assertEqual(container.lxcpath, "/var/lib/lxc")
        container = parse(b'{"runtime": "ours", "id": null}', Format.JSON)
        self.assertEqual(container, Container("c1", runtime="ours"))

    def test_backup_of_newer_lxd(self) -> None:
        """A ``backup.yaml`` may call the container an instance."""
        newer = BACKUP.replace(b"container:", b"instance:")
        self.assertEqual(parse(newer, Format.BACKUP), parse(BACKUP, Format.BACKUP))

    def test_json(self) -> None:
        """JSON is read, and values that are not strings stay as they were written."""
        content = b"""{"config": {"user.a": true, "user.b": 1.50, "user.c": null,
            "user.d": "\\ud83d\\ude00", "user.e": 12345678901234567890123},
            "devices": {"d": {"type": "none"}}}"""
        container = parse(content, Format.JSON)
        self.assertEqual(
            dict(container.config),
            {
                "user.a": "true",
                "user.b": "1.50",
                "user.c": "null",
                "user.d": "\N{GRINNING FACE}",
                "user.e": "12345678901234567890123",
            },
        )
        self.assertEqual(dict(container.devices["d"]), {"type": "none"})

    def test_absent_sections(self) -> None:
        """A section that is absent or null is empty."""
        for content in (b"config:\n", b"config: {}\ndevices: ~", b"devices: null\n"):
            self.assertEqual(parse(content), Container("c1"))

    def test_one_mebibyte(self) -> None:
        """A value may have the length of user data: one mebibyte."""
        value = "#!/bin/sh\n" + "x" * 2**20
        content = json.dumps({"config": {"user.user-data": value}}).encode()
        self.assertEqual(parse(content, Format.JSON).config["user.user-data"], value)

    @settings(deadline=None)
    @given(config=CONFIGS, devices=DEVICES)
    def test_any_yaml(
        self, config: dict[str, str], devices: dict[str, dict[str, str]]
    ) -> None:
        """Any text that YAML can represent is read unchanged."""
        content = yaml.safe_dump({"config": config, "devices": devices})
        self.assertEqual(parse(content.encode()), Container("c1", config, devices))

    @settings(deadline=None)
    @given(config=CONFIGS, devices=DEVICES)
    def test_any_json(
        self, config: dict[str, str], devices: dict[str, dict[str, str]]
    ) -> None:
        """Any text that JSON can represent is read unchanged."""
        content = json.dumps({"config": config, "devices": devices}).encode()
        self.assertEqual(parse(content, Format.JSON), Container("c1", config, devices))


class LibYAMLTests(SynchronousTestCase):
    """The library that parses YAML."""

    def test_missing(self) -> None:
        """The import fails without libyaml, and the error says what to install."""
        code = (
            "import sys; sys.modules['yaml._yaml'] = None; "
            "import devlxd.containers.document_parser"
        )
        finished = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )
        self.assertEqual(finished.returncode, 1)
        last_line = finished.stderr.splitlines()[-1]
        self.assertIn("ImportError: devlxd needs a PyYAML with libyaml", last_line)
        self.assertIn("libyaml-dev", last_line)


class SlicesTests(SynchronousTestCase):
    """Parsing large documents."""

    def test_slices(self) -> None:
        """A document of many pieces is parsed in many slices."""
        config = {f"user.{n}": str(n) for n in range(10_000)}
        devices = {f"d{n}": {"type": "none"} for n in range(1_000)}
        document = {"config": config, "devices": devices}
        for content, format in (
            (json.dumps(document), Format.JSON),
            (yaml.safe_dump(document), Format.YAML),
        ):
            slices = parse_document("c1", content.encode(), format)
            self.assertGreater(sum(1 for _ in slices), 12_000 // PIECES)
            self.assertEqual(
                parse(content.encode(), format), Container("c1", config, devices)
            )


class RejectedTests(SynchronousTestCase):
    """Rejected documents, each with a reason and a line."""

    def assert_rejected(
        self,
        content: bytes,
        reason: str,
        line: int | None,
        format: Format = Format.YAML,
    ) -> None:
        """Check that ``content`` is rejected for ``reason``."""
        with self.assertRaises(DocumentError) as caught:
            parse(content, format)
        self.assertIn(reason, caught.exception.reason)
        self.assertEqual(caught.exception.line, line)

    def test_syntax(self) -> None:
        """A syntax error is reported with its line."""
        self.assert_rejected(b"config:\n  user.a: [\n", "did not find expected", 2)
        self.assert_rejected(b'{"config":\n {,}}', "Expecting", 2, Format.JSON)
        self.assert_rejected(b"a: b\nconfig: \x07", "control characters", 2)

    def test_encoding(self) -> None:
        """Bytes that are not UTF-8 are reported with their line."""
        self.assert_rejected(b"config:\n  a: \xff\n", "not UTF-8", 2)

    def test_truncated(self) -> None:
        """A truncated document is rejected."""
        self.assert_rejected(b'config:\n  user.a: "b', "unexpected end", 2)
        self.assert_rejected(
            b'{"config": {"user.a": "b', "Unterminated", 1, Format.JSON
        )
        self.assert_rejected(b"", "empty", None)
        self.assert_rejected(b"\n# nothing\n", "empty", None)

    def test_wrong_type(self) -> None:
        """A key or value of the wrong type is reported with its line."""
        self.assert_rejected(b"config:\n  user.a:\n    b: c\n", "user.a", 3)
        self.assert_rejected(b"config:\n  user.a: [1]\n", "user.a", 2)
        self.assert_rejected(b"devices:\n  eth0: nic\n", "devices: eth0", 2)
        self.assert_rejected(b"- a\n", "not a mapping", 1)
        self.assert_rejected(b"id: []\n", "id is not text", 1)
        self.assert_rejected(b"config:\n  ? [a]\n  : b\n", "a key", 2)
        self.assert_rejected(b'{"config":\n{"a": {}}}', "config: a", 2, Format.JSON)
        self.assert_rejected(b'{"config": {\n"a": "\\ud800"}}', "text", 2, Format.JSON)

    def test_duplicate_key(self) -> None:
        """A duplicate key is rejected."""
        self.assert_rejected(b"config:\n  a: b\n  a: c\n", "duplicate key a", 3)
        self.assert_rejected(b'{"a": 1,\n"a": 1}', "duplicate key a", 2, Format.JSON)

    def test_runtime(self) -> None:
        """A runtime or LXC path that is not text, or a relative path, is rejected."""
        self.assert_rejected(b"\nruntime: [lxc]\n", "runtime is not text", 2)
        self.assert_rejected(b"lxcpath: {}\n", "lxcpath is not text", 1)
        self.assert_rejected(b"\nlxcpath: lib/lxc\n", "not absolute", 2)

    def test_json_syntax(self) -> None:
        """Every kind of syntax error in JSON is reported with its line."""
        for content, reason in (
            (b'{\n"a" 1}', "Expecting ':' delimiter"),
            (b'{"a": 1\n"b": 1}', "Expecting ',' delimiter"),
            (b'{"a": 1,\n}', "Expecting property name"),
            (b"{\na: 1}", "Expecting property name"),
            (b'{"a":\n}', "Expecting value"),
            (b'{"a": [1,\n]}', "Expecting value"),
            (b"{}\n{}", "Extra data"),
            (b'{"a": [1\n}', "Expecting ',' delimiter"),
        ):
            with self.assertRaises(DocumentError) as caught:
                parse(content, Format.JSON)
            self.assertIn(reason, caught.exception.reason)
            self.assertEqual(caught.exception.line, 2)

    def test_more_than_one(self) -> None:
        """A file with more than one document is rejected."""
        self.assert_rejected(b"config: {}\n---\nconfig: {}\n", "more than one", 2)

    def test_bomb(self) -> None:
        """Aliases that make a small document large are rejected."""
        bomb = b"a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        for n in range(1, 30):
            alias = b"*a%d" % (n - 1)
            bomb += b"a%d: &a%d [%s]\n" % (n, n, b",".join([alias] * 9))
        self.assert_rejected(bomb + b"config: {}\n", "too large", None)
        self.assert_rejected(b"a: &a [*a]\n", "an alias without an anchor", 1)

    def test_aliases(self) -> None:
        """Small aliases, as PyYAML writes them, are expanded."""
        device = {"type": "nic"}
        content = yaml.safe_dump({"devices": {"a": device, "b": device}}).encode()
        self.assertIn(b"*", content)
        devices = parse(content).devices
        self.assertEqual(dict(devices["a"]), device)
        self.assertEqual(dict(devices["b"]), device)

    def test_nameless_device(self) -> None:
        """A device without a name is rejected: no URL can refer to it."""
        self.assert_rejected(b"devices:\n  '': {}\n", "without a name", 2)

    def test_deep(self) -> None:
        """A document that is nested too deeply is rejected."""
        self.assert_rejected(b"- " * 100_000, "nested too deeply", 1)
        self.assert_rejected(b"[" * 100_000, "nested too deeply", 1)
        deep = b'{"a":' * 100 + b"1" + b"}" * 100
        self.assert_rejected(deep, "nested too deeply", 1, Format.JSON)
        self.assert_rejected(b"[" * 100_000, "nested too deeply", 1, Format.JSON)

    def test_too_long(self) -> None:
        """A document that is too long is rejected."""
        self.assert_rejected(b"#" * (MAX_DOCUMENT + 1), "longer than", None)

    def test_empty_backup(self) -> None:
        """A ``backup.yaml`` without a container is rejected."""
        self.assert_rejected(b"pool: {}\n", "no container", None, Format.BACKUP)

    @settings(deadline=None)
    @given(text=st.text('{}[]",:\\u0d8-1.eE tfn\n', max_size=30))
    def test_any_json(self, text: str) -> None:
        """`read_json` accepts valid JSON without duplicate keys or lone surrogates."""
        try:
            json.loads(text)
            is_json = True
        except json.JSONDecodeError:
            is_json = False
        try:
            finish(read_json(text))
        except DocumentError as error:
            self.assertEqual(
                is_json, "duplicate" in error.reason or "not text" in error.reason, text
            )
        else:
            self.assertTrue(is_json, text)

    @settings(deadline=None)
    @given(
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["config", "devices", "id", "name", "conifg", "a"])
                    | st.text(),
                    inner,
                    max_size=4,
                )
            ),
        ),
        is_ascii=st.booleans(),
        indent=st.none() | st.integers(0, 2),
    )
    def test_short_json(
        self, value: object, is_ascii: bool, indent: int | None
    ) -> None:
        """A short JSON document is parsed like a long one, with the same lines."""
        text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
        with contextlib.suppress(UnicodeEncodeError):
            content = text.encode()
            short = self.outcome(content)
            self.patch(document_parser, "MAX_SIMPLE_JSON", 0)
            self.assertEqual(short, self.outcome(content))
            self.patch(document_parser, "MAX_SIMPLE_JSON", 2**20)

    def outcome(self, content: bytes) -> object:
        """Return the parsed JSON document, or the reason and line of its rejection."""
        try:
            return finish(parse_document("c1", content, Format.JSON))
        except DocumentError as error:
            return error.reason, error.line

    @given(content=st.binary(max_size=200), format=st.sampled_from(Format))
    def test_any_bytes(self, content: bytes, format: Format) -> None:
        """Any bytes are either parsed as a container, or cause a `DocumentError`."""
        try:
            self.assertEqual(parse(content, format).name, "c1")
        except DocumentError as error:
            self.assertTrue(error.reason)
