"""Tests of warnings about likely mistakes in documents."""

from __future__ import annotations

import contextlib

from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers import document_warnings
from devlxd.containers.document_parser import Format, parse_document
from devlxd.containers.document_warnings import MAX_WARNINGS, AccessKeys
from devlxd.turns import finish
from tests.containers.test_document_parser import BACKUP, SHOWN

ACCESS_KEYS = AccessKeys(
    booleans=("security.devapollo", "security.devlxd", "security.devlxd.images"),
    uids=("security.devapollo.uids", "security.devlxd.uids"),
    similar=("security.devlxd.management.volumes",),
    exported=("user.",),
)

#: The access keys of a dialect that shows its own keys to guests.
TOY_KEYS = AccessKeys(
    booleans=("toy.enabled", "plays"), others=("toy.uids",), exported=("toy.",)
)


class WarningTests(SynchronousTestCase):
    """Valid documents with likely mistakes."""

    def warnings_of(
        self,
        content: bytes,
        format: Format = Format.YAML,
        access_keys: AccessKeys = ACCESS_KEYS,
    ) -> list[tuple[str, int]]:
        """Return the warnings about a document, each with its line."""
        slices = parse_document("c1", content, format, access_keys=access_keys)
        parsed = finish(slices)
        return [(warning.text, warning.line) for warning in parsed.warnings]

    def test_none(self) -> None:
        """Documents that LXD and Incus write cause no warnings."""
        self.assertEqual(self.warnings_of(SHOWN), [])
        self.assertEqual(self.warnings_of(BACKUP, Format.BACKUP), [])
        valid = b"""\
config:
  security.devlxd: "0"
  security.devlxd.images: "True"
  security.devapollo: ""
  security.devlxd.uids: "0, 1000,"
  security.devapollo.uids: "*"
  security.nesting: "true"
  security.secureboot: "false"
  security.protection.delete: "x"
  security.syscalls.intercept.mknod: "true"
  security.devlxd.management.volumes: "false"
  user.security.devlxd.image: x
runtime: lxc
lxcpath: /var/lib/lxc
"""
        self.assertEqual(self.warnings_of(valid), [])

    def test_keys(self) -> None:
        """An unknown top-level key causes a warning, which suggests a similar key."""
        self.assertEqual(
            self.warnings_of(b"# a\nconifg:\n  user.a: b\nx-other: y\n"),
            [
                ("conifg has no effect; did you mean config?", 2),
                ("x-other has no effect", 4),
            ],
        )
        self.assertEqual(
            self.warnings_of(b'{"config": {},\n "Devices": {}}', Format.JSON),
            [("Devices has no effect; did you mean devices?", 2)],
        )

    def test_access_keys(self) -> None:
        """A misspelled access key, or one with a wrong value, causes a warning."""
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
            ((text, line),) = self.warnings_of(
                f"config:\n  a: b\n  {key}: x\n".encode()
            )
            self.assertIn(f"{key} has no effect", text)
            self.assertEqual(line, 3)
        self.assertEqual(
            self.warnings_of(b"config:\n  security.devlxd: flase\n"),
            [("security.devlxd is neither true nor false; write true or false", 2)],
        )

    def test_other_names(self) -> None:
        """Misspelled access keys of any dialect are found, whatever their names."""
        content = b"config:\n  security.devlx: x\n  toy.enabld: x\n  play: x\n"
        self.assertEqual(
            self.warnings_of(content, access_keys=TOY_KEYS),
            [
                ("toy.enabld is only shown to guests; did you mean toy.enabled?", 3),
                ("play has no effect; did you mean plays?", 4),
            ],
        )

    def test_shown(self) -> None:
        """A key that guests may read needs a similar access key to cause a warning."""
        content = b"config:\n  toy.enabled.since: 2026\n  toy.name: bear\n"
        self.assertEqual(self.warnings_of(content, access_keys=TOY_KEYS), [])

    def test_similar(self) -> None:
        """A key that the dialect lists in ``similar`` causes no warning."""
        keys = AccessKeys(booleans=("toy.enabled",), similar=("toy.disabled",))
        content = b"config:\n  toy.disabled: x\n  toy.enable: x\n"
        self.assertEqual(
            self.warnings_of(content, access_keys=keys),
            [("toy.enable has no effect; did you mean toy.enabled?", 3)],
        )

    def test_many_similar(self) -> None:
        """In each slice one key is compared with access keys; in all, under 100."""
        lines = "".join(f"  security.devl{n}: x\n" for n in range(1000))
        content = f"config:\n{lines}  security.devlxd: flase\n".encode()
        compared: list[str] = []

        def compare(key: str, *_: object) -> list[str]:
            compared.append(key)
            return []

        self.patch(document_warnings, "get_close_matches", compare)
        slices = parse_document("c1", content, Format.YAML, access_keys=ACCESS_KEYS)
        most = 0
        with contextlib.suppress(StopIteration):
            while True:
                before = len(compared)
                next(slices)
                most = max(most, len(compared) - before)
        self.assertEqual(most, 1)
        self.assertLess(len(compared), 100)
        ((text, _line),) = self.warnings_of(content)
        self.assertIn("neither true nor false", text)

    def test_bounded(self) -> None:
        """A document causes at most `MAX_WARNINGS` warnings, of one line each."""
        lines = "".join(f"  security.devlxd.{n}: x\n" for n in range(1000))
        self.assertEqual(
            len(self.warnings_of(f"config:\n{lines}".encode())), MAX_WARNINGS
        )
        lines = "".join(f"{n}: x\n" for n in range(1000))
        self.assertEqual(len(self.warnings_of(lines.encode())), MAX_WARNINGS)
        ((text, _line),) = self.warnings_of(b'"a\\nb": x\n')
        self.assertNotIn("\n", text)
