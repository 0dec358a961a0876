"""Tests of `devlxd.containers.documents`."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers import documents, hints
from devlxd.containers.documents import Form, read_container, reading
from devlxd.containers.hints import MAX_HINTS
from devlxd.containers.trees import (
    MAX_DOCUMENT,
    PIECES,
    DocumentError,
    json_tree,
)
from devlxd.model import Container
from devlxd.turns import finish

#: Any text that UTF-8 can hold.
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

RECORD = b"""\
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


def read(content: bytes, form: Form = Form.YAML) -> Container:
    """Read the document of the container ``c1``."""
    return read_container("c1", content, form)


class ReadTests(SynchronousTestCase):
    """Documents that can be read."""

    def test_shown_config(self) -> None:
        """What ``lxc config show --expanded`` prints is read, values as written."""
        container = read(SHOWN)
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

    def test_record(self) -> None:
        """Of LXD's own record the expanded config and devices count."""
        container = read(RECORD, Form.RECORD)
        self.assertEqual(
            dict(container.config), {"user.foo": "local", "user.of-profile": "1"}
        )
        self.assertEqual(list(container.devices), ["root"])

    def test_identity(self) -> None:
        """A document may say the id of its container, a record says its own name."""
        self.assertEqual(read(b"id: 0042\n"), Container("c1", id="0042"))
        record = read_container("web_c1", RECORD, Form.RECORD)
        self.assertEqual((record.name, record.hostname), ("web_c1", "c1"))

    def test_runtime(self) -> None:
        """A document may say whose container of that name it is of."""
        container = read(b"runtime: lxc\nlxcpath: /var/lib/lxc/\n")
        self.assertEqual(container.runtime, "lxc")
        self.assertEqual(container.lxcpath, "/var/lib/lxc")
        container = read(b'{"runtime": "ours", "id": null}', Form.JSON)
        self.assertEqual(container, Container("c1", runtime="ours"))

    def test_record_of_newer_lxd(self) -> None:
        """A record that calls the container an instance is the same record."""
        newer = RECORD.replace(b"container:", b"instance:")
        self.assertEqual(read(newer, Form.RECORD), read(RECORD, Form.RECORD))

    def test_json(self) -> None:
        """JSON is read, and what is no text in it stays as it was written."""
        content = b"""{"config": {"user.a": true, "user.b": 1.50, "user.c": null,
            "user.d": "\\ud83d\\ude00", "user.e": 12345678901234567890123},
            "devices": {"d": {"type": "none"}}}"""
        container = read(content, Form.JSON)
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

    def test_nothing_in_it(self) -> None:
        """Sections that are missing or empty are empty."""
        for content in (b"config:\n", b"config: {}\ndevices: ~", b"devices: null\n"):
            self.assertEqual(read(content), Container("c1"))

    def test_one_mebibyte(self) -> None:
        """A value may be as long as user-data are."""
        value = "#!/bin/sh\n" + "x" * 2**20
        content = json.dumps({"config": {"user.user-data": value}}).encode()
        self.assertEqual(read(content, Form.JSON).config["user.user-data"], value)

    @settings(deadline=None)
    @given(config=CONFIGS, devices=DEVICES)
    def test_any_yaml(
        self, config: dict[str, str], devices: dict[str, dict[str, str]]
    ) -> None:
        """Whatever text YAML can hold comes out as it went in."""
        content = yaml.safe_dump({"config": config, "devices": devices})
        self.assertEqual(read(content.encode()), Container("c1", config, devices))

    @settings(deadline=None)
    @given(config=CONFIGS, devices=DEVICES)
    def test_any_json(
        self, config: dict[str, str], devices: dict[str, dict[str, str]]
    ) -> None:
        """Whatever text JSON can hold comes out as it went in."""
        content = json.dumps({"config": config, "devices": devices}).encode()
        self.assertEqual(read(content, Form.JSON), Container("c1", config, devices))


class LibYAMLTests(SynchronousTestCase):
    """The library that reads YAML."""

    def test_missing(self) -> None:
        """A PyYAML that was built without it is told at once, and what to do."""
        code = (
            "import sys; sys.modules['yaml._yaml'] = None; "
            "import devlxd.containers.documents"
        )
        finished = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )
        self.assertEqual(finished.returncode, 1)
        last_line = finished.stderr.splitlines()[-1]
        self.assertIn("ImportError: devlxd needs a PyYAML with libyaml", last_line)
        self.assertIn("libyaml-dev", last_line)


