"""Tests of `devlxd.documents.replacing`."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from devlxd.documents.replacing import CannotKeepError, create, remove, replace


class ReplaceTests(SynchronousTestCase):
    """Replacing files."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.path = self.directory / "c1.yaml"
        self.path.write_text("old")

    def entries(self) -> list[str]:
        """Return the names of all files."""
        return sorted(os.listdir(self.directory))

    def test_replace(self) -> None:
        """The content is new, the mode is the old one, and nothing else is left."""
        for mode in (0o640, 0o604, 0o400, 0o777):
            self.path.chmod(mode)
            before = self.path.stat().st_ino
            replace(self.path, b"new")
            self.assertEqual(self.path.read_bytes(), b"new")
            self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), mode)
            self.assertNotEqual(self.path.stat().st_ino, before)
        self.assertEqual(self.entries(), ["c1.yaml"])

    def test_owner(self) -> None:
        """Owner and group stay."""
        if os.geteuid() != 0:
            raise SkipTest("needs root")
        os.chown(self.path, 4711, 4712)
        self.path.chmod(0o640)
        replace(self.path, b"new")
        status = self.path.stat()
        self.assertEqual((status.st_uid, status.st_gid), (4711, 4712))
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o640)

    def test_owner_is_not_kept(self) -> None:
        """Who may not give files away does not replace those of others."""

        def fchown(_descriptor: int, _uid: int, _gid: int) -> None:
            raise PermissionError(errno.EPERM, "no")

        self.patch(os, "fchown", fchown)
        before = os.stat

        def stat_(path: int | str | Path) -> os.stat_result:
            values = list(before(path))
            values[stat.ST_UID] += 1
            return os.stat_result(values)

        self.patch(os, "stat", stat_)
        with self.assertRaises(CannotKeepError):
            replace(self.path, b"new")
        self.assertEqual(self.path.read_text(), "old")
        self.assertEqual(self.entries(), ["c1.yaml"])

    def test_attributes(self) -> None:
        """Extended attributes stay, among them access control lists."""
        try:
            os.setxattr(self.path, "user.comment", b"mine")
        except OSError:
            raise SkipTest("the file system has no extended attributes") from None
        replace(self.path, b"new")
        self.assertEqual(os.getxattr(self.path, "user.comment"), b"mine")

    def test_link(self) -> None:
        """The target of a link is replaced, where it is; the link stays."""
        elsewhere = Path(tempfile.mkdtemp(dir=".")).absolute()
        target = self.path.rename(elsewhere / "target.yaml")
        self.path.symlink_to(target)
        replace(self.path, b"new")
        self.assertEqual(os.readlink(self.path), str(target))
        self.assertEqual(target.read_text(), "new")
        self.assertEqual(os.listdir(elsewhere), ["target.yaml"])

    def test_hard_link(self) -> None:
        """A file with several names is not replaced, as the others would differ."""
        os.link(self.path, self.directory / "other")
        with self.assertRaises(CannotKeepError):
            replace(self.path, b"new")
        self.assertEqual(self.path.read_text(), "old")

    def test_failure(self) -> None:
        """If the file cannot be renamed, the old one stays, and nothing else."""

        def rename(_source: str, _target: str) -> None:
            raise OSError(errno.ENOSPC, "no space")

        self.patch(os, "rename", rename)
        with self.assertRaises(OSError):
            replace(self.path, b"new")
        self.assertEqual(self.entries(), ["c1.yaml"])
        self.assertEqual(self.path.read_text(), "old")

    def test_killed(self) -> None:
        """What a killed writer leaves is hidden, and the next one removes it."""
        other = self.directory / ".c2.yaml.devlxd-x"
        other.write_text("another document")
        name = ""

        class Killed(BaseException):
            """Nothing is cleaned up after it."""

        def rename(new: str, _target: Path) -> None:
            nonlocal name
            name = Path(new).name
            # As if the process ended here.
            os.link(new, self.directory / f"{name}2")
            raise Killed

        patch = self.patch(os, "rename", rename)
        with self.assertRaises(Killed):
            replace(self.path, b"new")
        patch.restore()
        self.assertTrue(name.startswith("."))
        self.assertEqual(self.entries(), [f"{name}2", other.name, "c1.yaml"])
        replace(self.path, b"newer")
        self.assertEqual(self.entries(), [other.name, "c1.yaml"])

    def test_create(self) -> None:
        """A new file is for its owner only, and never replaces another one."""
        path = self.directory / "c3.yaml"
        create(path, b"new")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(path.stat().st_nlink, 1)
        with self.assertRaises(FileExistsError):
            create(self.path, b"new")
        self.assertEqual(self.path.read_text(), "old")
        self.assertEqual(self.entries(), ["c1.yaml", "c3.yaml"])

    def test_create_for_group(self) -> None:
        """Where files have the group of their directory, that group may read them."""
        self.directory.chmod(0o2750)
        path = self.directory / "c3.yaml"
        create(path, b"new")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)

    def test_killed_while_creating(self) -> None:
        """The second name that a killed writer leaves does not prevent a change."""
        os.link(self.path, self.directory / ".c1.yaml.devlxd-abc")
        replace(self.path, b"new")
        self.assertEqual(self.entries(), ["c1.yaml"])

    def test_remove(self) -> None:
        """Of a link, the link is removed."""
        link = self.directory / "link"
        link.symlink_to(self.path)
        remove(link)
        self.assertEqual(self.entries(), ["c1.yaml"])
        remove(self.path)
        self.assertEqual(self.entries(), [])
