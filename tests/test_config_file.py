"""Tests of `devlxd.config_file`."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.config_file import (
    MAX_SIZE,
    ConfigFileError,
    KnownOptions,
    Setting,
    read_config,
)
from devlxd.limits import parse_limit

KNOWN = KnownOptions(
    texts=["containers", "location", "switch"],
    lists=["listen", "limit"],
    flags=["demo"],
)

#: A file with every kind of option.
WHOLE = """\
# A comment
containers: /srv/containers
location: 42
switch: "true"
listen:
  - /run/a
  - lxd6=/run/b
demo: true
limits:
  downloads: 7
  journal-bytes: 512MiB
limit: idle-timeout=40
"""

#: Any content of a file, and content of what is special in YAML.
ANY_BYTES = st.one_of(
    st.binary(max_size=200), st.text("ab:[]{}-&*!'\"\n\t #|<").map(str.encode)
)

#: A file as an operator may type it, and its mistake.
MISTAKES = (
    ("container: /x", "1: there is no option container (did you mean 'containers'?)"),
    ("\nzzz: 1", "2: there is no option zzz"),
    ("config: x.yaml", "1: there is no option config"),
    (
        "location: a\nswitch: b\nlocation: c",
        "3: location is given twice, first in line 1",
    ),
    (
        "limits:\n  downloads: 1\n  downloads: 2",
        "3: downloads is given twice, first in line 2",
    ),
    ("location: [a]", "1: location must be one text"),
    ("location:", "1: location has no value"),
    ("location: ~", "1: location has no value"),
    ("location: on", "1: location must be a text: write on in quotes if it is one"),
    ("listen:\n- /a\n- {b: c}", "3: listen must be one text"),
    ("demo: 1", "1: demo must be true or false"),
    ("demo: 'true'", "1: demo must be true or false"),
    ("limits: 5", "1: limits must be a mapping: lines of KEY: VALUE"),
    ("limits:", "1: limits must be a mapping: lines of KEY: VALUE"),
    ("limits: {downloads: [1]}", "1: downloads must be one text"),
    ("- a", "1: the file must be a mapping: lines of KEY: VALUE"),
    ("just text", "1: the file must be a mapping: lines of KEY: VALUE"),
    ("[a]: b", "1: the file: a key must be one text"),
    ("<<: {location: a}", "1: the file: a key must be one text"),
    ('location: "a\\0"', "1: location must not contain a zero byte"),
    ("location: *nothing", "1: not YAML: found undefined alias"),
    ("a: b: c", "1: not YAML: mapping values are not allowed in this context"),
    ("location: 'a", "1: not YAML: found unexpected end of stream"),
    ("a: b\n--- \nc: d", "2: not YAML: but found another document"),
)


class ConfigFileTests(SynchronousTestCase):
    """Reading the file of ``--config``."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")) / "devlxd.yaml"

    def read(self, content: str | bytes) -> list[Setting]:
        """Read a file."""
        data = content.encode() if isinstance(content, str) else content
        self.path.write_bytes(data)
        return read_config(str(self.path), KNOWN)

    def mistake(self, content: str | bytes) -> str:
        """Return the text about a file, without its path."""
        error = self.assertRaises(ConfigFileError, self.read, content)
        prefix = f"{self.path}:"
        self.assertTrue(str(error).startswith(prefix), error)
        self.assertTrue(str(error).isprintable())
        return str(error).removeprefix(prefix)

    def test_whole(self) -> None:
        """Texts are as they were written, and each option has its line."""
        self.assertEqual(
            self.read(WHOLE),
            [
                Setting("containers", "/srv/containers", 2),
                Setting("location", "42", 3),
                Setting("switch", "true", 4),
                Setting("listen", "/run/a", 6),
                Setting("listen", "lxd6=/run/b", 7),
                Setting("demo", "true", 8),
                Setting("limit", "downloads=7", 10),
                Setting("limit", "journal-bytes=512MiB", 11),
                Setting("limit", "idle-timeout=40", 12),
            ],
        )

    def test_empty(self) -> None:
        """An empty file, and one with comments only, has no options."""
        for content in ("", "# nothing\n", "---\n", "\ufeff"):
            self.assertEqual(self.read(content), [])
        self.assertEqual(self.read("demo: false"), [])

    def test_mistakes(self) -> None:
        """Each mistake is one line with the file, the line, and what is wrong."""
        for content, text in MISTAKES:
            self.assertEqual(self.mistake(content), text, content)

    def test_not_yaml(self) -> None:
        """Bytes that are not UTF-8 or not YAML are refused with their line."""
        self.assertEqual(self.mistake(b"location: a\nswitch: \xff"), "2: not UTF-8")
        self.assertIn("1: not YAML: ", self.mistake("location: \x01"))
        self.assertIn("2: not YAML: ", self.mistake("location: a\n\tswitch: b"))
        self.assertIn("not YAML", self.mistake("[" * 5000))
        self.assertEqual(
            self.mistake("#" * (MAX_SIZE + 1)), f" longer than {MAX_SIZE} bytes"
        )

    def test_tags(self) -> None:
        """A tag makes no object of Python: the value stays text."""
        (setting,) = self.read("location: !!python/object/apply:os.getcwd x")
        self.assertEqual(setting.value, "x")

    def test_aliases(self) -> None:
        """An alias stands for the value with the anchor."""
        first, second = self.read("location: &a x\nswitch: *a")
        self.assertEqual((first.value, second.value), ("x", "x"))
        self.assertIn("must be one text", self.mistake("listen: &a [*a]"))

    def test_unreadable(self) -> None:
        """A file that cannot be read is named with the reason."""
        for path, reason in (("/nonexistent", "No such file"), ("/", "Is a directory")):
            error = self.assertRaises(ConfigFileError, read_config, path, KNOWN)
            self.assertTrue(str(error).startswith(f"{path}: {reason}"), error)
        error = self.assertRaises(ConfigFileError, read_config, "a\0b", KNOWN)
        self.assertIn("not a path", str(error))

    @given(ANY_BYTES)
    def test_any_bytes(self, content: bytes) -> None:
        """Any file is read, or refused with one line."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            try:
                read_config(file.name, KNOWN)
            except ConfigFileError as error:
                self.assertTrue(str(error).startswith(file.name))
                self.assertTrue(str(error).isprintable(), error)

    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "containers": st.text(),
                "listen": st.lists(st.text()) | st.text(),
                "demo": st.booleans(),
                "limits": st.dictionaries(st.text(), st.integers().map(str)),
            },
        )
    )
    def test_round_trip(self, options: dict[str, object]) -> None:
        """Whatever PyYAML writes for texts is read as the same texts."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(yaml.safe_dump(options).encode("ascii"))
            file.flush()
            try:
                settings = read_config(file.name, KNOWN)
            except ConfigFileError:
                # Zero bytes, and what no YAML file can have.
                return
        values = [s.value for s in settings if s.option == "listen"]
        listen = options.get("listen", [])
        self.assertEqual(values, listen if isinstance(listen, list) else [listen])
        self.assertEqual(
            "demo" in [s.option for s in settings], options.get("demo", False)
        )