class HintTests(SynchronousTestCase):
    """Documents that count, but hardly as they were meant."""

    def hints(self, content: bytes, form: Form = Form.YAML) -> list[tuple[str, int]]:
        """Return what looks like a mistake, each with its line."""
        hints = finish(reading("c1", content, form)).hints
        return [(hint.text, hint.line) for hint in hints]

    def test_none(self) -> None:
        """What LXD and Incus write looks like no mistake, whatever is in a record."""
        self.assertEqual(self.hints(SHOWN), [])
        self.assertEqual(self.hints(RECORD, Form.RECORD), [])
        fine = b"""\
config:
  security.devlxd: "0"
  security.devlxd.images: "True"
  security.devapollo: ""
  security.devlxd.uids: "0,1000"
  security.nesting: "true"
  security.secureboot: "false"
  security.protection.delete: "x"
  security.syscalls.intercept.mknod: "true"
  security.devlxd.management.volumes: "false"
  user.security.devlxd.image: x
runtime: lxc
lxcpath: /var/lib/lxc
"""
        self.assertEqual(self.hints(fine), [])

    def test_keys(self) -> None:
        """A key that means nothing is named, with the one that is meant."""
        self.assertEqual(
            self.hints(b"# a\nconifg:\n  user.a: b\nx-other: y\n"),
            [
                ("conifg means nothing; config is meant?", 2),
                ("x-other means nothing", 4),
            ],
        )
        self.assertEqual(
            self.hints(b'{"config": {},\n "Devices": {}}', Form.JSON),
            [("Devices means nothing; devices is meant?", 2)],
        )

    def test_switches(self) -> None:
        """A switch with a wrong name, or one that says nothing, is named."""
        for key in (
            "security.devlxd.image",
            "security.devlxd.imags",
            "security.devlxd.other",
            "security.devlx",
            "security.devlxd.uid",
            "security.dev-lxd",
            "security.devappollo",
            "security.devapollo.images",
            "securty.devlxd",
        ):
            ((text, line),) = self.hints(f"config:\n  a: b\n  {key}: x\n".encode())
            self.assertIn(f"{key} means nothing", text)
            self.assertEqual(line, 3)
        self.assertEqual(
            self.hints(b"config:\n  security.devlxd: flase\n"),
            [("security.devlxd says neither true nor false: flase", 2)],
        )

    def test_many_likely(self) -> None:
        """Comparing keys with known ones keeps nobody waiting, and has a bound."""
        lines = "".join(f"  security.devl{n}: x\n" for n in range(1000))
        content = f"config:\n{lines}  security.devlxd: flase\n".encode()
        compared: list[str] = []

        def compare(key: str, *_: object) -> list[str]:
            compared.append(key)
            return []

        self.patch(hints, "get_close_matches", compare)
        slices = reading("c1", content, Form.YAML)
        most = 0
        with contextlib.suppress(StopIteration):
            while True:
                before = len(compared)
                next(slices)
                most = max(most, len(compared) - before)
        self.assertEqual(most, 1)
        self.assertLess(len(compared), 100)
        ((text, _line),) = self.hints(content)
        self.assertIn("neither true nor false", text)

    def test_bounded(self) -> None:
        """So many mistakes and no more are named, in one line each."""
        lines = "".join(f"  security.devlxd.{n}: x\n" for n in range(1000))
        self.assertEqual(len(self.hints(f"config:\n{lines}".encode())), MAX_HINTS)
        lines = "".join(f"{n}: x\n" for n in range(1000))
        self.assertEqual(len(self.hints(lines.encode())), MAX_HINTS)
        ((text, _line),) = self.hints(b'"a\\nb": x\n')
        self.assertNotIn("\n", text)


