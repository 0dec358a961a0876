"""Tests of `devlxd.etcd.secret_files`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from devlxd.etcd.location import EtcdLocation
from devlxd.etcd.secret_files import (
    MAX_PASSWORD,
    check_files,
    read_password,
    tls_options,
)


class SecretFileTests(SynchronousTestCase):
    """The files with passwords and certificates."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute() / "file"
        self.path.touch(0o600)
        self.location = EtcdLocation.parse("etcd:https://one?prefix=/h1/")

    def write(self, content: bytes) -> str:
        """Write the file; return its path."""
        self.path.write_bytes(content)
        return str(self.path)

    def assert_refused(self, content: bytes, reason: str) -> None:
        """Check that a password is refused, with the file and nothing of it."""
        path = self.write(content)
        error = self.assertRaises(ValueError, read_password, path)
        self.assertIn(f"{path}: ", str(error))
        self.assertIn(reason, str(error))
        self.assertNotIn("swordfish", str(error))

    def test_password(self) -> None:
        """The line feed at the end does not belong to it."""
        for content in (b"swordfish", b"swordfish\n", b"swordfish\r\n"):
            self.assertEqual(read_password(self.write(content)), "swordfish")
        self.path.chmod(0o640)
        self.assertEqual(read_password(str(self.path)), "swordfish")

    def test_not_a_password(self) -> None:
        """It is one line of text."""
        for content in (b"", b"\n", b"swordfish\nx", b"swordfish\0", b"\xff"):
            self.assert_refused(content, "not one line of text in UTF-8")
        self.assert_refused(b"swordfish" * MAX_PASSWORD, "longer than 4096 bytes")

    def test_open_to_others(self) -> None:
        """A file that others can read or write is refused."""
        for mode in (0o604, 0o602, 0o644):
            self.path.chmod(mode)
            self.assert_refused(b"swordfish", "other users can read or write it")

    def test_missing(self) -> None:
        """A file that is missing, or none, is named."""
        for path, reason in (("/nope/x", "No such file"), ("/", "Is a directory")):
            error = self.assertRaises(ValueError, read_password, path)
            self.assertEqual(str(error), f"{path}: {error.args[0].split(': ')[1]}")
            self.assertIn(reason, str(error))

    def test_certificates(self) -> None:
        """Files that are no certificates and no keys are named."""
        path = self.write(b"-----BEGIN CERTIFICATE-----x-----END CERTIFICATE-----")
        for location in (
            evolve(self.location, ca=path),
            evolve(self.location, cert=path, key=path),
        ):
            error = self.assertRaises(ValueError, tls_options, location, "one")
            self.assertIn(f"{path}: no", str(error))
            error = self.assertRaises(ValueError, check_files, location)
            self.assertIn(f"etcd:/h1/: {path}: no", str(error))

    def test_passphrase(self) -> None:
        """A key with a passphrase is refused: nobody is asked for it."""
        for text in (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"):
            path = self.write(text)
            location = evolve(self.location, cert=path, key=path)
            error = self.assertRaises(ValueError, tls_options, location, "one")
            self.assertEqual(str(error), f"{path}: it has a passphrase; remove that")

    def test_check(self) -> None:
        """Without files there is nothing to check; with a user there is."""
        check_files(self.location)
        path = self.write(b"")
        location = evolve(self.location, user="h1", password_file=path)
        self.assertRaises(ValueError, check_files, location)
        self.write(b"swordfish")
        check_files(location)