class WholeFileTests(SynchronousTestCase):
    """The example in the documentation, and the file of the package."""

    def test_packaged(self) -> None:
        """The file that the package installs has only options that exist."""
        path = Path(__file__).parents[1] / "packaging" / "devlxd.yaml"
        text = path.read_text()
        # The examples in it, too: they are comments. Some are for keys that are set.
        lines = [
            line.removeprefix("#")
            if re.match("#( {2})?[a-z-]+:", line)
            and f"\n{line[1:].partition(':')[0]}:" not in text
            else line
            for line in text.splitlines()
        ]
        known = KnownOptions(
            ["containers", "images", "location", "switch", "log-level"], ["listen"], []
        )
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("\n".join(lines))
            file.flush()
            settings = read_config(file.name, known)
        limits = [one.value for one in settings if one.option == "limit"]
        self.assertEqual(
            [parse_limit(limit)[0] for limit in limits], ["downloads", "journal-bytes"]
        )
        self.assertEqual(len(read_config(str(path), known)), 2)

    def test_documentation(self) -> None:
        """The example of a whole file is right."""
        page = Path(__file__).parents[1] / "docs" / "operating.rst"
        text = page.read_text().split("``/etc/devlxd.yaml``::\n\n")[1]
        lines = []
        for line in text.splitlines():
            if line and not line.startswith("    "):
                break
            lines.append(line[4:])
        texts = ["containers", "images", "state", "location", "log-format", "log-level"]
        known = KnownOptions(texts, ["listen", "limit", "admin"], [])
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("\n".join(lines))
            file.flush()
            self.assertGreater(len(read_config(file.name, known)), 8)