class SlicesTests(SynchronousTestCase):
    """Large documents."""

    def test_slices(self) -> None:
        """A document of many pieces is read in many slices, none of them large."""
        config = {f"user.{n}": str(n) for n in range(10_000)}
        devices = {f"d{n}": {"type": "none"} for n in range(1_000)}
        document = {"config": config, "devices": devices}
        for content, form in (
            (json.dumps(document), Form.JSON),
            (yaml.safe_dump(document), Form.YAML),
        ):
            slices = reading("c1", content.encode(), form)
            self.assertGreater(sum(1 for _ in slices), 12_000 // PIECES)
            self.assertEqual(
                read(content.encode(), form), Container("c1", config, devices)
            )


class RefusedTests(SynchronousTestCase):
    """Documents that cannot be read: one reason and one line."""

    def assert_refused(
        self, content: bytes, reason: str, line: int | None, form: Form = Form.YAML
    ) -> None:
        """Check that ``content`` is refused for ``reason``."""
        with self.assertRaises(DocumentError) as caught:
            read(content, form)
        self.assertIn(reason, caught.exception.reason)
        self.assertEqual(caught.exception.line, line)

    def test_syntax(self) -> None:
        """Broken syntax is named with its line."""
        self.assert_refused(b"config:\n  user.a: [\n", "did not find expected", 3)
        self.assert_refused(b'{"config":\n {,}}', "Expecting", 2, Form.JSON)
        self.assert_refused(b"a: b\nconfig: \x07", "control characters", 2)

    def test_encoding(self) -> None:
        """Bytes that are not UTF-8 are named with their line."""
        self.assert_refused(b"config:\n  a: \xff\n", "not UTF-8", 2)

    def test_truncated(self) -> None:
        """A document that was cut off in a string is refused."""
        self.assert_refused(b'config:\n  user.a: "b', "unexpected end", 2)
        self.assert_refused(b'{"config": {"user.a": "b', "Unterminated", 1, Form.JSON)
        self.assert_refused(b"", "empty", None)
        self.assert_refused(b"\n# nothing\n", "empty", None)

    def test_not_text(self) -> None:
        """A value that is no text is named with its line."""
        self.assert_refused(b"config:\n  user.a:\n    b: c\n", "user.a", 3)
        self.assert_refused(b"config:\n  user.a: [1]\n", "user.a", 2)
        self.assert_refused(b"devices:\n  eth0: nic\n", "devices: eth0", 2)
        self.assert_refused(b"- a\n", "not a mapping", 1)
        self.assert_refused(b"id: []\n", "id is not text", 1)
        self.assert_refused(b"config:\n  ? [a]\n  : b\n", "a key", 2)
        self.assert_refused(b'{"config":\n{"a": {}}}', "config: a", 2, Form.JSON)
        self.assert_refused(b'{"config": {\n"a": "\\ud800"}}', "text", 2, Form.JSON)

    def test_twice(self) -> None:
        """A key that stands twice is refused: there is no telling which counts."""
        self.assert_refused(b"config:\n  a: b\n  a: c\n", "a stands twice", 3)
        self.assert_refused(b'{"a": 1,\n"a": 1}', "a stands twice", 2, Form.JSON)

    def test_runtime(self) -> None:
        """What tells containers of one name apart is text, and a path absolute."""
        self.assert_refused(b"\nruntime: [lxc]\n", "runtime is not text", 2)
        self.assert_refused(b"lxcpath: {}\n", "lxcpath is not text", 1)
        self.assert_refused(b"\nlxcpath: lib/lxc\n", "no absolute path", 2)

    def test_json_syntax(self) -> None:
        """Broken JSON is named with its line, wherever it breaks."""
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
                read(content, Form.JSON)
            self.assertIn(reason, caught.exception.reason)
            self.assertEqual(caught.exception.line, 2)

    def test_more_than_one(self) -> None:
        """A file holds one document."""
        self.assert_refused(b"config: {}\n---\nconfig: {}\n", "more than one", 2)

    def test_bomb(self) -> None:
        """Aliases that make a small document large are refused."""
        bomb = b"a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        for n in range(1, 30):
            alias = b"*a%d" % (n - 1)
            bomb += b"a%d: &a%d [%s]\n" % (n, n, b",".join([alias] * 9))
        self.assert_refused(bomb + b"config: {}\n", "too large", None)
        self.assert_refused(b"a: &a [*a]\n", "an alias of nothing", 1)

    def test_aliases(self) -> None:
        """Aliases that do no harm, as PyYAML writes them, are what they stand for."""
        device = {"type": "nic"}
        content = yaml.safe_dump({"devices": {"a": device, "b": device}}).encode()
        self.assertIn(b"*", content)
        devices = read(content).devices
        self.assertEqual(dict(devices["a"]), device)
        self.assertEqual(dict(devices["b"]), device)

    def test_nameless_device(self) -> None:
        """A device has a name: no URL could say it otherwise."""
        self.assert_refused(b"devices:\n  '': {}\n", "without a name", 2)

    def test_deep(self) -> None:
        """Depth without end is refused, in words and without a crash."""
        self.assert_refused(b"- " * 100_000, "nested too deeply", 1)
        self.assert_refused(b"[" * 100_000, "nested too deeply", 1)
        deep = b'{"a":' * 100 + b"1" + b"}" * 100
        self.assert_refused(deep, "nested too deeply", 1, Form.JSON)
        self.assert_refused(b"[" * 100_000, "nested too deeply", 1, Form.JSON)

    def test_too_long(self) -> None:
        """A document has an end."""
        self.assert_refused(b"#" * (MAX_DOCUMENT + 1), "longer than", None)

    def test_record_of_nothing(self) -> None:
        """A record without a container in it is refused."""
        self.assert_refused(b"pool: {}\n", "no container", None, Form.RECORD)

    @settings(deadline=None)
    @given(text=st.text('{}[]",:\\u0d8-1.eE tfn\n', max_size=30))
    def test_any_json(self, text: str) -> None:
        """What is JSON and what is not, Python's own reader says the same."""
        try:
            json.loads(text)
            is_json = True
        except json.JSONDecodeError:
            is_json = False
        try:
            finish(json_tree(text))
        except DocumentError as error:
            self.assertEqual(
                is_json, "twice" in error.reason or "not text" in error.reason, text
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
        """A short JSON document is read as a long one is, with the same lines."""
        text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
        with contextlib.suppress(UnicodeEncodeError):
            content = text.encode()
            short = self.outcome(content)
            self.patch(documents, "MAX_PLAIN", 0)
            self.assertEqual(short, self.outcome(content))
            self.patch(documents, "MAX_PLAIN", 2**20)

    def outcome(self, content: bytes) -> object:
        """Return what a JSON document says, or what is wrong with it."""
        try:
            return finish(reading("c1", content, Form.JSON))
        except DocumentError as error:
            return error.reason, error.line

    @given(content=st.binary(max_size=200), form=st.sampled_from(Form))
    def test_any_bytes(self, content: bytes, form: Form) -> None:
        """Any bytes are a container or a `DocumentError`, never something else."""
        try:
            self.assertEqual(read(content, form).name, "c1")
        except DocumentError as error:
            self.assertTrue(error.reason)
